//! `hemoflow demo`: synthetic studies, sent as a hospital sends them, and a check of what comes out.
//!
//! Slices of all studies arrive interleaved and out of order. One comes after its series was said to be complete, one
//! first comes with other content and is sent again, one is sent by mistake and withdrawn. What is published in the end is
//! compared with the generator's truth and with a run over the final slices in their order.

use std::sync::mpsc;

use anyhow::{Context, anyhow};
use kernels::Device;
use operators::dicom::{Instance, read};
use operators::phantom::{self, PhantomConfig, PhantomSlice, PhantomStudy};
use operators::record::{Change, InstanceUid, SeriesKey};
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
use crate::console::Console;
use crate::node::Node;
use crate::result_tree::ResultTree;

/// Makes the studies, streams them, and checks the results.
pub(super) fn demo(arguments: &Demo, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let tree = ResultTree::create(&arguments.out, true)?;
    tracing::info!("making {} synthetic studies from seed {}", arguments.studies, arguments.seed);
    let config = PhantomConfig { seed: arguments.seed, ..PhantomConfig::default() };
    let studies: Vec<PhantomStudy> =
        (0..arguments.studies).into_par_iter().map(|index| phantom::study(&config, index)).collect();
    let script = script(&studies, arguments.seed)?;

    let model = load_model(arguments.inference.model.as_deref(), device)?;
    let (rows, updates) = mpsc::channel::<Current>();
    let mut running = Running::with(model, &arguments.inference, &Keep::default(), Vec::new(), move |current| {
        // It fails only when the table has been dropped: nobody looks any more.
        rows.send(current.clone()).ok();
    })?;
    tracing::info!("sending {} changes: interleaved, out of order, one late, one re-sent, one withdrawn", script.len());
    let live = std::thread::spawn(move || {
        let mut table = LiveTable::on_standard_error();
        for current in updates {
            table.update(&current.report());
        }
        table.finish();
    });
    for step in script {
        step.send(&mut running.node)?;
    }
    let (collected, _metrics) = running.finish()?;
    live.join().map_err(|_| anyhow!("the live table panicked"))?;

    let exit = run::write(&tree, &collected, console)?;
    let streamed: Vec<Report> = collected.series.values().map(Current::report).collect();
    let check = Check::of(&studies, &collected, &streamed, &batch(&studies, arguments, device)?);
    check.tell(console)?;
    console.line(format!("look at {}", arguments.out.join("<StudyUID>/<SeriesUID>/overlay.png").display()))?;
    if arguments.hold {
        tracing::info!("staying up: interrupt to end");
        loop {
            std::thread::park();
        }
    }
    Ok(if check.batch_equal { exit } else { Exit::Failed })
}

/// One thing that a sender does.
enum Step {
    Arrive(Box<Instance>),
    Withdraw(SeriesKey, InstanceUid),
    Complete(SeriesKey),
}

impl Step {
    fn send(self, node: &mut Node) -> anyhow::Result<()> {
        match self {
            Self::Arrive(instance) => node.arrive(&instance, None, false)?,
            Self::Withdraw(key, instance) => node.send(Change::Withdrawn { key, instance })?,
            Self::Complete(key) => node.complete(&key)?,
        };
        Ok(())
    }
}

/// The slice of a study as its scanner sends it: through the bytes of a DICOM file.
fn instance(study: &PhantomStudy, slice: &PhantomSlice) -> anyhow::Result<Instance> {
    let mut bytes = Vec::new();
    phantom::dicom_object(study, slice)?.write_all(&mut bytes).context("a synthetic slice cannot be encoded")?;
    read::read_bytes(slice.instance.as_str(), &bytes)
        .map_err(|rejection| anyhow!("a synthetic slice was refused: {}: {}", rejection.reason, rejection.detail))
}

/// What a hospital sends: every slice in the end as the generator made it, on the way there with mistakes.
fn script(studies: &[PhantomStudy], seed: u64) -> anyhow::Result<Vec<Step>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut arrivals = Vec::new();
    let mut after = Vec::new();
    for (number, study) in studies.iter().enumerate() {
        let middle = study.slices.len() / 2;
        let (late, replaced, mistaken) = (number == 0, number == 1 % studies.len(), number == 2 % studies.len());
        for (position, slice) in study.slices.iter().enumerate() {
            let truth = instance(study, slice)?;
            let key = truth.key.clone();
            if position == 0 {
                after.push(Step::Complete(key.clone()));
            }
            match position.checked_sub(middle) {
                Some(0) if late => after.push(Step::Arrive(Box::new(truth))),
                Some(1) if replaced => {
                    let neighbor = study.slices.get(middle).unwrap_or(slice);
                    let other = PhantomSlice { plane: neighbor.plane.clone(), ..slice.clone() };
                    arrivals.push(Step::Arrive(Box::new(instance(study, &other)?)));
                    after.push(Step::Arrive(Box::new(truth)));
                }
                Some(2) if mistaken => {
                    let uid = InstanceUid::new(&format!("{}.9", slice.instance)).context("a UID")?;
                    let mistake = PhantomSlice { instance: uid.clone(), ..slice.clone() };
                    arrivals.push(Step::Arrive(Box::new(instance(study, &mistake)?)));
                    arrivals.push(Step::Arrive(Box::new(truth)));
                    after.push(Step::Withdraw(key, uid));
                }
                _ => arrivals.push(Step::Arrive(Box::new(truth))),
            }
        }
    }
    shuffle(&mut arrivals, &mut random);
    arrivals.extend(after);
    Ok(arrivals)
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
    let mut running = Running::start(&inference, &Keep::default(), Vec::new(), device, |_| {})?;
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
