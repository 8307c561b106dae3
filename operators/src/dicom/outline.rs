//! The outline of a data set: which bytes belong to which element, checked before anything is parsed.
//!
//! A parser allocates what an element's length asks for; a length beyond the data is refused here, by the element's
//! name. Elements of unknown representation and undefined length, whose content is implicit little endian whatever the
//! data set is, are left out: nothing here reads private content.
//!
//! Source: DICOM PS3.5 section 7.1 (elements), 7.5 (sequences), 6.2.2 note 2 (unknown of undefined length).

use std::borrow::Cow;
use std::ops::Range;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::attribute::named;
use crate::record::{Reason, Refusal};

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// Sequences within sequences at most.
const MAX_DEPTH: u8 = 32;

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
}

/// The bytes of a data set up to and with its pixels, without elements of unknown representation and undefined length.
///
/// # Errors
///
/// Refuses a data set that ends before an element does, or whose elements and items do not nest.
pub(crate) fn trim(data: &[u8], encoding: Encoding) -> Result<Cow<'_, [u8]>, Refusal> {
    let mut outline = Outline { data, at: 0, unknown: Vec::new() };
    outline.elements(encoding, End::At(data.len()), 0)?;
    let kept = &data[..outline.at];
    if outline.unknown.is_empty() {
        return Ok(Cow::Borrowed(kept));
    }
    let mut known = Vec::with_capacity(kept.len());
    let mut from = 0;
    for Range { start, end } in outline.unknown {
        known.extend_from_slice(&kept[from..start]);
        from = end;
    }
    known.extend_from_slice(&kept[from..]);
    Ok(Cow::Owned(known))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    At(usize),
    Delimiter,
}

struct ElementHeader {
    tag: Tag,
    is_sequence: bool,
    is_unknown: bool,
    /// `None` if undefined.
    len: Option<usize>,
}

struct Outline<'a> {
    data: &'a [u8],
    at: usize,
    unknown: Vec<Range<usize>>,
}

impl Outline<'_> {
    fn elements(&mut self, encoding: Encoding, end: End, depth: u8) -> Result<(), Refusal> {
        if depth > MAX_DEPTH {
            return Err(Refusal::new(Reason::Malformed, format!("more than {MAX_DEPTH} nested sequences")));
        }
        while end != End::At(self.at) {
            let start = self.at;
            let header = self.header(encoding)?;
            if end == End::Delimiter && header.tag == ITEM_END {
                return Ok(());
            }
            if depth == 0 && header.tag > tags::PIXEL_DATA {
                self.at = start;
                return Ok(());
            }
            match header.len {
                None if header.tag == tags::PIXEL_DATA => self.fragments(encoding)?,
                None if header.is_unknown => {
                    self.items(Encoding::ImplicitLittle, End::Delimiter, depth)?;
                    self.unknown.push(start..self.at);
                }
                None => self.items(encoding, End::Delimiter, depth)?,
                Some(len) => {
                    let behind = self.behind(header.tag, len, end)?;
                    if header.is_sequence {
                        self.items(encoding, End::At(behind), depth)?;
                    }
                    self.at = behind;
                }
            }
            if depth == 0 && header.tag == tags::PIXEL_DATA {
                return Ok(());
            }
        }
        Ok(())
    }

    fn items(&mut self, encoding: Encoding, end: End, depth: u8) -> Result<(), Refusal> {
        while end != End::At(self.at) {
            let header = self.header(encoding)?;
            match (header.tag, header.len) {
                (SEQUENCE_END, _) => return Ok(()),
                (ITEM, None) => self.elements(encoding, End::Delimiter, depth + 1)?,
                (ITEM, Some(len)) => {
                    let behind = self.behind(ITEM, len, end)?;
                    self.elements(encoding, End::At(behind), depth + 1)?;
                    self.at = behind;
                }
                (tag, _) => return Err(misplaced(tag)),
            }
        }
        Ok(())
    }

    /// The offset table and the fragments of encapsulated pixels.
    fn fragments(&mut self, encoding: Encoding) -> Result<(), Refusal> {
        loop {
            let header = self.header(encoding)?;
            match (header.tag, header.len) {
                (SEQUENCE_END, _) => return Ok(()),
                (ITEM, Some(len)) => self.at = self.behind(tags::PIXEL_DATA, len, End::Delimiter)?,
                (tag, _) => return Err(misplaced(tag)),
            }
        }
    }

    /// The place behind the next `len` bytes, which belong to `tag`.
    fn behind(&self, tag: Tag, len: usize, end: End) -> Result<usize, Refusal> {
        let limit = if let End::At(limit) = end { limit } else { self.data.len() };
        let behind = self.at.checked_add(len).filter(|behind| *behind <= limit);
        let left = limit.saturating_sub(self.at);
        let short = || Refusal::new(Reason::Truncated, format!("{} has {len} bytes, {left} are left", named(tag)));
        behind.ok_or_else(short)
    }

    fn header(&mut self, encoding: Encoding) -> Result<ElementHeader, Refusal> {
        let ended =
            || Refusal::new(Reason::Truncated, format!("the data set ends within an element, at byte {}", self.at));
        let bytes = self.data.get(self.at..).unwrap_or_default();
        let big = encoding == Encoding::ExplicitBig;
        let short = |pair: [u8; 2]| if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
        let long = |four: [u8; 4]| if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) };
        let [g0, g1, e0, e1, a, b, c, d, rest @ ..] = bytes else { return Err(ended()) };
        let tag = Tag(short([*g0, *g1]), short([*e0, *e1]));
        let is_item = tag.group() == 0xFFFE;
        let (vr, length, size) = if encoding == Encoding::ImplicitLittle || is_item {
            (in_dictionary(tag), long([*a, *b, *c, *d]), 8)
        } else {
            let vr = VR::from_binary([*a, *b]).unwrap_or(VR::UN);
            if has_short_length(vr) {
                (vr, u32::from(short([*c, *d])), 8)
            } else {
                let [a, b, c, d, ..] = rest else { return Err(ended()) };
                (vr, long([*a, *b, *c, *d]), 12)
            }
        };
        self.at += size;
        let len = (length != u32::MAX).then(|| usize::try_from(length).unwrap_or(usize::MAX));
        let is_unknown = vr == VR::UN && encoding != Encoding::ImplicitLittle;
        Ok(ElementHeader { tag, is_sequence: vr == VR::SQ, is_unknown, len })
    }
}

