//! What happened, each thing once and by name. One place turns events into metrics.
//!
//! A [`Telemetry`] is a cheap clone handed into the graph; there is no global registry. Labels are enums and configured
//! names, never an identifier, a path or an error's text.

use std::sync::Arc;

mod door;
mod ingest;
mod metrics;
mod result;
mod retention;
mod stage;
mod store;

pub use door::{
    AssociationAsked, AssociationsOpen, InboxFollowed, InstanceAcknowledged, InstanceTurnedAway, NodeReady,
};
pub use ingest::{InstanceRejected, SlicesReceived};
pub use metrics::Metrics;
pub use result::{FrontierMoved, ResultPublished};
pub use retention::{ForgettingFailed, StudiesForgotten};
pub use stage::{StageAsked, StageRan};
pub use store::StoreMeasured;

/// A fact that metrics count.
pub trait Event {
    /// Counts the event.
    fn count(&self, metrics: &Metrics);
}

/// Where events go.
#[derive(Clone)]
pub struct Telemetry(Arc<Metrics>);

impl Telemetry {
    /// Telemetry into these metrics.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self(Arc::new(metrics))
    }

    /// Tells an event.
    #[allow(clippy::needless_pass_by_value, reason = "an event is told once")]
    pub fn emit(&self, event: impl Event) {
        event.count(&self.0);
    }

    /// The metrics that events are counted in.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0
    }
}
