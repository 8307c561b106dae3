//! The protocol of INSTANCE 2022: a case is a volume, each metric a mean over cases.
//!
//! | case | convention |
//! |---|---|
//! | both masks empty | true negative: no overlap, no distance |
//! | truth empty, prediction not | no overlap, no distance; counts for specificity, its volume as false positive mL |
//! | prediction empty, truth not | Dice 0, surface Dice 0, relative volume difference 1, Hausdorff distance infinite, at 95 % the penalty |
//!
//! Source: the challenge's published scoring (Dice with 1e-5 added above and below, surface Dice at 0.42 mm, robust Hausdorff
//! distance); the 95 % distance and its penalty are of the Horizon entry, not of the organisers.

use kernels::components::components3;
use serde::{Deserialize, Serialize};

use super::Mean;
use super::overlap::Overlap;
use super::surface::SurfaceDistances;

/// Within this distance surfaces count as one, mm: the pixel spacing of most cases of the challenge.
pub const TOLERANCE_MM: f64 = 0.42;
/// What the 95 % distance of an empty prediction counts as, mm.
pub const PENALTY_MM: f64 = 373.128;

/// A volume and its truth.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// `[depth, rows, columns]`, not 0 is inside.
    pub truth: Vec<u8>,
    /// The same.
    pub prediction: Vec<u8>,
    /// The size of both.
    pub shape: [usize; 3],
    /// The distance of voxels, in the same order, mm.
    pub spacing_mm: [f64; 3],
}

/// What a case is, by who found something in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing is there, and nothing was found.
    TrueNegative,
    /// Nothing is there, and this much was found, mL.
    FalsePositive(f64),
    /// Something is there.
    Scored(CaseScores),
}

/// The scores of a case that has something to find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CaseScores {
    /// Overlap of the volumes.
    pub dice: f64,
    /// Difference of the volumes by the true one, without its sign.
    pub relative_volume_difference: f64,
    /// Overlap of the surfaces within [`TOLERANCE_MM`].
    pub surface_dice: f64,
    /// Infinite if nothing was found, mm.
    pub hausdorff_mm: f64,
    /// [`PENALTY_MM`] if nothing was found, mm.
    pub hausdorff_95_mm: f64,
    /// What is there, and what was found, mL.
    pub volumes_ml: [f64; 2],
    /// Components of the truth, those of them that the prediction meets, and components of the prediction that meet none.
    pub lesions: Lesions,
}

/// Connected components, of which voxels that share a corner are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lesions {
    /// There.
    pub present: u64,
    /// Met by the prediction in a voxel at least.
    pub found: u64,
    /// Predicted where none is.
    pub false_positive: u64,
}

impl Lesions {
    /// Counts; masks of one size.
    #[must_use]
    pub fn of(truth: &[u8], prediction: &[u8], shape: [usize; 3]) -> Self {
        let met = |of: &[u8], by: &[u8]| {
            let components = components3(of, shape);
            let mut met = vec![false; components.sizes.len()];
            for (label, _) in components.labels.iter().zip(by).filter(|(_, other)| **other != 0) {
                if let Some(met) = usize::try_from(*label).ok().and_then(|label| met.get_mut(label.checked_sub(1)?)) {
                    *met = true;
                }
            }
            met
        };
        let count = |met: &[bool], wanted: bool| met.iter().filter(|met| **met == wanted).map(|_| 1).sum();
        let (there, predicted) = (met(truth, prediction), met(prediction, truth));
        let found = count(&there, true);
        Self { present: found + count(&there, false), found, false_positive: count(&predicted, false) }
    }
}

impl Case {
    /// Scores the case; `None` if a mask has not the size of `shape`.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        let Self { truth, prediction, shape, spacing_mm } = self;
        let overlap = Overlap::of(prediction, truth).filter(|_| truth.len() == shape.iter().product::<usize>())?;
        #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts of voxels stay below 2^53")]
        let [both, predicted, there] = [overlap.both, overlap.predicted, overlap.truth].map(|voxels| voxels as f64);
        let ml = |voxels: f64| voxels * spacing_mm.iter().product::<f64>() / 1e3;
        Some(match (overlap.truth, overlap.predicted) {
            (0, 0) => Outcome::TrueNegative,
            (0, _) => Outcome::FalsePositive(ml(predicted)),
            (_, found) => {
                let distances = SurfaceDistances::between(truth, prediction, *shape, *spacing_mm)?;
                Outcome::Scored(CaseScores {
                    dice: if found == 0 { 0.0 } else { (2.0 * both + 1e-5) / (predicted + there + 1e-5) },
                    relative_volume_difference: (predicted - there).abs() / there,
                    surface_dice: distances.dice_at(TOLERANCE_MM).unwrap_or(0.0),
                    hausdorff_mm: distances.hausdorff_mm(100.0),
                    hausdorff_95_mm: if found == 0 { PENALTY_MM } else { distances.hausdorff_mm(95.0) },
                    volumes_ml: [there, predicted].map(ml),
                    lesions: Lesions::of(truth, prediction, *shape),
                })
            }
        })
    }
}

