//! Outcomes of publications: fixed-point numbers, and of the DICOM header only what the views across studies count by.
//!
//! Source of times: PS3.3 C.7.3.1, C.7.2.1 and C.7.6.1, values of PS3.5 6.2 (DA, TM). Patient IDs leave as a salted
//! SHA-256 only, together with their issuer: an ID is unique within it (PS3.3 C.7.1.1).

use std::fmt;

use dicom_core::Tag;
use dicom_core::chrono::{NaiveDate, NaiveTime};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use crate::completeness::Status;
use crate::dicom::attribute::text;
use crate::measure::{self, Priority};
use crate::publish::Publication;
use crate::record::{Digest, Outcome};
use crate::report::Report;

/// The scanner of a series that names none.
pub const UNKNOWN_SCANNER: &str = "unknown";

/// The measurements of a series that its outcome repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measures {
    /// The probability of hemorrhage, in `[0, 1]`.
    pub probability: f32,
    /// The volume of the segmenter's masks, mL.
    pub volume_ml: f64,
    /// How soon a reader should look.
    pub priority: Priority,
}

impl From<&Report> for Measures {
    fn from(report: &Report) -> Self {
        let Report { probability, priority, volume_ml, .. } = report;
        Self { probability: *probability, volume_ml: volume_ml.segmentation, priority: *priority }
    }
}

/// What makes hashed patients of one node unlike those of another. A secret: whoever has it can try patient IDs.
#[derive(Clone)]
pub struct Salt(Box<[u8]>);

