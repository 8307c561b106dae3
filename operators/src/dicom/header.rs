//! What a result object inherits from the image that it was made from.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

/// The attributes of an image that its results repeat: patient, study, series, frame of reference, equipment. No pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// SOP Class UID of the image.
    pub sop_class: String,
    /// The attributes that are present, as they were read.
    pub attributes: InMemDicomObject,
}

/// The attributes that [`Header::of`] keeps: those that result objects copy or judge by. Laterality is not among them: a
/// head has none.
pub const REPEATED: [Tag; 44] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::SOP_INSTANCE_UID,
    tags::STUDY_DATE,
    tags::SERIES_DATE,
    tags::ACQUISITION_DATE,
    tags::CONTENT_DATE,
    tags::STUDY_TIME,
    tags::SERIES_TIME,
    tags::ACQUISITION_TIME,
    tags::CONTENT_TIME,
    tags::ACCESSION_NUMBER,
    tags::MODALITY,
    tags::MANUFACTURER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STATION_NAME,
    tags::STUDY_DESCRIPTION,
    tags::MANUFACTURER_MODEL_NAME,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::ISSUER_OF_PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::PATIENT_AGE,
    tags::PATIENT_SIZE,
    tags::PATIENT_WEIGHT,
    tags::PATIENT_COMMENTS,
    tags::PATIENT_IDENTITY_REMOVED,
    tags::DEIDENTIFICATION_METHOD,
    tags::BODY_PART_EXAMINED,
    tags::SLICE_THICKNESS,
    tags::DEVICE_SERIAL_NUMBER,
    tags::SOFTWARE_VERSIONS,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::STUDY_ID,
    tags::INSTANCE_NUMBER,
    tags::FRAME_OF_REFERENCE_UID,
    tags::POSITION_REFERENCE_INDICATOR,
    tags::NUMBER_OF_FRAMES,
    tags::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
    tags::LOSSY_IMAGE_COMPRESSION,
    tags::LOSSY_IMAGE_COMPRESSION_RATIO,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
];

impl Header {
    /// The header of an image of class `sop_class`: its attributes of [`REPEATED`], where present.
    #[must_use]
    pub fn of(sop_class: &str, object: &InMemDicomObject) -> Self {
        let present = REPEATED.into_iter().filter_map(|tag| object.get(tag).cloned());
        Self { sop_class: sop_class.to_owned(), attributes: InMemDicomObject::from_element_iter(present) }
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, PrimitiveValue, VR};

    use super::*;

    #[test]
    fn keeps_who_and_leaves_pixels_and_acquisition_behind() {
        let object = InMemDicomObject::from_element_iter([
            DataElement::new(tags::PATIENT_ID, VR::LO, "p1"),
            DataElement::new(tags::KVP, VR::DS, "120"),
            DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::from([0_u16, 1])),
        ]);
        let header = Header::of("1.2.3", &object);
        assert_eq!(header.attributes.tags().collect::<Vec<_>>(), [tags::PATIENT_ID]);
        assert_eq!(header.sop_class, "1.2.3");
    }
}
