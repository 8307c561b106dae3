//! Studies pass through under a limit of memory.

use std::time::{Duration, Instant};

use kernels::Device;
use kernels::executor::Urgency;
use operators::dicom::Instance;
use operators::record::{Change, Sign};
use operators::store::{Limits, Store};
use serde::Serialize;

use super::figures::{float, ratio, resident_mib, slope};
use super::rig::Rig;
use super::study::{Drawn, key};
use crate::arguments::BenchGraph;

/// Slices of each study.
const SLICES: usize = 8;
/// Studies that are there at a time, when each is let go once it is final.
const AT_A_TIME: usize = 200;
/// Bytes of blocks in memory at most.
const LIMIT: usize = 64 << 20;
/// Points at which memory is looked at.
const POINTS: usize = 20;

/// Both ways to stay under the limit.
#[derive(Debug, Serialize)]
pub(super) struct Soaks {
    limit_mib: usize,
    released: Soak,
    kept: Soak,
}

/// What passed through, and what it left.
#[derive(Debug, Serialize)]
struct Soak {
    studies: usize,
    /// What was asked for, if time ran out before.
    studies_wanted: usize,
    slices_per_second: f64,
    /// Studies that had come, and memory of the process then.
    points: Vec<(usize, f64)>,
    /// Bytes of memory per study, by least squares over the points of the second half.
    bytes_per_study: f64,
    /// Blocks of the store in memory and on disk at the last point.
    blocks_in_memory: usize,
    mib_in_memory: f64,
    blocks_on_disk: usize,
    /// Names that the store still held after the last release.
    held_in_the_end: usize,
}

/// Lets studies pass through: first each is let go once it is final, then all are kept for as long as time allows.
pub(super) fn measure(arguments: &BenchGraph, device: Device) -> anyhow::Result<Soaks> {
    let studies = arguments.studies.unwrap_or(if arguments.quick { 400 } else { 10_000 });
    let released = soak(arguments, device, studies, true, Duration::MAX)?;
    let kept = soak(arguments, device, studies, false, Duration::from_secs(if arguments.quick { 20 } else { 120 }))?;
    Ok(Soaks { limit_mib: LIMIT >> 20, released, kept })
}

fn soak(arguments: &BenchGraph, device: Device, studies: usize, release: bool, time: Duration) -> anyhow::Result<Soak> {
    let folder = tempfile::tempdir()?;
    let store = Store::spilling(Limits { memory_bytes: LIMIT }, folder.path())?;
    let mut rig = Rig::start(device, store, arguments.seed, false)?;
    let (start, mut points) = (Instant::now(), Vec::new());
    let mut come = 0;
    while come < studies && start.elapsed() < time {
        let study: Vec<Instance> = (0..SLICES)
            .map(|place| Drawn { study: come, place, content: u64::try_from(come)? }.instance(arguments.seed))
            .collect::<anyhow::Result<_>>()?;
        rig.engine.arrive_together(&study, Urgency::Routine)?;
        rig.engine.send(Change::Signed { key: key(come)?, sign: Sign::AssociationEnded })?;
        if release && let Some(old) = come.checked_sub(AT_A_TIME) {
            rig.engine.release(&key(old)?)?;
        }
        come += 1;
        if come.is_multiple_of((studies / POINTS).max(1)) {
            points.push((come, resident_mib()));
            tracing::info!("soak: {come} of {studies} studies, {:.0} MiB", resident_mib());
        }
    }
    rig.engine.settle()?;
    let seconds = start.elapsed().as_secs_f64();
    let usage = rig.engine.stages().store.usage();
    let second_half: Vec<(f64, f64)> =
        points.iter().filter(|(at, _)| *at * 2 >= come).map(|(at, mib)| (float(*at), mib * 1024.0 * 1024.0)).collect();
    let mut soak = Soak {
        studies: come,
        studies_wanted: studies,
        slices_per_second: ratio(float(come * SLICES), seconds),
        bytes_per_study: slope(&second_half),
        points,
        blocks_in_memory: usage.iter().map(|kind| kind.resident_blocks).sum(),
        mib_in_memory: float(usage.iter().map(|kind| kind.resident_bytes).sum::<usize>()) / 1024.0 / 1024.0,
        blocks_on_disk: usage.iter().map(|kind| kind.stored_blocks).sum(),
        held_in_the_end: 0,
    };
    for old in (0..come).skip(if release { come.saturating_sub(AT_A_TIME) } else { 0 }) {
        rig.engine.release(&key(old)?)?;
    }
    rig.engine.settle()?;
    soak.held_in_the_end = rig.held();
    rig.finish()?;
    Ok(soak)
}

impl Soaks {
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "Studies of {SLICES} slices pass through a store that may hold {} MiB in memory: let go {AT_A_TIME} \
                 studies after they came, or kept",
                self.limit_mib
            ),
            "          studies  slices/s  blocks: MiB  in memory  on disk  held after all let go  bytes/study".into(),
        ];
        for (name, soak) in [("released", &self.released), ("kept", &self.kept)] {
            lines.push(format!(
                "{name:<8} {:>8}  {:>8.0}  {:>11.1}  {:>9}  {:>7}  {:>21}  {:>11.0}",
                soak.studies,
                soak.slices_per_second,
                soak.mib_in_memory,
                soak.blocks_in_memory,
                soak.blocks_on_disk,
                soak.held_in_the_end,
                soak.bytes_per_study,
            ));
        }
        for (name, soak) in [("released", &self.released), ("kept", &self.kept)] {
            let points: Vec<String> = soak.points.iter().map(|(at, mib)| format!("{at}: {mib:.0}")).collect();
            lines.push(format!("MiB of the process by studies, {name}: {}", points.join(", ")));
        }
        lines
    }
}
