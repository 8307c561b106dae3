//! The bytes of one frame, as received: a range of native pixels, or the fragments that belong to it.
//!
//! Source: DICOM PS3.5 A.4 (encapsulation, basic offset table).

use std::borrow::Cow;

use dicom_core::PrimitiveValue;
use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::attribute::named;
use super::layout::Layout;
use crate::record::{Reason, Refusal};

/// The bytes of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FrameBytes<'a> {
    /// Samples of 16 bits, little endian.
    Native(Cow<'a, [u8]>),
    /// A codestream.
    Encoded(Cow<'a, [u8]>),
}

/// The bytes of a frame (from 1).
///
/// # Errors
///
/// Refuses an image without pixels or with fewer than its matrix has, and fragments that cannot be told apart.
pub(crate) fn frame_bytes(object: &InMemDicomObject, frame: u32, layout: Layout) -> Result<FrameBytes<'_>, Refusal> {
    let missing = || Refusal::new(Reason::MissingPixels, format!("{} is missing", named(tags::PIXEL_DATA)));
    let index = usize::try_from(frame.saturating_sub(1)).unwrap_or(usize::MAX);
    match object.get(tags::PIXEL_DATA).ok_or_else(missing)?.value() {
        Value::Primitive(PrimitiveValue::Empty) => Err(missing()),
        Value::Primitive(samples) => native(samples, index, layout).map(FrameBytes::Native),
        Value::PixelSequence(sequence) if sequence.fragments().is_empty() => Err(missing()),
        Value::PixelSequence(sequence) => encoded(sequence, index, layout).map(FrameBytes::Encoded),
        Value::Sequence(_) => {
            Err(Refusal::new(Reason::Malformed, format!("{} is a sequence", named(tags::PIXEL_DATA))))
        }
    }
}

fn native(samples: &PrimitiveValue, index: usize, layout: Layout) -> Result<Cow<'_, [u8]>, Refusal> {
    let size = layout.pixels() * 2;
    let short = |len: usize| {
        let detail = format!("{} has {len} bytes, frame {} needs {size}", named(tags::PIXEL_DATA), index + 1);
        Refusal::new(Reason::Truncated, detail)
    };
    let start = index.checked_mul(size).filter(|start| start.checked_add(size).is_some()).ok_or_else(|| short(0))?;
    if let PrimitiveValue::U8(bytes) = samples {
        let range = bytes.get(start..start + size).ok_or_else(|| short(bytes.len()))?;
        return Ok(Cow::Borrowed(range));
    }
    if let PrimitiveValue::U16(words) = samples {
        let range = words.get(start / 2..(start + size) / 2).ok_or_else(|| short(words.len() * 2))?;
        return Ok(Cow::Owned(range.iter().flat_map(|word| word.to_le_bytes()).collect()));
    }
    let bytes = samples.to_bytes();
    let range = bytes.get(start..start + size).ok_or_else(|| short(bytes.len()))?;
    Ok(Cow::Owned(range.to_vec()))
}

fn encoded(sequence: &PixelFragmentSequence<Vec<u8>>, index: usize, layout: Layout) -> Result<Cow<'_, [u8]>, Refusal> {
    let fragments = sequence.fragments();
    let frames = usize::try_from(layout.frames).unwrap_or(usize::MAX);
    let starts: Vec<usize> = if frames == 1 {
        vec![0]
    } else if frames == fragments.len() {
        (0..frames).collect()
    } else if sequence.offset_table().len() == frames {
        by_offset(sequence)
    } else {
        by_marker(fragments)
    };
    let untold = || {
        let detail = format!("{} fragments for {frames} frames, and nothing tells which is whose", fragments.len());
        Refusal::new(Reason::UndecodablePixels, detail)
    };
    if starts.len() != frames {
        return Err(untold());
    }
    let end = starts.get(index + 1).copied().unwrap_or(fragments.len());
    let own = starts.get(index).and_then(|start| fragments.get(*start..end)).ok_or_else(untold)?;
    match own {
        [] => Err(untold()),
        [one] => Ok(Cow::Borrowed(one)),
        many => Ok(Cow::Owned(many.concat())),
    }
}