fn misplaced(tag: Tag) -> Refusal {
    Refusal::new(Reason::Malformed, format!("{} where an item must be", named(tag)))
}

/// The representation of an implicit element.
fn in_dictionary(tag: Tag) -> VR {
    match StandardDataDictionary.by_tag(tag).map(DataDictionaryEntry::vr) {
        Some(VirtualVr::Exact(vr)) => vr,
        _ => VR::UN,
    }
}

fn has_short_length(vr: VR) -> bool {
    use VR::{AE, AS, AT, CS, DA, DS, DT, FD, FL, IS, LO, LT, PN, SH, SL, SS, ST, TM, UI, UL, US};
    matches!(vr, AE | AS | AT | CS | DA | DS | DT | FD | FL | IS | LO | LT | PN | SH | SL | SS | ST | TM | UI | UL | US)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODALITY: &[u8] = b"\x08\x00\x60\x00CS\x02\x00CT";
    const PATIENT: &[u8] = b"\x10\x00\x20\x00LO\x02\x00p1";
    /// Unknown, of undefined length: one item of undefined length with an implicit modality.
    const UNKNOWN: &[u8] = b"\x09\x00\x10\x10UN\0\0\xFF\xFF\xFF\xFF\
        \xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF\x08\x00\x60\x00\x02\0\0\0CT\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0";

    #[test]
    fn an_unknown_element_of_undefined_length_is_left_out_wherever_it_is() {
        let data = [MODALITY, UNKNOWN, PATIENT].concat();
        let kept = trim(&data, Encoding::ExplicitLittle).expect("an outline");
        assert_eq!(kept, [MODALITY, PATIENT].concat());
        let sequence = |content: &[u8]| {
            let open = b"\x08\x00\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF";
            [&open[..], content, b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0"].concat()
        };
        let kept = trim(&sequence(&data), Encoding::ExplicitLittle).map(Cow::into_owned);
        assert_eq!(kept, Ok(sequence(&[MODALITY, PATIENT].concat())));
    }

    #[test]
    fn a_length_beyond_the_data_is_named_and_what_follows_the_pixels_is_cut() {
        let long = b"\x10\x00\x20\x00LO\x08\x00p1";
        let refusal = trim(long, Encoding::ExplicitLittle).expect_err("six bytes are missing");
        assert_eq!(
            (refusal.reason, refusal.detail.as_str()),
            (Reason::Truncated, "PatientID (0010,0020) has 8 bytes, 2 are left")
        );
        let pixels = b"\xE0\x7F\x10\x00OW\0\0\x02\0\0\0\x01\x02";
        let data = [MODALITY, pixels, b"\0\0\0 rubbish"].concat();
        assert_eq!(trim(&data, Encoding::ExplicitLittle).map(Cow::into_owned), Ok([MODALITY, pixels].concat()));
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(
            parts in prop::collection::vec(prop::sample::select(vec![MODALITY, UNKNOWN, PATIENT, b"\xFE\xFF", b"\xFF\xFF\xFF\xFF", b"SQ\0\0", b"\0"]), 0..12),
            encoding in prop::sample::select(vec![Encoding::ImplicitLittle, Encoding::ExplicitLittle, Encoding::ExplicitBig]),
        ) {
            let data = parts.concat();
            if let Ok(kept) = trim(&data, encoding) {
                prop_assert!(kept.len() <= data.len());
            }
        }
    }
}
