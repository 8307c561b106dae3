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
    let (words, rest) = mask.as_chunks::<WORD>();
    let mut bytes = vec![0; mask.len().div_ceil(8)];
    let (whole, last) = bytes.split_at_mut(8 * words.len());
    let whole = whole.as_chunks_mut().0.iter_mut();
    whole.zip(words).for_each(|(bytes, elements)| *bytes = whole_word(elements).to_le_bytes());
    last.copy_from_slice(&word(rest).to_le_bytes()[..last.len()]);
    bytes
}

/// [`pack`] by its definition, a bit at a time.
#[must_use]
pub fn pack_reference(mask: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; mask.len().div_ceil(8)];
    for (index, element) in mask.iter().enumerate() {
        bytes[index / 8] |= u8::from(*element != 0) << (index % 8);
    }
    bytes
}

/// The first `len` elements of packed bits, each 0 or 1; fewer if `bytes` has not as many.
#[must_use]
pub fn unpack(bytes: &[u8], len: usize) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(len.div_ceil(8))];
    let mut elements = Vec::with_capacity(8 * bytes.len());
    bytes.iter().for_each(|byte| elements.extend_from_slice(&spread(*byte)));
    elements.truncate(len);
    elements
}

/// Elements of a word of bits.
pub(crate) const WORD: usize = 64;

/// At most as many elements as a word has bits, the first in the least significant bit.
#[inline]
pub(crate) fn word(elements: &[u8]) -> u64 {
    if let Ok(elements) = elements.try_into() {
        return whole_word(elements);
    }
    let (eights, rest) = elements.as_chunks::<8>();
    let bytes = eights.iter().map(eight);
    let whole = bytes.enumerate().fold(0, |word, (at, byte)| word | u64::from(byte) << (8 * at));
    rest.iter()
        .enumerate()
        .fold(whole, |word, (at, element)| word | u64::from(*element != 0) << (8 * eights.len() + at))
}

/// As many elements as a word has bits.
#[inline]
fn whole_word(elements: &[u8; WORD]) -> u64 {
    let parts = elements.as_chunks::<16>().0.iter().rev();
    parts.fold(0, |word, part| word << 16 | u64::from(sixteen(part)))
}

/// Sixteen elements as sixteen bits: each processor of this kind has an instruction for that.
#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(clippy::cast_sign_loss, reason = "the low sixteen bits are the answer, whatever the sign")]
fn sixteen(elements: &[u8; 16]) -> u16 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_setzero_si128};

    #[inline]
    #[target_feature(enable = "sse2")]
    fn zeros(elements: u128) -> i32 {
        let elements = _mm_set_epi64x((elements >> 64) as i64, elements as i64);
        _mm_movemask_epi8(_mm_cmpeq_epi8(elements, _mm_setzero_si128()))
    }
    // SAFETY: SSE2 is a part of x86-64.
    !(unsafe { zeros(u128::from_le_bytes(*elements)) } as u16)
}

/// Sixteen elements as sixteen bits.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn sixteen(elements: &[u8; 16]) -> u16 {
    let [low, high] = [0, 8].map(|first| eight(&std::array::from_fn(|at| elements[first + at])));
    u16::from_le_bytes([low, high])
}

/// Eight elements as eight bits.
#[inline]
fn eight(elements: &[u8; 8]) -> u8 {
    gathered(ones(u64::from_le_bytes(*elements)))
}

/// The elements of a word of bits, each 0 or 1.
#[inline]
pub(crate) fn elements(word: u64) -> [u8; WORD] {
    let mut elements = [0; WORD];
    for (eight, byte) in elements.as_chunks_mut::<8>().0.iter_mut().zip(word.to_le_bytes()) {
        *eight = spread(byte);
    }
    elements
}

/// The bits of a byte, each as 0 or 1.
#[inline]
fn spread(byte: u8) -> [u8; 8] {
    // Each byte of a word keeps its own bit of the eight.
    ones((u64::from(byte) * EACH) & 0x8040_2010_0804_0201).to_le_bytes()
}

/// One in each byte of a word.
const EACH: u64 = 0x0101_0101_0101_0101;

/// One in each byte of a word that is not zero.
#[inline]
fn ones(word: u64) -> u64 {
    // Adding 127 to seven bits carries into the eighth unless they are zero.
    let low = 0x7f * EACH;
    ((((word & low) + low) | word) >> 7) & EACH
}

/// The eight bytes of a word, each 0 or 1, as eight bits.
#[inline]
fn gathered(ones: u64) -> u8 {
    // Byte `i` times bit `7 * (8 - i)` lands on bit `56 + i`; no two bytes meet on a bit below.
    (ones.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packing_equals_its_reference(mask in vec(prop_oneof![Just(0), any::<u8>()], 0..600)) {
            prop_assert_eq!(pack(&mask), pack_reference(&mask));
        }

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
        fn a_word_is_packed_as_bytes_are(mask in vec(any::<u8>(), 0..=WORD)) {
            let mut bytes = pack(&mask);
            bytes.resize(8, 0);
            prop_assert_eq!(word(&mask).to_le_bytes().to_vec(), bytes);
            prop_assert_eq!(elements(word(&mask))[..mask.len()].to_vec(), unpack(&pack(&mask), mask.len()));
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
