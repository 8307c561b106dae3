//! The one segment: what it is called, what it shows, what found it (PS3.3 C.8.20.2, tables 10-19, 10.41 and 10.44).

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{Algorithm, SegKind};
use crate::dicom::object::{Code, item, sequence, short, text, unsigned};

const ABNORMAL_STRUCTURE: Code = Code::new("49755003", "SCT", "Morphologically Abnormal Structure");
const HEMORRHAGE: Code = Code::new("50960005", "SCT", "Hemorrhage");
const BRAIN: Code = Code::new("12738006", "SCT", "Brain");
const ARTIFICIAL_INTELLIGENCE: Code = Code::new("123110", "DCM", "Artificial Intelligence");

/// The item of the Segment Sequence.
pub(super) fn segment(kind: SegKind, algorithm: &Algorithm<'_>, tracking: &str) -> InMemDicomObject {
    item([
        unsigned(tags::SEGMENT_NUMBER, 1),
        text(tags::SEGMENT_LABEL, VR::LO, kind.segment_label()),
        text(tags::SEGMENT_DESCRIPTION, VR::ST, kind.description()),
        text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, "AUTOMATIC"),
        text(tags::SEGMENT_ALGORITHM_NAME, VR::LO, named(algorithm.name)),
        sequence(tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, vec![identification(algorithm)]),
        ABNORMAL_STRUCTURE.element(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE),
        HEMORRHAGE.element(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE),
        BRAIN.element(tags::ANATOMIC_REGION_SEQUENCE),
        text(tags::TRACKING_ID, VR::UT, format!("hemoflow-{}", kind.word())),
        text(tags::TRACKING_UID, VR::UI, tracking),
        DataElement::new(
            tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE,
            VR::US,
            PrimitiveValue::U16(display_color(kind).as_slice().into()),
        ),
    ])
}

fn identification(algorithm: &Algorithm<'_>) -> InMemDicomObject {
    item([
        ARTIFICIAL_INTELLIGENCE.element(tags::ALGORITHM_FAMILY_CODE_SEQUENCE),
        text(tags::ALGORITHM_NAME, VR::LO, named(algorithm.name)),
        text(tags::ALGORITHM_VERSION, VR::LO, named(algorithm.version)),
        text(tags::ALGORITHM_PARAMETERS, VR::LT, format!("sha256={}", algorithm.sha256)),
    ])
}

/// A name for an attribute of Type 1, which cannot be empty.
fn named(name: &str) -> String {
    let name = short(name);
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

/// CIELab as PS3.3 C.10.7.1.1 encodes it: `L` in 0..100, `a` and `b` in -128..127, each over 16 bits. The colors are those
/// of the overlay: red (sRGB 255, 77, 77) and cyan (sRGB 64, 208, 232).
fn display_color(kind: SegKind) -> [u16; 3] {
    match kind {
        SegKind::Segmentation => [39_260, 50_315, 43_510],
        SegKind::PseudoMask => [50_351, 24_332, 26_847],
    }
}
