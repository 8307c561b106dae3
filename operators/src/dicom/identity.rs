//! Who an instance says it is, without its pixels: what is asked at the door.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attribute::{named, text};
use super::part10;
use crate::record::{InstanceUid, Reason, Refusal, SeriesKey, SeriesUid, StudyUid};

/// The identifiers of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// SOP Class UID.
    pub class: String,
    /// SOP Instance UID.
    pub instance: InstanceUid,
    /// Its series.
    pub key: SeriesKey,
}

/// Reads who an instance is from the bytes of its file. Identifiers must be legal, see [`is_uid`].
///
/// # Errors
///
/// Refuses what is no data set, ends early, does not nest, or lacks a legal identifier. The refusal names the attribute
/// and never its value.
pub fn identify(bytes: &[u8]) -> Result<Told, Refusal> {
    let object = part10::object_until(bytes, tags::SERIES_INSTANCE_UID)?;
    Ok(Told {
        class: uid(&object, tags::SOP_CLASS_UID)?,
        instance: identifier(&object, tags::SOP_INSTANCE_UID, InstanceUid::new)?,
        key: SeriesKey {
            study: identifier(&object, tags::STUDY_INSTANCE_UID, StudyUid::new)?,
            series: identifier(&object, tags::SERIES_INSTANCE_UID, SeriesUid::new)?,
        },
    })
}

fn identifier<U>(object: &InMemDicomObject, tag: Tag, new: impl Fn(&str) -> Option<U>) -> Result<U, Refusal> {
    new(&uid(object, tag)?).ok_or_else(|| Refusal::new(Reason::MissingUid, format!("{} is missing", named(tag))))
}

fn uid(object: &InMemDicomObject, tag: Tag) -> Result<String, Refusal> {
    let text = text(object, tag).unwrap_or_default();
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    match text {
        "" => Err(Refusal::new(Reason::MissingUid, format!("{} is missing", named(tag)))),
        text if is_uid(text) => Ok(text.to_owned()),
        _ => Err(Refusal::new(Reason::MissingUid, format!("{} is no unique identifier", named(tag)))),
    }
}

/// Whether a text may be a UID: 1 to 64 digits and dots, with a digit before and behind each dot. Scanners write leading
/// zeros, which PS3.5 section 9.1 forbids; those pass.
#[must_use]
pub fn is_uid(text: &str) -> bool {
    let parts = || text.split('.');
    (1..=64).contains(&text.len()) && parts().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_dots_make_a_uid_and_nothing_else_does() {
        let longest = format!("1.{}", "2".repeat(62));
        for uid in ["1.2.840.10008.5.1.4.1.1.2", "2", "1.02", &longest] {
            assert!(is_uid(uid), "{uid}");
        }
        for other in ["", ".", "1.", ".1", "1..2", "1.2a", "../1", "1/2", "1.2\0", "１", &format!("{longest}3")] {
            assert!(!is_uid(other), "{other}");
        }
    }
}
