//! Events of publication.

use std::time::Duration;

use super::{Event, Metrics};
use crate::completeness::Status;

/// A version of a series' result was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultPublished {
    /// Its status.
    pub status: Status,
    /// From the arrival of the change to its result, if the arrival was seen.
    pub latency: Option<Duration>,
}

impl Event for ResultPublished {
    fn count(&self, metrics: &Metrics) {
        metrics.results_published.with_label_values(&[self.status.word()]).inc();
        if let Some(latency) = self.latency {
            metrics.slice_result_latency.observe(latency.as_secs_f64());
        }
    }
}
