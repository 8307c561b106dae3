//! From bytes to a data set: with or without preamble, file meta information and transfer syntax.
//!
//! What is missing is told from the first element where that is certain; what is not certain is refused.
//!
//! Source: DICOM PS3.10 section 7 (file format), PS3.5 section 7.1 (explicit and implicit elements).

use std::borrow::Cow;
use std::error::Error;
use std::io::{ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::file::{OpenFileOptions, ReadPreamble};
use dicom_object::{DefaultDicomObject, FileMetaTableBuilder, InMemDicomObject, ReadError};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use flate2::read::DeflateDecoder;

use super::outline::{self, Encoding};
use crate::record::{Reason, Refusal};

/// A retired syntax that archives still hold.
pub(crate) const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Reads a data set up to its pixels. Elements behind the pixels, and what is no element there, are left out.
///
/// # Errors
///
/// Refuses bytes that are no DICOM, that end too early, that cannot be parsed, or whose transfer syntax is not known.
pub(crate) fn object(bytes: &[u8]) -> Result<DefaultDicomObject, Refusal> {
    object_until(bytes, tags::PIXEL_DATA)
}

/// The same, up to and with the element `last`. All of the data set up to its pixels must nest.
///
/// # Errors
///
/// As [`object`].
pub(crate) fn object_until(bytes: &[u8], last: Tag) -> Result<DefaultDicomObject, Refusal> {
    let (marked, body) = match (bytes.get(128..132), bytes.get(..4)) {
        (Some(b"DICM"), _) => (true, &bytes[132..]),
        (_, Some(b"DICM")) => (true, &bytes[4..]),
        _ => (false, bytes),
    };
    let (meta, data) = FileMeta::split(body)?;
    let shown = guess(data, data.len());
    let syntax = match (meta.transfer_syntax, shown) {
        // Converters forget to change one or the other; the data cannot be read but as they are.
        (Some(told), Some(shown)) if told != shown && is_little_endian(&told) => shown.to_owned(),
        (Some(told), _) => told,
        (None, Some(shown)) => shown.to_owned(),
        (None, None) => {
            let known = marked || meta.seen;
            let reason = if known && data.is_empty() { Reason::Truncated } else { Reason::NotDicom };
            let what =
                if known { "no transfer syntax, and a first element that tells none" } else { "no DICOM element" };
            return Err(Refusal::new(reason, what));
        }
    };
    let (syntax, data) = inflated(syntax, data)?;
    let supported = TransferSyntaxRegistry.get(&syntax).filter(|known| known.can_decode_dataset());
    if supported.is_none() {
        let name = super::attribute::named(tags::TRANSFER_SYNTAX_UID);
        return Err(Refusal::new(Reason::UnsupportedTransferSyntax, format!("{name} is {syntax}")));
    }
    let data = outline::trim(&data, encoding(&syntax))?;
    // The identifiers of the file's own meta information would be checked for their form; data sets carry any token.
    let table = FileMetaTableBuilder::new().transfer_syntax(syntax).build().map_err(|error| refusal(&error))?;
    let mut head = b"DICM".to_vec();
    table.write(&mut head).map_err(|error| refusal(&error))?;
    let options = OpenFileOptions::new().read_preamble(ReadPreamble::Never).read_to(last);
    let parse = AssertUnwindSafe(|| options.from_reader(head.chain(&*data)));
    let parsed = catch_unwind(parse).map_err(|_| Refusal::new(Reason::Malformed, "the data set breaks the parser"))?;
    let mut object = parsed.map_err(|error: ReadError| refusal(&error))?;
    object.update_meta(|table| {
        if let Some(class) = meta.sop_class {
            table.media_storage_sop_class_uid = class;
        }
    });
    Ok(object)
}

/// Reads a data set that stands alone, as a message carries it, up to its pixels.
///
/// # Errors
///
/// Refuses what does not nest, or nests too deep, before it is parsed: the parser goes as deep as its input. Refuses what
/// cannot be parsed, and a transfer syntax that is not known.
pub fn data_set(data: &[u8], syntax: &str) -> Result<InMemDicomObject, Refusal> {
    let (syntax, data) = inflated(syntax.to_owned(), data)?;
    let Some(known) = TransferSyntaxRegistry.get(&syntax) else {
        let name = super::attribute::named(tags::TRANSFER_SYNTAX_UID);
        return Err(Refusal::new(Reason::UnsupportedTransferSyntax, format!("{name} is {syntax}")));
    };
    let data = outline::trim(&data, encoding(&syntax))?;
    let parse = AssertUnwindSafe(|| InMemDicomObject::read_dataset_with_ts(&*data, known));
    let parsed = catch_unwind(parse).map_err(|_| Refusal::new(Reason::Malformed, "the data set breaks the parser"))?;
    parsed.map_err(|error: ReadError| refusal(&error))
}

/// Undoes the compression of a whole data set, which is explicit little endian within.
fn inflated(syntax: String, data: &[u8]) -> Result<(String, Cow<'_, [u8]>), Refusal> {
    /// What a data set may grow to.
    const LIMIT: u64 = 1 << 30;
    if syntax != uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
        return Ok((syntax, Cow::Borrowed(data)));
    }
    let mut inflated = Vec::new();
    DeflateDecoder::new(data).take(LIMIT).read_to_end(&mut inflated).map_err(|error| refusal(&error))?;
    Ok((uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned(), Cow::Owned(inflated)))
}

