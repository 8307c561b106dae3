//! Loads that take their time: many instances over one association, many associations at once, and every instance on the disk.
//!
//! The senders are of this program, in this process: its memory is theirs as well.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use serde::Serialize;

use super::super::figures::{float, forget_peak, peak_mib, ratio, resident_mib};
use super::receiver::Receiver;
use super::sender::{Slice, at_once, own};
use super::{Bench, received};

/// Many instances over one association.
#[derive(Debug, Serialize)]
pub(super) struct Long {
    instances: usize,
    instance_bytes: usize,
    rows: Vec<LongRow>,
}

#[derive(Debug, Serialize)]
struct LongRow {
    receiver: Receiver,
    instances_per_second: f64,
    /// The time of the last tenth of the instances to that of the first: 1 if it does not become slower.
    last_tenth_to_first: f64,
    ratio_to_storescp: f64,
}

/// Many associations at once.
#[derive(Debug, Serialize)]
pub(super) struct Crowd {
    associations: usize,
    instances: usize,
    instance_bytes: usize,
    rows: Vec<CrowdRow>,
}

#[derive(Debug, Serialize)]
struct CrowdRow {
    receiver: Receiver,
    instances_per_second: f64,
    acknowledged: usize,
    /// Instances that this program kept.
    kept: Option<usize>,
    /// Memory of this process before, and at most, MiB: senders, and the receiver if it is this program.
    resident_before_mib: f64,
    resident_peak_mib: f64,
    ratio_to_storescp: f64,
}

/// Four associations, each instance on the disk before it is acknowledged, and a plain loop that does the same for one file.
#[derive(Debug, Serialize)]
pub(super) struct Commits {
    associations: usize,
    instances: usize,
    instance_bytes: usize,
    instances_per_second: f64,
    /// As many bytes are written and brought to the disk, one after the other, before and after.
    one_fsync_each_per_second: f64,
    ratio: f64,
}

/// What came of a load.
struct Poured {
    instances_per_second: f64,
    /// The seconds that each instance took, by association.
    took: Vec<Vec<f64>>,
    kept: Option<usize>,
}

impl Poured {
    fn acknowledged(&self) -> usize {
        self.took.iter().map(Vec::len).sum()
    }
}

/// Sends `count` new instances to a receiver over so many associations at once.
fn pour(
    bench: &mut Bench,
    slice: &Slice,
    receiver: Receiver,
    count: usize,
    associations: usize,
) -> anyhow::Result<Poured> {
    let first = bench.numbers(count);
    let (seconds, took, kept) = received(bench, receiver, |running, runtime| {
        let address = running.address();
        let started = Instant::now();
        let each: Vec<usize> = (0..associations).collect();
        let took = at_once(&each, |association| {
            let numbers = (first + association..first + count).step_by(associations);
            own(address, numbers.map(|number| slice.instance(number)), runtime)
        })?;
        Ok((started.elapsed().as_secs_f64(), took, running.kept()))
    })?;
    let poured = Poured { instances_per_second: ratio(float(count), seconds), took, kept };
    let acknowledged = poured.acknowledged();
    ensure!(poured.kept.is_none_or(|kept| kept == acknowledged), "{acknowledged} acknowledged, {kept:?} kept");
    Ok(poured)
}

/// The receivers that are here, storescp first: others are measured by it.
fn receivers(bench: &Bench, of: &[Receiver]) -> Vec<Receiver> {
    of.iter().copied().filter(|receiver| bench.peers.has(*receiver)).collect()
}

impl Long {
    pub(super) fn measure(bench: &mut Bench, slice: &Slice, count: usize) -> anyhow::Result<Self> {
        let (mut rows, mut storescp) = (Vec::new(), 0.0);
        for receiver in receivers(bench, &[Receiver::Storescp, Receiver::Written, Receiver::Fsync]) {
            let poured = pour(bench, slice, receiver, count, 1)?;
            let rate = poured.instances_per_second;
            if receiver == Receiver::Storescp {
                storescp = rate;
            }
            let took = poured.took.first().map(Vec::as_slice).unwrap_or_default();
            let tenth = took.len() / 10;
            let (first, last) = (took.iter().take(tenth), took.iter().rev().take(tenth));
            let last_tenth_to_first = ratio(last.sum(), first.sum());
            let ratio_to_storescp = ratio(rate, storescp);
            rows.push(LongRow { receiver, instances_per_second: rate, last_tenth_to_first, ratio_to_storescp });
        }
        Ok(Self { instances: count, instance_bytes: slice.bytes(), rows })
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let head = format!("{} instances of {} bytes over one association", self.instances, self.instance_bytes);
        let names = "receiver    inst/s  last tenth to first  ratio to storescp".to_owned();
        let row = |row: &LongRow| {
            let LongRow { receiver, instances_per_second: rate, last_tenth_to_first: slower, ratio_to_storescp } = row;
            format!("{:<9}  {rate:>7.0}  {slower:>19.2}  {ratio_to_storescp:>17.2}", receiver.word())
        };
        [head, names].into_iter().chain(self.rows.iter().map(row)).collect()
    }
}

