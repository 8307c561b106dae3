//! Table E.1-1 of DICOM PS3.15, edition 2026c, column "Basic Profile": what becomes of each attribute.
//!
//! `table.tsv` holds the rows of single tags. Those of groups are here: curves (50xx) and overlays (60xx) are removed, and
//! so is whatever is private.

use std::collections::HashMap;
use std::sync::LazyLock;

use dicom_core::Tag;

/// What the table allows for an attribute; of several, which one depends on the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Codes {
    /// X.
    pub(super) remove: bool,
    /// Z.
    pub(super) empty: bool,
    /// D.
    pub(super) dummy: bool,
    /// U.
    pub(super) identify: bool,
}

impl Codes {
    /// The codes as the table writes them, as `X/Z/D`.
    fn parse(text: &str) -> Option<Self> {
        let mut codes = Self::default();
        for code in text.split('/') {
            let known = match code {
                "X" => &mut codes.remove,
                "Z" => &mut codes.empty,
                "D" => &mut codes.dummy,
                "U" | "U*" => &mut codes.identify,
                _ => return None,
            };
            *known = true;
        }
        Some(codes)
    }
}

static TABLE: LazyLock<HashMap<Tag, Codes>> = LazyLock::new(|| rows().collect());

/// What the table says of an attribute; `None` if it is not listed.
pub(super) fn codes(tag: Tag) -> Option<Codes> {
    const REMOVED: Codes = Codes { remove: true, empty: false, dummy: false, identify: false };
    let group = tag.group();
    if matches!(group, 0x5000..=0x50FF | 0x6000..=0x60FF) || group % 2 == 1 {
        return Some(REMOVED);
    }
    TABLE.get(&tag).copied()
}

/// The rows of single tags.
pub(super) fn rows() -> impl Iterator<Item = (Tag, Codes)> {
    include_str!("table.tsv").lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut columns = line.split('\t');
        let tag = u32::from_str_radix(columns.next()?, 16).ok()?;
        let halves = (u16::try_from(tag >> 16).ok()?, u16::try_from(tag & 0xFFFF).ok()?);
        Some((Tag::from(halves), Codes::parse(columns.next()?)?))
    })
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::tags;

    use super::*;

    #[test]
    fn every_line_is_a_row_of_its_own() {
        let lines = include_str!("table.tsv").lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!((rows().count(), TABLE.len()), (lines, lines));
        assert!(lines > 600, "{lines}");
    }

    #[test]
    fn well_known_attributes_have_their_codes() {
        let told = |tag| codes(tag).map(|codes| [codes.remove, codes.empty, codes.dummy, codes.identify]);
        assert_eq!(told(tags::PATIENT_NAME), Some([false, true, false, false]));
        assert_eq!(told(tags::PATIENT_ID), Some([false, true, true, false]));
        assert_eq!(told(tags::INSTITUTION_NAME), Some([true, true, true, false]));
        assert_eq!(told(tags::STUDY_INSTANCE_UID), Some([false, false, false, true]));
        assert_eq!(told(tags::SOURCE_IMAGE_SEQUENCE), Some([true, true, false, true]));
        assert_eq!(told(Tag(0x0009, 0x1001)), Some([true, false, false, false]));
        assert_eq!((told(tags::PIXEL_DATA), told(tags::SOP_CLASS_UID), told(tags::KVP)), (None, None, None));
    }
}
