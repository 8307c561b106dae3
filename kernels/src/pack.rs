//! Masks on a device as the packed bits of a BINARY segmentation.
//!
//! | | shape | unit |
//! |---|---|---|
//! | [`Bits`] | `[ceil(elements / 32)]` words | thirty-two elements, the first in the least significant bit |
//! | downloaded | `[ceil(elements / 8)]` bytes | as [`bits`](crate::bits) packs them |
//!
//! Kernels that threshold write words at once ([`cam`](crate::cam), [`backend`](crate::backend)): a byte a cell would be
//! eight times the memory, and eight times the transfer. Frames follow each other without padding.
//!
//! Source: DICOM PS3.5 8.1.1 and PS3.3 C.8.20.2.

use crate::array::Array;
use crate::bits::{pack, unpack};
use crate::device::Client;
use crate::error::KernelError;
use crate::launch::check;

/// A mask on a device, one bit an element. Bits beyond the last element are zero.
#[derive(Clone, Debug)]
pub struct Bits {
    words: Array<u32>,
    len: usize,
}

impl Bits {
    /// Packs a mask, not 0 inside, and copies it to the device.
    #[must_use]
    pub fn upload(client: &Client, mask: &[u8]) -> Self {
        let mut bytes = pack(mask);
        bytes.resize(bytes.len().next_multiple_of(size_of::<u32>()), 0);
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        Self { words: Array::upload(client, &words), len: mask.len() }
    }

    /// The mask of `len` elements in `words`, whose further bits are zero.
    ///
    /// # Errors
    ///
    /// Returns [`KernelError::Length`] if the words are not as many as the elements need.
    pub fn new(words: Array<u32>, len: usize) -> Result<Self, KernelError> {
        check("pack", "words", words.len(), len.div_ceil(32))?;
        Ok(Self { words, len })
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The words.
    #[must_use]
    pub fn words(&self) -> &Array<u32> {
        &self.words
    }

    /// Waits for the device and copies the packed bytes back: the value of a SEG's Pixel Data, but for its padding.
    ///
    /// # Errors
    ///
    /// Returns [`KernelError::Device`] if the device fails.
    pub fn download(&self) -> Result<Vec<u8>, KernelError> {
        let mut bytes: Vec<u8> = self.words.download()?.into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.truncate(self.len.div_ceil(8));
        Ok(bytes)
    }

    /// Waits for the device and gives the elements, each 0 or 1.
    ///
    /// # Errors
    ///
    /// Returns [`KernelError::Device`] if the device fails.
    pub fn unpacked(&self) -> Result<Vec<u8>, KernelError> {
        Ok(unpack(&self.download()?, self.len))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::compare::client;

    proptest! {
        #[test]
        fn words_are_the_bytes_of_packed_bits(mask in vec(0_u8..2, 0..300)) {
            let mut bytes = pack(&mask);
            bytes.resize(mask.len().div_ceil(32) * 4, 0);
            let words: Vec<u32> =
                bytes.chunks(4).map(|word| word.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte))).collect();
            for bits in [Bits::new(Array::upload(&client(), &words), mask.len()).expect("bits"), Bits::upload(&client(), &mask)] {
                prop_assert_eq!(bits.download().expect("bytes"), pack(&mask));
                prop_assert_eq!(bits.unpacked().expect("a mask"), mask.clone());
                prop_assert_eq!(bits.words().len(), words.len());
            }
        }
    }

    #[test]
    fn refuses_words_that_are_not_the_elements() {
        assert!(Bits::new(Array::upload(&client(), &[0, 0]), 32).is_err());
        assert!(Bits::new(Array::upload(&client(), &[0]), 33).is_err());
    }
}
