//! What a result object takes over from the image that it was made from: patient, study, dates.
//!
//! Source: PS3.3 C.7.1.1 (Patient), C.7.2.1 (General Study), C.7.2.2 (Patient Study). Values are repeated as they were
//! read, also where they are not legal: they identify. Type 2 attributes are there, empty where the image has none;
//! optional ones only where they have a legal value.

use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags;

use super::{Element, empty, text};
use crate::dicom::Header;

/// Type 2: present even without a value.
const EXPECTED: [(Tag, VR); 10] = [
    (tags::PATIENT_NAME, VR::PN),
    (tags::PATIENT_ID, VR::LO),
    (tags::PATIENT_BIRTH_DATE, VR::DA),
    (tags::PATIENT_SEX, VR::CS),
    (tags::STUDY_INSTANCE_UID, VR::UI),
    (tags::STUDY_DATE, VR::DA),
    (tags::STUDY_TIME, VR::TM),
    (tags::STUDY_ID, VR::SH),
    (tags::ACCESSION_NUMBER, VR::SH),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
];

/// Type 3: present with a legal value or not at all.
const OPTIONAL: [Tag; 8] = [
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_AGE,
    tags::PATIENT_SIZE,
    tags::PATIENT_WEIGHT,
    tags::PATIENT_COMMENTS,
    tags::STUDY_DESCRIPTION,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
];

/// Where a value comes from in an image: a date, and the time beside it.
const MOMENTS: [(Tag, Tag); 4] = [
    (tags::ACQUISITION_DATE, tags::ACQUISITION_TIME),
    (tags::CONTENT_DATE, tags::CONTENT_TIME),
    (tags::SERIES_DATE, tags::SERIES_TIME),
    (tags::STUDY_DATE, tags::STUDY_TIME),
];

/// The text of an attribute, without padding, or `None` where it is absent or empty.
pub(crate) fn attribute(header: &Header, tag: Tag) -> Option<String> {
    let value = header.attributes.get(tag)?.to_str().ok()?;
    let value = value.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!value.is_empty()).then(|| value.to_owned())
}

/// Whether an attribute has this value.
pub(crate) fn flag(header: &Header, tag: Tag, value: &str) -> bool {
    attribute(header, tag).is_some_and(|text| text == value)
}

/// The attribute as it was read, if it has a value.
fn copy(header: &Header, tag: Tag) -> Option<Element> {
    let element = header.attributes.get(tag)?;
    attribute(header, tag)?;
    let value = element.value().primitive()?.clone();
    Some(DataElement::new(tag, element.vr(), value))
}

/// Who and which study.
pub(crate) fn patient_and_study(header: &Header) -> Vec<Element> {
    let mut elements: Vec<Element> =
        EXPECTED.into_iter().map(|(tag, vr)| copy(header, tag).unwrap_or_else(|| empty(tag, vr))).collect();
    elements.extend(OPTIONAL.into_iter().filter_map(|tag| copy(header, tag)).filter(is_legal));
    elements.extend(identity_removed(header));
    elements
}

/// That the identity was removed, and how: Type 1C, required together, and an image may state the one without the other.
fn identity_removed(header: &Header) -> Vec<Element> {
    let Some(removed) = copy(header, tags::PATIENT_IDENTITY_REMOVED) else { return Vec::new() };
    let method = copy(header, tags::DEIDENTIFICATION_METHOD)
        .unwrap_or_else(|| text(tags::DEIDENTIFICATION_METHOD, VR::LO, "Not stated by the source image"));
    if flag(header, tags::PATIENT_IDENTITY_REMOVED, "YES") { vec![removed, method] } else { vec![removed] }
}

/// The date and the time of an object's content.
///
/// A result is named by what it was made from, so it must not hold the time at which it was made: the same inputs would
/// give other bytes under the same identifier. It carries the moment of the image instead: acquisition, content, series
/// or study, the first that has a legal date. Both attributes are Type 1; where the image has no date at all, they hold
/// 1970-01-01, 00:00, which no CT scanner has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    date: String,
    time: String,
}

impl Moment {
    /// The moment of an image.
    pub(crate) fn of(header: &Header) -> Self {
        MOMENTS
            .into_iter()
            .find_map(|(date, time)| {
                let date = attribute(header, date).filter(|date| is_date(date))?;
                let time = attribute(header, time).filter(|time| is_time(time));
                Some(Self { date, time: time.unwrap_or_else(|| "000000".to_owned()) })
            })
            .unwrap_or_else(|| Self { date: "19700101".to_owned(), time: "000000".to_owned() })
    }

    /// As the content date and time.
    pub(crate) fn content(&self) -> [Element; 2] {
        [text(tags::CONTENT_DATE, VR::DA, &*self.date), text(tags::CONTENT_TIME, VR::TM, &*self.time)]
    }
}

/// Whether a value has the form of its representation (PS3.5 table 6.2-1), of those that [`OPTIONAL`] has.
fn is_legal(element: &Element) -> bool {
    let Ok(text) = element.to_str() else { return false };
    let (text, vr) = (text.trim(), element.vr());
    if vr == VR::AS {
        let (digits, unit) = text.split_at_checked(3).unwrap_or_default();
        return digits.bytes().all(|byte| byte.is_ascii_digit()) && ["D", "W", "M", "Y"].contains(&unit);
    }
    if vr == VR::DS {
        return text.len() <= 16 && text.parse::<f64>().is_ok_and(f64::is_finite);
    }
    let limits = [(VR::CS, 16), (VR::SH, 16), (VR::LT, 10_240)];
    let limit = limits.into_iter().find(|(of, _)| *of == vr).map_or(64, |(_, limit)| limit);
    text.chars().count() <= limit
}

