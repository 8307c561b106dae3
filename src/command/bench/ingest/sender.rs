//! Who sends, and what.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileDicomObject, InMemDicomObject};
use operators::phantom::{self, PhantomConfig};
use serde::Serialize;
use tokio::runtime::Runtime;

use super::receiver::{Peers, TITLE};
use crate::dimse::client::Client;

const SENDER: &str = "HEMOBENCH";
const PATIENCE: Duration = Duration::from_secs(60);

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sender {
    /// The client of this program, which does not wait for more to send.
    Own,
    /// DCMTK's storescu, as it is.
    Dcmtk,
    /// DCMTK's storescu with `TCP_NODELAY=1`.
    DcmtkNoDelay,
}

impl Sender {
    /// Its name in tables.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Own => "hemoflow",
            Self::Dcmtk => "dcmtk-default",
            Self::DcmtkNoDelay => "dcmtk-nodelay",
        }
    }
}

/// The UID of the instance of a number, as long as that of any other.
fn uid(number: usize) -> String {
    format!("1.2.826.0.1.3680043.2.1125.{}.{}", std::process::id(), 10_000_000 + number)
}

/// A synthetic slice, of which instances are made that differ by their UIDs.
pub(super) struct Slice {
    object: FileDicomObject<InMemDicomObject>,
    /// The data set of instance 0.
    data: Vec<u8>,
    /// Where its UID stands.
    at: usize,
}

impl Slice {
    /// A slice of so many rows and columns.
    pub(super) fn new(matrix: usize) -> anyhow::Result<Self> {
        let config = PhantomConfig { seed: 1, slices: Some(1), matrix, ..PhantomConfig::default() };
        let study = phantom::study(&config, 0);
        let object = phantom::dicom_object(&study, study.slices.first().context("a slice")?)?;
        let object = with_uid(&object, &uid(0));
        let mut data = Vec::new();
        object.write_dataset_with_ts(
            &mut data,
            &dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased(),
        )?;
        let name = uid(0);
        let at = data.windows(name.len()).position(|window| window == name.as_bytes()).context("its UID")?;
        Ok(Self { object, data, at })
    }

    /// Bytes of the data set.
    pub(super) fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The data set of an instance, as it is without its own UID.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// An instance: its UID and its data set.
    pub(super) fn instance(&self, number: usize) -> (String, Vec<u8>) {
        let (uid, mut data) = (uid(number), self.data.clone());
        if let Some(place) = data.get_mut(self.at..self.at + uid.len()) {
            place.copy_from_slice(uid.as_bytes());
        }
        (uid, data)
    }
}

fn with_uid(object: &FileDicomObject<InMemDicomObject>, uid: &str) -> FileDicomObject<InMemDicomObject> {
    let mut object = object.clone();
    object.put(DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, PrimitiveValue::from(uid)));
    object.update_meta(|meta| uid.clone_into(&mut meta.media_storage_sop_instance_uid));
    object
}

/// What one association sends.
pub(super) struct Batch {
    folder: PathBuf,
    instances: Vec<(String, Vec<u8>)>,
}

impl Batch {
    /// `count` instances from number `first` on, in as many batches as there are associations, as files in `folder` as well.
    pub(super) fn new(
        slice: &Slice,
        folder: &Path,
        first: usize,
        count: usize,
        associations: usize,
    ) -> anyhow::Result<Vec<Self>> {
        let mut batches = Vec::new();
        for association in 0..associations {
            let folder = folder.join(format!("send-{first}-{association}"));
            fs::create_dir(&folder)?;
            let mut instances = Vec::new();
            for number in (first + association..first + count).step_by(associations) {
                let (uid, data) = slice.instance(number);
                with_uid(&slice.object, &uid).write_to_file(folder.join(format!("{number:08}.dcm")))?;
                instances.push((uid, data));
            }
            batches.push(Self { folder, instances });
        }
        Ok(batches)
    }

    /// Removes its files.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        Ok(fs::remove_dir_all(&self.folder)?)
    }
}

/// Sends every batch over an association of its own, all at once, and gives the seconds until the last has ended.
pub(super) fn send(
    sender: Sender,
    address: SocketAddr,
    batches: &[Batch],
    peers: &Peers,
    runtime: &Runtime,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    if sender == Sender::Own {
        at_once(batches, |batch| {
            let instances = batch.instances.iter().map(|(uid, data)| (uid.as_str(), data.as_slice()));
            own(address, instances, runtime)
        })?;
        return Ok(started.elapsed().as_secs_f64());
    }
    let (storescu, _) = peers.dcmtk.as_ref().context("storescu is not here")?;
    let mut children = Vec::new();
    for batch in batches {
        let mut command = Command::new(storescu);
        command.args(["-aet", SENDER, "-aec", TITLE, "127.0.0.1", &address.port().to_string(), "+sd"]);
        command.arg(&batch.folder).stdout(Stdio::null()).stderr(Stdio::null());
        match sender {
            Sender::DcmtkNoDelay => command.env("TCP_NODELAY", "1"),
            Sender::Dcmtk | Sender::Own => command.env_remove("TCP_NODELAY"),
        };
        children.push(command.spawn()?);
    }
    for mut child in children {
        if !child.wait()?.success() {
            bail!("storescu failed");
        }
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Does something with each, all at once, and gives what came of it.
pub(super) fn at_once<I: Sync, O: Send>(
    each: &[I],
    run: impl Fn(&I) -> anyhow::Result<O> + Sync,
) -> anyhow::Result<Vec<O>> {
    let run = &run;
    std::thread::scope(|scope| {
        let threads: Vec<_> = each.iter().map(|one| scope.spawn(move || run(one))).collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(ended) => ended,
            Err(_) => bail!("a sender panicked"),
        });
        ended.collect()
    })
}

/// Sends instances over one association of this program's client, and gives the seconds that each took.
pub(super) fn own<U: AsRef<str>, D: AsRef<[u8]>>(
    address: SocketAddr,
    instances: impl Iterator<Item = (U, D)>,
    runtime: &Runtime,
) -> anyhow::Result<Vec<f64>> {
    let (class, syntax) = (uids::CT_IMAGE_STORAGE, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    runtime.block_on(async {
        let stored = [(class.to_owned(), syntax.to_owned())];
        let mut client = Client::associate(address, SENDER, TITLE, &stored, PATIENCE).await?;
        let mut took = Vec::new();
        for (uid, data) in instances {
            let started = Instant::now();
            let status = client.store(class, syntax, uid.as_ref(), data.as_ref()).await?;
            if status != 0 {
                bail!("an instance was answered with status {status:04X}");
            }
            took.push(started.elapsed().as_secs_f64());
        }
        client.release().await?;
        Ok(took)
    })
}
