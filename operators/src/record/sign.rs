//! Signs of completeness: what says that a series has all its instances.
//!
//! A sign is an input like any other, so that a replay gives the same history. It changes the status of a result and
//! never holds one back.

use serde::{Deserialize, Serialize};

/// Something that says, or lets be judged, that a series is complete. A sign stays: a slice that comes later makes a new
/// version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// The sender closed its association after the last instance.
    AssociationEnded,
    /// Nothing came for the configured time.
    Quiet,
    /// Somebody asked for a final result.
    Requested,
    /// So many instances were announced: complete once they are present.
    Expected {
        /// Instances.
        instances: u32,
    },
    /// Complete once the slices cover so much along their normal without a gap.
    Coverage {
        /// Length, micrometers.
        um: i64,
    },
}