/// `YYYYMMDD` with a month and a day that exist somewhere.
fn is_date(text: &str) -> bool {
    let within = |part: Option<&str>, low, high| {
        part.and_then(|digits| digits.parse::<u8>().ok()).is_some_and(|n| (low..=high).contains(&n))
    };
    text.len() == 8
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && within(text.get(4..6), 1, 12)
        && within(text.get(6..8), 1, 31)
}

/// `HH`, `HHMM`, `HHMMSS` or `HHMMSS.F` with up to six digits of fraction.
fn is_time(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').map_or((text, None), |(clock, fraction)| (clock, Some(fraction)));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let limits = [24, 60, 61];
    matches!(clock.len(), 2 | 4 | 6)
        && digits(clock)
        && (0..clock.len() / 2).all(|at| clock[at * 2..at * 2 + 2].parse::<u8>().is_ok_and(|value| value < limits[at]))
        && fraction.is_none_or(|part| clock.len() == 6 && (1..=6).contains(&part.len()) && digits(part))
}

#[cfg(test)]
mod tests {
    use dicom_object::InMemDicomObject;

    use super::*;

    fn header(elements: &[(Tag, VR, &str)]) -> Header {
        let attributes =
            InMemDicomObject::from_element_iter(elements.iter().map(|(tag, vr, value)| text(*tag, *vr, *value)));
        Header { sop_class: "1.2.840.10008.5.1.4.1.1.2".to_owned(), attributes }
    }

    fn inherited(elements: &[(Tag, VR, &str)]) -> InMemDicomObject {
        InMemDicomObject::from_element_iter(patient_and_study(&header(elements)))
    }

    #[test]
    fn type_2_attributes_are_there_without_a_value() {
        let object = inherited(&[]);
        assert!(EXPECTED.iter().all(|(tag, _)| object.get(*tag).is_some()));
        assert!(OPTIONAL.iter().all(|tag| object.get(*tag).is_none()));
    }

    #[test]
    fn an_optional_attribute_is_legal_or_absent() {
        let age = |value: &str| inherited(&[(tags::PATIENT_AGE, VR::AS, value)]).get(tags::PATIENT_AGE).is_some();
        assert!(age("042Y") && !age("0Y") && !age("42Y") && !age("04ZY") && !age("042X") && !age(""));
        let size = |value: &str| inherited(&[(tags::PATIENT_SIZE, VR::DS, value)]).get(tags::PATIENT_SIZE).is_some();
        assert!(size("1.75") && !size("tall") && !size("1.75000000000000000") && !size("inf"));
        let study =
            |value: &str| inherited(&[(tags::STUDY_DESCRIPTION, VR::LO, value)]).get(tags::STUDY_DESCRIPTION).is_some();
        assert!(study(&"ü".repeat(64)) && !study(&"u".repeat(65)));
    }

    #[test]
    fn a_removed_identity_always_says_how() {
        let method = |object: &InMemDicomObject| {
            object.get(tags::DEIDENTIFICATION_METHOD).map(|element| element.to_str().expect("text").into_owned())
        };
        let yes = (tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES");
        assert_eq!(
            method(&inherited(&[yes, (tags::DEIDENTIFICATION_METHOD, VR::LO, "")])),
            Some("Not stated by the source image".to_owned())
        );
        assert_eq!(
            method(&inherited(&[yes, (tags::DEIDENTIFICATION_METHOD, VR::LO, "by hand")])),
            Some("by hand".into())
        );
        assert_eq!(method(&inherited(&[(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "NO")])), None);
        assert_eq!(method(&inherited(&[])), None);
    }

    #[test]
    fn the_moment_is_the_first_legal_date_of_the_image() {
        let moment = |elements: &[(Tag, VR, &str)]| {
            let Moment { date, time } = Moment::of(&header(elements));
            (date, time)
        };
        let pair = |date: &str, time: &str| (date.to_owned(), time.to_owned());
        let acquisition = (tags::ACQUISITION_DATE, VR::DA, "20200230");
        assert_eq!(moment(&[acquisition, (tags::STUDY_DATE, VR::DA, "20200101")]), pair("20200230", "000000"));
        let broken = (tags::ACQUISITION_DATE, VR::DA, "2020.01.01");
        let study = [(tags::STUDY_DATE, VR::DA, "20200101"), (tags::STUDY_TIME, VR::TM, "101112.5")];
        assert_eq!(moment(&[broken, study[0], study[1]]), pair("20200101", "101112.5"));
        assert_eq!(moment(&[]), pair("19700101", "000000"));
    }

    #[test]
    fn dates_and_times_have_bounds() {
        assert!(is_date("20201231") && !is_date("20201331") && !is_date("20201200") && !is_date("2020123"));
        assert!(is_time("23") && is_time("2359") && is_time("235960") && is_time("000000.123456"));
        assert!(!is_time("24") && !is_time("2360") && !is_time("1") && !is_time("10.5") && !is_time("101010."));
        assert!(!is_time("101010.1234567") && !is_time("") && !is_time("10:11"));
    }
}
