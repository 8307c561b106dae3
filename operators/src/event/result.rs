//! Events of publication.

use super::{Event, Metrics};
use crate::completeness::Status;

/// A version of a series' result was published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResultPublished {
    /// Its status.
    pub status: Status,
    /// From the arrival of the change to the result that holds it.
    pub seconds: f64,
}

impl Event for ResultPublished {
    fn count(&self, metrics: &Metrics) {
        metrics.results_published.with_label_values(&[self.status.word()]).inc();
        metrics.slice_result_latency.observe(self.seconds);
    }
}
