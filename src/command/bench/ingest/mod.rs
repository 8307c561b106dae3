//! What a C-STORE receiver takes: this program beside DCMTK's storescp and Orthanc, in the same run, from the same senders.
//!
//! The listener, the door and the inbox are measured without a graph behind them. Every receiver gets new instances, and what
//! this program acknowledged it must keep.

mod load;
mod receiver;
mod sender;

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use kernels::Device;
use serde::Serialize;
use tokio::runtime::Runtime;

use super::figures::{float, ratio};
use super::{Setting, told, write};
use crate::arguments::{BenchIngest, Load};
use crate::command::Exit;
use crate::console::Console;
use load::{Commits, Crowd, Long};
use receiver::{Peers, Receiver, Running};
use sender::{Batch, Sender, Slice};

const NOTE: &str = "sender and receiver on the same cores, over loopback; no graph behind the inbox";

/// Where it is measured, and what was sent already.
struct Bench<'a> {
    folder: &'a Path,
    peers: Peers,
    /// The number of the next new instance.
    next: usize,
}

impl Bench<'_> {
    /// The first of so many numbers of new instances.
    fn numbers(&mut self, count: usize) -> usize {
        let first = self.next;
        self.next += count;
        first
    }
}

/// One measurement of a sender and a receiver.
#[derive(Clone, Copy, Debug, Serialize)]
struct Row {
    sender: Sender,
    associations: usize,
    receiver: Receiver,
    instances: usize,
    instances_per_second: f64,
    megabytes_per_second: f64,
    /// To storescp from the same sender over as many associations; `None` where that was not measured before.
    ratio_to_storescp: Option<f64>,
    /// To Orthanc, as well.
    ratio_to_orthanc: Option<f64>,
}

/// Every sender that is here with every receiver.
#[derive(Debug, Serialize)]
struct Pairs {
    instance_bytes: usize,
    rows: Vec<Row>,
}

/// All figures. What was not asked for is not there.
#[derive(Debug, Serialize)]
struct Figures {
    setting: Setting,
    folder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pairs: Option<Pairs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    long: Option<Long>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crowd: Option<Crowd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commits: Option<Commits>,
}

/// Measures what was asked for, with every receiver that is here.
pub(super) fn measure(arguments: &BenchIngest, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let folder = tempfile::tempdir_in(arguments.folder.clone().unwrap_or_else(env::temp_dir))
        .context("the folder of the measurement")?;
    let setting = Setting::of(device, None, 1, arguments.quick, NOTE);
    let place = folder.path().parent().unwrap_or(folder.path()).display().to_string();
    console.line(format!("revision {}, {}, in {place}\n{NOTE}\n", setting.revision, setting.device_line()))?;
    let mut bench = Bench { folder: folder.path(), peers: Peers::find(), next: 0 };
    let mut figures = Figures { setting, folder: place, pairs: None, long: None, crowd: None, commits: None };
    let wanted = |part: Load| arguments.only.is_empty() || arguments.only.contains(&part);
    let usual = |asked: Option<usize>, slow: usize, quick: usize| {
        asked.unwrap_or(if arguments.quick { quick } else { slow }).max(1)
    };
    // As scanners make them, and small ones where there are many.
    let (slice, small) = (Slice::new(512)?, Slice::new(64)?);
    let count = usual(arguments.instances, 400, 48);
    if wanted(Load::Pairs) {
        figures.pairs = Some(Pairs::measure(&mut bench, &slice, count, console)?);
    }
    if wanted(Load::Long) {
        let count = usual(arguments.instances, 10_000, 500);
        figures.long = Some(told(Long::measure(&mut bench, &small, count)?, Long::lines, console)?);
    }
    if wanted(Load::Crowd) {
        let associations = usual(arguments.associations.map(usize::from), 64, 16);
        let count = usual(arguments.instances, 10 * associations, 2 * associations).max(associations);
        figures.crowd = Some(told(Crowd::measure(&mut bench, &slice, count, associations)?, Crowd::lines, console)?);
    }
    if wanted(Load::Commits) {
        figures.commits = Some(told(Commits::measure(&mut bench, &slice, count)?, Commits::lines, console)?);
    }
    console.json(&figures)?;
    write(arguments.out.as_deref(), "ingest.json", &figures)?;
    Ok(Exit::Done)
}

