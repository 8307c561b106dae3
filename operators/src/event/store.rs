//! Events of the block store.

use super::{Event, Metrics};
use crate::store::Usage;

/// What the store holds was measured.
#[derive(Clone, Copy, Debug)]
pub struct StoreMeasured<'a> {
    /// By kind of block.
    pub usage: &'a [Usage],
}

impl Event for StoreMeasured<'_> {
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "bytes stay below 2^53")]
    fn count(&self, metrics: &Metrics) {
        for usage in self.usage {
            metrics.store_bytes.with_label_values(&[usage.kind]).set(usage.resident_bytes as f64);
            metrics.store_blocks.with_label_values(&[usage.kind, "memory"]).set(usage.resident_blocks as f64);
            metrics.store_blocks.with_label_values(&[usage.kind, "disk"]).set(usage.stored_blocks as f64);
        }
    }
}
