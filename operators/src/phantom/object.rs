//! A phantom's slice as a CT Image Storage instance (PS3.3 A.3): all attributes of Type 1 and 2, no clock, no person.

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileDicomObject, InMemDicomObject, WithMetaError};

use super::{PhantomSlice, PhantomStudy, name};
use crate::dicom::object::{Element, decimal, decimals, empty, file, text, unsigned};
use crate::record::{InstanceUid, StoredValues};

/// Why a slice is no instance.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhantomObjectError {
    /// The matrix does not fit 16 bits.
    #[error("{0} rows or columns, must be below 65536")]
    Matrix(u32),
    /// The file meta information is incomplete.
    #[error("the file meta information is incomplete")]
    Meta(#[from] WithMetaError),
}

/// The instance that holds a slice, explicit VR little endian.
///
/// # Errors
///
/// Returns [`PhantomObjectError`] if the matrix does not fit DICOM's numbers.
pub fn dicom_object(
    study: &PhantomStudy,
    slice: &PhantomSlice,
) -> Result<FileDicomObject<InMemDicomObject>, PhantomObjectError> {
    let mut elements = identity(study, slice);
    elements.extend(acquisition(study, slice));
    elements.extend(image(slice)?);
    Ok(file(InMemDicomObject::from_element_iter(elements))?)
}

fn identity(study: &PhantomStudy, slice: &PhantomSlice) -> Vec<Element> {
    let patient = &study.patient;
    let frame = InstanceUid::derived(&name(study.seed, study.index, "frame of reference", 0));
    vec![
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL"),
        text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
        text(tags::SOP_INSTANCE_UID, VR::UI, slice.instance.as_str()),
        text(tags::STUDY_DATE, VR::DA, patient.date.as_str()),
        text(tags::SERIES_DATE, VR::DA, patient.date.as_str()),
        text(tags::CONTENT_DATE, VR::DA, patient.date.as_str()),
        text(tags::STUDY_TIME, VR::TM, patient.time.as_str()),
        text(tags::SERIES_TIME, VR::TM, patient.time.as_str()),
        text(tags::CONTENT_TIME, VR::TM, patient.time.as_str()),
        text(tags::ACCESSION_NUMBER, VR::SH, format!("P{:04}", study.index % 1_000_000)),
        text(tags::MODALITY, VR::CS, "CT"),
        text(tags::MANUFACTURER, VR::LO, "Hemoflow"),
        empty(tags::REFERRING_PHYSICIAN_NAME, VR::PN),
        text(tags::STUDY_DESCRIPTION, VR::LO, "Synthetic head CT"),
        text(tags::SERIES_DESCRIPTION, VR::LO, "Head, soft tissue"),
        text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "Phantom"),
        text(tags::PATIENT_NAME, VR::PN, patient.name.as_str()),
        text(tags::PATIENT_ID, VR::LO, patient.id.as_str()),
        empty(tags::PATIENT_BIRTH_DATE, VR::DA),
        text(tags::PATIENT_SEX, VR::CS, patient.sex),
        text(tags::PATIENT_AGE, VR::AS, format!("{:03}Y", patient.age_years)),
        text(tags::STUDY_INSTANCE_UID, VR::UI, study.study.as_str()),
        text(tags::SERIES_INSTANCE_UID, VR::UI, study.series.as_str()),
        text(tags::STUDY_ID, VR::SH, format!("{}", study.index % 1_000_000)),
        text(tags::SERIES_NUMBER, VR::IS, "2"),
        text(tags::ACQUISITION_NUMBER, VR::IS, "1"),
        text(tags::INSTANCE_NUMBER, VR::IS, slice.number.to_string()),
        text(tags::FRAME_OF_REFERENCE_UID, VR::UI, frame.as_str()),
        empty(tags::POSITION_REFERENCE_INDICATOR, VR::LO),
    ]
}

fn acquisition(study: &PhantomStudy, slice: &PhantomSlice) -> Vec<Element> {
    let geometry = &slice.geometry;
    let mut elements = vec![
        text(tags::BODY_PART_EXAMINED, VR::CS, "HEAD"),
        text(tags::PATIENT_POSITION, VR::CS, "HFS"),
        text(tags::KVP, VR::DS, "120"),
        text(tags::CONVOLUTION_KERNEL, VR::SH, "SOFT"),
        decimals(tags::IMAGE_POSITION_PATIENT, geometry.position_um.map(|um| decimal(um, 3))),
        decimals(tags::IMAGE_ORIENTATION_PATIENT, geometry.orientation_nano.map(|nano| decimal(nano, 9))),
        decimals(tags::PIXEL_SPACING, geometry.spacing_nm.map(|nm| decimal(nm, 6))),
        decimals(tags::SLICE_LOCATION, [decimal(geometry.along_um(), 3)]),
        match geometry.thickness_um {
            Some(um) => decimals(tags::SLICE_THICKNESS, [decimal(um, 3)]),
            None => empty(tags::SLICE_THICKNESS, VR::DS),
        },
    ];
    if study.tilt_degrees != 0.0 {
        elements.push(text(tags::GANTRY_DETECTOR_TILT, VR::DS, study.tilt_degrees.to_string()));
    }
    elements
}

fn image(slice: &PhantomSlice) -> Result<Vec<Element>, PhantomObjectError> {
    let side = |n: u32| u16::try_from(n).map_err(|_| PhantomObjectError::Matrix(n));
    let rescale = slice.plane.rescale;
    let (representation, words): (u16, Vec<u16>) = match &slice.plane.values {
        StoredValues::Signed(values) => {
            (1, values.iter().map(|value| u16::from_ne_bytes(value.to_ne_bytes())).collect())
        }
        StoredValues::Unsigned(values) => (0, values.to_vec()),
    };
    let bits = if representation == 1 { 16 } else { 12 };
    let mut elements = vec![
        unsigned(tags::SAMPLES_PER_PIXEL, 1),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        unsigned(tags::ROWS, side(slice.geometry.rows)?),
        unsigned(tags::COLUMNS, side(slice.geometry.columns)?),
        unsigned(tags::BITS_ALLOCATED, 16),
        unsigned(tags::BITS_STORED, bits),
        unsigned(tags::HIGH_BIT, bits - 1),
        unsigned(tags::PIXEL_REPRESENTATION, representation),
        text(tags::WINDOW_CENTER, VR::DS, "40"),
        text(tags::WINDOW_WIDTH, VR::DS, "80"),
        text(tags::RESCALE_INTERCEPT, VR::DS, rescale.intercept_hu().to_string()),
        text(tags::RESCALE_SLOPE, VR::DS, rescale.slope().to_string()),
        text(tags::RESCALE_TYPE, VR::LO, "HU"),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into())),
    ];
    if let Some(padding) = slice.padding {
        elements.push(DataElement::new(tags::PIXEL_PADDING_VALUE, VR::SS, PrimitiveValue::from(padding)));
    }
    Ok(elements)
}