/// Starts a receiver with an empty folder, lets `send` send, and gives what came of it.
fn received<T>(
    bench: &Bench<'_>,
    receiver: Receiver,
    send: impl FnOnce(&Running, &Runtime) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let kept = bench.folder.join("received");
    fs::create_dir_all(&kept)?;
    let running = Running::start(receiver, &bench.peers, &kept, &runtime)?;
    let sent = send(&running, &runtime);
    drop(running);
    fs::remove_dir_all(&kept)?;
    sent
}

impl Pairs {
    fn measure(bench: &mut Bench<'_>, slice: &Slice, count: usize, console: &mut Console) -> anyhow::Result<Self> {
        console.line(format!(
            "{count} instances of {} bytes\n\
             sender          assoc  receiver    inst/s     MB/s  ratio to storescp  ratio to orthanc",
            slice.bytes()
        ))?;
        let senders: &[Sender] = match bench.peers.dcmtk {
            Some(_) => &[Sender::DcmtkNoDelay, Sender::Dcmtk, Sender::Own],
            None => &[Sender::Own],
        };
        let mut rows = Vec::new();
        for sender in senders.iter().copied() {
            for associations in [1, 4] {
                let (mut storescp, mut orthanc) = (None, None);
                for receiver in [Receiver::Storescp, Receiver::Orthanc, Receiver::Written, Receiver::Fsync] {
                    if !bench.peers.has(receiver) {
                        continue;
                    }
                    let (count, seconds) = pair(bench, slice, (sender, receiver), count, associations)?;
                    let rate = ratio(float(count), seconds);
                    match receiver {
                        Receiver::Storescp => storescp = Some(rate),
                        Receiver::Orthanc => orthanc = Some(rate),
                        Receiver::Written | Receiver::Fsync => {}
                    }
                    let row = Row {
                        sender,
                        associations,
                        receiver,
                        instances: count,
                        instances_per_second: rate,
                        megabytes_per_second: rate * float(slice.bytes()) / 1e6,
                        ratio_to_storescp: storescp.map(|storescp| ratio(rate, storescp)),
                        ratio_to_orthanc: orthanc.map(|orthanc| ratio(rate, orthanc)),
                    };
                    console.line(line(&row))?;
                    rows.push(row);
                }
            }
        }
        console.line("")?;
        Ok(Self { instance_bytes: slice.bytes(), rows })
    }
}

/// Lets a sender send to a receiver, and gives how many instances that were and the seconds they took.
fn pair(
    bench: &mut Bench<'_>,
    slice: &Slice,
    (sender, receiver): (Sender, Receiver),
    count: usize,
    associations: usize,
) -> anyhow::Result<(usize, f64)> {
    // Twenty a second where a sender waits for more to send, and a hundred where a file is brought to the disk: a few do.
    let count = match (sender, receiver.is_own(), receiver) {
        (Sender::Dcmtk, false, _) => count.min(20 * associations),
        (_, _, Receiver::Orthanc) => count.min(120),
        _ => count,
    };
    let first = bench.numbers(count);
    let batches = Batch::new(slice, bench.folder, first, count, associations)?;
    let seconds = received(bench, receiver, |running, runtime| {
        let seconds = sender::send(sender, running.address(), &batches, &bench.peers, runtime)?;
        let kept = running.kept();
        ensure!(kept.is_none_or(|kept| kept == count), "{count} instances were acknowledged, {kept:?} are kept");
        Ok(seconds)
    })?;
    batches.iter().try_for_each(Batch::remove)?;
    Ok((count, seconds))
}

fn line(row: &Row) -> String {
    let (rate, megabytes) = (row.instances_per_second, row.megabytes_per_second);
    let told = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    format!(
        "{:<14}  {:>5}  {:<9}  {rate:>7.0}  {megabytes:>7.0}  {:>17}  {:>16}",
        row.sender.word(),
        row.associations,
        row.receiver.word(),
        told(row.ratio_to_storescp),
        told(row.ratio_to_orthanc)
    )
}
