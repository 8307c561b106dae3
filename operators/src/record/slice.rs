//! A slice: one plane of a series, by who it is, where it lies and what it holds.

use serde::{Deserialize, Serialize};

use super::{Digest, Geometry, InstanceUid, SeriesUid, StudyUid};

/// A series, with the study that it belongs to: the key of all that is maintained.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey {
    /// The study.
    pub study: StudyUid,
    /// The series.
    pub series: SeriesUid,
}

impl SeriesKey {
    /// A name of one length, for what is remembered of many series.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let Self { study, series } = self;
        Digest::builder("series").bytes(study.as_str().as_bytes()).bytes(series.as_str().as_bytes()).finish()
    }
}

/// One plane with its position. A multi-frame instance gives one for each frame.
///
/// The order is the order along the slice normal, ties broken by SOP Instance UID and frame.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slice {
    /// Position along the normal, micrometers ([`Geometry::along_um`]).
    pub along_um: i64,
    /// The instance.
    pub instance: InstanceUid,
    /// The frame, from 1; 1 for a single-frame instance.
    pub frame: u32,
    /// Names the content: pixels as received, rescale, geometry.
    pub digest: Digest,
    /// The plane.
    pub geometry: Geometry,
}

impl Slice {
    /// A slice at the position that its geometry says.
    #[must_use]
    pub fn new(instance: InstanceUid, frame: u32, digest: Digest, geometry: Geometry) -> Self {
        Self { along_um: geometry.along_um(), instance, frame, digest, geometry }
    }
}
