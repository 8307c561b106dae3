//! What becomes of an attribute: by the table, and where the table does not list it, by its form.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::value::Value;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::mem::InMemElement;

use super::table::{self, Codes};
use crate::dicom::attribute::values;

/// How badly an image needs an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It may be absent (Type 3).
    Nothing,
    /// It must have a value (Type 1), or nobody knows.
    Value,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Remove,
    Empty,
    Dummy,
    Identify,
    /// The value stays; of a sequence, each item is looked into.
    Keep,
}

/// What is done to an attribute.
pub(super) fn act(element: &InMemElement, need: Need) -> Act {
    let tag = element.header().tag;
    match table::codes(tag) {
        Some(codes) => listed(codes, need, element),
        // Those that DICOM itself defines stay what they are.
        None if stays(tag, element) && element.vr() == VR::UI => Act::Identify,
        None if stays(tag, element) => Act::Keep,
        None => Act::Remove,
    }
}

fn listed(codes: Codes, need: Need, element: &InMemElement) -> Act {
    let Codes { remove, empty, dummy, identify } = codes;
    let sequence = matches!(element.value(), Value::Sequence(_));
    // Of several codes, the first that is allowed: what needs nothing is removed sooner than emptied, what needs a value gets
    // a dummy.
    let order = match need {
        Need::Nothing => [(remove, Act::Remove), (empty, Act::Empty), (dummy, Act::Dummy)],
        Need::Value => [(dummy, Act::Dummy), (empty, Act::Empty), (remove, Act::Remove)],
    };
    match (identify, sequence) {
        (true, true) => Act::Keep,
        (true, false) => Act::Identify,
        (false, _) => order.into_iter().find(|(allowed, _)| *allowed).map_or(Act::Remove, |(_, act)| act),
    }
}

/// Whether an attribute that the table does not list stays: one that the dictionary knows, in the representation that it has
/// there, which is none for names, dates, free text or unknown content, with a value of that form.
fn stays(tag: Tag, element: &InMemElement) -> bool {
    // Group lengths tell of what is not there any more; the file meta information is made anew.
    if tag.element() == 0 || tag.group() < 0x0008 {
        return false;
    }
    let Some(entry) = StandardDataDictionary.by_tag(tag) else { return false };
    let vr = element.vr();
    let expected = match entry.vr() {
        VirtualVr::Exact(exact) => exact == vr,
        VirtualVr::Xs => [VR::US, VR::SS].contains(&vr),
        VirtualVr::Ox | VirtualVr::Px => [VR::OB, VR::OW].contains(&vr),
        VirtualVr::Lt => [VR::US, VR::SS, VR::OW].contains(&vr),
        _ => false,
    };
    expected && may_stay(vr) && has_form(vr, element)
}

/// Whether a representation holds neither names nor dates nor free text.
fn may_stay(vr: VR) -> bool {
    let codes_and_numbers = [VR::AT, VR::CS, VR::DS, VR::IS, VR::LO, VR::SH, VR::SQ, VR::UI];
    let binary_numbers = [VR::FL, VR::FD, VR::SL, VR::SS, VR::SV, VR::UL, VR::US, VR::UV];
    let bytes = [VR::OB, VR::OD, VR::OF, VR::OL, VR::OV, VR::OW];
    codes_and_numbers.contains(&vr) || binary_numbers.contains(&vr) || bytes.contains(&vr)
}

/// Whether a text has the characters that its representation may have (PS3.5 table 6.2-1).
fn has_form(vr: VR, element: &InMemElement) -> bool {
    let allowed: fn(char) -> bool = if vr == VR::CS {
        |c| c.is_ascii_uppercase() || c.is_ascii_digit() || [' ', '_'].contains(&c)
    } else if vr == VR::DS {
        |c| c.is_ascii_digit() || ['+', '-', '.', 'E', 'e', ' '].contains(&c)
    } else if vr == VR::IS {
        |c| c.is_ascii_digit() || ['+', '-', ' '].contains(&c)
    } else if vr == VR::UI {
        |c| c.is_ascii_digit() || c == '.'
    } else {
        return true;
    };
    values(element.value()).iter().all(|value| value.chars().all(allowed))
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, PrimitiveValue};
    use dicom_dictionary_std::tags;

    use super::*;

    fn of(tag: Tag, vr: VR, value: &str) -> Act {
        act(&DataElement::new(tag, vr, PrimitiveValue::from(value)), Need::Nothing)
    }

    #[test]
    fn the_first_code_is_done_where_nothing_is_needed_and_a_value_where_one_is() {
        let element = DataElement::new(tags::DEVICE_SERIAL_NUMBER, VR::LO, PrimitiveValue::from("1"));
        assert_eq!((act(&element, Need::Nothing), act(&element, Need::Value)), (Act::Remove, Act::Dummy));
        let element = DataElement::new(tags::ACQUISITION_DATE, VR::DA, PrimitiveValue::from("20250101"));
        assert_eq!((act(&element, Need::Nothing), act(&element, Need::Value)), (Act::Remove, Act::Empty));
        assert_eq!(of(tags::STUDY_ID, VR::SH, "1"), Act::Empty);
        assert_eq!(of(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2"), Act::Identify);
    }

    #[test]
    fn what_the_table_does_not_list_stays_in_its_own_form_only() {
        assert_eq!(of(tags::CONVOLUTION_KERNEL, VR::SH, "H31s"), Act::Keep);
        assert_eq!(of(tags::CONVOLUTION_KERNEL, VR::PN, "Smith^John"), Act::Remove, "another representation");
        assert_eq!(of(tags::KVP, VR::DS, "120"), Act::Keep);
        assert_eq!(of(tags::KVP, VR::DS, "Smith"), Act::Remove, "no number");
        assert_eq!(of(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.2\0"), Act::Identify);
        assert_eq!(of(Tag(0x0018, 0x0FFF), VR::LO, "x"), Act::Remove, "nobody knows it");
        assert_eq!(of(Tag(0x0008, 0x0000), VR::UL, "x"), Act::Remove, "a group length");
        assert_eq!(of(Tag(0x0029, 0x1010), VR::OB, "x"), Act::Remove, "private");
    }
}
