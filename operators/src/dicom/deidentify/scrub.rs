//! Comments in compressed pixels: blanked where they stand, so that no offset changes.
//!
//! Source: ITU-T T.81 annex B (JPEG: COM, APPn), T.87 (JPEG-LS, the same markers), T.800 annex A (JPEG 2000: COM). Segments in
//! front of the first scan or tile are looked at.

use std::ops::Range;

use dicom_core::value::PixelFragmentSequence;

/// The fragments with blanked comments.
pub(super) fn scrubbed(pixels: &PixelFragmentSequence<Vec<u8>>) -> PixelFragmentSequence<Vec<u8>> {
    let fragments = pixels.fragments().iter().map(|fragment| {
        let mut fragment = fragment.clone();
        for said in comments(&fragment) {
            fragment.get_mut(said).unwrap_or_default().fill(0);
        }
        fragment
    });
    PixelFragmentSequence::new(pixels.offset_table().to_vec(), fragments.collect::<Vec<_>>())
}

/// Where a codestream holds what no decoder needs; nowhere, if the bytes begin none.
fn comments(bytes: &[u8]) -> Vec<Range<usize>> {
    let jpeg_2000 = match bytes {
        [0xFF, 0xD8, ..] => false,
        [0xFF, 0x4F, ..] => true,
        _ => return Vec::new(),
    };
    let (mut found, mut at) = (Vec::new(), 2);
    while let Some([0xFF, marker, high, low]) = bytes.get(at..at + 4) {
        let end = at + 2 + usize::from(u16::from_be_bytes([*high, *low]));
        match (jpeg_2000, marker) {
            // A scan, a tile: what follows is pixels.
            (false, 0xDA) | (true, 0x90) => break,
            // A fill byte.
            (false, 0xFF) => {
                at += 1;
                continue;
            }
            (false, 0xFE) => found.push(at + 4..end),
            // What the first application segments of JFIF and Adobe say of color, and what JPEG-LS says there, is needed.
            (false, 0xE0..=0xEF) if ![0xE0, 0xE8, 0xEE].contains(marker) => found.push(at + 4..end),
            // Two bytes say whether it is text.
            (true, 0x64) => found.push((at + 6).min(end)..end),
            _ => {}
        }
        at = end.max(at + 2);
    }
    found.retain(|said| said.start < said.end && said.end <= bytes.len());
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len() + 2).expect("short").to_be_bytes();
        [&[0xFF, marker], &length[..], content].concat()
    }

    #[test]
    fn comments_and_foreign_segments_are_blanked_and_nothing_else() {
        let jpeg = [
            vec![0xFF, 0xD8],
            segment(0xE0, b"JFIF"),
            segment(0xE1, b"Exif SMITH"),
            segment(0xFE, b"SMITH"),
            segment(0xC3, b"frame"),
            segment(0xDA, b"scan"),
            segment(0xFE, b"no segment but pixels"),
        ];
        let pixels = PixelFragmentSequence::new(vec![0_u32], vec![jpeg.concat()]);
        let scrubbed = scrubbed(&pixels);
        let mut expected = jpeg;
        expected[2] = segment(0xE1, &[0; 10]);
        expected[3] = segment(0xFE, &[0; 5]);
        assert_eq!(scrubbed.fragments(), [expected.concat()]);
        assert_eq!(scrubbed.offset_table(), [0]);
        let jpeg_2000 =
            [vec![0xFF, 0x4F], segment(0x51, b"size"), segment(0x64, b"\x00\x01SMITH"), segment(0x90, b"tile")];
        let [said] = &comments(&jpeg_2000.concat())[..] else { panic!("one comment") };
        assert_eq!(jpeg_2000.concat().get(said.clone()), Some(&b"SMITH"[..]));
        assert!(comments(b"RLE or a later fragment").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(mut bytes in prop::collection::vec(any::<u8>(), 0..200), jpeg_2000 in any::<bool>()) {
            bytes.splice(0..0, [0xFF, if jpeg_2000 { 0x4F } else { 0xD8 }]);
            prop_assert!(comments(&bytes).iter().all(|said| said.start > 2 && said.end <= bytes.len()));
        }
    }
}
