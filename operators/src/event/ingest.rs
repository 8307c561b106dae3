//! Events of arrival.

use super::{Event, Metrics};
use crate::record::Reason;

/// Slices of an instance entered the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlicesReceived {
    /// How many.
    pub slices: usize,
}

impl Event for SlicesReceived {
    fn count(&self, metrics: &Metrics) {
        metrics.slices_received.inc_by(u64::try_from(self.slices).unwrap_or(u64::MAX));
    }
}

/// An input was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceRejected {
    /// Why.
    pub reason: Reason,
}

impl Event for InstanceRejected {
    fn count(&self, metrics: &Metrics) {
        metrics.instances_rejected.with_label_values(&[self.reason.word()]).inc();
    }
}