impl Salt {
    /// A salt of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    fn patient(&self, header: &InMemDicomObject) -> Option<Digest> {
        let patient = text(header, tags::PATIENT_ID)?;
        let issuer = text(header, tags::ISSUER_OF_PATIENT_ID).unwrap_or_default();
        let name = Digest::builder("patient").bytes(&self.0);
        Some(name.bytes(patient.as_bytes()).bytes(issuer.as_bytes()).finish())
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// A probability in parts per million, to the nearest; what is no number is 0.
#[must_use]
pub fn ppm(probability: f32) -> u32 {
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let ppm = (f64::from(probability).clamp(0.0, 1.0) * 1e6).round() as u32;
    ppm
}

/// A volume in microliters, to the nearest; what is no number is 0, and nothing is more than 4 m³.
#[must_use]
pub fn microliters(volume_ml: f64) -> u64 {
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let microliters = (volume_ml * 1e3).round().clamp(0.0, f64::from(u32::MAX)) as u64;
    microliters
}

impl Outcome {
    /// The outcome of a publication; `None` if it is withdrawn.
    ///
    /// The scanner and the patient are those of the lowest slice that names one, the time is the earliest of any slice.
    #[must_use]
    pub fn of(publication: &Publication, measures: &Measures, salt: &Salt) -> Option<Self> {
        if publication.status == Status::Withdrawn {
            return None;
        }
        let headers = || publication.slices.iter().filter_map(|slice| Some(&slice.header.as_deref()?.attributes));
        let scanner = headers().find_map(|header| text(header, tags::MANUFACTURER_MODEL_NAME));
        Some(Self {
            key: publication.key.clone(),
            role: publication.role,
            method: publication.method.digest,
            version: publication.version,
            status: publication.status,
            priority: measures.priority,
            probability_ppm: ppm(measures.probability),
            volume_ul: microliters(measures.volume_ml),
            positive: measure::is_positive(measures.probability, publication.method.config.mask_gate),
            slices: u32::try_from(publication.slices.len()).unwrap_or(u32::MAX),
            scanner: scanner.as_deref().unwrap_or(UNKNOWN_SCANNER).into(),
            acquired_s: headers().filter_map(acquired_s).min(),
            patient: headers().find_map(|header| salt.patient(header)),
        })
    }
}

/// When an image was acquired, or else its series or its study begun: the first pair of date and time that is whole.
fn acquired_s(header: &InMemDicomObject) -> Option<i64> {
    const PAIRS: [[Tag; 2]; 3] = [
        [tags::ACQUISITION_DATE, tags::ACQUISITION_TIME],
        [tags::SERIES_DATE, tags::SERIES_TIME],
        [tags::STUDY_DATE, tags::STUDY_TIME],
    ];
    PAIRS.iter().find_map(|[day, time]| {
        let (day, time) = (date(&text(header, *day)?)?, time_of_day(&text(header, *time)?)?);
        Some(day.and_time(time).and_utc().timestamp())
    })
}

/// `YYYYMMDD`, or `YYYY.MM.DD` as ACR-NEMA wrote it.
fn date(text: &str) -> Option<NaiveDate> {
    let digits = match text.as_bytes() {
        [_, _, _, _, b'.', _, _, b'.', _, _] => text.replace('.', ""),
        _ => text.to_owned(),
    };
    let (year, day) = digits.as_bytes().split_at_checked(4)?;
    let (month, day) = day.split_at_checked(2)?;
    let year = i32::try_from(number(year)?).ok()?;
    if day.len() == 2 { NaiveDate::from_ymd_opt(year, number(month)?, number(day)?) } else { None }
}

/// `HHMMSS.FFFFFF` or a beginning of it, or with colons as ACR-NEMA wrote it. A leap second is that before it.
fn time_of_day(text: &str) -> Option<NaiveTime> {
    let digits = text.split('.').next()?.replace(':', "");
    let parts: Vec<u32> = digits.as_bytes().chunks(2).map(number).collect::<Option<_>>()?;
    let (hour, minute, second) = match (digits.len(), &parts[..]) {
        (2, [hour]) => (*hour, 0, 0),
        (4, [hour, minute]) => (*hour, *minute, 0),
        (6, [hour, minute, second]) => (*hour, *minute, if *second == 60 { 59 } else { *second }),
        _ => return None,
    };
    NaiveTime::from_hms_opt(hour, minute, second)
}

fn number(digits: &[u8]) -> Option<u32> {
    let digit = |digit: &u8| digit.is_ascii_digit().then(|| u32::from(digit - b'0'));
    digits.iter().map(digit).try_fold(0, |number, digit| Some(10 * number + digit?))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use dicom_core::{DataElement, VR};
    use kernels::units::Rescale;
    use proptest::prelude::*;

    use super::*;
    use crate::completeness::Completeness;
    use crate::dicom::Header;
    use crate::geometry::tests::stack;
    use crate::publish::PublishedSlice;
    use crate::record::{
        InstanceUid, Mask, Method, MethodConfig, ModelName, Plane, Role, SeriesKey, SeriesUid, Slice, StoredValues,
        StudyUid,
    };

    /// The same result by the method of a role.
    pub(crate) fn by(role: Role, publication: &Publication) -> Publication {
        Publication { role, method: Arc::new(method(role)), ..publication.clone() }
    }

    fn method(role: Role) -> Method {
        let name = ModelName { name: role.word().to_owned(), version: "1".to_owned(), sha256: String::new() };
        Method::new(Digest::of(role.word().as_bytes()), name, MethodConfig::default()).expect("plain numbers")
    }

    pub(crate) fn salt() -> Salt {
        Salt::new(b"of one node")
    }

    pub(crate) fn header(values: &[(Tag, &str)]) -> Arc<Header> {
        let elements = values.iter().map(|(tag, value)| DataElement::new(*tag, VR::LO, *value));
        Arc::new(Header::of("1.2", &InMemDicomObject::from_element_iter(elements)))
    }

    /// Probability, mask and header of a slice.
    pub(crate) type Part = (f32, Option<Arc<Mask>>, Option<Arc<Header>>);

    /// A publication whose slices have these parts.
    pub(crate) fn publication(slices: &[Part]) -> Publication {
        let key =
            SeriesKey { study: StudyUid::new("1").expect("a UID"), series: SeriesUid::new("1.1").expect("a UID") };
        let plane = Arc::new(Plane {
            rows: 0,
            columns: 0,
            values: StoredValues::Signed(Arc::new([])),
            rescale: Rescale::IDENTITY,
        });
        let placed = stack((0_u8..).take(slices.len()).map(|index| 5.0 * f64::from(index)));
        let slice = |(at, (probability, mask, header)): (usize, &Part)| {
            let instance = InstanceUid::new(&format!("1.2.{at}")).expect("a UID");
            PublishedSlice {
                slice: Slice { instance, ..placed[at].clone() },
                probability: *probability,
                single_probability: *probability,
                plane: Arc::clone(&plane),
                header: header.clone(),
                pseudo_mask: None,
                mask: mask.clone(),
            }
        };
        let slices: Vec<_> = slices.iter().enumerate().map(slice).collect();
        let status = if slices.is_empty() { Status::Withdrawn } else { Status::Preliminary };
        let (role, method, completeness) = (Role::Active, Arc::new(method(Role::Active)), Completeness::default());
        Publication { key, role, method, version: 1, tick: 0, status, completeness, slices }
    }

    pub(crate) const MEASURES: Measures = Measures { probability: 0.5, volume_ml: 1.000_5, priority: Priority::High };

    fn of(headers: &[Option<Arc<Header>>]) -> Outcome {
        let slices: Vec<_> = headers.iter().map(|header| (0.5, None, header.clone())).collect();
        Outcome::of(&publication(&slices), &MEASURES, &salt()).expect("not withdrawn")
    }

    #[test]
    fn numbers_are_rounded_once_and_clamped() {
        assert_eq!([0.0, 0.5, 1.0, 2.0, -1.0, f32::NAN].map(ppm), [0, 500_000, 1_000_000, 1_000_000, 0, 0]);
        assert_eq!([0.123_456_4, 0.123_456_6].map(ppm), [123_456, 123_457]);
        assert_eq!([0.0, 0.000_49, 0.000_51, 12.5, -3.0, f64::NAN].map(microliters), [0, 0, 1, 12_500, 0, 0]);
        assert_eq!(microliters(f64::INFINITY), u64::from(u32::MAX));
    }

    #[test]
    fn an_outcome_without_headers_knows_neither_scanner_nor_time_nor_patient() {
        let outcome = of(&[None, None]);
        assert_eq!((&*outcome.scanner, outcome.acquired_s, outcome.patient), ("unknown", None, None));
        assert_eq!((outcome.slices, outcome.positive, outcome.probability_ppm), (2, true, 500_000));
        assert_eq!(Outcome::of(&publication(&[]), &MEASURES, &salt()), None, "withdrawn");
    }

    #[test]
    fn the_gate_of_the_model_says_what_is_positive() {
        for (gate, positive) in [(0.49, true), (0.5, true), (0.51, false)] {
            let mut publication = publication(&[(0.5, None, None)]);
            let mut method = (*publication.method).clone();
            method.config.mask_gate = gate;
            publication.method = Arc::new(method);
            let outcome = Outcome::of(&publication, &MEASURES, &salt()).expect("not withdrawn");
            assert_eq!(outcome.positive, positive, "{gate}");
        }
    }

    #[test]
    fn the_scanner_is_the_first_named_and_the_time_the_earliest() {
        let later = header(&[(tags::ACQUISITION_DATE, "20240229"), (tags::ACQUISITION_TIME, "235959.999999")]);
        let earlier = header(&[
            (tags::MANUFACTURER_MODEL_NAME, "Model A "),
            (tags::SERIES_DATE, "20240229"),
            (tags::SERIES_TIME, "1030"),
        ]);
        let outcome = of(&[None, Some(later), Some(earlier)]);
        assert_eq!((&*outcome.scanner, outcome.acquired_s), ("Model A", Some(1_709_202_600)));
    }

    #[test]
    fn a_time_is_whole_or_it_is_the_next_one() {
        let at = |values: &[(Tag, &str)]| of(&[Some(header(values))]).acquired_s;
        let study = [(tags::STUDY_DATE, "19700102"), (tags::STUDY_TIME, "000001")];
        assert_eq!(at(&study), Some(86_401));
        assert_eq!(at(&[study[0], study[1], (tags::ACQUISITION_DATE, "19700103")]), Some(86_401), "no time");
        let unreadable = [(tags::SERIES_DATE, "19700230"), (tags::SERIES_TIME, "12")];
        assert_eq!(at(&[study[0], study[1], unreadable[0], unreadable[1]]), Some(86_401), "no such day");
        let old = [(tags::SERIES_DATE, "1970.01.01"), (tags::SERIES_TIME, "01:00:60")];
        assert_eq!(at(&[old[0], old[1]]), Some(3659), "written by ACR-NEMA, in a leap second");
        for (day, time) in
            [("1970010", "12"), ("19700101", "1"), ("19700101", "24"), ("+9700101", "12"), ("１970", "1")]
        {
            assert_eq!(at(&[(tags::STUDY_DATE, day), (tags::STUDY_TIME, time)]), None, "{day} {time}");
        }
    }

    #[test]
    fn a_patient_is_known_by_salt_id_and_issuer_and_does_not_show() {
        let by = |id: &str, issuer: &str, salt: &Salt| {
            let header = header(&[(tags::PATIENT_ID, id), (tags::ISSUER_OF_PATIENT_ID, issuer)]);
            Outcome::of(&publication(&[(0.5, None, Some(header))]), &MEASURES, salt).expect("not withdrawn")
        };
        let outcome = by("MRN-4711", "A", &salt());
        assert_eq!(outcome.patient, by("MRN-4711 ", "A", &salt()).patient, "padding is no part of an ID");
        let others = [by("MRN-4711", "B", &salt()), by("MRN-4711A", "", &salt()), by("MRN-4711", "A", &Salt::new(b""))];
        for other in others {
            assert_ne!(outcome.patient, other.patient);
        }
        let shown = format!("{outcome:?} {}", serde_json::to_string(&outcome).expect("plain data"));
        assert!(!shown.contains("4711"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_clock(day in "[0-9.]{0,10}|\\PC{0,12}", time in "[0-9.:]{0,14}|\\PC{0,14}") {
            let (day, time) = (date(&day), time_of_day(&time));
            prop_assert!(day.is_none_or(|day| day.and_time(time.unwrap_or_default()).and_utc().timestamp() > i64::MIN));
        }
    }
}
