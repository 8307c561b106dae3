//! Rejection notes: key object documents that take instances back.
//!
//! Source: IHE Radiology Technical Framework, Imaging Object Change Management (titles 113001, 113037, 113038, 113039 of
//! DCM); PS3.3 C.17.6.2.1 (the evidence that names each instance by study and series).

use dicom_dictionary_std::{tags, uids};

use super::attribute::{items, named, text};
use super::part10;
use crate::record::{InstanceUid, Reason, Refusal, SeriesKey, SeriesUid, StudyUid};

/// Titles that take instances back: for quality, for the patient's safety, for a wrong worklist entry, for their age.
const TITLES: [&str; 4] = ["113001", "113037", "113038", "113039"];

/// The SOP Class of key object documents.
pub const KEY_OBJECT: &str = uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE;

/// The instances that a key object document takes back, in its order: none if its title says something else.
///
/// # Errors
///
/// Refuses what is no data set, and a note that names nothing.
pub fn rejected(bytes: &[u8]) -> Result<Vec<(SeriesKey, InstanceUid)>, Refusal> {
    let object = part10::object(bytes)?;
    let title = items(&object, tags::CONCEPT_NAME_CODE_SEQUENCE).first().and_then(|code| {
        let scheme = text(code, tags::CODING_SCHEME_DESIGNATOR)?;
        text(code, tags::CODE_VALUE).filter(|_| scheme == "DCM")
    });
    if !title.is_some_and(|title| TITLES.contains(&title.as_str())) {
        return Ok(Vec::new());
    }
    let mut rejected = Vec::new();
    for study in items(&object, tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE) {
        let study_uid = text(study, tags::STUDY_INSTANCE_UID).and_then(|uid| StudyUid::new(&uid));
        for series in items(study, tags::REFERENCED_SERIES_SEQUENCE) {
            let series_uid = text(series, tags::SERIES_INSTANCE_UID).and_then(|uid| SeriesUid::new(&uid));
            let Some((study, series_uid)) = study_uid.clone().zip(series_uid) else { continue };
            let key = SeriesKey { study, series: series_uid };
            let instances = items(series, tags::REFERENCED_SOP_SEQUENCE).iter();
            let uids = instances.filter_map(|item| InstanceUid::new(&text(item, tags::REFERENCED_SOP_INSTANCE_UID)?));
            rejected.extend(uids.map(|uid| (key.clone(), uid)));
        }
    }
    if rejected.is_empty() {
        let evidence = named(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE);
        return Err(Refusal::new(Reason::MissingUid, format!("a rejection note whose {evidence} names no instance")));
    }
    Ok(rejected)
}
