//! Data elements: attributes with values in the forms that DICOM writes (PS3.5 section 6.2).

use dicom_core::value::{C, DataSetSequence};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::Element;

/// The longest decimal string.
const DS_LENGTH: usize = 16;
/// The longest long string.
const LO_LENGTH: usize = 64;

/// An attribute with one text value.
pub(crate) fn text(tag: Tag, vr: VR, value: impl Into<String>) -> Element {
    DataElement::new(tag, vr, PrimitiveValue::from(value.into()))
}

/// An attribute without a value: what Type 2 asks for where nothing is known.
pub(crate) fn empty(tag: Tag, vr: VR) -> Element {
    DataElement::new(tag, vr, PrimitiveValue::Empty)
}

/// An attribute with an unsigned 16-bit number.
pub(crate) fn unsigned(tag: Tag, value: u16) -> Element {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

/// An attribute with decimal strings.
pub(crate) fn decimals(tag: Tag, values: impl IntoIterator<Item = String>) -> Element {
    DataElement::new(tag, VR::DS, PrimitiveValue::Strs(values.into_iter().collect::<C<String>>()))
}

/// A sequence of items.
pub(crate) fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> Element {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// An item of a sequence.
pub(crate) fn item(elements: impl IntoIterator<Item = Element>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(elements)
}

/// A coded concept (PS3.3 section 8.8).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code {
    value: &'static str,
    scheme: &'static str,
    meaning: &'static str,
}

impl Code {
    /// A code of a coding scheme, with its meaning there.
    pub(crate) const fn new(value: &'static str, scheme: &'static str, meaning: &'static str) -> Self {
        Self { value, scheme, meaning }
    }

    /// The code sequence that holds it.
    pub(crate) fn element(self, tag: Tag) -> Element {
        sequence(
            tag,
            vec![item([
                text(tags::CODE_VALUE, VR::SH, self.value),
                text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, self.scheme),
                text(tags::CODE_MEANING, VR::LO, self.meaning),
            ])],
        )
    }
}

/// `value / 10^digits` as a decimal string, exactly; only beyond 16 characters the last digits of the fraction go.
pub(crate) fn decimal(value: i64, digits: usize) -> String {
    let magnitude = format!("{:0>width$}", value.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = magnitude.split_at(magnitude.len() - digits);
    let sign = if value < 0 { "-" } else { "" };
    let room = DS_LENGTH.saturating_sub(sign.len() + whole.len() + 1);
    let fraction = fraction[..fraction.len().min(room)].trim_end_matches('0');
    match (whole, fraction) {
        ("0", "") => "0".to_owned(),
        (_, "") => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    }
}

/// Text that fits a long string: one value, no control characters, at most 64 characters.
pub(crate) fn short(value: &str) -> String {
    let clean: String = value.chars().map(|c| if c == '\\' || c.is_control() { ' ' } else { c }).collect();
    clean.trim().chars().take(LO_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_exact_and_short() {
        assert_eq!(decimal(-123_540, 3), "-123.54");
        assert_eq!(decimal(5, 3), "0.005");
        assert_eq!(decimal(-5, 9), "-0.000000005");
        assert_eq!(decimal(1_000_000_000, 9), "1");
        assert_eq!(decimal(0, 9), "0");
        assert_eq!(decimal(10, 0), "10");
    }

    #[test]
    fn long_text_is_cut_and_stays_one_value() {
        assert_eq!(short("a\\b\n"), "a b");
        assert_eq!(short(&"ä".repeat(70)).chars().count(), 64);
    }

    proptest! {
        #[test]
        fn a_decimal_reads_as_its_number(um in -9_000_000_000_i64..9_000_000_000) {
            let written = decimal(um, 3);
            prop_assert!(written.len() <= DS_LENGTH);
            let read: f64 = written.parse().expect("a number");
            prop_assert!((read - um as f64 / 1e3).abs() < 1e-6);
        }

        #[test]
        fn no_decimal_exceeds_its_representation(value in any::<i32>().prop_map(i64::from), scale in 0..1_000_000_i64) {
            prop_assert!(decimal(value * scale, 3).len() <= DS_LENGTH);
        }
    }
}
