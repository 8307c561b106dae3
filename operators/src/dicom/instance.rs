//! An image as it came through the door: who it is, where each frame lies, and its pixels, not yet decoded.

use std::sync::Arc;

use dicom_object::DefaultDicomObject;

use super::Header;
use crate::record::{Change, InstanceUid, Plane, SeriesKey, Slice};

/// One accepted instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its series.
    pub key: SeriesKey,
    /// Its SOP Instance UID.
    pub uid: InstanceUid,
    /// Its frames; one for a single-frame image.
    pub frames: Vec<Frame>,
}

impl Instance {
    /// The change that the instance is.
    #[must_use]
    pub fn arrival(&self) -> Change {
        let slices = self.frames.iter().map(|frame| frame.slice.clone()).collect();
        Change::Arrived { key: self.key.clone(), instance: self.uid.clone(), slices }
    }
}

/// One plane of an instance.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Who and where it is.
    pub slice: Slice,
    /// What it holds.
    pub pixels: Pixels,
}

/// The pixels of a frame, as received.
#[derive(Clone, Debug)]
pub struct Pixels {
    /// Where they are.
    pub source: Source,
    /// What result objects inherit; `None` if the input was no DICOM.
    pub header: Option<Arc<Header>>,
}

/// Where the pixels of a frame are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a data set, in its own transfer syntax.
    Encoded {
        /// The data set, shared by the frames of an instance.
        object: Arc<DefaultDicomObject>,
        /// The frame, from 1.
        frame: u32,
    },
    /// Decoded already.
    Decoded(Arc<Plane>),
}
