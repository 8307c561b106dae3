//! Agreement with the truth: Dice, sensitivity, specificity and AUC, of each series and of all, in counts.
//!
//! | | from | source |
//! |---|---|---|
//! | Dice | voxels of the segmenter's masks and the true ones | Dice 1945 |
//! | sensitivity, specificity | slices at or above a gate, and their labels | - |
//! | AUC | pairs of slices with and without hemorrhage | Mann and Whitney 1947; Hanley and McNeil 1982 |
//!
//! Counts are exact, so that what is taken back leaves nothing. The AUC of all slices is put together from 977 ranges of
//! 1024 probabilities each: a changed slice costs a pass over the distinct probabilities of its range and one over the
//! ranges, at most 2001 steps, however many slices there are.

use std::collections::BTreeSet;

use operators::plumbing::Collection;
use operators::record::{Role, SeriesKey, SliceOutcome};
use serde::{Deserialize, Serialize};

use super::{ratio, whole};

/// How well slices agree with the truth.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Agreement {
    /// The series; `None` for the slices of all series together.
    pub series: Option<SeriesKey>,
    /// What the results are for.
    pub role: Role,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Slices and voxels, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Counts {
    /// Voxels in the segmenter's masks and the true ones.
    pub both: u64,
    /// Voxels in the segmenter's masks only.
    pub mask_only: u64,
    /// Voxels in the true masks only.
    pub truth_only: u64,
    /// Slices with hemorrhage at or above the gate.
    pub true_positives: u64,
    /// Slices without hemorrhage at or above the gate.
    pub false_positives: u64,
    /// Slices with hemorrhage below the gate.
    pub false_negatives: u64,
    /// Slices without hemorrhage below the gate.
    pub true_negatives: u64,
    /// Twice the pairs in which the slice with hemorrhage has the higher probability; a tie counts one.
    pub half_wins: u64,
}

impl Counts {
    /// Slices with hemorrhage.
    #[must_use]
    pub fn positives(&self) -> u64 {
        self.true_positives + self.false_negatives
    }

    /// Slices without hemorrhage.
    #[must_use]
    pub fn negatives(&self) -> u64 {
        self.true_negatives + self.false_positives
    }

    /// Twice the voxels in both, by the sum of both; `None` if both are empty.
    #[must_use]
    pub fn dice(&self) -> Option<f64> {
        ratio(2 * self.both, 2 * self.both + self.mask_only + self.truth_only)
    }

    /// The share of slices with hemorrhage at or above the gate; `None` without such slices.
    #[must_use]
    pub fn sensitivity(&self) -> Option<f64> {
        ratio(self.true_positives, self.positives())
    }

    /// The share of slices without hemorrhage below the gate; `None` without such slices.
    #[must_use]
    pub fn specificity(&self) -> Option<f64> {
        ratio(self.true_negatives, self.negatives())
    }

    /// The area under the ROC curve; `None` unless there are slices with and without hemorrhage.
    #[must_use]
    pub fn auc(&self) -> Option<f64> {
        ratio(self.half_wins, 2 * self.positives() * self.negatives())
    }

    /// The counts of two sets of slices together, of which `higher` has the higher probabilities.
    #[must_use]
    fn below(self, higher: Self) -> Self {
        Self {
            both: self.both + higher.both,
            mask_only: self.mask_only + higher.mask_only,
            truth_only: self.truth_only + higher.truth_only,
            true_positives: self.true_positives + higher.true_positives,
            false_positives: self.false_positives + higher.false_positives,
            false_negatives: self.false_negatives + higher.false_negatives,
            true_negatives: self.true_negatives + higher.true_negatives,
            half_wins: self.half_wins + higher.half_wins + 2 * higher.positives() * self.negatives(),
        }
    }

    /// The counts of the slices of one probability.
    fn level(
        probability_ppm: u32,
        ((positives, negatives), (both, mask_only, truth_only)): Sums,
        gate_ppm: u32,
    ) -> Self {
        let [positives, negatives, both, mask_only, truth_only] =
            [positives, negatives, both, mask_only, truth_only].map(whole);
        let voxels = Self { both, mask_only, truth_only, half_wins: positives * negatives, ..Self::default() };
        if probability_ppm >= gate_ppm {
            Self { true_positives: positives, false_positives: negatives, ..voxels }
        } else {
            Self { false_negatives: positives, true_negatives: negatives, ..voxels }
        }
    }
}

/// Slices with and without hemorrhage; voxels in both masks, in the segmenter's only, in the true one only.
type Sums = ((isize, isize), (isize, isize, isize));

fn sums(slice: &SliceOutcome) -> Sums {
    let labels = (isize::from(slice.label == Some(true)), isize::from(slice.label == Some(false)));
    let [both, mask_only, truth_only] =
        slice.overlap.unwrap_or_default().map(|voxels| isize::try_from(voxels).unwrap_or(isize::MAX));
    (labels, (both, mask_only, truth_only))
}

/// Whose slices are counted together.
type Group = (Option<SeriesKey>, Role);

