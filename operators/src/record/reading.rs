//! A reading: what one model makes of one series.

use serde::{Deserialize, Serialize};

use super::{Digest, Role, SeriesKey};

/// A method in use: one record of the collection that says which models read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Use {
    /// What its results are for. At most one method is active at a time.
    pub role: Role,
    /// The method ([`Method::digest`](super::Method)).
    pub method: Digest,
}

/// A series as one method in use reads it: the key of all that is maintained from the first encoding on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reading {
    /// The series.
    pub series: SeriesKey,
    /// The method, and what its results are for.
    pub by: Use,
}
