//! How far two masks agree: the counts behind Dice and IoU, and both.
//!
//! | | shape | unit |
//! |---|---|---|
//! | masks | `[elements]`, both of one length | not 0 is inside |
//! | Dice, IoU | | ratio in `[0, 1]` |
//!
//! Two empty masks have no ratio: whoever evaluates says what such a case means.
//!
//! Source: Dice, Measures of the Amount of Ecologic Association Between Species, Ecology 26:297-302, 1945; Jaccard,
//! New Phytologist 11:37-50, 1912.

/// Elements of two masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Elements of the first.
    pub first: usize,
    /// Elements of the second.
    pub second: usize,
    /// Elements of both.
    pub both: usize,
}

impl Counts {
    /// Twice the elements of both over the sum of each; `None` if both masks are empty.
    #[must_use]
    pub fn dice(self) -> Option<f64> {
        ratio(2 * self.both, self.first + self.second)
    }

    /// The elements of both over those of either; `None` if both masks are empty.
    #[must_use]
    pub fn iou(self) -> Option<f64> {
        ratio(self.both, self.first + self.second - self.both)
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { first: self.first + other.first, second: self.second + other.second, both: self.both + other.both }
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Counts the elements of two masks of one length.
#[must_use]
pub fn counts(a: &[u8], b: &[u8]) -> Counts {
    debug_assert_eq!(a.len(), b.len(), "two masks of one grid");
    a.iter().zip(b).fold(Counts::default(), |counts, (a, b)| {
        let (a, b) = (*a != 0, *b != 0);
        counts + Counts { first: usize::from(a), second: usize::from(b), both: usize::from(a && b) }
    })
}

/// The Dice coefficient of two masks of one length; `None` if both are empty.
///
/// # Examples
///
/// ```
/// assert_eq!(kernels::overlap::dice(&[1, 1, 0, 0], &[0, 1, 1, 0]), Some(0.5));
/// ```
#[must_use]
pub fn dice(a: &[u8], b: &[u8]) -> Option<f64> {
    counts(a, b).dice()
}

/// Intersection over union of two masks of one length; `None` if both are empty.
#[must_use]
pub fn iou(a: &[u8], b: &[u8]) -> Option<f64> {
    counts(a, b).iou()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_symmetric_and_a_mask_agrees_with_itself(pairs in vec((0_u8..3, 0_u8..3), 1..300)) {
            let (a, b): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
            prop_assert_eq!(dice(&a, &b), dice(&b, &a));
            prop_assert_eq!(iou(&a, &b), iou(&b, &a));
            if a.iter().any(|element| *element != 0) {
                prop_assert_eq!(dice(&a, &a), Some(1.0));
                prop_assert_eq!(iou(&a, &a), Some(1.0));
            }
        }

        #[test]
        fn dice_follows_from_iou(pairs in vec((0_u8..2, 0_u8..2), 1..300)) {
            let (a, b): (Vec<u8>, Vec<u8>) = pairs.into_iter().unzip();
            if let (Some(dice), Some(iou)) = (dice(&a, &b), iou(&a, &b)) {
                prop_assert!((dice - 2.0 * iou / (1.0 + iou)).abs() < 1e-12);
                prop_assert!((0.0..=1.0).contains(&dice));
            }
        }
    }

    #[test]
    fn counts_as_computed_by_hand() {
        let (a, b) = ([1, 1, 1, 0, 0], [0, 2, 1, 1, 0]);
        assert_eq!(counts(&a, &b), Counts { first: 3, second: 3, both: 2 });
        assert_eq!((dice(&a, &b), iou(&a, &b)), (Some(2.0 / 3.0), Some(0.5)));
        assert_eq!((dice(&a, &[0; 5]), iou(&[0; 5], &b)), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn two_empty_masks_have_no_ratio() {
        assert_eq!((dice(&[0; 4], &[0; 4]), iou(&[], &[])), (None, None));
    }
}