/// The first fragment of each frame by the basic offset table, which counts from the first fragment's item tag.
fn by_offset(sequence: &PixelFragmentSequence<Vec<u8>>) -> Vec<usize> {
    let mut offset = 0;
    let mut starts = Vec::new();
    for (index, fragment) in sequence.fragments().iter().enumerate() {
        if sequence.offset_table().iter().any(|start| usize::try_from(*start) == Ok(offset)) {
            starts.push(index);
        }
        offset += 8 + fragment.len() + fragment.len() % 2;
    }
    starts
}

/// The fragments that start with a start-of-image or start-of-codestream marker.
fn by_marker(fragments: &[Vec<u8>]) -> Vec<usize> {
    let starts = |fragment: &Vec<u8>| fragment.starts_with(&[0xFF, 0xD8]) || fragment.starts_with(&[0xFF, 0x4F]);
    fragments.iter().enumerate().filter(|(_, fragment)| starts(fragment)).map(|(index, _)| index).collect()
}

#[cfg(test)]
mod tests {
    use dicom_core::{DataElement, VR};
    use proptest::prelude::*;

    use super::*;

    fn layout(frames: u32) -> Layout {
        Layout { rows: 1, columns: 2, bits_stored: 16, shift: 0, signed: true, frames }
    }

    fn image(value: impl Into<Value<InMemDicomObject>>) -> InMemDicomObject {
        InMemDicomObject::from_element_iter([DataElement::new(tags::PIXEL_DATA, VR::OW, value.into())])
    }

    #[test]
    fn native_frames_are_ranges_and_a_short_one_is_truncated() {
        let object = image(PrimitiveValue::from([1_u16, 2, 3, 4, 5]));
        let second = frame_bytes(&object, 2, layout(3)).expect("two whole frames");
        assert_eq!(second, FrameBytes::Native(Cow::Borrowed(&[3, 0, 4, 0])));
        let refusal = frame_bytes(&object, 3, layout(3)).expect_err("half a frame");
        assert_eq!(refusal.reason, Reason::Truncated);
        assert_eq!(refusal.detail, "PixelData (7FE0,0010) has 10 bytes, frame 3 needs 4");
        let empty = InMemDicomObject::new_empty();
        let refusal = frame_bytes(&empty, 1, layout(1)).expect_err("no pixels");
        assert_eq!(refusal.reason, Reason::MissingPixels);
    }

    proptest! {
        #[test]
        fn fragments_come_back_to_their_frames(frames in prop::collection::vec(prop::collection::vec(1_usize..5, 1..4), 1..6), table: bool) {
            let mut offsets = Vec::new();
            let mut fragments = Vec::new();
            let mut offset = 0_u32;
            for frame in &frames {
                offsets.push(offset);
                for (index, halves) in frame.iter().enumerate() {
                    let mut fragment = vec![u8::try_from(fragments.len()).expect("few"); halves * 2];
                    if index == 0 {
                        fragment[..2].copy_from_slice(&[0xFF, 0xD8]);
                    }
                    offset += 8 + u32::try_from(fragment.len()).expect("small");
                    fragments.push(fragment);
                }
            }
            let table = if table { offsets } else { Vec::new() };
            let count = u32::try_from(frames.len()).expect("few");
            let object = image(PixelFragmentSequence::new(table, fragments.clone()));
            let mut joined = Vec::new();
            for frame in 1..=count {
                match frame_bytes(&object, frame, layout(count)) {
                    Ok(FrameBytes::Encoded(bytes)) => {
                        prop_assert!(bytes.starts_with(&[0xFF, 0xD8]));
                        joined.extend_from_slice(&bytes);
                    }
                    other => prop_assert!(false, "frame {frame}: {other:?}"),
                }
            }
            prop_assert_eq!(joined, fragments.concat());
        }
    }
}
