//! The cost of one late slice, by the slices that its series has already.

use std::collections::BTreeMap;

use kernels::Device;
use operators::record::Change;
use operators::store::Store;
use serde::Serialize;

use super::figures::{Spread, ratio};
use super::rig::{Rig, STAGES};
use super::study::{Drawn, key};
use crate::arguments::BenchGraph;

/// The place that a late slice comes to.
const LATE: usize = 12;

/// What a late slice costs.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    sizes: Vec<Size>,
}

#[derive(Debug, Serialize)]
struct Size {
    slices: usize,
    /// Blocks computed for one late slice, by stage; the most over all repetitions.
    tasks: BTreeMap<&'static str, u64>,
    /// Whether each repetition took the same.
    tasks_equal: bool,
    /// From its arrival to all its effects.
    milliseconds: Spread,
    /// The part of that time in which no stage ran.
    outside_stages: f64,
    ratio_to_first: f64,
}

/// Lets one series grow, and at each size lets a slice come late, again and again.
pub(super) fn measure(arguments: &BenchGraph, device: Device) -> anyhow::Result<Cost> {
    let (sizes, repetitions): (&[usize], u64) =
        if arguments.quick { (&[20, 100, 500], 7) } else { (&[20, 50, 100, 200, 500, 1000, 2000], 31) };
    let mut rig = Rig::start(device, Store::unbounded(), arguments.seed, false)?;
    let late = |content| Drawn { study: 0, place: LATE, content };
    let (mut measured, mut present) = (Vec::new(), 0);
    let mut content = 1;
    for slices in sizes.iter().copied() {
        tracing::info!("cost: a late slice in a series of {slices}");
        let more: Vec<_> = (present..slices)
            .filter(|place| *place != LATE)
            .map(|place| Drawn { study: 0, place, content: 0 }.instance(arguments.seed))
            .collect::<Result<_, _>>()?;
        present = slices;
        rig.engine.arrive_together(&more, kernels::executor::Urgency::Routine)?;
        rig.engine.settle()?;
        let (mut milliseconds, mut tasks) = (Vec::new(), Vec::new());
        let (mut busy, mut wall) = (0.0, 0.0);
        for _ in 0..repetitions {
            content += 1;
            let instance = late(content).instance(arguments.seed)?;
            let before = rig.counted();
            let took = rig.timed(|engine| engine.arrive(&instance, kernels::executor::Urgency::Routine))?;
            let counted = rig.counted().since(&before);
            busy += counted.busy_seconds * 1e3;
            wall += took;
            milliseconds.push(took);
            tasks.push(counted.tasks);
            let (key, instance) = (key(0)?, late(content).uid()?);
            rig.timed(|engine| engine.send(Change::Withdrawn { key, instance }))?;
        }
        let most = |stage| tasks.iter().filter_map(|tasks| tasks.get(stage)).max().copied().unwrap_or_default();
        measured.push(Size {
            slices,
            tasks: STAGES.into_iter().map(|stage| (stage, most(stage))).collect(),
            tasks_equal: tasks.windows(2).all(|pair| pair.first() == pair.last()),
            milliseconds: Spread::of(&milliseconds),
            outside_stages: 1.0 - ratio(busy, wall),
            ratio_to_first: 0.0,
        });
    }
    rig.finish()?;
    let first = measured.first().map_or(0.0, |size| size.milliseconds.median);
    for size in &mut measured {
        size.ratio_to_first = ratio(size.milliseconds.median, first);
    }
    Ok(Cost { sizes: measured })
}

impl Cost {
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            "One late slice, by the slices of its series: blocks computed, and milliseconds until all is published"
                .into(),
            "slices  decode encode classify fuse refine reconcile segment   p10  median   p90  outside stages  ratio"
                .into(),
        ];
        lines.extend(self.sizes.iter().map(|size| {
            let [decode, encode, classify, fuse, refine, reconcile, segment] =
                STAGES.map(|stage| size.tasks.get(stage).copied().unwrap_or_default());
            let (spread, mark) = (size.milliseconds, if size.tasks_equal { ' ' } else { '*' });
            format!(
                "{:>6}{mark} {decode:>6} {encode:>6} {classify:>8} {fuse:>4} {refine:>6} {reconcile:>9} {segment:>7} \
                 {:>5.1} {:>7.1} {:>5.1}  {:>13.0}%  {:>5.2}",
                size.slices,
                spread.p10,
                spread.median,
                spread.p90,
                size.outside_stages * 100.0,
                size.ratio_to_first,
            )
        }));
        lines
    }
}
