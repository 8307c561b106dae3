//! What rules ask of an instance.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use crate::dicom::attribute::{integer, numbers, of_frame, texts};
use crate::dicom::{Instance, Source, kernels};

/// The attributes of an instance that rules ask for. Texts are lists of values; those of frames are of the first frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    /// Modality.
    pub modality: Vec<String>,
    /// Study Description.
    pub study_description: Vec<String>,
    /// Series Description.
    pub series_description: Vec<String>,
    /// Protocol Name.
    pub protocol: Vec<String>,
    /// Convolution Kernel.
    pub kernel: Vec<String>,
    /// Body Part Examined.
    pub body_part: Vec<String>,
    /// Image Type.
    pub image_type: Vec<String>,
    /// Manufacturer.
    pub manufacturer: Vec<String>,
    /// Station Name.
    pub station: Vec<String>,
    /// Slice Thickness, mm.
    pub slice_thickness_mm: Option<f64>,
    /// Rows.
    pub rows: Option<u32>,
    /// Columns.
    pub columns: Option<u32>,
}

impl Attributes {
    /// The attributes of an instance; one that was no DICOM has none.
    #[must_use]
    pub fn of(instance: &Instance) -> Self {
        match instance.frames.first().map(|frame| &frame.pixels.source) {
            Some(Source::Encoded { object, .. }) => Self::of_object(object),
            Some(Source::Decoded(_)) | None => Self::default(),
        }
    }

    /// The attributes of a data set.
    #[must_use]
    pub fn of_object(object: &InMemDicomObject) -> Self {
        let thickness = of_frame(object, 1, tags::PIXEL_MEASURES_SEQUENCE, tags::SLICE_THICKNESS).and_then(numbers);
        Self {
            modality: texts(object, tags::MODALITY),
            study_description: texts(object, tags::STUDY_DESCRIPTION),
            series_description: texts(object, tags::SERIES_DESCRIPTION),
            protocol: texts(object, tags::PROTOCOL_NAME),
            kernel: kernels(object),
            body_part: texts(object, tags::BODY_PART_EXAMINED),
            image_type: texts(object, tags::IMAGE_TYPE),
            manufacturer: texts(object, tags::MANUFACTURER),
            station: texts(object, tags::STATION_NAME),
            slice_thickness_mm: thickness.map(|[mm]| mm),
            rows: integer(object, tags::ROWS),
            columns: integer(object, tags::COLUMNS),
        }
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::value::DataSetSequence;
    use dicom_core::{DataElement, PrimitiveValue, Tag, VR};

    use super::*;

    fn nested(tags: &[Tag], inner: InMemDicomObject) -> InMemDicomObject {
        tags.iter().rev().fold(inner, |item, &tag| {
            let sequence = DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![item]));
            InMemDicomObject::from_element_iter([sequence])
        })
    }

    #[test]
    fn values_are_read_from_the_image_and_from_the_groups_of_its_first_frame() {
        let object = InMemDicomObject::from_element_iter([
            DataElement::new(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL "),
            DataElement::new(tags::CONVOLUTION_KERNEL, VR::SH, "H31s"),
            DataElement::new(tags::SLICE_THICKNESS, VR::DS, "5.0 "),
            DataElement::new(tags::ROWS, VR::US, PrimitiveValue::from(512_u16)),
        ]);
        let attributes = Attributes::of_object(&object);
        assert_eq!(attributes.image_type, ["ORIGINAL", "PRIMARY", "AXIAL"]);
        assert_eq!((attributes.kernel, attributes.slice_thickness_mm), (vec!["H31s".to_owned()], Some(5.0)));
        assert_eq!((attributes.rows, attributes.columns), (Some(512), None));

        let measures = InMemDicomObject::from_element_iter([DataElement::new(tags::SLICE_THICKNESS, VR::DS, "0.6")]);
        let shared = tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE;
        let enhanced = nested(&[shared, tags::PIXEL_MEASURES_SEQUENCE], measures);
        assert_eq!(Attributes::of_object(&enhanced).slice_thickness_mm, Some(0.6));
        let kernel = InMemDicomObject::from_element_iter([DataElement::new(tags::CONVOLUTION_KERNEL, VR::SH, "BONE")]);
        let enhanced = nested(&[shared, tags::CT_RECONSTRUCTION_SEQUENCE], kernel);
        assert_eq!(Attributes::of_object(&enhanced).kernel, ["BONE"]);
    }
}
