//! Pseudonyms: other identifiers, the same for the same, that nobody can go back from without the salt.

use std::fmt;

use dicom_core::value::C;
use dicom_core::{DataElement, PrimitiveValue};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use crate::dicom::attribute::{text, values};
use crate::dicom::object::derived;
use crate::record::Digest;

/// The root of the identifiers that DICOM itself defines: they name no instance.
const STANDARD: &str = "1.2.840.10008.";

/// Gives pseudonyms. The same salt gives the same ones: instances keep referring to each other, in one export and between
/// exports of the same salt.
#[derive(Clone)]
pub struct Pseudonyms {
    salt: Box<[u8]>,
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms(..)")
    }
}

impl Pseudonyms {
    /// Pseudonyms of a salt, which must stay secret: who has it can try identifiers.
    #[must_use]
    pub fn new(salt: &[u8]) -> Self {
        Self { salt: salt.into() }
    }

    fn digest(&self, kind: &str, parts: &[&str]) -> Digest {
        let start = Digest::builder(kind).bytes(&self.salt);
        parts.iter().fold(start, |digest, part| digest.bytes(part.as_bytes())).finish()
    }

    /// The identifier that takes the place of another, below `2.25` (PS3.5 annex B.2). Those that DICOM defines stay.
    #[must_use]
    pub fn uid(&self, uid: &str) -> String {
        if uid.is_empty() || uid.starts_with(STANDARD) {
            return uid.to_owned();
        }
        derived(&self.digest("pseudonym of a UID", &[uid]))
    }

    /// The attribute with other identifiers.
    pub(super) fn element(&self, element: &InMemElement) -> InMemElement {
        let uids = values(element.value()).iter().map(|uid| self.uid(uid)).collect::<C<String>>();
        DataElement::new(element.header().tag, element.vr(), PrimitiveValue::Strs(uids))
    }

    /// Patient ID and Patient's Name become one pseudonym, by the ID and its issuer. `None` for other attributes, and for a
    /// patient without an ID.
    pub(super) fn of_patient(&self, object: &InMemDicomObject, element: &InMemElement) -> Option<InMemElement> {
        let tag = element.header().tag;
        if ![tags::PATIENT_ID, tags::PATIENT_NAME].contains(&tag) {
            return None;
        }
        let patient = text(object, tags::PATIENT_ID)?;
        let issuer = text(object, tags::ISSUER_OF_PATIENT_ID).unwrap_or_default();
        let digest = self.digest("pseudonym of a patient", &[&patient, &issuer]).to_string();
        let name = format!("P{}", digest.get(..16).unwrap_or_default());
        Some(DataElement::new(tag, element.vr(), PrimitiveValue::from(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_the_same_for_the_same_and_another_for_another_salt() {
        let (a, b) = (Pseudonyms::new(b"a"), Pseudonyms::new(b"b"));
        assert_eq!(a.uid("1.2.3"), a.uid("1.2.3"));
        assert_ne!(a.uid("1.2.3"), a.uid("1.2.4"));
        assert_ne!(a.uid("1.2.3"), b.uid("1.2.3"));
        assert!(a.uid("1.2.3").starts_with("2.25.") && a.uid("1.2.3").len() <= 64);
        assert_eq!((a.uid("1.2.840.10008.1.4.1.1"), a.uid("")), ("1.2.840.10008.1.4.1.1".to_owned(), String::new()));
        assert!(!format!("{a:?}").contains("97"), "the salt is not shown");
    }
}
