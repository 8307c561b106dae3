//! Events of what is forgotten, and of what could not be.

use super::{Event, Metrics};

/// Studies were forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StudiesForgotten {
    /// How many.
    pub studies: usize,
    /// Bytes of log, inbox and payloads that left the disk.
    pub bytes: u64,
}

impl Event for StudiesForgotten {
    fn count(&self, metrics: &Metrics) {
        metrics.studies_forgotten.inc_by(u64::try_from(self.studies).unwrap_or(u64::MAX));
        metrics.forgotten_bytes.inc_by(self.bytes);
    }
}

/// Studies, or what the inbox has left of them, could not be forgotten: that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForgettingFailed;

impl Event for ForgettingFailed {
    fn count(&self, metrics: &Metrics) {
        metrics.forgetting_failures.inc();
    }
}
