//! `hemoflow demo`: synthetic studies, sent to a real node as a hospital sends them, and a check of what comes out.
//!
//! A node is started on free loopback ports. Slices of all studies come over C-STORE, interleaved and out of order. One comes
//! after its series was said to be complete, one first comes with other content and is sent again, one is sent by mistake and
//! withdrawn by a rejection note. What is published in the end is compared with the generator's truth and with a run over the
//! final slices in their order.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use dicom_object::{FileDicomObject, InMemDicomObject};
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use kernels::Device;
use operators::dicom::{Instance, read};
use operators::phantom::{self, PhantomConfig, PhantomSlice, PhantomStudy};
use operators::record::InstanceUid;
use operators::report::{Latency, Report};
use operators::score::overlap;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use rayon::prelude::*;
use serde::Serialize;

use super::inference::{Running, load_model};
use super::table::{self, LiveTable};
use super::{Exit, run};
use crate::arguments::{Demo, Keep};
use crate::collector::{Collected, Current};
use crate::config::{AeTitle, Config, Peer};
use crate::console::Console;
use crate::dimse::classes;
use crate::dimse::client::Client;
use crate::result_tree::ResultTree;
use crate::serve::Server;

/// The AE title that the demo sends with.
const SENDER: &str = "HEMODEMO";
/// How long the demo waits for an answer of its node.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the studies, sends them, and checks the results.
pub(super) fn demo(arguments: &Demo, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let tree = ResultTree::create(&arguments.out, true)?;
    tracing::info!("making {} synthetic studies from seed {}", arguments.studies, arguments.seed);
    let config = PhantomConfig { seed: arguments.seed, ..PhantomConfig::default() };
    let studies: Vec<PhantomStudy> =
        (0..arguments.studies).into_par_iter().map(|index| phantom::study(&config, index)).collect();
    let script = script(&studies, arguments.seed)?;

    let model =
        load_model(arguments.inference.model.as_deref(), device)?.with_precision(arguments.inference.precision)?;
    let data = tempfile::tempdir().context("the demo has no folder for its node")?;
    let (rows, updates) = mpsc::channel::<Current>();
    let gathered = Arc::<Mutex<Collected>>::default();
    let shown = move |current: &Current| {
        // It fails only when the table has been dropped: nobody looks any more.
        rows.send(current.clone()).ok();
    };
    let server = Server::start(node(arguments, &data)?, model, (Arc::clone(&gathered), shown))?;
    let address = server.dicom().context("the node of the demo does not listen")?;
    tracing::info!("a node takes DICOM at {address}");
    if let Some(metrics) = server.metrics() {
        tracing::info!("metrics at http://{metrics}/metrics");
    }
    let changes = script.first.len() + script.second.len();
    tracing::info!("sending {changes} objects: interleaved, out of order, one late, one re-sent, one withdrawn");
    let live = std::thread::spawn(move || {
        let mut table = LiveTable::on_standard_error();
        for current in updates {
            table.update(&current.report());
        }
        table.finish();
    });
    for objects in [script.first, script.second] {
        server.runtime().block_on(send(address, &objects))?;
    }
    server.settle()?;
    let views = server.views().snapshot();
    let series = gathered.lock().unwrap_or_else(PoisonError::into_inner);
    let collected = Collected {
        series: series.series.clone(),
        rejections: series.rejections.clone(),
        views,
        ..Collected::default()
    };
    drop(series);
    // The node of `--hold` stays up.
    let server = if arguments.hold {
        Some(server)
    } else {
        server.drain()?;
        live.join().map_err(|_| anyhow!("the live table panicked"))?;
        None
    };

    let exit = run::write(&tree, &collected, console)?;
    let streamed: Vec<Report> = collected.series.values().map(Current::report).collect();
    let check = Check::of(&studies, &collected, &streamed, &batch(&studies, arguments, device)?);
    check.tell(console)?;
    console.line(format!("look at {}", arguments.out.join("<StudyUID>/<SeriesUID>/overlay.png").display()))?;
    if server.is_some() {
        tracing::info!("staying up: interrupt to end");
        loop {
            std::thread::park();
        }
    }
    Ok(if check.batch_equal { exit } else { Exit::Failed })
}

