//! The outline of a data set: which bytes belong to which element, checked before anything is parsed.
//!
//! A parser allocates what an element's length asks for; a length beyond the data is refused here, by the element's
//! name. So is whatever a parser would read from another place than this outline does: lengths that are no whole number of
//! values, and delimiters where nothing ends. Elements of unknown representation and undefined length, whose content is
//! implicit little endian whatever the data set is, are left out: nothing here reads private content.
//!
//! Source: DICOM PS3.5 section 7.1 (elements), 7.5 (sequences), 6.2 (lengths of values), 6.2.2 note 2 (unknown of undefined
//! length), A.4 (fragments).

use std::borrow::Cow;
use std::ops::Range;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
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
    let mut outline = Outline { data, at: 0, unknown: Vec::new(), shortened: Vec::new() };
    outline.elements(encoding, End::At(data.len()), 0)?;
    let kept = &data[..outline.at];
    if outline.unknown.is_empty() {
        return Ok(Cow::Borrowed(kept));
    }
    let mut kept = kept.to_vec();
    for (length_at, length) in outline.shortened {
        let length = if encoding == Encoding::ExplicitBig { length.to_be_bytes() } else { length.to_le_bytes() };
        kept[length_at..length_at + 4].copy_from_slice(&length);
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
    vr: VR,
    /// `None` if undefined.
    len: Option<usize>,
}

struct Outline<'a> {
    data: &'a [u8],
    at: usize,
    /// What is left out.
    unknown: Vec<Range<usize>>,
    /// Where lengths of four bytes stand that no longer hold without it, and what they become.
    shortened: Vec<(usize, u32)>,
}

impl Outline<'_> {
    fn elements(&mut self, encoding: Encoding, end: End, depth: u8) -> Result<(), Refusal> {
        if depth > MAX_DEPTH {
            return Err(Refusal::new(Reason::Malformed, format!("more than {MAX_DEPTH} nested sequences")));
        }
        while end != End::At(self.at) {
            let start = self.at;
            let header = self.header(encoding)?;
            if depth == 0 && header.tag > tags::PIXEL_DATA {
                self.at = start;
                return Ok(());
            }
            if header.tag == ITEM_END && end == End::Delimiter {
                return Ok(());
            }
            if header.tag.group() == ITEM.group() {
                self.needless(&header, end)?;
                continue;
            }
            let is_sequence = header.vr == VR::SQ;
            match header.len {
                None if header.tag == tags::PIXEL_DATA && !is_sequence => self.fragments(encoding)?,
                None if header.vr == VR::UN && encoding != Encoding::ImplicitLittle => {
                    self.items(Encoding::ImplicitLittle, End::Delimiter, depth)?;
                    self.unknown.push(start..self.at);
                }
                None => self.items(encoding, End::Delimiter, depth)?,
                Some(len) if is_sequence => {
                    self.within(header.tag, len, end, |outline, end| outline.items(encoding, end, depth))?;
                }
                Some(len) => {
                    whole(header.tag, len, value_size(header.vr))?;
                    self.at = self.behind(header.tag, len, end)?;
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
                (SEQUENCE_END, _) if end == End::Delimiter => return Ok(()),
                (SEQUENCE_END, _) => self.needless(&header, end)?,
                (ITEM, None) => self.elements(encoding, End::Delimiter, depth + 1)?,
                (ITEM, Some(len)) => {
                    self.within(ITEM, len, end, |outline, end| outline.elements(encoding, end, depth + 1))?;
                }
                (tag, _) => return Err(misplaced(tag)),
            }
        }
        Ok(())
    }

    /// Goes through `content`, which has `len` bytes. Its length, just read, is made to hold for what is kept of it.
    fn within(
        &mut self,
        tag: Tag,
        len: usize,
        end: End,
        content: impl FnOnce(&mut Self, End) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let (from, known) = (self.at, self.unknown.len());
        content(self, End::At(self.behind(tag, len, end)?))?;
        let left_out: usize = self.unknown[known..].iter().map(Range::len).sum();
        if left_out > 0 {
            // It was read from four bytes.
            let kept = u32::try_from(len - left_out).unwrap_or(u32::MAX);
            self.shortened.push((from - 4, kept));
        }
        Ok(())
    }

    /// A delimiter where a length has said the same: at the end of what it delimits, and without a length itself.
    fn needless(&self, delimiter: &ElementHeader, end: End) -> Result<(), Refusal> {
        let is_delimiter = [ITEM_END, SEQUENCE_END].contains(&delimiter.tag) && delimiter.len == Some(0);
        if is_delimiter && end == End::At(self.at) { Ok(()) } else { Err(misplaced(delimiter.tag)) }
    }

    /// The offset table and the fragments of encapsulated pixels.
    fn fragments(&mut self, encoding: Encoding) -> Result<(), Refusal> {
        let mut value_size = 4;
        loop {
            let header = self.header(encoding)?;
            match (header.tag, header.len) {
                (SEQUENCE_END, _) => return Ok(()),
                (ITEM, Some(len)) => {
                    whole(tags::PIXEL_DATA, len, value_size)?;
                    self.at = self.behind(tags::PIXEL_DATA, len, End::Delimiter)?;
                    value_size = 1;
                }
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
        Ok(ElementHeader { tag, vr, len })
    }
}

fn misplaced(tag: Tag) -> Refusal {
    Refusal::new(Reason::Malformed, format!("{} where none may be", named(tag)))
}

/// Refuses lengths at which a parser would lose its place, as it reads value by value.
fn whole(tag: Tag, len: usize, value_size: usize) -> Result<(), Refusal> {
    let part = || {
        let what = format!("{} has {len} bytes, which are no whole number of values of {value_size}", named(tag));
        Refusal::new(Reason::Malformed, what)
    };
    if len.is_multiple_of(value_size) { Ok(()) } else { Err(part()) }
}

/// The representation of an implicit element, as parsers take it.
fn in_dictionary(tag: Tag) -> VR {
    StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| entry.vr().relaxed())
}

/// The bytes of one value, 1 where they are text or bytes.
fn value_size(vr: VR) -> usize {
    use VR::{AE, AS, AT, CS, DA, DS, DT, FD, FL, IS, LO, LT, OB, OD, OF, OL, OV, OW, PN, SH, SL, SQ, SS, ST, SV, TM};
    use VR::{UC, UI, UL, UN, UR, US, UT, UV};
    match vr {
        AE | AS | CS | DA | DS | DT | IS | LO | LT | OB | PN | SH | SQ | ST | TM | UC | UI | UN | UR | UT => 1,
        OW | SS | US => 2,
        AT | FL | OF | OL | SL | UL => 4,
        FD | OD | OV | SV | UV => 8,
    }
}

fn has_short_length(vr: VR) -> bool {
    use VR::{AE, AS, AT, CS, DA, DS, DT, FD, FL, IS, LO, LT, PN, SH, SL, SS, ST, TM, UI, UL, US};
    matches!(vr, AE | AS | AT | CS | DA | DS | DT | FD | FL | IS | LO | LT | PN | SH | SL | SS | ST | TM | UI | UL | US)
}

#[cfg(test)]
mod tests;
