//! How many elements two masks share: the counts behind Dice, intersection over union and volumes.
//!
//! | | shape | unit |
//! |---|---|---|
//! | masks | `[elements]`, for example `[depth, rows, columns]` | not 0 is inside |
//! | result | [`Overlap`] | elements |
//!
//! Counting reads each byte once, at the pace of a copy; a device would first have to be sent them. So it stays on the
//! host.

/// Elements of two masks, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Inside both.
    pub both: u64,
    /// Inside the first.
    pub first: u64,
    /// Inside the second.
    pub second: u64,
}

/// The definition: what [`overlap`] must equal.
#[must_use]
pub fn reference(first: &[u8], second: &[u8]) -> Overlap {
    let mut counts = Overlap::default();
    for (a, b) in first.iter().zip(second) {
        counts.both += u64::from(*a != 0 && *b != 0);
        counts.first += u64::from(*a != 0);
        counts.second += u64::from(*b != 0);
    }
    counts
}

/// Elements that are counted side by side.
const LANES: usize = 32;

/// Counts the elements of two masks of one length; of the shorter one's if they differ.
///
/// # Examples
///
/// ```
/// use kernels::overlap::{Overlap, overlap};
///
/// assert_eq!(overlap(&[1, 1, 0], &[0, 3, 3]), Overlap { both: 1, first: 2, second: 2 });
/// ```
#[must_use]
pub fn overlap(first: &[u8], second: &[u8]) -> Overlap {
    let len = first.len().min(second.len());
    let (first, first_rest) = first[..len].as_chunks::<LANES>();
    let (second, second_rest) = second[..len].as_chunks::<LANES>();
    let mut counts = reference(first_rest, second_rest);
    // A lane counts in a byte, so often that it cannot overflow.
    for (first, second) in first.chunks(255).zip(second.chunks(255)) {
        let mut lanes = [[0_u8; LANES]; 3];
        for (first, second) in first.iter().zip(second) {
            for lane in 0..LANES {
                let (a, b) = (u8::from(first[lane] != 0), u8::from(second[lane] != 0));
                lanes[0][lane] += a & b;
                lanes[1][lane] += a;
                lanes[2][lane] += b;
            }
        }
        let [both, first, second] = lanes.map(|lanes| lanes.iter().map(|count| u64::from(*count)).sum::<u64>());
        counts.both += both;
        counts.first += first;
        counts.second += second;
    }
    counts
}

/// Bytes that counting moves, and the fewest: each mask once.
#[must_use]
pub const fn bytes(elements: usize) -> usize {
    2 * elements
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_its_reference(
            len in prop_oneof![Just(0_usize), Just(LANES), Just(LANES * 255), 0_usize..20_000],
            seed in vec((0_u8..3, prop_oneof![Just(0_u8), any::<u8>()]), 1..40),
        ) {
            let (first, second): (Vec<u8>, Vec<u8>) = seed.into_iter().cycle().take(len).unzip();
            prop_assert_eq!(overlap(&first, &second), reference(&first, &second));
            let inside = second.iter().filter(|element| **element != 0).count() as u64;
            prop_assert_eq!(overlap(&second, &second), Overlap { both: inside, first: inside, second: inside });
        }
    }

    #[test]
    fn full_masks_do_not_overflow_a_lane() {
        let full = vec![255; 3 * 512 * 512];
        let all = full.len() as u64;
        assert_eq!(overlap(&full, &full), Overlap { both: all, first: all, second: all });
        assert_eq!(overlap(&full, &full[..100]).both, 100);
    }
}
