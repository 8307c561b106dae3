//! Admission: whether a data set is a CT image whose values are HU of an axial slice.
//!
//! An image is not refused because its Image Type says `DERIVED`: lossy compression alone makes it so (PS3.3
//! C.7.6.1.1.2). What is refused are the facts: another class or modality, a localizer, a picture with text in it, a
//! projection or a map of something else than attenuation, a plane that is not axial.

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

use super::attribute::{named, of_frame, text, texts, values};
use crate::record::{Geometry, Reason, Refusal};

const CLASSES: [&str; 3] =
    [uids::CT_IMAGE_STORAGE, uids::ENHANCED_CT_IMAGE_STORAGE, uids::LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE];

/// Values of Image Type that say: no plane of attenuation values.
const NO_ATTENUATION: [&str; 17] = [
    "PERFUSION",
    "SUBTRACTION",
    "RCBF",
    "RCBV",
    "MTT",
    "TTP",
    "MIP",
    "MINIP",
    "PROJECTION IMAGE",
    "VRT",
    "SSD",
    "SCREEN SAVE",
    "DOSE",
    "DOSE_INFO",
    "SURVIEW",
    "REF_SURVIEW",
    "PATIENT_INFO",
];

/// Cosine of the largest angle between an axial slice and the axis of the body: 45 degrees.
const AXIAL_COSINE: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// Admits a data set by what it says of itself and returns its SOP Class. `of_file` is the class that the file meta
/// information names, for data sets that do not say.
///
/// # Errors
///
/// Refuses what is no CT image, localizers, and pictures.
pub(crate) fn class(object: &InMemDicomObject, of_file: &str) -> Result<String, Refusal> {
    let of_file = of_file.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    let class = text(object, tags::SOP_CLASS_UID).or_else(|| (!of_file.is_empty()).then(|| of_file.to_owned()));
    let modality = text(object, tags::MODALITY);
    let is_ct = modality.as_deref() == Some("CT");
    let class = match class {
        Some(class) => class,
        None if is_ct => uids::CT_IMAGE_STORAGE.to_owned(),
        None => return Err(Refusal::new(Reason::NotCt, format!("{} is missing", named(tags::SOP_CLASS_UID)))),
    };
    if !CLASSES.contains(&class.as_str()) {
        let picture = is_ct && class.starts_with(uids::SECONDARY_CAPTURE_IMAGE_STORAGE);
        let reason = if picture { Reason::Derived } else { Reason::NotCt };
        let modality = modality.unwrap_or_else(|| "missing".to_owned());
        let detail = format!("{} is {}, modality {modality}", named(tags::SOP_CLASS_UID), class_name(&class));
        return Err(Refusal::new(reason, detail));
    }
    if let Some(modality) = modality.filter(|_| !is_ct) {
        return Err(Refusal::new(Reason::NotCt, format!("{} is {modality}", named(tags::MODALITY))));
    }
    image_type(tags::IMAGE_TYPE, &texts(object, tags::IMAGE_TYPE))?;
    if text(object, tags::BURNED_IN_ANNOTATION).as_deref() == Some("YES") {
        return Err(Refusal::new(Reason::Derived, format!("{} is YES", named(tags::BURNED_IN_ANNOTATION))));
    }
    Ok(class)
}

/// What people call a class that is refused often; others by their UID.
fn class_name(class: &str) -> &str {
    match class {
        uids::COMPUTED_RADIOGRAPHY_IMAGE_STORAGE => "Computed Radiography Image Storage",
        uids::MR_IMAGE_STORAGE => "MR Image Storage",
        uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE => "PET Image Storage",
        uids::SECONDARY_CAPTURE_IMAGE_STORAGE => "Secondary Capture Image Storage",
        uids::SEGMENTATION_STORAGE => "Segmentation Storage",
        uids::RT_PLAN_STORAGE => "RT Plan Storage",
        uids::BASIC_TEXT_SR_STORAGE => "Basic Text SR Storage",
        uids::MEDIA_STORAGE_DIRECTORY_STORAGE => "Media Storage Directory Storage",
        other => other,
    }
}

