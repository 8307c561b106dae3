//! Attributes of a data set, as plain values: absent, empty and unreadable are all `None`, and the caller names the tag.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::value::Value;
use dicom_core::{PrimitiveValue, Tag};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemFragment;

type Item<'a> = &'a InMemDicomObject;

/// A tag as people read it: `PixelSpacing (0028,0030)`.
pub(crate) fn named(tag: Tag) -> String {
    let alias = StandardDataDictionary.by_tag(tag).map_or("tag", DataDictionaryEntry::alias);
    format!("{alias} {tag}")
}

/// The text of an attribute without its padding, if there is any.
pub(crate) fn text(object: Item<'_>, tag: Tag) -> Option<String> {
    let text = object.get(tag)?.value().to_str().ok()?;
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!text.is_empty()).then(|| text.to_owned())
}

/// The values of a multi-valued text without their padding.
pub(crate) fn texts(object: Item<'_>, tag: Tag) -> Vec<String> {
    object.get(tag).map(|element| values(element.value())).unwrap_or_default()
}

/// The values of a text, which may stand in one piece, without their padding.
pub(crate) fn values(value: &Value<InMemDicomObject, InMemFragment>) -> Vec<String> {
    let Ok(pieces) = value.to_multi_str() else { return Vec::new() };
    let values = pieces.iter().flat_map(|piece| piece.split('\\'));
    values.map(|value| value.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned()).collect()
}

/// A whole number.
pub(crate) fn integer(object: Item<'_>, tag: Tag) -> Option<u32> {
    object.get(tag)?.value().to_int().ok()
}

/// Exactly `N` finite numbers.
pub(crate) fn numbers<const N: usize>(value: &Value<InMemDicomObject, InMemFragment>) -> Option<[f64; N]> {
    let text = matches!(value, Value::Primitive(PrimitiveValue::Str(_) | PrimitiveValue::Strs(_)));
    let numbers: Vec<f64> = if text {
        values(value).iter().map(|number| number.parse().ok()).collect::<Option<_>>()?
    } else {
        value.to_multi_float64().ok()?
    };
    let numbers: [f64; N] = numbers.try_into().ok()?;
    numbers.iter().all(|number| number.is_finite()).then_some(numbers)
}

/// The items of a sequence.
pub(crate) fn items(object: Item<'_>, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|element| element.value().items()).unwrap_or_default()
}

/// An attribute of one frame (from 1): from its functional groups, those that frames share, or the image itself.
///
/// Source: DICOM PS3.3 C.7.6.16 (Multi-frame Functional Groups).
pub(crate) fn of_frame(
    object: Item<'_>,
    frame: u32,
    macro_sequence: Tag,
    tag: Tag,
) -> Option<&Value<InMemDicomObject, InMemFragment>> {
    let index = usize::try_from(frame.checked_sub(1)?).ok()?;
    let own = items(object, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).get(index);
    let shared = items(object, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE).first();
    let in_groups = [own, shared].into_iter().flatten().find_map(|groups| {
        let group = items(groups, macro_sequence).first()?;
        group.get(tag)
    });
    in_groups.or_else(|| object.get(tag)).map(dicom_core::DataElement::value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_many_as_asked_for_and_finite() {
        let value = |text: &str| Value::from(PrimitiveValue::from(text));
        assert_eq!(numbers(&value("0.5\\+0.25 ")), Some([0.5, 0.25]));
        assert_eq!(numbers::<1>(&value("0.5\\0.5")), None);
        assert_eq!(numbers::<1>(&value("NaN")), None);
        assert_eq!(numbers::<1>(&value("a")), None);
        assert_eq!(numbers(&Value::from(PrimitiveValue::from(1.5_f64))), Some([1.5]));
    }

    #[test]
    fn a_tag_has_a_name_that_people_know() {
        assert_eq!(named(tags::PIXEL_SPACING), "PixelSpacing (0028,0030)");
        assert_eq!(named(Tag(0x0009, 0x1010)), "tag (0009,1010)");
    }
}
