//! What is kept, what is refused, and the law that a parser reads what has an outline where it is.

use std::io::Read;

use dicom_dictionary_std::uids;
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use proptest::prelude::*;

use super::*;
use crate::dicom::part10::EXPLICIT_VR_BIG_ENDIAN;

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

#[test]
fn lengths_around_what_is_left_out_hold_for_the_rest() {
    let nested = |encoding: Encoding, content: &[u8]| {
        let len = |count: usize| {
            let count = u32::try_from(count).expect("short");
            if encoding == Encoding::ExplicitBig { count.to_be_bytes() } else { count.to_le_bytes() }
        };
        let (item, sequence): (&[u8], &[u8]) = match encoding {
            Encoding::ExplicitBig => (b"\xFF\xFE\xE0\x00", b"\x00\x08\x11\x40SQ\0\0"),
            Encoding::ImplicitLittle | Encoding::ExplicitLittle => (b"\xFE\xFF\x00\xE0", b"\x08\x00\x40\x11SQ\0\0"),
        };
        let inner = [item, &len(content.len()), content].concat();
        [sequence, &len(inner.len()), &inner].concat()
    };
    let cases = [
        (Encoding::ExplicitLittle, MODALITY, UNKNOWN),
        (
            Encoding::ExplicitBig,
            b"\x00\x08\x00\x60CS\x00\x02CT",
            b"\x00\x09\x10\x10UN\0\0\xFF\xFF\xFF\xFF\xFE\xFF\xDD\xE0\0\0\0\0",
        ),
    ];
    for (encoding, known, unknown) in cases {
        let twice = |content: &[u8]| [&nested(encoding, &nested(encoding, content)), known].concat();
        let kept = trim(&twice(&[unknown, known, unknown].concat()), encoding).map(Cow::into_owned);
        assert_eq!(kept, Ok(twice(known)), "{encoding:?}");
    }
}

#[test]
fn what_a_parser_would_read_from_another_place_is_refused() {
    let part = b"\x00\x00\x00\x00\x05\0\0\0\x01\x02\x03\x04\x05";
    let refusal = trim(part, Encoding::ImplicitLittle).expect_err("five bytes");
    let told = "CommandGroupLength (0000,0000) has 5 bytes, which are no whole number of values of 4";
    assert_eq!((refusal.reason, refusal.detail.as_str()), (Reason::Malformed, told));

    let ends_early = b"\x08\x00\x40\x11SQ\0\0\x12\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0\x08\x00\x60\x00CS\x02\x00CT";
    let refusal = trim(ends_early, Encoding::ExplicitLittle).expect_err("the end of a sequence, and more");
    assert_eq!(refusal.detail, "tag (FFFE,E0DD) where none may be");
    let ends_twice = b"\x08\x00\x40\x11SQ\0\0\x08\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0";
    assert_eq!(trim(ends_twice, Encoding::ExplicitLittle).map(Cow::into_owned), Ok(ends_twice.to_vec()));
}

/// A part of a data set, right or wrong.
#[derive(Clone, Debug)]
enum Part {
    Value(Tag, VR, Vec<u8>),
    /// One item; whether its length is told, and that of the sequence.
    Sequence(Tag, VR, Vec<Part>, [bool; 2]),
    /// A delimiter or an item, and its length.
    Mark(Tag, u32),
}

fn number(value: u32, encoding: Encoding) -> [u8; 4] {
    if encoding == Encoding::ExplicitBig { value.to_be_bytes() } else { value.to_le_bytes() }
}

fn header(tag: Tag, vr: VR, len: u32, encoding: Encoding) -> Vec<u8> {
    let [a, b, c, d] = number(u32::from(tag.group()) << 16 | u32::from(tag.element()), encoding);
    let tag_bytes = if encoding == Encoding::ExplicitBig { [a, b, c, d] } else { [c, d, a, b] };
    let plain = encoding == Encoding::ImplicitLittle || tag.group() == ITEM.group();
    let len = number(len, encoding);
    match (plain, has_short_length(vr), encoding == Encoding::ExplicitBig) {
        (true, ..) => [tag_bytes, len].concat(),
        (false, true, true) => [&tag_bytes, vr.to_string().as_bytes(), &len[2..]].concat(),
        (false, true, false) => [&tag_bytes, vr.to_string().as_bytes(), &len[..2]].concat(),
        (false, false, _) => [&tag_bytes, vr.to_string().as_bytes(), &[0, 0], &len].concat(),
    }
}