/// Admits a frame (from 1) by its Frame Type and its plane.
///
/// # Errors
///
/// Refuses a localizer, a map, and a plane that is not axial.
pub(crate) fn frame(object: &InMemDicomObject, frame: u32, plane: &Geometry) -> Result<(), Refusal> {
    let frame_type = of_frame(object, frame, tags::CT_IMAGE_FRAME_TYPE_SEQUENCE, tags::FRAME_TYPE);
    image_type(tags::FRAME_TYPE, &frame_type.map(values).unwrap_or_default())?;
    let [_, _, along] = plane.normal();
    if along.abs() < AXIAL_COSINE {
        let degrees = along.abs().clamp(0.0, 1.0).acos().to_degrees();
        let detail = format!("not axial: the plane is tilted by {degrees:.0} degrees");
        return Err(Refusal::new(Reason::Derived, detail));
    }
    Ok(())
}

/// Judges the values of Image Type or Frame Type (PS3.3 C.8.2.1.1.1, C.8.15.3.1.1).
fn image_type(tag: Tag, values: &[String]) -> Result<(), Refusal> {
    let detail = || format!("{} is {}", named(tag), values.join("\\"));
    if values.iter().any(|value| value == "LOCALIZER") {
        return Err(Refusal::new(Reason::Localizer, detail()));
    }
    if values.iter().any(|value| NO_ATTENUATION.contains(&value.as_str())) {
        return Err(Refusal::new(Reason::Derived, detail()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, VR};

    use super::*;

    fn image(class: &str, modality: &str, image_type: &str) -> InMemDicomObject {
        InMemDicomObject::from_element_iter([
            DataElement::new(tags::SOP_CLASS_UID, VR::UI, class),
            DataElement::new(tags::MODALITY, VR::CS, modality),
            DataElement::new(tags::IMAGE_TYPE, VR::CS, image_type),
        ])
    }

    fn reason(class_uid: &str, modality: &str, image_type: &str) -> Option<Reason> {
        class(&image(class_uid, modality, image_type), "").err().map(|refusal| refusal.reason)
    }

    #[test]
    fn a_derived_slice_is_admitted_and_what_is_no_slice_is_not() {
        let ct = uids::CT_IMAGE_STORAGE;
        assert_eq!(reason(ct, "CT", "DERIVED\\PRIMARY\\AXIAL"), None, "lossy compression makes it so");
        assert_eq!(reason(ct, "CT", "DERIVED\\SECONDARY\\MPR"), None, "its plane decides");
        assert_eq!(reason(ct, "CT", "ORIGINAL\\PRIMARY\\LOCALIZER"), Some(Reason::Localizer));
        assert_eq!(reason(ct, "CT", "DERIVED\\PRIMARY\\PERFUSION\\RCBF"), Some(Reason::Derived));
        assert_eq!(reason(ct, "PT", "ORIGINAL\\PRIMARY\\AXIAL"), Some(Reason::NotCt));
        assert_eq!(reason(uids::MR_IMAGE_STORAGE, "MR", "ORIGINAL\\PRIMARY\\AXIAL"), Some(Reason::NotCt));
        let capture = uids::SECONDARY_CAPTURE_IMAGE_STORAGE;
        assert_eq!(reason(capture, "CT", "DERIVED\\SECONDARY\\PATIENT_INFO"), Some(Reason::Derived));
        assert_eq!(reason(capture, "OT", "DERIVED\\SECONDARY"), Some(Reason::NotCt));
    }

    #[test]
    fn a_plane_is_axial_up_to_45_degrees() {
        let tilted = |degrees: f64| {
            let (sin, cos) = degrees.to_radians().sin_cos();
            Geometry::new([0.0; 3], [1.0, 0.0, 0.0, 0.0, cos, -sin], [0.5; 2], [4, 4], None).expect("a plane")
        };
        let object = InMemDicomObject::new_empty();
        assert!(frame(&object, 1, &tilted(30.0)).is_ok() && frame(&object, 1, &tilted(44.9)).is_ok());
        let refusal = frame(&object, 1, &tilted(90.0)).expect_err("a coronal plane");
        assert_eq!(
            (refusal.reason, refusal.detail.as_str()),
            (Reason::Derived, "not axial: the plane is tilted by 90 degrees")
        );
    }
}