/// The configuration of the demo's node: free ports of the loopback interface, and one sender.
fn node(arguments: &Demo, data: &tempfile::TempDir) -> anyhow::Result<Config> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = Config::default();
    config.node.data = data.path().join("data");
    config.node.workers = arguments.inference.workers;
    config.node.memory = arguments.inference.memory;
    config.dicom.address = Some(free);
    config.dicom.peers = vec![Peer {
        ae_title: AeTitle::new(SENDER).map_err(|error| anyhow!(error))?,
        from: None,
        address: None,
        tls: None,
    }];
    config.http.address = None;
    config.metrics.address = arguments.inference.metrics;
    // A demo on a small disk is a demo.
    config.limits.free_disk = 64 << 20;
    Ok(config)
}

/// Sends objects over one association.
async fn send(address: SocketAddr, objects: &[Object]) -> anyhow::Result<()> {
    let stored: Vec<(String, String)> =
        classes().map(|class| (class.to_owned(), EXPLICIT_VR_LITTLE_ENDIAN.uid().to_owned())).collect();
    let mut client = Client::associate(address, SENDER, "HEMOFLOW", &stored, PATIENCE).await?;
    for object in objects {
        let meta = object.meta();
        let class = meta.media_storage_sop_class_uid.trim_end_matches('\0');
        let instance = meta.media_storage_sop_instance_uid.trim_end_matches('\0');
        let mut data = Vec::new();
        let syntax = EXPLICIT_VR_LITTLE_ENDIAN.erased();
        object.write_dataset_with_ts(&mut data, &syntax).context("a synthetic slice cannot be encoded")?;
        let status = client.store(class, syntax.uid(), instance, &data).await?;
        if status != 0 {
            bail!("the node answers with status {status:04X}");
        }
    }
    Ok(client.release().await?)
}

/// An object as it is sent.
type Object = FileDicomObject<InMemDicomObject>;

/// The slice of a study as its scanner sends it: through the bytes of a DICOM file.
fn instance(study: &PhantomStudy, slice: &PhantomSlice) -> anyhow::Result<Instance> {
    let mut bytes = Vec::new();
    phantom::dicom_object(study, slice)?.write_all(&mut bytes).context("a synthetic slice cannot be encoded")?;
    read::read_bytes(slice.instance.as_str(), &bytes)
        .map_err(|rejection| anyhow!("a synthetic slice was refused: {}: {}", rejection.reason, rejection.detail))
}

/// What is sent over the first association, and what over the second.
struct Script {
    first: Vec<Object>,
    second: Vec<Object>,
}

/// What a hospital sends: every slice in the end as the generator made it, on the way there with mistakes.
fn script(studies: &[PhantomStudy], seed: u64) -> anyhow::Result<Script> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for (number, study) in studies.iter().enumerate() {
        let middle = study.slices.len() / 2;
        let (late, replaced, mistaken) = (number == 0, number == 1 % studies.len(), number == 2 % studies.len());
        for (position, slice) in study.slices.iter().enumerate() {
            let truth = phantom::dicom_object(study, slice)?;
            match position.checked_sub(middle) {
                Some(0) if late => second.push(truth),
                Some(1) if replaced => {
                    let neighbor = study.slices.get(middle).unwrap_or(slice);
                    let other = PhantomSlice { plane: neighbor.plane.clone(), ..slice.clone() };
                    first.push(phantom::dicom_object(study, &other)?);
                    second.push(truth);
                }
                Some(2) if mistaken => {
                    let uid = InstanceUid::new(&format!("{}.9", slice.instance)).context("a UID")?;
                    let mistake = PhantomSlice { instance: uid.clone(), ..slice.clone() };
                    first.push(phantom::dicom_object(study, &mistake)?);
                    first.push(truth);
                    second.push(phantom::rejection_note(study, &[uid])?);
                }
                _ => first.push(truth),
            }
        }
    }
    shuffle(&mut first, &mut random);
    Ok(Script { first, second })
}

/// Fisher and Yates.
fn shuffle<T>(items: &mut [T], random: &mut impl RngCore) {
    for last in (1..items.len()).rev() {
        let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
        let other = usize::try_from(random.next_u64() % bound).unwrap_or_default();
        items.swap(last, other);
    }
}

