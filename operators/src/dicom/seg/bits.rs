//! Voxels as bits: the pixel data of a BINARY segmentation.
//!
//! Source: PS3.5 section 8.1.1 and annex D: voxel 0 is the lowest bit of byte 0, and a frame starts at the bit after the
//! last of the frame before it.

/// Packs masks, one after the other, nonzero voxels as 1. The length is even, as that of every value.
pub(super) fn pack<'a>(masks: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut byte, mut bit) = (0_u8, 0_u32);
    for voxel in masks.flatten() {
        byte |= u8::from(*voxel != 0) << bit;
        bit += 1;
        if bit == u8::BITS {
            bytes.push(byte);
            (byte, bit) = (0, 0);
        }
    }
    if bit > 0 {
        bytes.push(byte);
    }
    if !bytes.len().is_multiple_of(2) {
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_voxel_is_the_lowest_bit() {
        let masks: [&[u8]; 2] = [&[1, 0, 0, 0, 0, 0, 0, 0, 0], &[255, 0, 1]];
        assert_eq!(pack(masks.into_iter()), [0b0000_0001, 0b0000_1010]);
        assert_eq!(pack([&[1_u8][..]].into_iter()), [1, 0]);
    }

    proptest! {
        #[test]
        fn every_voxel_is_found_again(masks in prop::collection::vec(prop::collection::vec(0..3_u8, 0..40), 0..5)) {
            let voxels: Vec<u8> = masks.concat();
            let bytes = pack(masks.iter().map(Vec::as_slice));
            prop_assert_eq!(bytes.len(), voxels.len().div_ceil(16) * 2);
            for at in 0..bytes.len() * 8 {
                let bit = bytes[at / 8] >> (at % 8) & 1;
                prop_assert_eq!(bit != 0, voxels.get(at).is_some_and(|voxel| *voxel != 0));
            }
        }
    }
}