fn is_little_endian(syntax: &str) -> bool {
    [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN].contains(&syntax)
}

fn encoding(syntax: &str) -> Encoding {
    match syntax {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => Encoding::ImplicitLittle,
        EXPLICIT_VR_BIG_ENDIAN => Encoding::ExplicitBig,
        _ => Encoding::ExplicitLittle,
    }
}

/// What the file meta information says, as far as it is there.
#[derive(Debug, Default)]
struct FileMeta {
    seen: bool,
    transfer_syntax: Option<String>,
    sop_class: Option<String>,
}

impl FileMeta {
    /// Reads the elements of group 0002, which are explicit little endian, and returns the bytes behind them.
    fn split(mut bytes: &[u8]) -> Result<(Self, &[u8]), Refusal> {
        let mut meta = Self::default();
        while let [0x02, 0x00, low, high, v, r, rest @ ..] = bytes {
            let short = || Refusal::new(Reason::Truncated, "the file ends within its meta information");
            if !(v.is_ascii_uppercase() && r.is_ascii_uppercase()) {
                return Err(Refusal::new(Reason::Malformed, "the file meta information is not explicit little endian"));
            }
            let long =
                matches!(&[*v, *r], b"OB" | b"OW" | b"UN" | b"UT" | b"SQ" | b"OF" | b"OD" | b"OL" | b"UC" | b"UR");
            let (length, rest) = match rest {
                [_, _, a, b, c, d, rest @ ..] if long => (u32::from_le_bytes([*a, *b, *c, *d]), rest),
                [a, b, rest @ ..] if !long => (u32::from(u16::from_le_bytes([*a, *b])), rest),
                _ => return Err(short()),
            };
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let (value, rest) = rest.split_at_checked(length).ok_or_else(short)?;
            let text = String::from_utf8_lossy(value);
            let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
            let text = (!text.is_empty()).then(|| text.to_owned());
            match u16::from_le_bytes([*low, *high]) {
                0x0002 => meta.sop_class = text,
                0x0010 => meta.transfer_syntax = text,
                _ => {}
            }
            meta.seen = true;
            bytes = rest;
        }
        Ok((meta, bytes))
    }
}

/// Whether a file of `len` bytes that begins with `head` may be DICOM, so that no other is read to its end.
pub(crate) fn begins(head: &[u8], len: usize) -> bool {
    let marked = head.get(128..132) == Some(b"DICM") || head.starts_with(b"DICM");
    marked || head.starts_with(&[0x02, 0x00]) || guess(head, len).is_some()
}

/// The transfer syntax that the first element of a data set of `len` bytes shows, if it starts as data sets do.
fn guess(data: &[u8], len: usize) -> Option<&'static str> {
    let [a, b, c, d, v, r, ..] = data else { return None };
    let explicit = v.is_ascii_uppercase() && r.is_ascii_uppercase();
    let first_groups = [0x0001, 0x0004, 0x0008, 0x0010, 0x0018, 0x0020];
    let little = first_groups.contains(&u16::from_le_bytes([*a, *b]));
    let big = first_groups.contains(&u16::from_be_bytes([*a, *b]));
    match (explicit, little, big) {
        (true, true, _) => Some(uids::EXPLICIT_VR_LITTLE_ENDIAN),
        (true, false, true) => Some(EXPLICIT_VR_BIG_ENDIAN),
        (false, true, _) => {
            let length = u32::from_le_bytes([*v, *r, *data.get(6)?, *data.get(7)?]);
            let fits = length == u32::MAX || usize::try_from(length).is_ok_and(|length| length <= len);
            (fits && (*c, *d) != (0xFF, 0xFF)).then_some(uids::IMPLICIT_VR_LITTLE_ENDIAN)
        }
        _ => None,
    }
}

