//! What a C-STORE receiver takes: this program beside DCMTK's storescp, in the same run, from the same senders.
//!
//! The listener, the door and the inbox are measured without a graph behind them. Every receiver gets new instances.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileDicomObject, InMemDicomObject};
use kernels::Device;
use operators::event::{Metrics, Telemetry};
use operators::phantom::{self, PhantomConfig};
use prometheus::Registry;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::figures::{float, ratio};
use super::{Setting, write};
use crate::arguments::BenchIngest;
use crate::command::Exit;
use crate::config::{Ack, AeTitle, Config};
use crate::console::Console;
use crate::dimse::client::Client;
use crate::dimse::{Listener, Options};
use crate::inbox::{Inbox, Kept, Promise};
use crate::ingest::Door;

const NOTE: &str = "sender and receiver on the same cores, over loopback; no graph behind the inbox";
const TITLE: &str = "HEMOFLOW";
const SENDER: &str = "HEMOBENCH";
const PATIENCE: Duration = Duration::from_secs(60);

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Sender {
    /// The client of this program, which does not wait for more to send.
    Own,
    /// DCMTK's storescu, as it is.
    Dcmtk,
    /// DCMTK's storescu with `TCP_NODELAY=1`.
    DcmtkNoDelay,
}

/// Who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Receiver {
    /// This program; an instance is acknowledged once the system has it.
    Written,
    /// This program; an instance is acknowledged once the disk has it.
    Fsync,
    /// DCMTK's storescp, which waits for no disk, with `TCP_NODELAY=1`.
    Storescp,
}

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize)]
struct Row {
    sender: Sender,
    associations: usize,
    receiver: Receiver,
    instances: usize,
    instances_per_second: f64,
    megabytes_per_second: f64,
    /// To storescp from the same sender over as many associations; 0 where that was not measured.
    ratio_to_storescp: f64,
}

#[derive(Debug, Serialize)]
struct Figures {
    setting: Setting,
    folder: String,
    instance_bytes: usize,
    /// Instances a second that are written one after the other, each brought to the disk before the next.
    one_fsync_each_per_second: f64,
    rows: Vec<Row>,
}

/// Measures every receiver that is here.
pub(super) fn measure(arguments: &BenchIngest, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let count = arguments.instances.unwrap_or(if arguments.quick { 48 } else { 400 });
    let folder = tempfile::tempdir_in(arguments.folder.clone().unwrap_or_else(env::temp_dir))
        .context("the folder of the measurement")?;
    let dcmtk = find("storescu").zip(find("storescp"));
    if dcmtk.is_none() {
        tracing::warn!("storescu and storescp of DCMTK are not in the path: only this program is measured");
    }
    let base = phantom::study(&PhantomConfig { seed: 1, slices: Some(1), ..PhantomConfig::default() }, 0);
    let slice = base.slices.first().context("a slice")?;
    let template = phantom::dicom_object(&base, slice)?;
    let mut bytes = Vec::new();
    template.write_all(&mut bytes)?;
    let mut figures = Figures {
        setting: Setting::of(device, None, 1, arguments.quick, NOTE),
        folder: folder.path().parent().unwrap_or(folder.path()).display().to_string(),
        instance_bytes: bytes.len(),
        one_fsync_each_per_second: one_fsync_each(folder.path(), &bytes, count.min(100))?,
        rows: Vec::new(),
    };
    console.line(format!(
        "revision {}, {}\n{NOTE}\n{count} instances of {} bytes in {}; one fsync each: {:.0} instances/s\n\n\
         sender          assoc  receiver    inst/s     MB/s  ratio to storescp",
        figures.setting.revision,
        figures.setting.device_line(),
        figures.instance_bytes,
        figures.folder,
        figures.one_fsync_each_per_second,
    ))?;
    let senders: &[Sender] = match dcmtk {
        Some(_) => &[Sender::DcmtkNoDelay, Sender::Dcmtk, Sender::Own],
        None => &[Sender::Own],
    };
    let mut round = 0_u64;
    for sender in senders {
        for associations in [1, 4] {
            let mut storescp = 0.0;
            for receiver in [Receiver::Storescp, Receiver::Written, Receiver::Fsync] {
                if receiver == Receiver::Storescp && dcmtk.is_none() {
                    continue;
                }
                round += 1;
                // Twenty a second: a few are enough.
                let slow = *sender == Sender::Dcmtk && receiver == Receiver::Storescp;
                let count = if slow { count.min(20 * associations) } else { count };
                let batches = batches(&template, folder.path(), count, associations, round)?;
                let seconds = run(*sender, receiver, &batches, folder.path(), dcmtk.as_ref())?;
                let rate = ratio(float(count), seconds);
                if receiver == Receiver::Storescp {
                    storescp = rate;
                }
                let row = Row {
                    sender: *sender,
                    associations,
                    receiver,
                    instances: count,
                    instances_per_second: rate,
                    megabytes_per_second: rate * float(figures.instance_bytes) / 1e6,
                    ratio_to_storescp: ratio(rate, storescp),
                };
                console.line(line(&row))?;
                figures.rows.push(row);
                batches.iter().try_for_each(|batch| fs::remove_dir_all(&batch.folder))?;
            }
        }
    }
    console.json(&figures)?;
    write(arguments.out.as_deref(), "ingest.json", &figures)?;
    Ok(Exit::Done)
}

