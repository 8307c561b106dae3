//! A rejection note for synthetic slices: what a scanner sends when slices were sent by mistake.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileDicomObject, InMemDicomObject};

use super::{PhantomObjectError, PhantomStudy, name};
use crate::dicom::object::{Code, empty, file, item, sequence, text};
use crate::record::InstanceUid;

/// A key object document that rejects instances of a study for quality reasons, explicit VR little endian.
///
/// Source: PS3.3 A.35.4 (Key Object Selection), TID 2010 of PS3.16; IHE Imaging Object Change Management.
///
/// # Errors
///
/// Returns [`PhantomObjectError`] if the note has no identifiers.
pub fn rejection_note(
    study: &PhantomStudy,
    instances: &[InstanceUid],
) -> Result<FileDicomObject<InMemDicomObject>, PhantomObjectError> {
    let patient = &study.patient;
    let named = |kind: &str| InstanceUid::derived(&name(study.seed, study.index, kind, instances.len()));
    let (note, series) = (named("rejection note"), named("rejection series"));
    let reference = |instance: &InstanceUid| {
        [
            text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
            text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, instance.as_str()),
        ]
    };
    let evidence = item([
        text(tags::STUDY_INSTANCE_UID, VR::UI, study.study.as_str()),
        sequence(
            tags::REFERENCED_SERIES_SEQUENCE,
            vec![item([
                text(tags::SERIES_INSTANCE_UID, VR::UI, study.series.as_str()),
                sequence(
                    tags::REFERENCED_SOP_SEQUENCE,
                    instances.iter().map(|instance| item(reference(instance))).collect(),
                ),
            ])],
        ),
    ]);
    let content = instances.iter().map(|instance| {
        item([
            text(tags::RELATIONSHIP_TYPE, VR::CS, "CONTAINS"),
            text(tags::VALUE_TYPE, VR::CS, "IMAGE"),
            sequence(tags::REFERENCED_SOP_SEQUENCE, vec![item(reference(instance))]),
        ])
    });
    Ok(file(InMemDicomObject::from_element_iter([
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        text(tags::SOP_CLASS_UID, VR::UI, uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, note.as_str()),
        text(tags::STUDY_DATE, VR::DA, patient.date.as_str()),
        text(tags::CONTENT_DATE, VR::DA, patient.date.as_str()),
        text(tags::STUDY_TIME, VR::TM, patient.time.as_str()),
        text(tags::CONTENT_TIME, VR::TM, patient.time.as_str()),
        empty(tags::ACCESSION_NUMBER, VR::SH),
        text(tags::MODALITY, VR::CS, "KO"),
        text(tags::MANUFACTURER, VR::LO, "Hemoflow"),
        empty(tags::REFERRING_PHYSICIAN_NAME, VR::PN),
        sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new()),
        text(tags::PATIENT_NAME, VR::PN, patient.name.as_str()),
        text(tags::PATIENT_ID, VR::LO, patient.id.as_str()),
        empty(tags::PATIENT_BIRTH_DATE, VR::DA),
        text(tags::PATIENT_SEX, VR::CS, patient.sex),
        text(tags::STUDY_INSTANCE_UID, VR::UI, study.study.as_str()),
        text(tags::SERIES_INSTANCE_UID, VR::UI, series.as_str()),
        empty(tags::STUDY_ID, VR::SH),
        text(tags::SERIES_NUMBER, VR::IS, "99"),
        text(tags::INSTANCE_NUMBER, VR::IS, "1"),
        text(tags::VALUE_TYPE, VR::CS, "CONTAINER"),
        Code::new("113001", "DCM", "Rejected for Quality Reasons").element(tags::CONCEPT_NAME_CODE_SEQUENCE),
        text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE"),
        sequence(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, vec![evidence]),
        sequence(tags::CONTENT_SEQUENCE, content.collect()),
    ]))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::rejection_note::rejected;
    use crate::phantom::{PhantomConfig, study};
    use crate::record::SeriesKey;

    #[test]
    fn a_note_takes_back_what_it_names() {
        let study = study(&PhantomConfig { slices: Some(2), matrix: 64, ..PhantomConfig::default() }, 0);
        let instances: Vec<InstanceUid> = study.slices.iter().map(|slice| slice.instance.clone()).collect();
        let mut bytes = Vec::new();
        rejection_note(&study, &instances).expect("a note").write_all(&mut bytes).expect("memory");
        let key = SeriesKey { study: study.study.clone(), series: study.series.clone() };
        let expected: Vec<_> = instances.into_iter().map(|instance| (key.clone(), instance)).collect();
        assert_eq!(rejected(&bytes).expect("a note"), expected);
        let mut slice = Vec::new();
        crate::phantom::dicom_object(&study, &study.slices[0]).expect("a slice").write_all(&mut slice).expect("memory");
        assert_eq!(rejected(&slice).expect("no note"), Vec::new());
    }
}
