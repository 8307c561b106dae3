//! Attributes of a data set, as plain values: absent, empty and unreadable are all `None`, and the caller names the tag.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::Tag;
use dicom_core::value::Value;
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
    let Some(values) = object.get(tag).and_then(|element| element.value().to_multi_str().ok()) else { return Vec::new() };
    values.iter().map(|value| value.trim_matches(|c: char| c == '\0' || c.is_whitespace()).to_owned()).collect()
}

/// A whole number.
pub(crate) fn integer(object: Item<'_>, tag: Tag) -> Option<u32> {
    object.get(tag)?.value().to_int().ok()
}

/// Exactly `N` finite numbers.
pub(crate) fn numbers<const N: usize>(value: &Value<InMemDicomObject, InMemFragment>) -> Option<[f64; N]> {
    let numbers: [f64; N] = value.to_multi_float64().ok()?.try_into().ok()?;
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
