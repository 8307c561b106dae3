//! What a model that stands beside the active one costs, and what it costs to let it take over.

use kernels::Device;
use kernels::executor::Urgency;
use operators::store::Store;
use serde::Serialize;

use super::figures::{Spread, ratio};
use super::rig::Rig;
use super::study::{Drawn, key};
use crate::arguments::BenchGraph;

/// Slices of a series.
const SLICES: usize = 32;

/// A shadow's cost.
#[derive(Debug, Serialize)]
pub(super) struct Shadow {
    /// From slice to result of the active model: alone, with a shadow, alone again.
    alone: Spread,
    beside_a_shadow: Spread,
    /// The median beside a shadow to that alone.
    ratio: f64,
    /// Series that the switch published anew.
    series: usize,
    /// Blocks that the switch computed after the shadow had caught up.
    tasks_of_the_switch: u64,
    milliseconds_of_the_switch: f64,
    /// The same for a switch to a model that never stood beside.
    tasks_without_a_shadow: u64,
    milliseconds_without_a_shadow: f64,
}

/// Sends slices one after the other, each when the one before is published, in turns without and with a shadow.
pub(super) fn measure(arguments: &BenchGraph, device: Device) -> anyhow::Result<Shadow> {
    let turns = if arguments.quick { 1 } else { 4 };
    let mut rig = Rig::start(device, Store::unbounded(), arguments.seed, true)?;
    rig.engine.settle()?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let mut study = 0;
    for turn in 0..turns {
        tracing::info!("shadow: turn {} of {turns}", turn + 1);
        for (shadow, milliseconds) in [(None, &mut alone), (Some(rig.methods[1]), &mut beside)] {
            rig.engine.shadow(shadow)?;
            rig.engine.settle()?;
            for place in 0..SLICES {
                let slice = Drawn { study, place, content: u64::try_from(study)? };
                let tick = rig.engine.arrive(&slice.instance(arguments.seed)?, Urgency::Routine)?;
                milliseconds.push(rig.result_at(&key(study)?, tick)?.milliseconds);
            }
            study += 1;
            rig.engine.settle()?;
        }
    }
    let [first, second] = rig.methods;
    let before = rig.counted();
    let milliseconds_of_the_switch = rig.timed(|engine| engine.activate(second))?;
    let tasks_of_the_switch = rig.counted().since(&before).all();
    // Nobody holds what the first model said once its results are replaced.
    rig.engine.shadow(None)?;
    rig.engine.settle()?;
    let before = rig.counted();
    let milliseconds_without_a_shadow = rig.timed(|engine| engine.activate(first))?;
    let tasks_without_a_shadow = rig.counted().since(&before).all();
    rig.finish()?;
    let (alone, beside_a_shadow) = (Spread::of(&alone), Spread::of(&beside));
    Ok(Shadow {
        ratio: ratio(beside_a_shadow.median, alone.median),
        alone,
        beside_a_shadow,
        series: study,
        tasks_of_the_switch,
        milliseconds_of_the_switch,
        tasks_without_a_shadow,
        milliseconds_without_a_shadow,
    })
}

impl Shadow {
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            "Slice to result of the active model, milliseconds".into(),
            "                     p50      p90      p99".into(),
        ];
        for (name, spread) in [("alone", self.alone), ("beside a shadow", self.beside_a_shadow)] {
            lines.push(format!("{name:<16} {:>7.1}  {:>7.1}  {:>7.1}", spread.median, spread.p90, spread.p99));
        }
        lines.push(format!("ratio of p50: {:.2}", self.ratio));
        lines.push(format!(
            "switch of {} series of {SLICES} slices to a shadow that has caught up: {} blocks computed, {:.0} ms",
            self.series, self.tasks_of_the_switch, self.milliseconds_of_the_switch
        ));
        lines.push(format!(
            "switch to a model that nobody had let read: {} blocks computed, {:.0} ms",
            self.tasks_without_a_shadow, self.milliseconds_without_a_shadow
        ));
        lines
    }
}
