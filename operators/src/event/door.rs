//! Events of the way in: associations, instances, and what waits.

use std::time::Duration;

use super::{Event, Metrics};

/// An instance was kept and acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceAcknowledged {
    /// The way that it came: `dimse`, `stow` or `folder`.
    pub via: &'static str,
    /// Bytes of its file.
    pub bytes: usize,
    /// From its last byte until it was kept.
    pub took: Duration,
}

impl Event for InstanceAcknowledged {
    fn count(&self, metrics: &Metrics) {
        metrics.acknowledged.with_label_values(&[self.via]).inc();
        metrics.acknowledged_bytes.with_label_values(&[self.via]).inc_by(u64::try_from(self.bytes).unwrap_or(u64::MAX));
        metrics.acknowledge.observe(self.took.as_secs_f64());
    }
}

/// An instance was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceTurnedAway {
    /// The way that it came.
    pub via: &'static str,
    /// The fixed word for why.
    pub reason: &'static str,
}

impl Event for InstanceTurnedAway {
    fn count(&self, metrics: &Metrics) {
        metrics.turned_away.with_label_values(&[self.via, self.reason]).inc();
    }
}

/// A sender asked for an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssociationAsked {
    /// `accepted`, or the fixed word for why not.
    pub outcome: &'static str,
}

impl Event for AssociationAsked {
    fn count(&self, metrics: &Metrics) {
        metrics.associations_asked.with_label_values(&[self.outcome]).inc();
    }
}

/// So many associations are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssociationsOpen {
    /// How many.
    pub count: usize,
}

impl Event for AssociationsOpen {
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn count(&self, metrics: &Metrics) {
        metrics.associations.set(self.count as f64);
    }
}

/// The graph has followed the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxFollowed {
    /// Records that still wait.
    pub waiting: usize,
}

impl Event for InboxFollowed {
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn count(&self, metrics: &Metrics) {
        metrics.inbox_waiting.set(self.waiting as f64);
    }
}

/// A node is ready: what was in its data folder has had its effect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeReady {
    /// Since the start of the process's work.
    pub took: Duration,
    /// Entries of the log that were done again.
    pub replayed: usize,
}

impl Event for NodeReady {
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "exact up to 2^53")]
    fn count(&self, metrics: &Metrics) {
        metrics.start_seconds.set(self.took.as_secs_f64());
        metrics.start_replayed.set(self.replayed as f64);
    }
}
