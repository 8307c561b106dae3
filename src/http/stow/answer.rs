//! The Store Instances Response (PS3.18 sections 10.5.3 and I.2) in the DICOM JSON model (annex F).

use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use operators::dicom::identity::Told;
use operators::record::SeriesKey;
use serde_json::{Map, Value, json};

use crate::dimse::Status;
use crate::http::refusal::RETRY;
use crate::inbox::InboxError;
use crate::ingest::{Closed, Refused};

const RETRIEVE_URL: &str = "00081190";
const FAILURE_REASON: &str = "00081197";
const FAILED_SOP_SEQUENCE: &str = "00081198";
const REFERENCED_SOP_SEQUENCE: &str = "00081199";
/// Failures of what has no identifiers.
const OTHER_FAILURES_SEQUENCE: &str = "0008119A";
const REFERENCED_SOP_CLASS: &str = "00081150";
const REFERENCED_SOP_INSTANCE: &str = "00081155";

/// Why a part was not stored.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// The door did not take it.
    Refused(Refused),
    /// The part does not say that it is DICOM.
    MediaType,
    /// It is of another study than the path names.
    Study,
    /// Its SOP class is not taken.
    Class,
}

impl Failure {
    /// The fixed word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.word(),
            Self::MediaType => "media_type",
            Self::Study => "mismatch",
            Self::Class => "class",
        }
    }

    /// Failure Reason (0008,1197): the same that C-STORE answers.
    fn reason(&self) -> u16 {
        match self {
            Self::Refused(refused) => Status::of(refused).code,
            Self::MediaType => Status::CANNOT_UNDERSTAND,
            Self::Study => Status::MISMATCH,
            Self::Class => Status::CLASS_NOT_SUPPORTED,
        }
    }

    /// The status of a request of which nothing was stored for this reason.
    fn status(&self) -> StatusCode {
        match self {
            Self::Refused(Refused::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Refused(Refused::Closed(Closed::Disk) | Refused::Inbox(InboxError::Full(_))) => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            Self::Refused(Refused::Closed(_) | Refused::Inbox(_)) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(_) | Self::MediaType | Self::Study | Self::Class => StatusCode::CONFLICT,
        }
    }
}

/// What became of a part.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// Who it says it is, if that is known.
    pub(super) told: Option<Told>,
    /// Why it was not stored; `None` if it was.
    pub(super) failure: Option<Failure>,
}

/// What became of all parts, in their order.
#[derive(Debug, Default)]
pub(super) struct Answer(Vec<Judged>);

impl Answer {
    pub(super) fn add(&mut self, judged: Judged) {
        self.0.push(judged);
    }

    /// The series of what was stored, once for each instance.
    pub(super) fn series(&self) -> impl Iterator<Item = &SeriesKey> {
        self.0.iter().filter(|judged| judged.failure.is_none()).filter_map(|judged| Some(&judged.told.as_ref()?.key))
    }

    /// 200 if all was stored, 202 if some was, otherwise what all failures have in common, or 409. A request without parts
    /// is malformed.
    fn status(&self) -> StatusCode {
        let failures = || self.0.iter().filter_map(|judged| judged.failure.as_ref());
        match (self.0.len(), failures().count()) {
            (0, _) => StatusCode::BAD_REQUEST,
            (_, 0) => StatusCode::OK,
            (all, failed) if failed < all => StatusCode::ACCEPTED,
            _ => {
                let first = failures().next().map_or(StatusCode::CONFLICT, Failure::status);
                if failures().all(|failure| failure.status() == first) { first } else { StatusCode::CONFLICT }
            }
        }
    }