fn line(row: &Row) -> String {
    let sender = match row.sender {
        Sender::Own => "hemoflow",
        Sender::Dcmtk => "dcmtk-default",
        Sender::DcmtkNoDelay => "dcmtk-nodelay",
    };
    let receiver = match row.receiver {
        Receiver::Written => "written",
        Receiver::Fsync => "fsync",
        Receiver::Storescp => "storescp",
    };
    let (rate, megabytes) = (row.instances_per_second, row.megabytes_per_second);
    format!(
        "{sender:<14}  {:>5}  {receiver:<9}  {rate:>7.0}  {megabytes:>7.0}  {:>8.2}",
        row.associations, row.ratio_to_storescp
    )
}

/// A program of the path.
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Writes instances one after the other, each brought to the disk before the next, and gives how many a second.
fn one_fsync_each(folder: &Path, bytes: &[u8], count: usize) -> anyhow::Result<f64> {
    let path = folder.join("baseline");
    let mut file = File::create(&path)?;
    let started = Instant::now();
    for _ in 0..count {
        file.write_all(bytes)?;
        file.sync_data()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok(ratio(float(count), seconds))
}

/// What one association sends.
struct Batch {
    folder: PathBuf,
    instances: Vec<(String, Vec<u8>)>,
}

/// New instances, in as many batches as there are associations.
fn batches(
    template: &FileDicomObject<InMemDicomObject>,
    folder: &Path,
    count: usize,
    associations: usize,
    round: u64,
) -> anyhow::Result<Vec<Batch>> {
    let syntax = dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN.erased();
    let mut batches = Vec::new();
    for association in 0..associations {
        let folder = folder.join(format!("send-{round}-{association}"));
        fs::create_dir(&folder)?;
        let mut instances = Vec::new();
        for number in (association..count).step_by(associations) {
            let uid = format!("1.2.826.0.1.3680043.2.1125.{}.{round}.{number}", std::process::id());
            let mut object = template.clone();
            object.put(DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, PrimitiveValue::from(uid.as_str())));
            object.update_meta(|meta| meta.media_storage_sop_instance_uid = uid.clone());
            object.write_to_file(folder.join(format!("{number:06}.dcm")))?;
            let mut data = Vec::new();
            object.write_dataset_with_ts(&mut data, &syntax)?;
            instances.push((uid, data));
        }
        batches.push(Batch { folder, instances });
    }
    Ok(batches)
}

