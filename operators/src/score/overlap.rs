//! How well two masks overlap: Dice, intersection over union, sensitivity, from counts of voxels.
//!
//! A voxel that is not 0 is inside. Where both masks are empty no measure of overlap has a value; where only the truth
//! is, the slice or volume counts for specificity, not for overlap; where only the prediction is, overlap is 0.

/// Voxels of a prediction and a truth, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Inside both.
    pub both: u64,
    /// Inside the prediction.
    pub predicted: u64,
    /// Inside the truth.
    pub truth: u64,
}

impl Overlap {
    /// Counts the voxels of two masks; `None` if they differ in size.
    #[must_use]
    pub fn of(predicted: &[u8], truth: &[u8]) -> Option<Self> {
        if predicted.len() != truth.len() {
            return None;
        }
        let kernels::overlap::Overlap { both, first, second } = kernels::overlap::overlap(predicted, truth);
        Some(Self { both, predicted: first, truth: second })
    }

    /// Counts the voxels of two masks, of which the truth is inside where `inside` holds of its value; `None` if they
    /// differ in size.
    #[must_use]
    pub fn with(predicted: &[u8], truth: &[u8], inside: impl Fn(u8) -> bool) -> Option<Self> {
        if predicted.len() != truth.len() {
            return None;
        }
        let mut counts = Self::default();
        for (p, t) in predicted.iter().zip(truth) {
            let (p, t) = (*p != 0, inside(*t));
            counts.both += u64::from(p && t);
            counts.predicted += u64::from(p);
            counts.truth += u64::from(t);
        }
        Some(counts)
    }

    /// The counts of two parts of a volume together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            both: self.both + other.both,
            predicted: self.predicted + other.predicted,
            truth: self.truth + other.truth,
        }
    }

    /// Twice the voxels in both, by the sum of both: `None` if both are empty.
    #[must_use]
    pub fn dice(&self) -> Option<f64> {
        super::auc::share(2 * self.both, self.predicted + self.truth)
    }

    /// The voxels in both, by those in either: `None` if both are empty.
    #[must_use]
    pub fn iou(&self) -> Option<f64> {
        super::auc::share(self.both, self.predicted + self.truth - self.both)
    }

    /// Share of the truth that was found: `None` if the truth is empty.
    #[must_use]
    pub fn sensitivity(&self) -> Option<f64> {
        super::auc::share(self.both, self.truth)
    }
}

/// Dice of two masks; `None` if both are empty or they differ in size.
#[must_use]
pub fn dice(predicted: &[u8], truth: &[u8]) -> Option<f64> {
    Overlap::of(predicted, truth)?.dice()
}

/// Intersection over union of two masks; `None` if both are empty or they differ in size.
#[must_use]
pub fn iou(predicted: &[u8], truth: &[u8]) -> Option<f64> {
    Overlap::of(predicted, truth)?.iou()
}

/// The voxels that are in either mask.
#[must_use]
pub fn union(a: &[u8], b: &[u8]) -> Vec<u8> {
    a.iter().zip(b).map(|(a, b)| u8::from(*a != 0 || *b != 0)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masks() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        proptest::collection::vec((0_u8..2, 0_u8..3), 0..60).prop_map(|voxels| voxels.into_iter().unzip())
    }

    proptest! {
        #[test]
        fn dice_is_symmetric_in_its_bounds_and_follows_from_iou((a, b) in masks()) {
            prop_assert_eq!(dice(&a, &b), dice(&b, &a));
            if let (Some(dice), Some(iou)) = (dice(&a, &b), iou(&a, &b)) {
                prop_assert!((0.0..=1.0).contains(&dice) && iou <= dice);
                prop_assert!((dice - 2.0 * iou / (1.0 + iou)).abs() < 1e-12);
            }
        }

        #[test]
        fn any_value_but_zero_is_inside((a, b) in masks()) {
            prop_assert_eq!(Overlap::of(&a, &b), Overlap::with(&a, &b, |value| value != 0));
        }

        #[test]
        fn a_mask_overlaps_itself_wholly((a, _) in masks()) {
            prop_assert_eq!(dice(&a, &a), a.iter().any(|voxel| *voxel != 0).then_some(1.0));
        }

        #[test]
        fn a_union_finds_no_less((a, b) in masks()) {
            let both = union(&a, &b);
            let found = |mask: &[u8]| Overlap::of(mask, &b).and_then(|overlap| overlap.sensitivity());
            prop_assert!(found(&both) >= found(&a));
        }
    }

    #[test]
    fn empty_masks_have_no_overlap_and_missed_ones_none() {
        assert_eq!(dice(&[0, 0], &[0, 0]), None);
        assert_eq!(dice(&[0, 0], &[0, 5]), Some(0.0));
        assert_eq!(dice(&[1, 0], &[0, 0]), Some(0.0));
        assert_eq!(dice(&[1], &[1, 0]), None);
    }

    #[test]
    fn two_squares_that_share_half() {
        let overlap = Overlap::of(&[1, 1, 0], &[0, 3, 3]);
        assert_eq!(overlap, Some(Overlap { both: 1, predicted: 2, truth: 2 }));
        assert_eq!(overlap.and_then(|overlap| overlap.dice()), Some(0.5));
    }
}