/// The reports of a run over the final slices, in their order.
fn batch(studies: &[PhantomStudy], arguments: &Demo, device: Device) -> anyhow::Result<Vec<Report>> {
    tracing::info!("comparing with a batch run over the final slices");
    let inference = crate::arguments::Inference { metrics: None, ..arguments.inference.clone() };
    let mut running = Running::start(&inference, &Keep::default(), Vec::new(), device, |_: &Current| {})?;
    for study in studies {
        let mut key = None;
        for slice in &study.slices {
            let instance = instance(study, slice)?;
            running.node.arrive(&instance, None, false)?;
            key = Some(instance.key);
        }
        if let Some(key) = key {
            running.node.complete(&key)?;
        }
    }
    let (collected, _) = running.finish()?;
    Ok(collected.series.values().map(Current::report).collect())
}

/// How the results compare.
#[derive(Debug, Serialize)]
struct Check {
    studies: Vec<StudyCheck>,
    batch_equal: bool,
}

#[derive(Debug, Serialize)]
struct StudyCheck {
    study_uid: String,
    true_ml: f64,
    segmentation_ml: f64,
    pseudo_mask_ml: f64,
    dice_segmentation: Option<f64>,
    dice_pseudo_mask: Option<f64>,
}

impl Check {
    fn of(studies: &[PhantomStudy], collected: &Collected, streamed: &[Report], batch: &[Report]) -> Self {
        let plain =
            |report: &Report| Report { version: 0, tick: 0, latency_seconds: Latency::default(), ..report.clone() };
        let batch_equal = streamed.iter().map(plain).eq(batch.iter().map(plain));
        let studies = studies.iter().filter_map(|study| StudyCheck::of(study, collected, streamed)).collect();
        Self { studies, batch_equal }
    }

    fn tell(&self, console: &mut Console) -> anyhow::Result<()> {
        console.line("\nstudy                         true mL  volume mL  Dice  pseudo mL  Dice")?;
        let dice = |dice: Option<f64>| dice.map_or_else(|| "   -".to_owned(), |dice| format!("{dice:.2}"));
        for study in &self.studies {
            console.line(format!(
                "{:<28}  {:>7.2}  {:>9.2}  {}  {:>9.2}  {}",
                table::short(&study.study_uid),
                study.true_ml,
                study.segmentation_ml,
                dice(study.dice_segmentation),
                study.pseudo_mask_ml,
                dice(study.dice_pseudo_mask),
            ))?;
        }
        let agreement = if self.batch_equal { "equal in every field" } else { "DIFFERENT" };
        console.line(format!("\nstreamed results and a batch run over the final slices: {agreement}"))?;
        console.json(self)?;
        Ok(())
    }
}

impl StudyCheck {
    fn of(study: &PhantomStudy, collected: &Collected, streamed: &[Report]) -> Option<Self> {
        let (_, current) = collected.series.iter().find(|(key, _)| key.study == study.study)?;
        let report = streamed.iter().find(|report| report.study_uid == study.study.as_str())?;
        let (mut truth, mut mask, mut pseudo_mask) = (Vec::new(), Vec::new(), Vec::new());
        for slice in &study.slices {
            let published = current.publication.slices.iter().find(|found| found.slice.instance == slice.instance);
            truth.extend(slice.truth.iter().map(|subtype| u8::from(*subtype != 0)));
            let empty = || vec![0; slice.truth.len()];
            let found = |mask: Option<&operators::record::Mask>| mask.map_or_else(empty, |mask| mask.voxels.clone());
            mask.extend(found(published.and_then(|found| found.mask.as_deref())));
            pseudo_mask.extend(found(published.and_then(|found| found.pseudo_mask.as_deref())));
        }
        Some(Self {
            study_uid: report.study_uid.clone(),
            true_ml: study.truth.volumes_ml.iter().sum(),
            segmentation_ml: report.volume_ml.segmentation,
            pseudo_mask_ml: report.volume_ml.pseudo_mask,
            dice_segmentation: overlap::dice(&truth, &mask),
            dice_pseudo_mask: overlap::dice(&truth, &pseudo_mask),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_loses_nothing_and_repeats_with_its_seed() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..50).collect();
            shuffle(&mut items, &mut ChaCha8Rng::seed_from_u64(seed));
            items
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(3);
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..50));
    }
}
