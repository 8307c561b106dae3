//! Events of the stages that run on a device.

use std::time::Duration;

use kernels::executor::Urgency;

use super::{Event, Metrics};

/// An update reached a stage, which asked for the blocks that were not there: none, if all were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageAsked {
    /// The stage.
    pub stage: &'static str,
    /// Blocks asked for.
    pub tasks: u64,
}

impl Event for StageAsked {
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "an update is small")]
    fn count(&self, metrics: &Metrics) {
        metrics.stage_tasks.with_label_values(&[self.stage]).inc_by(self.tasks);
        metrics.update_tasks.with_label_values(&[self.stage]).observe(self.tasks as f64);
    }
}

/// A stage ran a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageRan<'a> {
    /// The stage.
    pub stage: &'static str,
    /// Time that it took.
    pub duration: Duration,
    /// How long each task of the batch had waited for it, and how urgent it was.
    pub waited: &'a [(Urgency, Duration)],
}

impl Event for StageRan<'_> {
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "a batch is small")]
    fn count(&self, metrics: &Metrics) {
        metrics.stage_duration.with_label_values(&[self.stage]).observe(self.duration.as_secs_f64());
        metrics.batch_tasks.with_label_values(&[self.stage]).observe(self.waited.len() as f64);
        for (urgency, waited) in self.waited {
            metrics.queue.with_label_values(&[self.stage, urgency.word()]).observe(waited.as_secs_f64());
        }
    }
}