/// The definition: what [`agreement`] must equal. Looks at every pair.
#[must_use]
pub fn reference(slices: &[SliceOutcome], gate_ppm: u32) -> BTreeSet<Agreement> {
    let groups = slices.iter().flat_map(|slice| [(Some(slice.series.clone()), slice.role), (None, slice.role)]);
    let counted = |(series, role): Group| {
        let in_group =
            |slice: &&SliceOutcome| slice.role == role && series.as_ref().is_none_or(|series| slice.series == *series);
        let mut counts = Counts::default();
        for slice in slices.iter().filter(in_group) {
            let slot = match (slice.label, slice.probability_ppm >= gate_ppm) {
                (Some(true), true) => Some(&mut counts.true_positives),
                (Some(true), false) => Some(&mut counts.false_negatives),
                (Some(false), true) => Some(&mut counts.false_positives),
                (Some(false), false) => Some(&mut counts.true_negatives),
                (None, _) => None,
            };
            slot.into_iter().for_each(|slot| *slot += 1);
            let [both, mask_only, truth_only] = slice.overlap.unwrap_or_default();
            counts.both += both;
            counts.mask_only += mask_only;
            counts.truth_only += truth_only;
            let negatives = slices.iter().filter(in_group).filter(|other| other.label == Some(false));
            for other in negatives.filter(|_| slice.label == Some(true)) {
                counts.half_wins += match slice.probability_ppm.cmp(&other.probability_ppm) {
                    std::cmp::Ordering::Greater => 2,
                    std::cmp::Ordering::Equal => 1,
                    std::cmp::Ordering::Less => 0,
                };
            }
        }
        Agreement { series, role, counts }
    };
    groups.map(counted).filter(|agreement| agreement.counts != Counts::default()).collect()
}

/// Probabilities in a range, ppm: the square root of a million and a little.
const RANGE: u32 = 1024;

/// Maintains the agreement of each series and role, and of all slices of a role. A slice at or above `gate_ppm` is a
/// finding. A group without a labeled slice and without a voxel has no row.
#[must_use]
pub fn agreement<'scope>(slices: Collection<'scope, SliceOutcome>, gate_ppm: u32) -> Collection<'scope, Agreement> {
    let levels = slices.explode(|slice| {
        let (sums, level) = (sums(&slice), slice.probability_ppm);
        let groups: [Group; 2] = [(Some(slice.series), slice.role), (None, slice.role)];
        groups.map(|group| (((group, level / RANGE), level), sums))
    });
    let ranges = levels.reduce_named("Ranges", move |_range, levels, counts| {
        let levels = levels.iter().map(|(level, sums)| Counts::level(**level, *sums, gate_ppm));
        counts.extend(levels.reduce(Counts::below).map(|count| (count, 1)));
    });
    ranges
        .map(|((group, range), counts)| (group, (range, counts)))
        .reduce_named("Agreement", |_group, ranges, counts| {
            let ranges = ranges.iter().map(|((_, counts), _)| *counts);
            counts.extend(ranges.reduce(Counts::below).map(|count| (count, 1)));
        })
        .map(|((series, role), counts)| Agreement { series, role, counts })
}

#[cfg(test)]
mod tests {
    use operators::score::auc::{Confusion, auc};
    use operators::score::overlap::Overlap;
    use proptest::prelude::*;

    use super::*;
    use crate::views::law::{self, GATE_PPM};

    fn gated<'scope>(slices: Collection<'scope, SliceOutcome>) -> Collection<'scope, Agreement> {
        agreement(slices, GATE_PPM)
    }

    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "whole numbers below 2^24")]
    fn score(ppm: u32) -> f32 {
        ppm as f32
    }

    proptest! {
        #[test]
        fn is_its_reference_at_every_tick(ticks in law::slices(), stride in 1..4_usize) {
            let seen = law::states(law::diffs(&ticks), stride, gated);
            prop_assert_eq!(seen.len(), ticks.len());
            for (present, seen) in law::present(&ticks).iter().zip(&seen) {
                let present: Vec<SliceOutcome> = present.iter().cloned().collect();
                let seen: BTreeSet<Agreement> = seen.rows().cloned().collect();
                prop_assert_eq!(seen, reference(&present, GATE_PPM));
            }
        }

        #[test]
        fn scores_are_those_of_the_evaluation(ticks in law::slices()) {
            for present in law::present(&ticks) {
                let slices: Vec<SliceOutcome> = present.into_iter().filter(|slice| slice.role == Role::Active).collect();
                let all = reference(&slices, GATE_PPM).into_iter().find(|agreement| agreement.series.is_none());
                let counts = all.map(|all| all.counts).unwrap_or_default();
                let labeled: Vec<&SliceOutcome> = slices.iter().filter(|slice| slice.label.is_some()).collect();
                let scores: Vec<f32> = labeled.iter().map(|slice| score(slice.probability_ppm)).collect();
                let labels: Vec<bool> = labeled.iter().filter_map(|slice| slice.label).collect();
                prop_assert_eq!(counts.auc(), auc(&scores, &labels));
                let confusion = Confusion::at(score(GATE_PPM), &scores, &labels);
                prop_assert_eq!(counts.sensitivity(), confusion.sensitivity());
                prop_assert_eq!(counts.specificity(), confusion.specificity());
                let overlaps = slices.iter().filter_map(|slice| slice.overlap).map(|[both, mask, truth]| Overlap {
                    both, predicted: both + mask, truth: both + truth,
                });
                prop_assert_eq!(counts.dice(), overlaps.fold(Overlap::default(), Overlap::plus).dice());
            }
        }
    }
}
