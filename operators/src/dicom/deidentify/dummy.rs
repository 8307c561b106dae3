//! Values that say nothing: one for each value representation.

use dicom_core::value::{DataSetSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

/// The attribute without a value.
pub(super) fn empty(element: &InMemElement) -> InMemElement {
    let (tag, vr) = (element.header().tag, element.vr());
    match element.value() {
        Value::Sequence(_) => DataElement::new(tag, VR::SQ, DataSetSequence::<InMemDicomObject>::from(Vec::new())),
        Value::Primitive(_) | Value::PixelSequence(_) => DataElement::new(tag, vr, PrimitiveValue::Empty),
    }
}

/// The attribute with a value that is nobody's: of a sequence, an item without attributes.
pub(super) fn dummy(element: &InMemElement) -> InMemElement {
    let (tag, vr) = (element.header().tag, element.vr());
    if let Value::Sequence(_) = element.value() {
        return DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![InMemDicomObject::new_empty()]));
    }
    #[allow(clippy::wildcard_enum_match_arm, reason = "representations of bytes and of numbers are told by exclusion")]
    let value = match vr {
        VR::DA => PrimitiveValue::from("19700101"),
        VR::TM => PrimitiveValue::from("000000"),
        VR::DT => PrimitiveValue::from("19700101000000"),
        VR::AS => PrimitiveValue::from("000Y"),
        VR::DS | VR::IS => PrimitiveValue::from("0"),
        VR::UI => PrimitiveValue::from("2.25.0"),
        VR::AE | VR::CS | VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UR | VR::UT => {
            PrimitiveValue::from("REMOVED")
        }
        VR::FL | VR::OF => PrimitiveValue::from(0.0_f32),
        VR::FD | VR::OD => PrimitiveValue::from(0.0_f64),
        VR::SS => PrimitiveValue::from(0_i16),
        VR::US => PrimitiveValue::from(0_u16),
        VR::OW => PrimitiveValue::U16([0_u16][..].into()),
        VR::SL => PrimitiveValue::from(0_i32),
        VR::UL | VR::AT | VR::OL => PrimitiveValue::from(0_u32),
        VR::SV => PrimitiveValue::from(0_i64),
        VR::UV | VR::OV => PrimitiveValue::from(0_u64),
        _ => PrimitiveValue::U8([0_u8, 0][..].into()),
    };
    DataElement::new(tag, vr, value)
}
