//! De-identification: an image without who it is of, when it was made and where, and with its pixels and its geometry.
//!
//! Source: DICOM PS3.15 annex E, the Basic Application Level Confidentiality Profile without options, by table E.1-1
//! (`table`). What an attribute of the table becomes:
//!
//! | code | here |
//! |---|---|
//! | X | it is removed |
//! | Z | its value is removed; a patient gets a pseudonym |
//! | D | a dummy value takes its place (`dummy`) |
//! | U | each identifier becomes another, the same one for the same (`pseudonym`) |
//! | X/Z, X/D, Z/D, X/Z/D | the first that the image may have; inside a sequence, where that is not known, the last |
//! | X/Z/U* | the sequence stays, with other identifiers inside |
//!
//! More goes than the table asks for: private attributes, those that the dictionary does not know, overlays, dates, times, names
//! and free text that the table does not list, and values whose form is not that of their attribute. Sequences are treated the
//! same way at every depth.
//!
//! Comments within compressed pixels are blanked (`scrub`).
//!
//! What this does not do: look at pixels. An image that says that text is burned in is refused; one that does not say so is
//! believed. Slices of a head show a face to who renders them.

mod dummy;
mod pseudonym;
mod rule;
mod scrub;
mod table;

use dicom_core::value::Value;
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{DefaultDicomObject, InMemDicomObject, WithMetaError};
use thiserror::Error;

use super::attribute::text;
use super::object::{self, Code, Element};
use super::part10;
use crate::record::Refusal;

pub use pseudonym::Pseudonyms;
use rule::{Act, Need};

/// Sequences within sequences that are followed; what lies deeper is removed.
const DEEPEST: usize = 16;

/// Why an instance is not de-identified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeidentifyError {
    /// It is no DICOM that can be read.
    #[error("{}: {}", .0.reason, .0.detail)]
    Unreadable(Refusal),
    /// It says that its pixels hold text.
    #[error("its pixels hold text: Burned In Annotation (0028,0301) is not NO")]
    BurnedIn,
    /// It lacks what names an instance.
    #[error("it has no identifier")]
    Unnamed,
    /// The file meta information cannot be made.
    #[error("cannot make the file meta information")]
    Meta(#[from] WithMetaError),
}

/// The bytes of a DICOM file as an instance without identity, in the same transfer syntax.
///
/// # Errors
///
/// Returns [`DeidentifyError`] if the file cannot be read, or must not be given away.
pub fn deidentify(file: &[u8], pseudonyms: &Pseudonyms) -> Result<DefaultDicomObject, DeidentifyError> {
    let image = part10::object(file).map_err(DeidentifyError::Unreadable)?;
    let class = text(&image, tags::SOP_CLASS_UID).ok_or(DeidentifyError::Unnamed)?;
    if text(&image, tags::SOP_INSTANCE_UID).is_none() {
        return Err(DeidentifyError::Unnamed);
    }
    if text(&image, tags::BURNED_IN_ANNOTATION).is_some_and(|said| said != "NO") {
        return Err(DeidentifyError::BurnedIn);
    }
    let mut clean = data_set(&image, &class, 0, pseudonyms);
    for element in said() {
        clean.put(element);
    }
    Ok(object::file_in(clean, image.meta().transfer_syntax())?)
}

/// That the identity was removed, and how (PS3.15 E.1.1, PS3.3 C.12.1 and C.7.1.1).
fn said() -> [Element; 4] {
    const METHOD: Code = Code::new("113100", "DCM", "Basic Application Confidentiality Profile");
    [
        object::text(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES"),
        object::text(tags::DEIDENTIFICATION_METHOD, VR::LO, "PS3.15 Basic Application Confidentiality Profile"),
        METHOD.element(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE),
        object::text(tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED, VR::CS, "REMOVED"),
    ]
}

/// A data set of an image of `class`, `depth` sequences deep.
fn data_set(object: &InMemDicomObject, class: &str, depth: usize, pseudonyms: &Pseudonyms) -> InMemDicomObject {
    let kept = object.iter().filter_map(|element| {
        let tag = element.header().tag;
        match rule::act(element, need(class, tag, depth)) {
            Act::Remove => None,
            Act::Empty => Some(pseudonyms.of_patient(object, element).unwrap_or_else(|| dummy::empty(element))),
            Act::Dummy => Some(dummy::dummy(element)),
            Act::Identify => Some(pseudonyms.element(element)),
            Act::Keep => match element.value() {
                Value::Sequence(_) if depth == DEEPEST => None,
                Value::Sequence(items) => {
                    let items = items.items().iter().map(|item| data_set(item, class, depth + 1, pseudonyms));
                    Some(object::sequence(tag, items.collect()))
                }
                Value::PixelSequence(pixels) => Some(DataElement::new(tag, element.vr(), scrub::scrubbed(pixels))),
                Value::Primitive(_) => Some(element.clone()),
            },
        }
    });
    InMemDicomObject::from_element_iter(kept)
}

/// How badly an image of a class needs an attribute: of those that the table says several things of (PS3.3 A.3, A.38, A.70).
fn need(class: &str, tag: Tag, depth: usize) -> Need {
    const ENHANCED: [Tag; 4] =
        [tags::CONTENT_DATE, tags::CONTENT_TIME, tags::ACQUISITION_DATE_TIME, tags::DEVICE_SERIAL_NUMBER];
    if depth > 0 || (class != uids::CT_IMAGE_STORAGE && ENHANCED.contains(&tag)) { Need::Value } else { Need::Nothing }
}

#[cfg(test)]
mod tests;
