//! What urgency is worth: a series that cannot wait among eight that flood the graph.

use std::collections::BTreeMap;

use anyhow::Context;
use kernels::Device;
use kernels::executor::Urgency;
use operators::store::Store;
use serde::Serialize;

use super::figures::{Spread, ratio};
use super::rig::Rig;
use super::study::{Drawn, key};
use crate::arguments::BenchGraph;

/// Series that flood.
const FLOOD: usize = 8;
/// Slices of a series at most; then a flooding series is followed by another.
const SLICES: usize = 32;

/// The same series in both lanes.
#[derive(Debug, Serialize)]
pub(super) struct Lanes {
    stat: Lane,
    routine: Lane,
    /// The median of the routine lane to that of the stat lane.
    ratio: f64,
}

#[derive(Debug, Serialize)]
struct Lane {
    /// From the arrival of a slice of the series to its publication.
    milliseconds: Spread,
    /// The same, of the series that flood.
    flood_milliseconds: Spread,
    batches: Vec<Batches>,
    queues: Vec<Queue>,
}

/// How tasks of a stage formed batches.
#[derive(Debug, Serialize)]
struct Batches {
    stage: String,
    batches: u64,
    mean: f64,
    p90_at_most: f64,
}

/// How tasks of a stage waited, milliseconds.
#[derive(Debug, Serialize)]
struct Queue {
    stage: String,
    urgency: String,
    tasks: u64,
    mean: f64,
    p50_at_most: f64,
    p99_at_most: f64,
}

/// Floods the graph twice.
pub(super) fn measure(arguments: &BenchGraph, device: Device) -> anyhow::Result<Lanes> {
    let stat = flood(arguments, device, Urgency::Stat)?;
    let routine = flood(arguments, device, Urgency::Routine)?;
    Ok(Lanes { ratio: ratio(routine.milliseconds.median, stat.milliseconds.median), stat, routine })
}

fn flood(arguments: &BenchGraph, device: Device, urgency: Urgency) -> anyhow::Result<Lane> {
    tracing::info!("urgency: a {} series among {FLOOD} that flood", urgency.word());
    let rounds = if arguments.quick { 24 } else { 128 };
    let mut rig = Rig::start(device, Store::unbounded(), arguments.seed, true)?;
    rig.engine.settle()?;
    let (mut asked, mut rest) = (BTreeMap::new(), 0);
    for round in 0..rounds {
        let (generation, place) = (round / SLICES, round % SLICES);
        for series in 0..FLOOD {
            let study = 1000 + generation * FLOOD + series;
            let slice = Drawn { study, place, content: u64::try_from(study)? };
            rig.engine.arrive(&slice.instance(arguments.seed)?, Urgency::Routine)?;
            rest += 1;
        }
        let slice = Drawn { study: generation, place, content: u64::try_from(generation)? };
        let tick = rig.engine.arrive(&slice.instance(arguments.seed)?, urgency)?;
        asked.insert(tick, key(generation)?);
    }
    rig.engine.settle()?;
    let (mut milliseconds, mut flood) = (Vec::new(), Vec::new());
    for heard in rig.heard.try_iter() {
        let own = asked.get(&heard.tick).is_some_and(|key| *key == heard.key);
        if own { &mut milliseconds } else { &mut flood }.push(heard.milliseconds);
    }
    // A slice is published at its tick once, so that no late one is left out of the count.
    if milliseconds.len() < rounds || flood.len() < rest {
        rig.engine.settle()?;
    }
    let lane = Lane {
        milliseconds: Spread::of(&milliseconds),
        flood_milliseconds: Spread::of(&flood),
        batches: batches(&rig)?,
        queues: queues(&rig)?,
    };
    rig.finish()?;
    Ok(lane)
}

#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn batches(rig: &Rig) -> anyhow::Result<Vec<Batches>> {
    let of = |buckets: super::rig::Buckets| {
        Ok(Batches {
            stage: buckets.labels.get("stage").context("a stage")?.clone(),
            batches: buckets.count,
            mean: ratio(buckets.sum, buckets.count as f64),
            p90_at_most: buckets.quantile_at_most(90),
        })
    };
    rig.histogram("hemoflow_device_batch_tasks").into_iter().map(of).collect()
}

#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn queues(rig: &Rig) -> anyhow::Result<Vec<Queue>> {
    let of = |buckets: super::rig::Buckets| {
        Ok(Queue {
            stage: buckets.labels.get("stage").context("a stage")?.clone(),
            urgency: buckets.labels.get("urgency").context("an urgency")?.clone(),
            tasks: buckets.count,
            mean: ratio(buckets.sum, buckets.count as f64) * 1e3,
            p50_at_most: buckets.quantile_at_most(50) * 1e3,
            p99_at_most: buckets.quantile_at_most(99) * 1e3,
        })
    };
    rig.histogram("hemoflow_device_queue_seconds").into_iter().map(of).collect()
}

impl Lanes {
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("Slice to result of one series while {FLOOD} others flood, milliseconds"),
            "the series is     p50      p90      p99  the flood's p50".into(),
        ];
        for (name, lane) in [("stat", &self.stat), ("routine", &self.routine)] {
            let (own, flood) = (lane.milliseconds, lane.flood_milliseconds);
            lines.push(format!(
                "{name:<12} {:>8.1} {:>8.1} {:>8.1}  {:>15.1}",
                own.median, own.p90, own.p99, flood.median
            ));
        }
        lines.push(format!("routine / stat, p50: {:.1}\n", self.ratio));
        lines.push("Batches while the series was stat".into());
        lines.push("stage       batches  mean size  p90 at most".into());
        let batches = self.stat.batches.iter();
        lines.extend(batches.map(|stage| {
            format!("{:<10} {:>8}  {:>9.2}  {:>11.0}", stage.stage, stage.batches, stage.mean, stage.p90_at_most)
        }));
        lines.push("\nQueues while the series was stat, milliseconds until a task's batch began".into());
        lines.push("stage      urgency     tasks     mean  p50 at most  p99 at most".into());
        let queues = self.stat.queues.iter();
        lines.extend(queues.map(|queue| {
            format!(
                "{:<10} {:<10} {:>6} {:>8.2}  {:>11.1}  {:>11.1}",
                queue.stage, queue.urgency, queue.tasks, queue.mean, queue.p50_at_most, queue.p99_at_most
            )
        }));
        lines
    }
}