/// Why the parser failed: an end that comes too early, or anything else. The parser quotes values, which stay out.
fn refusal(error: &(dyn Error + 'static)) -> Refusal {
    let unquoted = |error: &(dyn Error + 'static)| {
        let said = error.to_string();
        said.split(['"', '`', '[']).next().unwrap_or_default().trim_end().to_owned()
    };
    let mut detail = unquoted(error);
    let mut reason = Reason::Malformed;
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let said = unquoted(error);
        if !detail.contains(&said) {
            detail = format!("{detail}: {said}");
        }
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::UnexpectedEof) {
            reason = Reason::Truncated;
        }
        cause = error.source();
    }
    Refusal::new(reason, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(bytes: &[u8]) -> Option<Reason> {
        object(bytes).err().map(|refusal| refusal.reason)
    }

    const MODALITY: &[u8] = b"\x08\x00\x60\x00CS\x02\x00CT";

    #[test]
    fn a_data_set_needs_no_preamble_and_no_meta() {
        let mut implicit = b"\x08\x00\x60\x00\x02\x00\x00\x00CT".to_vec();
        for bytes in [MODALITY, b"\x00\x08\x00\x60CS\x00\x02CT", &implicit] {
            let object = object(bytes).expect("one element");
            assert_eq!(super::super::attribute::text(&object, tags::MODALITY).as_deref(), Some("CT"));
        }
        implicit.truncate(9);
        assert_eq!(reason(&implicit), Some(Reason::Truncated));
    }

    #[test]
    fn elements_that_contradict_their_transfer_syntax_are_read_as_they_are() {
        let told = |uid: &[u8], data: &[u8]| {
            let len = [u8::try_from(uid.len()).expect("short"), 0];
            let file = [&b"DICM\x02\x00\x10\x00UI"[..], &len, uid, data].concat();
            let object = object(&file).expect("one element");
            (super::super::attribute::text(&object, tags::MODALITY), object.meta().transfer_syntax().to_owned())
        };
        let ct = Some("CT".to_owned());
        let implicit = b"\x08\x00\x60\x00\x02\x00\x00\x00CT";
        let little = b"1.2.840.10008.1.2.1\0";
        assert_eq!(told(b"1.2.840.10008.1.2\0", MODALITY), (ct.clone(), uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned()));
        assert_eq!(told(little, implicit), (ct.clone(), uids::IMPLICIT_VR_LITTLE_ENDIAN.to_owned()));
        assert_eq!(told(little, b"\x00\x08\x00\x60CS\x00\x02CT"), (ct, EXPLICIT_VR_BIG_ENDIAN.to_owned()));
    }

    #[test]
    fn a_message_that_nests_too_deep_is_refused_before_it_is_parsed() {
        let set = data_set(MODALITY, uids::EXPLICIT_VR_LITTLE_ENDIAN).expect("one element");
        assert_eq!(super::super::attribute::text(&set, tags::MODALITY).as_deref(), Some("CT"));
        let nested = b"\x08\x00\x40\x11SQ\0\0\xFF\xFF\xFF\xFF\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF".repeat(100_000);
        let refusal = data_set(&nested, uids::EXPLICIT_VR_LITTLE_ENDIAN).expect_err("too deep");
        assert_eq!((refusal.reason, refusal.detail.as_str()), (Reason::Malformed, "more than 32 nested sequences"));
    }

    #[test]
    fn what_a_parser_quotes_is_not_repeated() {
        let said = |text: &str| refusal(&std::io::Error::other(text.to_owned())).detail;
        assert_eq!(said("Invalid Date value element `20010203` at position 7"), "Invalid Date value element");
        assert_eq!(said("Unexpected token PrimitiveValue(Str(\"A^B\"))"), "Unexpected token PrimitiveValue(Str(");
        assert_eq!(said("Could not read item header"), "Could not read item header");
    }

    #[test]
    fn what_is_no_data_set_is_told_apart() {
        assert_eq!(reason(b""), Some(Reason::NotDicom));
        assert_eq!(reason(b"%PDF-1.7 and so on"), Some(Reason::NotDicom));
        assert_eq!(reason(b"DICM"), Some(Reason::Truncated));
        assert_eq!(reason(&[b"DICM", &b"\x02\x00\x10\x00UI\x14\x00"[..]].concat()), Some(Reason::Truncated));
        let unknown = [&b"DICM\x02\x00\x10\x00UI\x04\x001.2\0"[..], MODALITY].concat();
        let refusal = object(&unknown).expect_err("an unknown transfer syntax");
        assert_eq!(refusal.reason, Reason::UnsupportedTransferSyntax);
        assert_eq!(refusal.detail, "TransferSyntaxUID (0002,0010) is 1.2");
    }
}
