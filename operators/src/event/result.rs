//! Events of publication.

use std::time::Duration;

use kernels::executor::Urgency;

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

/// How far a lane of the graph is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontierMoved {
    /// The lane, by its urgency.
    pub lane: Urgency,
    /// Age of the oldest change whose results are not yet published.
    pub lag: Duration,
}

impl Event for FrontierMoved {
    fn count(&self, metrics: &Metrics) {
        metrics.frontier_lag.with_label_values(&[self.lane.word()]).set(self.lag.as_secs_f64());
    }
}
