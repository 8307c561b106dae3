//! From a file, or a stream of the same bytes, to an [`Instance`]: parsed, admitted, placed and named, not yet decoded.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use kernels::units::Rescale;

use super::attribute::{named, text};
use super::fragments::{FrameBytes, frame_bytes};
use super::layout::{self, Layout};
use super::{Frame, Header, Instance, Pixels, Source, admit, geometry, part10};
use crate::record::{Digest, Geometry, InstanceUid, Reason, Refusal, Rejection, SeriesKey, SeriesUid, Slice, StudyUid};

/// Reads a DICOM file.
///
/// # Errors
///
/// Returns a [`Rejection`] that names the path as given, and why it is refused.
pub fn read_file(path: &Path) -> Result<Instance, Rejection> {
    let name = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => read_bytes(&name, &bytes),
        Err(error) => Err(Rejection::new(name, Reason::Unreadable, error.to_string())),
    }
}

/// Reads a DICOM file from its bytes; `name` is what a rejection calls it.
///
/// # Errors
///
/// Returns a [`Rejection`] that says why the input is refused.
pub fn read_bytes(name: &str, bytes: &[u8]) -> Result<Instance, Rejection> {
    let object = part10::object(bytes).map_err(|refusal| refusal.of(name))?;
    from_object(name, object)
}

/// Takes a parsed data set; `name` is what a rejection calls it.
///
/// # Errors
///
/// Returns a [`Rejection`] that says why the input is refused.
pub fn from_object(name: &str, object: DefaultDicomObject) -> Result<Instance, Rejection> {
    instance(object).map_err(|refusal| refusal.of(name))
}

fn instance(object: DefaultDicomObject) -> Result<Instance, Refusal> {
    let sop_class = admit::class(&object, object.meta().media_storage_sop_class_uid())?;
    if object.get(tags::PIXEL_DATA).is_none() {
        return Err(Refusal::new(Reason::MissingPixels, format!("{} is missing", named(tags::PIXEL_DATA))));
    }
    decodable(object.meta().transfer_syntax())?;
    let layout = Layout::of(&object)?;
    let study = identifier(&object, tags::STUDY_INSTANCE_UID, StudyUid::new)?;
    let series = identifier(&object, tags::SERIES_INSTANCE_UID, SeriesUid::new)?;
    let uid = identifier(&object, tags::SOP_INSTANCE_UID, InstanceUid::new)?;
    let header = Header::of(&sop_class, &object);
    let content = header_digest(&header);
    let mut slices = Vec::new();
    for frame in 1..=layout.frames {
        let plane = geometry::geometry(&object, frame, layout)?;
        admit::frame(&object, frame, &plane)?;
        let rescale = layout::rescale(&object, frame)?;
        let digest = slice_digest(&content, layout, &plane, rescale, &frame_bytes(&object, frame, layout)?);
        slices.push(Slice::new(uid.clone(), frame, digest, plane));
    }
    let (object, header) = (Arc::new(object), Arc::new(header));
    let frames = slices.into_iter().map(|slice| {
        let source = Source::Encoded { object: Arc::clone(&object), frame: slice.frame };
        Frame { slice, pixels: Pixels { source, header: Some(Arc::clone(&header)) } }
    });
    Ok(Instance { key: SeriesKey { study, series }, uid, frames: frames.collect() })
}

fn identifier<U>(object: &InMemDicomObject, tag: Tag, new: impl Fn(&str) -> Option<U>) -> Result<U, Refusal> {
    let missing = || Refusal::new(Reason::MissingUid, format!("{} is missing", named(tag)));
    text(object, tag).and_then(|text| new(&text)).ok_or_else(missing)
}

fn decodable(transfer_syntax: &str) -> Result<(), Refusal> {
    let known = TransferSyntaxRegistry.get(transfer_syntax);
    if known.is_some_and(|syntax| syntax.can_decode_all()) {
        return Ok(());
    }
    let name = known.map_or(transfer_syntax, |syntax| syntax.name());
    let detail = format!("{} is {name}", named(tags::TRANSFER_SYNTAX_UID));
    Err(Refusal::new(Reason::UnsupportedTransferSyntax, detail))
}

/// Names the attributes that results repeat.
fn header_digest(header: &Header) -> Digest {
    let start = Digest::builder("header").bytes(header.sop_class.as_bytes());
    let named = header.attributes.iter().fold(start, |digest, element| {
        let tag = element.header().tag;
        let value = element.value().to_multi_str().map(|values| values.join("\\")).unwrap_or_default();
        digest.number(i64::from(tag.group())).number(i64::from(tag.element())).bytes(value.trim_end().as_bytes())
    });
    named.finish()
}

/// Names a slice by all that its result depends on: the bytes of its pixels as received, what they mean, where they lie,
/// and what results repeat. Native pixels have one name in every native transfer syntax.
fn slice_digest(
    header: &Digest,
    layout: Layout,
    plane: &Geometry,
    rescale: Rescale,
    pixels: &FrameBytes<'_>,
) -> Digest {
    let (encoded, bytes) = match pixels {
        FrameBytes::Native(bytes) => (0, bytes),
        FrameBytes::Encoded(bytes) => (1, bytes),
    };
    let meaning = [
        i64::from(layout.bits_stored),
        i64::from(layout.shift),
        i64::from(layout.signed),
        i64::from(rescale.slope().to_bits()),
        i64::from(rescale.intercept_hu().to_bits()),
        encoded,
        i64::from(plane.rows),
        i64::from(plane.columns),
        plane.thickness_um.unwrap_or(-1),
    ];
    let place = plane.position_um.iter().chain(&plane.orientation_nano).chain(&plane.spacing_nm);
    let named = meaning.iter().chain(place).fold(Digest::builder("slice").digest(header), |d, n| d.number(*n));
    named.bytes(bytes).finish()
}

/// The syntaxes whose pixels are not compressed.
pub(crate) fn is_native(transfer_syntax: &str) -> bool {
    [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        part10::EXPLICIT_VR_BIG_ENDIAN,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ]
    .contains(&transfer_syntax)
}
