//! Masks as the packed bits of a BINARY segmentation, and back.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `mask` | `[elements]`, frames one after another | not 0 is inside |
//! | bytes | `[ceil(elements / 8)]` | eight elements, the first in the least significant bit |
//!
//! Frames follow each other without padding: a frame whose elements are no multiple of eight ends, and the next begins,
//! within a byte. So all frames of an object are packed by one call. Unused bits of the last byte are zero. A value
//! of odd length takes another byte where it is written; that is not done here.
//!
//! Source: DICOM PS3.5 8.1.1 and PS3.3 C.8.20.2.

/// Packs a mask, eight elements to a byte.
///
/// # Examples
///
/// ```
/// use kernels::bits::{pack, unpack};
///
/// assert_eq!(pack(&[1, 0, 0, 1]), [0b1001]);
/// assert_eq!(unpack(&[0b1001], 4), [1, 0, 0, 1]);
/// ```
#[must_use]
pub fn pack(mask: &[u8]) -> Vec<u8> {
    let byte = |elements: &[u8]| {
        elements.iter().enumerate().fold(0, |byte, (bit, element)| byte | (u8::from(*element != 0) << bit))
    };
    mask.chunks(8).map(byte).collect()
}

/// The first `len` elements of packed bits, each 0 or 1; fewer if `bytes` has not as many.
#[must_use]
pub fn unpack(bytes: &[u8], len: usize) -> Vec<u8> {
    bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1)).take(len).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unpacking_what_was_packed_is_identity(mask in vec(0_u8..2, 0..600)) {
            let bytes = pack(&mask);
            prop_assert_eq!(bytes.len(), mask.len().div_ceil(8));
            prop_assert_eq!(unpack(&bytes, mask.len()), mask);
        }

        #[test]
        fn packing_what_was_unpacked_is_identity(bytes in vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(pack(&unpack(&bytes, bytes.len() * 8)), bytes);
        }

        #[test]
        fn frames_share_bytes(a in vec(0_u8..2, 1..40), b in vec(0_u8..2, 1..40)) {
            let both = [a.clone(), b.clone()].concat();
            prop_assert_eq!(unpack(&pack(&both), both.len())[a.len()..].to_vec(), b);
        }
    }

    #[test]
    fn the_first_element_is_the_least_significant_bit() {
        assert_eq!(pack(&[1, 0, 0, 0, 0, 0, 0, 0]), [0x01]);
        assert_eq!(pack(&[0, 255, 0, 0, 0, 0, 0, 2, 1]), [0x82, 0x01]);
    }

    #[test]
    fn bytes_that_are_missing_give_no_elements() {
        assert_eq!(unpack(&[0xff], 9).len(), 8);
        assert!(unpack(&[], 3).is_empty());
    }
}