impl Crowd {
    pub(super) fn measure(bench: &mut Bench, slice: &Slice, count: usize, associations: usize) -> anyhow::Result<Self> {
        let (mut rows, mut storescp) = (Vec::new(), 0.0);
        for receiver in receivers(bench, &[Receiver::Storescp, Receiver::Written, Receiver::Fsync]) {
            forget_peak();
            let resident_before_mib = resident_mib();
            let poured = pour(bench, slice, receiver, count, associations)?;
            let rate = poured.instances_per_second;
            if receiver == Receiver::Storescp {
                storescp = rate;
            }
            rows.push(CrowdRow {
                receiver,
                instances_per_second: rate,
                acknowledged: poured.acknowledged(),
                kept: poured.kept,
                resident_before_mib,
                resident_peak_mib: peak_mib(),
                ratio_to_storescp: ratio(rate, storescp),
            });
        }
        Ok(Self { associations, instances: count, instance_bytes: slice.bytes(), rows })
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let (count, bytes) = (self.instances, self.instance_bytes);
        let head = format!("{count} instances of {bytes} bytes over {} associations at once", self.associations);
        let names = "receiver    inst/s  acknowledged    kept  MiB before  MiB at most  ratio to storescp".to_owned();
        let row = |row: &CrowdRow| {
            let kept = row.kept.map_or_else(|| "-".to_owned(), |kept| kept.to_string());
            let (before, most) = (row.resident_before_mib, row.resident_peak_mib);
            format!(
                "{:<9}  {:>7.0}  {:>12}  {kept:>6}  {before:>10.0}  {most:>11.0}  {:>17.2}",
                row.receiver.word(),
                row.instances_per_second,
                row.acknowledged,
                row.ratio_to_storescp
            )
        };
        [head, names].into_iter().chain(self.rows.iter().map(row)).collect()
    }
}

impl Commits {
    /// Associations at once.
    const ASSOCIATIONS: usize = 4;

    pub(super) fn measure(bench: &mut Bench, slice: &Slice, count: usize) -> anyhow::Result<Self> {
        let before = one_fsync_each(bench.folder, slice.data(), count)?;
        let poured = pour(bench, slice, Receiver::Fsync, count, Self::ASSOCIATIONS)?;
        let after = one_fsync_each(bench.folder, slice.data(), count)?;
        let (rate, baseline) = (poured.instances_per_second, ratio(2.0 * float(count), before + after));
        Ok(Self {
            associations: Self::ASSOCIATIONS,
            instances: count,
            instance_bytes: slice.bytes(),
            instances_per_second: rate,
            one_fsync_each_per_second: baseline,
            ratio: ratio(rate, baseline),
        })
    }

    pub(super) fn lines(&self) -> Vec<String> {
        vec![
            format!(
                "{} instances of {} bytes over {} associations, each on the disk before it is acknowledged",
                self.instances, self.instance_bytes, self.associations
            ),
            format!(
                "{:.0} inst/s; a plain loop with one fsync each {:.0} inst/s; ratio {:.2}",
                self.instances_per_second, self.one_fsync_each_per_second, self.ratio
            ),
        ]
    }
}

/// Writes instances one after the other, each brought to the disk before the next, and gives the seconds that took.
fn one_fsync_each(folder: &Path, bytes: &[u8], count: usize) -> anyhow::Result<f64> {
    let path = folder.join("baseline");
    let mut file = File::create(&path)?;
    let started = Instant::now();
    for _ in 0..count {
        file.write_all(bytes)?;
        file.sync_data()?;
    }
    let seconds = started.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(seconds)
}