    /// The response. `base` is where DICOMweb is served.
    pub(super) fn respond(self, base: &str) -> Response {
        let status = self.status();
        let body = self.json(base).to_string();
        let kind = [(CONTENT_TYPE, "application/dicom+json")];
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return (status, kind, [(RETRY_AFTER, RETRY)], body).into_response();
        }
        (status, kind, body).into_response()
    }

    fn json(self, base: &str) -> Value {
        let mut studies: Vec<String> = self.series().map(|key| format!("{base}/studies/{}", key.study)).collect();
        studies.dedup();
        let (mut stored, mut failed, mut other) = (Vec::new(), Vec::new(), Vec::new());
        for Judged { told, failure } in self.0 {
            match (told, failure) {
                (Some(told), None) => {
                    let SeriesKey { study, series } = &told.key;
                    let url = format!("{base}/studies/{study}/series/{series}/instances/{}", told.instance);
                    stored.push(item(Some(&told), [(RETRIEVE_URL, element("UR", url.into()))]));
                }
                (told, failure) => {
                    let reason = failure.map_or(Status::PROCESSING_FAILURE, |failure| failure.reason());
                    let list = if told.is_some() { &mut failed } else { &mut other };
                    list.push(item(told.as_ref(), [(FAILURE_REASON, element("US", reason.into()))]));
                }
            }
        }
        let mut answer = Map::new();
        if let [study] = &studies[..] {
            answer.insert(RETRIEVE_URL.to_owned(), element("UR", study.as_str().into()));
        }
        let sequences =
            [(FAILED_SOP_SEQUENCE, failed), (REFERENCED_SOP_SEQUENCE, stored), (OTHER_FAILURES_SEQUENCE, other)];
        for (tag, items) in sequences.into_iter().filter(|(_, items)| !items.is_empty()) {
            answer.insert(tag.to_owned(), json!({ "vr": "SQ", "Value": items }));
        }
        Value::Object(answer)
    }
}

/// An item of a sequence: whom it is about, and what else.
fn item<const N: usize>(told: Option<&Told>, more: [(&str, Value); N]) -> Value {
    let named = told.map(|told| {
        let (class, instance) = (told.class.as_str(), told.instance.as_str());
        [(REFERENCED_SOP_CLASS, element("UI", class.into())), (REFERENCED_SOP_INSTANCE, element("UI", instance.into()))]
    });
    let elements = named.into_iter().flatten().chain(more);
    Value::Object(elements.map(|(tag, element)| (tag.to_owned(), element)).collect())
}

/// An attribute of one value.
fn element(vr: &str, value: Value) -> Value {
    json!({ "vr": vr, "Value": Value::Array(vec![value]) })
}

#[cfg(test)]
mod tests {
    use operators::record::{InstanceUid, SeriesUid, StudyUid};

    use super::*;

    fn told(instance: &str) -> Option<Told> {
        let (study, series) = (StudyUid::new("1.2").expect("a UID"), SeriesUid::new("1.2.3").expect("a UID"));
        let instance = InstanceUid::new(instance).expect("a UID");
        Some(Told { class: "1.9".to_owned(), instance, key: SeriesKey { study, series } })
    }

    fn answer(parts: &[Judged]) -> (u16, Value) {
        let answer = || Answer(parts.to_vec());
        (answer().status().as_u16(), answer().json("http://a/dicom-web"))
    }

    #[test]
    fn each_part_is_told_by_name_and_the_status_says_what_they_have_in_common() {
        let stored = Judged { told: told("1.4"), failure: None };
        let mismatch = Judged { told: told("1.5"), failure: Some(Failure::Study) };
        let junk = Judged { told: None, failure: Some(Failure::MediaType) };
        let large = Judged { told: None, failure: Some(Failure::Refused(Refused::TooLarge)) };
        let full = Judged { told: told("1.6"), failure: Some(Failure::Refused(Refused::Closed(Closed::Disk))) };
        let behind = Judged { told: None, failure: Some(Failure::Refused(Refused::Closed(Closed::Draining))) };
        let (status, body) = answer(&[stored.clone(), mismatch.clone(), junk.clone(), stored.clone()]);
        assert_eq!(status, 202);
        assert_eq!(body["00081190"]["Value"][0], "http://a/dicom-web/studies/1.2");
        let url = "http://a/dicom-web/studies/1.2/series/1.2.3/instances/1.4";
        assert_eq!(body["00081199"]["Value"][1]["00081190"], json!({ "vr": "UR", "Value": [url] }));
        assert_eq!(body["00081198"]["Value"].as_array().map(Vec::len), Some(1));
        assert_eq!(body["00081198"]["Value"][0]["00081155"]["Value"][0], "1.5");
        assert_eq!(body["00081198"]["Value"][0]["00081197"], json!({ "vr": "US", "Value": [0xA900] }));
        assert_eq!(body["0008119A"]["Value"], json!([{ "00081197": { "vr": "US", "Value": [0xC000] } }]));
        assert_eq!(answer(std::slice::from_ref(&stored)).1.as_object().map(Map::len), Some(2));
        for (parts, expected) in [
            (vec![], 400),
            (vec![stored.clone(), stored], 200),
            (vec![mismatch.clone(), junk], 409),
            (vec![large.clone(), large.clone()], 413),
            (vec![large, mismatch], 409),
            (vec![full], 507),
            (vec![behind], 503),
        ] {
            assert_eq!(answer(&parts).0, expected, "{parts:?}");
        }
    }
}