impl Part {
    fn write(&self, encoding: Encoding) -> Vec<u8> {
        let wrapped = |head: (Tag, VR), content: &[u8], told: bool, end: Tag| {
            let len = if told { u32::try_from(content.len()).expect("short") } else { u32::MAX };
            let end = if told { Vec::new() } else { header(end, VR::UN, 0, encoding) };
            [&header(head.0, head.1, len, encoding), content, &end].concat()
        };
        match self {
            Self::Value(tag, vr, bytes) => wrapped((*tag, *vr), bytes, true, ITEM_END),
            Self::Sequence(tag, vr, parts, [item_is_told, sequence_is_told]) => {
                let content = parts.iter().map(|part| part.write(encoding)).collect::<Vec<_>>().concat();
                let item = wrapped((ITEM, VR::UN), &content, *item_is_told, ITEM_END);
                wrapped((*tag, *vr), &item, *sequence_is_told, SEQUENCE_END)
            }
            Self::Mark(tag, len) => header(*tag, VR::UN, *len, encoding),
        }
    }
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    /// Numbers of two, four and eight bytes, numbers of either sign, text, no entry of the dictionary, pixels.
    const TAGS: [Tag; 8] = [
        tags::ROWS,
        tags::SIMPLE_FRAME_LIST,
        tags::ACQUISITION_DURATION,
        tags::SMALLEST_IMAGE_PIXEL_VALUE,
        tags::MODALITY,
        Tag(0x0009, 0x1010),
        Tag(0x6000, 0x3000),
        tags::PIXEL_DATA,
    ];
    const VRS: [VR; 10] = [VR::US, VR::UL, VR::FD, VR::SS, VR::CS, VR::UN, VR::OW, VR::OB, VR::AT, VR::SQ];
    let tag = || prop::sample::select(&TAGS[..]);
    let vr = || prop::sample::select(&VRS[..]);
    let mark =
        (prop::sample::select(&[ITEM, ITEM_END, SEQUENCE_END][..]), prop::sample::select(&[0_u32, 0, 8, 12][..]));
    // Within values, what would be headers of values that are not there.
    let pieces: Vec<Vec<u8>> = [Encoding::ImplicitLittle, Encoding::ExplicitLittle, Encoding::ExplicitBig]
        .into_iter()
        .flat_map(|encoding| [VR::UL, VR::OB].map(|vr| header(tags::SIMPLE_FRAME_LIST, vr, 0xFF00, encoding)))
        .chain([vec![0], vec![0; 8]])
        .collect();
    let bytes = prop::collection::vec(prop::sample::select(pieces), 0..5).prop_map(|pieces| pieces.concat());
    let value = (tag(), vr(), bytes).prop_map(|(tag, vr, bytes)| Part::Value(tag, vr, bytes));
    let part = prop_oneof![4 => value, 1 => mark.prop_map(|(tag, len)| Part::Mark(tag, len))];
    let part = part.prop_recursive(3, 16, 3, move |inner| {
        let sequence =
            (tag(), prop_oneof![2 => Just(VR::SQ), 1 => vr()], prop::collection::vec(inner, 0..3), any::<[bool; 2]>());
        sequence.prop_map(|(tag, vr, parts, told)| Part::Sequence(tag, vr, parts, told))
    });
    prop::collection::vec(part, 0..5)
}

/// What the parser reads ahead; a length that lies is longer.
const AHEAD: usize = 8 << 10;

/// Bytes that remember whether more of them were asked for than there are.
struct Watched<'a> {
    left: &'a [u8],
    /// The most that was asked for beyond what was left.
    beyond: &'a mut usize,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        *self.beyond = buffer.len().saturating_sub(self.left.len()).max(*self.beyond);
        self.left.read(buffer)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// A parser makes room for what it then asks for: it asks for nothing that is not there, but for what it reads ahead.
    #[test]
    fn what_has_an_outline_is_parsed_where_it_is(
        parts in parts(),
        (encoding, syntax) in prop::sample::select(vec![
            (Encoding::ImplicitLittle, uids::IMPLICIT_VR_LITTLE_ENDIAN),
            (Encoding::ExplicitLittle, uids::EXPLICIT_VR_LITTLE_ENDIAN),
            (Encoding::ExplicitBig, EXPLICIT_VR_BIG_ENDIAN),
        ]),
    ) {
        let data = parts.iter().map(|part| part.write(encoding)).collect::<Vec<_>>().concat();
        if let Ok(outlined) = trim(&data, encoding) {
            let mut beyond = 0;
            let watched = Watched { left: &outlined, beyond: &mut beyond };
            // What it reads, or why not, is its own affair.
            drop(InMemDicomObject::read_dataset_with_ts(watched, TransferSyntaxRegistry.get(syntax).expect("known")));
            prop_assert!(beyond <= AHEAD, "{beyond} bytes beyond the end: {outlined:02X?}");
        }
    }
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
