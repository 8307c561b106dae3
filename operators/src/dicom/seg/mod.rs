//! DICOM segmentations: which voxels of a series are hemorrhage, in the source slices' own planes.
//!
//! One BINARY segment; a frame for each slice with a voxel inside, at that slice's position, orientation and spacing:
//! nothing is resampled, so gantry tilt and uneven spacing need no care. Same inputs and model, same bytes.
//!
//! Source: PS3.3 A.51 and C.8.20 (Segmentation), C.7.6.16 and C.7.6.17 (functional groups, dimensions); codes of
//! PS3.16: CID 7150, 7151, 7159 (segmented properties), 7162 (algorithm families), 7202, 7203 (source, derivation).

mod frames;
mod segment;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileDicomObject, InMemDicomObject, WithMetaError};
use kernels::bits;

use self::frames::Stack;
use super::Header;
use super::object::{self, Element, Moment, attribute, derived, empty, flag, item, sequence, short, text, unsigned};
use crate::record::{Digest, Mask, SeriesUid, Slice};

/// What made a mask.
#[derive(Clone, Copy, Debug)]
pub struct Algorithm<'a> {
    /// The model's name.
    pub name: &'a str,
    /// The model's version.
    pub version: &'a str,
    /// The SHA-256 of the weights.
    pub sha256: &'a Digest,
}

/// A slice of the series with its mask; the mask may be empty.
#[derive(Clone, Copy, Debug)]
pub struct SegFrame<'a> {
    /// The attributes of its image.
    pub header: &'a Header,
    /// Who and where it is.
    pub slice: &'a Slice,
    /// The voxels inside, of the slice's own matrix.
    pub mask: &'a Mask,
}

/// What a segmentation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegKind {
    /// The segmenter's answer.
    Segmentation,
    /// The refined class activation map.
    PseudoMask,
}

impl SegKind {
    /// The word in identifiers: fixed, since they follow from it.
    fn word(self) -> &'static str {
        match self {
            Self::Segmentation => "segmentation",
            Self::PseudoMask => "pseudo-mask",
        }
    }

    fn series_number(self) -> &'static str {
        match self {
            Self::Segmentation => "901",
            Self::PseudoMask => "902",
        }
    }

    fn content_label(self) -> &'static str {
        match self {
            Self::Segmentation => "HEMORRHAGE",
            Self::PseudoMask => "PSEUDO_MASK",
        }
    }

    fn segment_label(self) -> &'static str {
        match self {
            Self::Segmentation => "Hemorrhage",
            Self::PseudoMask => "Hemorrhage (pseudo-mask)",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Segmentation => "Intracranial hemorrhage found by a segmentation network",
            Self::PseudoMask => "Refined class activation map: weak evidence, not a reading",
        }
    }
}

/// Why there is no segmentation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegError {
    /// An object has one matrix for all its frames.
    #[error("the slices have matrices of {0} x {1} and of {2} x {3}")]
    Matrices(u32, u32, u32, u32),
    /// A matrix that DICOM cannot state.
    #[error("a matrix of {0} x {1} is beyond 65535 rows or columns")]
    Matrix(u32, u32),
    /// A mask of another matrix than its slice.
    #[error("a mask has {voxels} voxels, its slice {pixels}")]
    Mask {
        /// Voxels of the mask.
        voxels: usize,
        /// Pixels of the slice.
        pixels: u64,
    },
    /// The image does not say which series it belongs to.
    #[error("the source image has no series instance uid")]
    Series,
    /// The file meta information cannot be written.
    #[error("the file meta information cannot be written")]
    Meta(#[from] WithMetaError),
}

/// The Tracking UID of the segment: one for each kind and series, whatever the version and the model.
#[must_use]
pub fn tracking_uid(kind: SegKind, series: &SeriesUid) -> String {
    derived(&Digest::builder("tracking").bytes(kind.word().as_bytes()).bytes(series.as_str().as_bytes()).finish())
}