/// Starts a receiver, lets the sender send, and gives the seconds that took.
fn run(
    sender: Sender,
    receiver: Receiver,
    batches: &[Batch],
    folder: &Path,
    dcmtk: Option<&(PathBuf, PathBuf)>,
) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let kept = folder.join("received");
    fs::create_dir_all(&kept)?;
    let seconds = if receiver == Receiver::Storescp {
        let (_, storescp) = dcmtk.context("storescp is not here")?;
        let peer = Peer::start(storescp, &kept)?;
        send(sender, peer.address, batches, &runtime, dcmtk)?
    } else {
        let (listener, _door) = listen(receiver, &kept, &runtime)?;
        send(sender, listener.address(), batches, &runtime, dcmtk)?
    };
    fs::remove_dir_all(&kept)?;
    Ok(seconds)
}

/// This program as a receiver, without a graph.
fn listen(receiver: Receiver, folder: &Path, runtime: &Runtime) -> anyhow::Result<(Listener, Door)> {
    let ack = if receiver == Receiver::Fsync { Ack::Fsync } else { Ack::Written };
    let inbox = Inbox::open(folder, Promise { ack, ..Promise::default() }, Kept::read(folder)?)?;
    let telemetry = Telemetry::new(Metrics::register(&Registry::new())?);
    let mut config = Config::default();
    config.limits.waiting_slow = usize::MAX;
    config.limits.waiting_refuse = usize::MAX;
    config.limits.study_instances = usize::MAX;
    config.limits.free_disk = 0;
    config.dicom.any_peer = true;
    config.dicom.ae_title = AeTitle::new(TITLE).map_err(anyhow::Error::msg)?;
    let door = Door::new(inbox, 0, config.limits, true, folder, telemetry);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = Options { address, rules: config.dicom, tls: None, drain: Duration::from_secs(1) };
    Ok((runtime.block_on(Listener::start(options, door.clone()))?, door))
}

/// DCMTK's storescp. It is ended when dropped.
struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    fn start(storescp: &Path, folder: &Path) -> anyhow::Result<Self> {
        // Somebody else may take the port in between; then it does not start, and says so.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(storescp);
        command.args(["+B", "--fork", "-aet", TITLE, "-od"]).arg(folder).arg(address.port().to_string());
        let child = command.env("TCP_NODELAY", "1").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let mut peer = Self { child, address };
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > until || peer.child.try_wait()?.is_some() {
                bail!("storescp does not listen");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Sends every batch over an association of its own, all at once, and gives the seconds until the last has ended.
fn send(
    sender: Sender,
    address: SocketAddr,
    batches: &[Batch],
    runtime: &Runtime,
    dcmtk: Option<&(PathBuf, PathBuf)>,
) -> anyhow::Result<f64> {
    let started = Instant::now();
    if sender == Sender::Own {
        std::thread::scope(|scope| {
            let threads: Vec<_> = batches.iter().map(|batch| scope.spawn(|| own(address, batch, runtime))).collect();
            threads.into_iter().try_for_each(|thread| match thread.join() {
                Ok(sent) => sent,
                Err(_) => bail!("a sender panicked"),
            })
        })?;
        return Ok(started.elapsed().as_secs_f64());
    }
    let (storescu, _) = dcmtk.context("storescu is not here")?;
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

fn own(address: SocketAddr, batch: &Batch, runtime: &Runtime) -> anyhow::Result<()> {
    let (class, syntax) = (uids::CT_IMAGE_STORAGE, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    runtime.block_on(async {
        let stored = [(class.to_owned(), syntax.to_owned())];
        let mut client = Client::associate(address, SENDER, TITLE, &stored, PATIENCE).await?;
        for (uid, data) in &batch.instances {
            let status = client.store(class, syntax, uid, data).await?;
            if status != 0 {
                bail!("an instance was answered with status {status:04X}");
            }
        }
        Ok(client.release().await?)
    })
}
