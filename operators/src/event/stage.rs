//! Events of the stages that run on a device.

use std::time::Duration;

use super::{Event, Metrics};

/// A stage asked for blocks that were not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageAsked {
    /// The stage.
    pub stage: &'static str,
    /// Blocks asked for.
    pub tasks: u64,
}

impl Event for StageAsked {
    fn count(&self, metrics: &Metrics) {
        metrics.stage_tasks.with_label_values(&[self.stage]).inc_by(self.tasks);
    }
}

/// A stage ran a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageRan {
    /// The stage.
    pub stage: &'static str,
    /// Tasks in the batch.
    pub tasks: usize,
    /// Time that it took.
    pub duration: Duration,
}

impl Event for StageRan {
    #[allow(clippy::as_conversions, reason = "a batch is small")]
    fn count(&self, metrics: &Metrics) {
        metrics.stage_duration.with_label_values(&[self.stage]).observe(self.duration.as_secs_f64());
        metrics.batch_tasks.with_label_values(&[self.stage]).observe(self.tasks as f64);
    }
}
