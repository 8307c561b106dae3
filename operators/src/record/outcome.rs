//! Outcomes: results as numbers that differential orders and counts, the inputs of the views across studies.
//!
//! Fixed point, rounded once: probabilities are parts per million, volumes microliters.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Digest, InstanceUid, Role, SeriesKey};
use crate::completeness::Status;
use crate::measure::Priority;

/// The result of a series. It names no patient: see [`Outcome::patient`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Outcome {
    /// The series.
    pub key: SeriesKey,
    /// What the result is for.
    pub role: Role,
    /// Names the weights and the numbers behind it.
    pub method: Digest,
    /// Counts the results of the series from 1.
    pub version: u64,
    /// Where the result stands.
    pub status: Status,
    /// How soon a reader should look.
    pub priority: Priority,
    /// The probability of hemorrhage, parts per million, at most 1,000,000.
    pub probability_ppm: u32,
    /// The volume of the segmenter's masks, microliters.
    pub volume_ul: u64,
    /// Whether the series counts as positive.
    pub positive: bool,
    /// Slices present.
    pub slices: u32,
    /// Manufacturer's Model Name (0008,1090), or `unknown`.
    pub scanner: Arc<str>,
    /// When the first slice was acquired: seconds since 1970 by the scanner's own clock, which tells no time zone.
    pub acquired_s: Option<i64>,
    /// SHA-256 of salt, Patient ID (0010,0020) and Issuer of Patient ID (0010,0021).
    pub patient: Option<Digest>,
}

/// The result of a slice beside its truth.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SliceOutcome {
    /// The series.
    pub series: SeriesKey,
    /// What the result is for.
    pub role: Role,
    /// The instance.
    pub instance: InstanceUid,
    /// The frame, from 1.
    pub frame: u32,
    /// The probability of hemorrhage, parts per million, at most 1,000,000.
    pub probability_ppm: u32,
    /// Whether the slice truly shows hemorrhage, if that is known.
    pub label: Option<bool>,
    /// Voxels in both masks, in the segmenter's only, in the true one only, if there is a true one.
    pub overlap: Option<[u64; 3]>,
}

/// What is known to be true of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Truth {
    /// Whether the slices of an instance show hemorrhage.
    Label {
        /// The instance.
        instance: InstanceUid,
        /// Whether they do.
        hemorrhage: bool,
    },
    /// Where a slice shows hemorrhage.
    Mask {
        /// The instance.
        instance: InstanceUid,
        /// The frame, from 1.
        frame: u32,
        /// Names the mask, `[rows, columns]` of the slice.
        name: Digest,
    },
}

impl Truth {
    /// The instance that it is about.
    #[must_use]
    pub fn instance(&self) -> &InstanceUid {
        match self {
            Self::Label { instance, .. } | Self::Mask { instance, .. } => instance,
        }
    }
}