/// The lesions of a third of the cases, by how much is there to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Third {
    /// Cases with something to find.
    pub cases: u64,
    /// The most that is there to find in one of them, mL.
    pub up_to_ml: Option<f64>,
    /// Of all of them.
    pub lesions: Lesions,
}

/// The scores of many cases. A mean that has no value is `null`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Cases with something to find.
    pub cases: u64,
    /// Of these, those in which nothing was found.
    pub empty_predictions: u64,
    /// Cases with nothing to find.
    pub negatives: u64,
    /// The share of these in which nothing was found.
    pub specificity: Option<f64>,
    /// What was found in them, all together, mL.
    pub false_positive_ml: f64,
    /// Mean over cases.
    pub dice: Option<f64>,
    /// Mean over cases.
    pub relative_volume_difference: Option<f64>,
    /// Mean over cases, within [`TOLERANCE_MM`].
    pub surface_dice: Option<f64>,
    /// Mean over cases, mm; `null` where it is infinite, because nothing was found in a case.
    pub hausdorff_mm: Option<f64>,
    /// Mean over the cases in which something was found, mm.
    pub hausdorff_found_mm: Option<f64>,
    /// Mean over cases, [`PENALTY_MM`] where nothing was found, mm.
    pub hausdorff_95_mm: Option<f64>,
    /// Over all cases.
    pub lesions: Lesions,
    /// Over thirds of them, from the cases with the least to find to those with the most; the later ones are larger by one if
    /// they cannot be equal.
    pub thirds: [Third; 3],
}

impl Lesions {
    fn add(&mut self, other: Self) {
        self.present += other.present;
        self.found += other.found;
        self.false_positive += other.false_positive;
    }
}

/// Cases in order of the volume that is there, in three parts.
fn thirds(outcomes: &[Outcome]) -> [Third; 3] {
    let mut cases: Vec<&CaseScores> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Scored(case) => Some(case),
            Outcome::TrueNegative | Outcome::FalsePositive(_) => None,
        })
        .collect();
    cases.sort_by(|a, b| a.volumes_ml[0].total_cmp(&b.volumes_ml[0]));
    let count = cases.len();
    [0, 1, 2].map(|third| {
        let some = &cases[count * third / 3..count * (third + 1) / 3];
        let mut lesions = Lesions::default();
        some.iter().for_each(|case| lesions.add(case.lesions));
        Third { cases: some.iter().map(|_| 1).sum(), up_to_ml: some.last().map(|case| case.volumes_ml[0]), lesions }
    })
}