/// The segmentation of a series, or `None` if no voxel is inside: an object without frames would say nothing.
///
/// `frames` are the slices that were looked at, in any order; those with an empty mask are only referenced. `inputs`
/// names all that the masks were made from, apart from the weights: the slices and the numbers of the method. The SOP
/// Instance UID follows from kind, series, inputs and weights, the Series Instance UID from kind, series and weights;
/// nothing in the object depends on the clock, the version or the machine.
///
/// Identity comes from the image of the first slice.
///
/// # Errors
///
/// Returns [`SegError`] if the slices differ in matrix, a mask is not of its slice's matrix, or the image names no
/// series.
pub fn segmentation(
    kind: SegKind,
    frames: &[SegFrame<'_>],
    algorithm: &Algorithm<'_>,
    inputs: &Digest,
) -> Result<Option<FileDicomObject<InMemDicomObject>>, SegError> {
    let stack = Stack::new(frames)?;
    let (Some(first), false) = (stack.first(), stack.inside().is_empty()) else { return Ok(None) };
    let header = first.header;
    let source = attribute(header, tags::SERIES_INSTANCE_UID).and_then(|uid| SeriesUid::new(&uid));
    let source = source.ok_or(SegError::Series)?;
    let names = Names::new(kind, &source, algorithm, inputs);

    let mut elements =
        object::common(uids::SEGMENTATION_STORAGE, &names.instance, &names.series, &algorithm.sha256.to_string());
    elements.extend(object::patient_and_study(header));
    elements.extend(series(kind, header));
    elements.extend(Moment::of(header).content());
    elements.extend(content(kind));
    elements.extend(lossy(frames));
    elements.extend(image(&stack)?);
    elements.extend(stack.dimensions(&names.dimensions));
    elements.extend(stack.functional_groups());
    elements.push(stack.references(&source));
    let tracking = tracking_uid(kind, &source);
    elements.push(sequence(tags::SEGMENT_SEQUENCE, vec![segment::segment(kind, algorithm, &tracking)]));
    Ok(Some(object::file(item(elements))?))
}

/// The identifiers of an object.
struct Names {
    series: String,
    instance: String,
    dimensions: String,
}

impl Names {
    fn new(kind: SegKind, source: &SeriesUid, algorithm: &Algorithm<'_>, inputs: &Digest) -> Self {
        let start = |entity| {
            Digest::builder(entity)
                .bytes(kind.word().as_bytes())
                .bytes(source.as_str().as_bytes())
                .digest(algorithm.sha256)
        };
        Self {
            series: derived(&start("series").finish()),
            instance: derived(&start("instance").digest(inputs).finish()),
            dimensions: derived(&start("dimensions").digest(inputs).finish()),
        }
    }
}

/// General Series, Segmentation Series (C.8.20.1), Frame of Reference (C.7.4.1).
fn series(kind: SegKind, header: &Header) -> Vec<Element> {
    let mut elements = vec![
        text(tags::MODALITY, VR::CS, "SEG"),
        text(tags::SERIES_NUMBER, VR::IS, kind.series_number()),
        text(tags::SERIES_DESCRIPTION, VR::LO, format!("Hemoflow {}", kind.word())),
        text(tags::BODY_PART_EXAMINED, VR::CS, "HEAD"),
    ];
    if let Some(uid) = attribute(header, tags::FRAME_OF_REFERENCE_UID) {
        let indicator = attribute(header, tags::POSITION_REFERENCE_INDICATOR).unwrap_or_default();
        elements.push(text(tags::FRAME_OF_REFERENCE_UID, VR::UI, uid));
        elements.push(text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, short(&indicator)));
    }
    elements
}

/// General Image and Content Identification.
fn content(kind: SegKind) -> Vec<Element> {
    vec![
        DataElement::new(
            tags::IMAGE_TYPE,
            VR::CS,
            PrimitiveValue::Strs(["DERIVED", "PRIMARY"].map(str::to_owned).into()),
        ),
        text(tags::INSTANCE_NUMBER, VR::IS, "1"),
        text(tags::CONTENT_LABEL, VR::CS, kind.content_label()),
        text(tags::CONTENT_DESCRIPTION, VR::LO, kind.description()),
        empty(tags::CONTENT_CREATOR_NAME, VR::PN),
    ]
}

/// Whether the source was ever compressed with loss, and how: C.8.20.2 asks for what the source states.
fn lossy(frames: &[SegFrame<'_>]) -> Vec<Element> {
    let Some(frame) = frames.iter().find(|frame| flag(frame.header, tags::LOSSY_IMAGE_COMPRESSION, "01")) else {
        return vec![text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00")];
    };
    let stated = |tag, vr| attribute(frame.header, tag).map(|value| text(tag, vr, value));
    [
        Some(text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01")),
        stated(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS),
        stated(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Image Pixel and Segmentation Image (C.8.20.2): one bit for each voxel, frames without padding between them.
fn image(stack: &Stack<'_>) -> Result<Vec<Element>, SegError> {
    let [rows, columns] = stack.matrix();
    let (Ok(rows), Ok(columns)) = (u16::try_from(rows), u16::try_from(columns)) else {
        return Err(SegError::Matrix(rows, columns));
    };
    let masks: Vec<&[u8]> = stack.inside().iter().map(|frame| frame.mask.voxels.as_slice()).collect();
    let mut bits = bits::pack(&masks.concat());
    // A value has an even length.
    bits.resize(bits.len().next_multiple_of(2), 0);
    Ok(vec![
        unsigned(tags::SAMPLES_PER_PIXEL, 1),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        text(tags::NUMBER_OF_FRAMES, VR::IS, stack.inside().len().to_string()),
        unsigned(tags::ROWS, rows),
        unsigned(tags::COLUMNS, columns),
        unsigned(tags::BITS_ALLOCATED, 1),
        unsigned(tags::BITS_STORED, 1),
        unsigned(tags::HIGH_BIT, 0),
        unsigned(tags::PIXEL_REPRESENTATION, 0),
        text(tags::SEGMENTATION_TYPE, VR::CS, "BINARY"),
        text(tags::SEGMENTS_OVERLAP, VR::CS, "NO"),
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(bits)),
    ])
}

#[cfg(test)]
mod tests;
