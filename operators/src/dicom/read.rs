//! From a file, or a stream of the same bytes, to an [`Instance`]: parsed, admitted, placed and named, not yet decoded.

use std::fs::File;
use std::io::{self, Read as _};
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
    match contents(path) {
        Ok(Some(bytes)) => read_bytes(&name, &bytes),
        Ok(None) => Err(Rejection::new(name, Reason::NotDicom, "no DICOM element at its beginning")),
        Err(error) => Err(Rejection::new(name, Reason::Unreadable, error.to_string())),
    }
}

/// The bytes of a file, or `None` if it begins as no DICOM file does.
fn contents(path: &Path) -> io::Result<Option<Vec<u8>>> {
    const HEAD: u64 = 256;
    let mut file = File::open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    (&mut file).take(HEAD).read_to_end(&mut bytes)?;
    if !part10::begins(&bytes, usize::try_from(found.len()).unwrap_or(usize::MAX)) {
        return Ok(None);
    }
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
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
    // Native pixels have one name in every native transfer syntax.
    let syntax = object.meta().transfer_syntax();
    let content = header_digest(&header, if is_native(syntax) { "native" } else { syntax });
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

/// Names the attributes that results repeat, and how pixels are encoded.
fn header_digest(header: &Header, encoding: &str) -> Digest {
    let start = Digest::builder("header").bytes(header.sop_class.as_bytes()).bytes(encoding.as_bytes());
    let named = header.attributes.iter().fold(start, |digest, element| {
        let tag = element.header().tag;
        let value = element.value().to_multi_str().map(|values| values.join("\\")).unwrap_or_default();
        digest.number(i64::from(tag.group())).number(i64::from(tag.element())).bytes(value.trim_end().as_bytes())
    });
    named.finish()
}

/// Names a slice by all that its result depends on: the bytes of its pixels as received, what they mean, where they lie,
/// and what results repeat.
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

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, PrimitiveValue, VR};
    use dicom_object::FileMetaTableBuilder;

    use std::fs;

    use super::*;
    use crate::decode::decode;

    /// A slice as the RSNA 2019 data set writes them: identifiers that are no UIDs, no thickness, wrapped values.
    fn image(changes: impl IntoIterator<Item = (Tag, VR, PrimitiveValue)>) -> DefaultDicomObject {
        let text = |tag, vr, text: &str| DataElement::new(tag, vr, PrimitiveValue::from(text));
        let number = |tag, number: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(number));
        let mut object = InMemDicomObject::from_element_iter([
            text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
            text(tags::SOP_INSTANCE_UID, VR::UI, "ID_000012eaf"),
            text(tags::STUDY_INSTANCE_UID, VR::UI, "ID_0fd2fc5a5a"),
            text(tags::SERIES_INSTANCE_UID, VR::UI, "ID_1cfbc04ab1"),
            text(tags::MODALITY, VR::CS, "CT"),
            text(tags::IMAGE_POSITION_PATIENT, VR::DS, "-125\\-120\\12.5"),
            text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\1\\0"),
            text(tags::PIXEL_SPACING, VR::DS, "0.5\\0.5"),
            text(tags::RESCALE_SLOPE, VR::DS, "1"),
            text(tags::RESCALE_INTERCEPT, VR::DS, "0"),
            text(tags::WINDOW_CENTER, VR::DS, "30\\40"),
            text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
            number(tags::SAMPLES_PER_PIXEL, 1),
            number(tags::ROWS, 1),
            number(tags::COLUMNS, 2),
            number(tags::BITS_ALLOCATED, 16),
            number(tags::BITS_STORED, 12),
            number(tags::HIGH_BIT, 11),
            number(tags::PIXEL_REPRESENTATION, 0),
            DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16([3096, 40][..].into())),
        ]);
        for (tag, vr, value) in changes {
            object.put(DataElement::new(tag, vr, value));
        }
        let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
        object.with_meta(meta).expect("file meta information")
    }

    fn change(tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) -> DefaultDicomObject {
        image([(tag, vr, value.into())])
    }

    fn without(tag: Tag) -> Reason {
        let mut object = image([]);
        object.remove_element(tag);
        let rejection = from_object("it", object).expect_err("something is missing");
        assert!(rejection.detail.contains(&named(tag)), "{rejection:?}");
        rejection.reason
    }

    #[test]
    fn a_slice_with_tokens_for_uids_and_wrapped_values_is_taken() {
        let instance = from_object("it", image([])).expect("an instance");
        assert_eq!(instance.uid.as_str(), "ID_000012eaf");
        assert_eq!(instance.frames[0].slice.geometry.thickness_mm(), None);
        assert_eq!(decode(&instance.frames[0].pixels).map(|plane| plane.hu()), Ok(vec![-1000, 40]));
    }

    #[test]
    fn what_is_missing_is_named_and_never_made_up() {
        assert_eq!(without(tags::STUDY_INSTANCE_UID), Reason::MissingUid);
        assert_eq!(without(tags::SERIES_INSTANCE_UID), Reason::MissingUid);
        assert_eq!(without(tags::SOP_INSTANCE_UID), Reason::MissingUid);
        assert_eq!(without(tags::IMAGE_POSITION_PATIENT), Reason::MissingGeometry);
        assert_eq!(without(tags::IMAGE_ORIENTATION_PATIENT), Reason::MissingGeometry);
        assert_eq!(without(tags::PIXEL_SPACING), Reason::MissingGeometry);
        assert_eq!(without(tags::RESCALE_SLOPE), Reason::Malformed);
        assert_eq!(without(tags::RESCALE_INTERCEPT), Reason::Malformed);
        assert_eq!(without(tags::BITS_STORED), Reason::Malformed);
        assert_eq!(without(tags::PIXEL_DATA), Reason::MissingPixels);
    }

    #[test]
    fn what_cannot_be_hu_of_an_axial_slice_is_refused() {
        let reason = |object| from_object("it", object).map(|_| ()).map_err(|rejection| rejection.reason);
        let color = change(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
        assert_eq!(reason(color), Err(Reason::UnsupportedPixels));
        assert_eq!(reason(change(tags::BITS_ALLOCATED, VR::US, 32_u16)), Err(Reason::UnsupportedPixels));
        assert_eq!(reason(change(tags::BURNED_IN_ANNOTATION, VR::CS, "YES")), Err(Reason::Derived));
        assert_eq!(reason(change(tags::RESCALE_TYPE, VR::LO, "MGML")), Err(Reason::Derived));
        assert_eq!(reason(change(tags::RESCALE_SLOPE, VR::DS, "0")), Err(Reason::Malformed));
        let coronal = change(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\0\\-1");
        assert_eq!(reason(coronal), Err(Reason::Derived));
        let no_plane = change(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\1\\0\\0");
        assert_eq!(reason(no_plane), Err(Reason::MissingGeometry));
        assert_eq!(reason(change(tags::NUMBER_OF_FRAMES, VR::IS, "2")), Err(Reason::MissingGeometry));
        assert_eq!(reason(change(tags::ROWS, VR::US, 2_u16)), Err(Reason::Truncated));
        let mut unknown = image([]);
        unknown.update_meta(|meta| meta.transfer_syntax = "1.2.3".to_owned());
        assert_eq!(reason(unknown), Err(Reason::UnsupportedTransferSyntax));
        assert_eq!(reason(change(tags::IMAGE_TYPE, VR::CS, "DERIVED\\SECONDARY\\AXIAL")), Ok(()));
    }

    #[test]
    fn a_slice_is_named_by_all_that_its_result_depends_on_and_nothing_else() {
        let digest = |object| from_object("it", object).expect("an instance").frames[0].slice.digest;
        let plain = digest(image([]));
        assert_eq!(plain, digest(change(tags::WINDOW_CENTER, VR::DS, "99")), "a window changes no result");
        let changes = [
            change(tags::PATIENT_NAME, VR::PN, "Doe^Jo"),
            change(tags::RESCALE_INTERCEPT, VR::DS, "1"),
            change(tags::IMAGE_POSITION_PATIENT, VR::DS, "-125\\-120\\12.6"),
            change(tags::SLICE_THICKNESS, VR::DS, "5"),
            change(tags::BITS_STORED, VR::US, 11_u16),
            change(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16([3096, 41][..].into())),
        ];
        let digests: std::collections::BTreeSet<Digest> = changes.into_iter().map(digest).collect();
        assert!(digests.len() == 6 && !digests.contains(&plain));
        let in_syntax = |uid: &str| {
            let mut image = image([]);
            image.update_meta(|meta| meta.transfer_syntax = uid.to_owned());
            digest(image)
        };
        assert_eq!(in_syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN), plain, "native pixels are native pixels");
        assert_ne!(in_syntax(uids::RLE_LOSSLESS), plain, "the same bytes decode otherwise");
    }

    #[test]
    fn bytes_and_files_give_the_same_instance() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("slice");
        image([]).write_to_file(&path).expect("a file");
        let slice = |instance: Instance| instance.frames[0].slice.clone();
        let bytes = fs::read(&path).expect("bytes");
        let expected = slice(from_object("it", image([])).expect("an instance"));
        assert_eq!(slice(read_file(&path).expect("an instance")), expected);
        assert_eq!(slice(read_bytes("it", &bytes[132..]).expect("no preamble")), expected);
        fs::write(folder.path().join("text"), b"%PDF-1.7").expect("a file");
        let text = read_file(&folder.path().join("text")).expect_err("no DICOM");
        assert_eq!((text.reason, text.detail.as_str()), (Reason::NotDicom, "no DICOM element at its beginning"));
        let absent = read_file(&folder.path().join("absent")).expect_err("no file");
        assert_eq!(
            (absent.reason, absent.input),
            (Reason::Unreadable, folder.path().join("absent").display().to_string())
        );
    }
}