impl Instance {
    /// The scores of these outcomes.
    #[must_use]
    pub fn of(outcomes: &[Outcome]) -> Self {
        let mut scores = Self::default();
        let [mut dice, mut difference, mut surface, mut all, mut found, mut most] = [Mean::default(); 6];
        let mut specificity = Mean::default();
        for outcome in outcomes {
            match outcome {
                Outcome::TrueNegative => specificity.add(1.0),
                Outcome::FalsePositive(ml) => {
                    specificity.add(0.0);
                    scores.false_positive_ml += ml;
                }
                Outcome::Scored(case) => {
                    scores.cases += 1;
                    dice.add(case.dice);
                    difference.add(case.relative_volume_difference);
                    surface.add(case.surface_dice);
                    all.add(case.hausdorff_mm);
                    most.add(case.hausdorff_95_mm);
                    if case.hausdorff_mm.is_finite() {
                        found.add(case.hausdorff_mm);
                    } else {
                        scores.empty_predictions += 1;
                    }
                    scores.lesions.add(case.lesions);
                }
            }
        }
        Self {
            negatives: specificity.count.into(),
            specificity: specificity.value(),
            dice: dice.value(),
            relative_volume_difference: difference.value(),
            surface_dice: surface.value(),
            hausdorff_mm: all.value().filter(|mm| mm.is_finite()),
            hausdorff_found_mm: found.value(),
            hausdorff_95_mm: most.value(),
            thirds: thirds(outcomes),
            ..scores
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SHAPE: [usize; 3] = [3, 4, 5];

    fn case(truth: Vec<u8>, prediction: Vec<u8>) -> Case {
        Case { truth, prediction, shape: SHAPE, spacing_mm: [5.0, 0.42, 0.42] }
    }

    fn mask() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![4 => vec(prop::bool::weighted(0.2).prop_map(u8::from), 60), 1 => Just(vec![0; 60])]
    }

    proptest! {
        #[test]
        fn swapping_changes_the_volume_difference_only((a, b) in (mask(), mask())) {
            let [there, back] = [case(a.clone(), b.clone()), case(b, a)].map(|case| case.outcome().expect("one size"));
            if let (Outcome::Scored(there), Outcome::Scored(back)) = (there, back) {
                let same = CaseScores {
                    relative_volume_difference: there.relative_volume_difference,
                    volumes_ml: there.volumes_ml,
                    lesions: there.lesions,
                    ..back
                };
                prop_assert_eq!(there, same);
                prop_assert_eq!(there.volumes_ml[0].to_bits(), back.volumes_ml[1].to_bits());
            }
        }

        #[test]
        fn every_case_counts_once(masks in vec((mask(), mask()), 0..8)) {
            let outcomes: Vec<Outcome> = masks.iter().map(|(a, b)| case(a.clone(), b.clone()).outcome().expect("one size")).collect();
            let scores = Instance::of(&outcomes);
            prop_assert_eq!(scores.cases + scores.negatives, masks.len() as u64);
            let missed = masks.iter().filter(|(a, b)| a.contains(&1) && !b.contains(&1)).count();
            prop_assert_eq!(scores.empty_predictions, missed as u64);
            prop_assert_eq!(scores.hausdorff_mm.is_some(), scores.cases > 0 && missed == 0);
            prop_assert!(scores.lesions.found <= scores.lesions.present);
            let mut sum = Lesions::default();
            scores.thirds.iter().for_each(|third| sum.add(third.lesions));
            prop_assert_eq!(sum, scores.lesions);
            prop_assert_eq!(scores.thirds.map(|third| third.cases).iter().sum::<u64>(), scores.cases);
            prop_assert!(scores.thirds.is_sorted_by_key(|third| third.cases));
            let most: Vec<f64> = scores.thirds.iter().filter_map(|third| third.up_to_ml).collect();
            prop_assert!(most.is_sorted());
            let largest = outcomes.iter().map(|outcome| match outcome {
                Outcome::Scored(case) => case.volumes_ml[0],
                Outcome::TrueNegative | Outcome::FalsePositive(_) => 0.0,
            });
            prop_assert_eq!(most.last().copied().unwrap_or_default().to_bits(), largest.fold(0.0, f64::max).to_bits());
        }
    }

    #[test]
    fn the_empty_cases_are_as_the_protocol_says() {
        let (nothing, mut something) = (vec![0; 60], vec![0; 60]);
        something[7] = 1;
        assert_eq!(case(nothing.clone(), nothing.clone()).outcome(), Some(Outcome::TrueNegative));
        let ml = 5.0 * 0.42 * 0.42 / 1e3;
        assert_eq!(case(nothing.clone(), something.clone()).outcome(), Some(Outcome::FalsePositive(ml)));
        let Some(Outcome::Scored(missed)) = case(something.clone(), nothing).outcome() else { panic!("it is there") };
        assert_eq!((missed.dice, missed.surface_dice, missed.relative_volume_difference), (0.0, 0.0, 1.0));
        assert!(missed.hausdorff_mm.is_infinite());
        assert_eq!(missed.hausdorff_95_mm.to_bits(), PENALTY_MM.to_bits());
        assert_eq!(case(something, vec![0; 59]).outcome(), None);
    }

    #[test]
    fn voxels_that_share_a_corner_are_one_lesion() {
        let mut truth = vec![0; 60];
        (truth[0], truth[5 + 1], truth[59]) = (1, 1, 1);
        let mut prediction = vec![0; 60];
        (prediction[6], prediction[40]) = (1, 1);
        let lesions = Lesions::of(&truth, &prediction, SHAPE);
        assert_eq!(lesions, Lesions { present: 2, found: 1, false_positive: 1 });
    }
}
