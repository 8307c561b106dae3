//! Scores: how predictions compare with the truth, per slice, per series, per volume and per subtype.
//!
//! Conventions, the paper's where it has them ("slice-wise", Ramananda and Sundaresan 2025):
//!
//! | case | convention |
//! |---|---|
//! | truth not empty, prediction empty | overlap 0 |
//! | truth empty, prediction not | no overlap; the slice counts as a false positive, its voxels as false positive mL |
//! | both empty | true negative, no overlap |
//! | no prediction for a slice of the truth | counted as missing, scored as probability 0 with an empty mask |
//!
//! Slice-wise overlap is a mean over slices with a truth that is not empty, and never comparable with overlap per volume,
//! which stands beside it.

pub mod auc;
pub mod compare;
pub mod folds;
pub mod instance;
pub mod overlap;
pub mod picture;
mod plot;
mod report;
pub mod statistics;
pub mod surface;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::labels::Subtype;
use crate::record::{InstanceUid, SeriesUid};
use auc::Confusion;
use instance::{Case, Instance, Outcome};
use overlap::{Overlap, union};

pub use report::{Arm, Curve, Report, report};

/// What was predicted of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesPrediction {
    /// The series.
    pub series: SeriesUid,
    /// A probability at or above it is a finding.
    pub gate: f32,
    /// Its slices.
    pub slices: Vec<SlicePrediction>,
}

/// What was predicted of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SlicePrediction {
    /// The instance.
    pub instance: InstanceUid,
    /// Probability of any hemorrhage.
    pub probability: f32,
    /// The segmentation, `[rows, columns]`, 0 outside; `None` where the slice has none.
    pub mask: Option<Vec<u8>>,
    /// The pseudo-mask, the same way.
    pub pseudo_mask: Option<Vec<u8>>,
}

/// What is true of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesTruth {
    /// The series.
    pub series: SeriesUid,
    /// Whose it is: patients are what tests compare and intervals draw.
    pub patient: String,
    /// Rows and columns of its slices, if all have as many.
    pub size: Option<[usize; 2]>,
    /// The distance of voxels: between slices, between rows, between columns, mm.
    pub spacing_mm: [f64; 3],
    /// Its slices.
    pub slices: Vec<SliceTruth>,
}

/// What is true of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceTruth {
    /// The instance.
    pub instance: InstanceUid,
    /// Whether it shows any hemorrhage.
    pub label: bool,
    /// Whether it shows each subtype, in the order of [`Subtype::ALL`]; `None` where nobody says. A mask that tells subtypes
    /// says it itself.
    pub subtypes: [Option<bool>; 5],
    /// `[rows, columns]`: 0, or the value of a subtype; a binary mask says 1. `None` where nobody drew one.
    pub mask: Option<Vec<u8>>,
    /// Volume of a voxel, mL.
    pub voxel_ml: f64,
}

/// A mask and its truth do not fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{instance}: a mask of {predicted} voxels for a truth of {truth}")]
pub struct SizeError {
    /// The slice.
    pub instance: InstanceUid,
    /// Voxels of the prediction.
    pub predicted: usize,
    /// Voxels of the truth.
    pub truth: usize,
}

/// All scores of a data set; the content of `metrics.json`. A score that has no value is `null`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The gate of slices and series, a probability at or above which is a finding: its mean over series.
    pub gate: f32,
    /// Slices of the truth without a prediction.
    pub missing_slices: u64,
    /// Any hemorrhage, per slice.
    pub slices: Classification,
    /// Any hemorrhage, per series: mean of the three highest probabilities of slices.
    pub series: Classification,
    /// The U-Net's masks.
    pub segmentation: Masks,
    /// The masks from activation maps.
    pub pseudo_mask: Masks,
    /// The voxels of either.
    pub union: Masks,
    /// The same three by the protocol of INSTANCE 2022, for series that are volumes.
    pub instance: BTreeMap<String, Instance>,
    /// Each subtype by its word; none where neither masks nor labels tell subtypes.
    pub subtypes: BTreeMap<String, SubtypeScores>,
    /// The ROC curve of slices: false positive rate and sensitivity.
    pub roc: Vec<[f64; 2]>,
    /// Mean probability and share of positives, of slices in bins of probability.
    pub reliability: Vec<[f64; 2]>,
    /// Each series.
    pub cases: Vec<CaseScore>,
}

/// The names of the three masks, in the order in which they are scored.
pub const MASKS: [&str; 3] = ["segmentation", "pseudo_mask", "union"];

/// Scores of one series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaseScore {
    /// The series.
    pub series: String,
    /// Whose it is.
    pub patient: String,
    /// Whether it shows any hemorrhage.
    pub positive: bool,
    /// Its probability.
    pub probability: f32,
    /// Each mask by its name; none where nobody drew the truth.
    pub masks: BTreeMap<String, CaseMask>,
}

/// A mask of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaseMask {
    /// Slices with a truth that is not empty.
    pub slices: u32,
    /// Mean Dice over these slices.
    pub dice: Option<f64>,
    /// Dice of the volume, if its truth is not empty.
    pub volume_dice: Option<f64>,
    /// Predicted volume, mL.
    pub predicted_ml: f64,
    /// True volume, mL.
    pub true_ml: f64,
}

/// How well probabilities find positives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Classification {
    /// How many.
    pub n: u64,
    /// How many are positive.
    pub positives: u64,
    /// Area under the ROC curve, ties half.
    pub auc: Option<f64>,
    /// Its interval of 95 %, by drawing series.
    pub auc_interval: Option<[f64; 2]>,
    /// The share of positives found where nine of ten negatives are left alone.
    pub sensitivity_at_90: Option<f64>,
    /// How far probabilities are from the share of positives, mean over ten bins.
    pub calibration_error: Option<f64>,
    /// At the gate.
    pub sensitivity: Option<f64>,
    /// At the gate.
    pub specificity: Option<f64>,
    /// The gate where sensitivity + specificity is greatest.
    pub youden: Option<f32>,
}

/// How well masks overlap the truth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Masks {
    /// Slices with a truth that is not empty.
    pub slices: u64,
    /// Of these, slices whose prediction is empty.
    pub empty_slices: u64,
    /// Mean over these slices.
    pub dice: Option<f64>,
    /// Mean over these slices.
    pub iou: Option<f64>,
    /// Share of the truth found, mean over these slices.
    pub sensitivity: Option<f64>,
    /// Share of slices with an empty truth whose prediction is empty.
    pub specificity: Option<f64>,
    /// Volumes with a truth that is not empty.
    pub volumes: u64,
    /// Mean over these volumes.
    pub volume_dice: Option<f64>,
    /// Mean over all volumes, negatives as 0 mL: predicted less true, mL.
    pub volume_bias_ml: Option<f64>,
    /// Mean over all volumes, negatives as 0 mL: difference without its sign, mL.
    pub volume_error_ml: Option<f64>,
    /// Predicted and true volumes, negatives as 0 mL: ICC(2,1).
    pub volume_icc: Option<f64>,
    /// 95 % of the differences lie between (Bland and Altman), mL.
    pub volume_limits_ml: Option<[f64; 2]>,
    /// Predicted in slices with an empty truth, all together, mL.
    pub false_positive_ml: f64,
}

/// Scores on slices that show a subtype.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SubtypeScores {
    /// Slices that show it.
    pub slices: u64,
    /// Share of them at or above the gate.
    pub sensitivity: Option<f64>,
    /// Mean over them of the Dice of segmentation and whole truth.
    pub dice: Option<f64>,
    /// Mean over them of the share of this subtype's voxels that the segmentation found.
    pub voxel_sensitivity: Option<f64>,
}

/// Scores `predictions` against `truth`. Predictions of series and slices that the truth lacks do not count.
///
/// # Errors
///
/// Returns [`SizeError`] for the first mask that differs in size from its truth.
pub fn evaluate(predictions: &[SeriesPrediction], truth: &[SeriesTruth]) -> Result<Metrics, SizeError> {
    let gates: BTreeMap<&SeriesUid, f32> = predictions.iter().map(|series| (&series.series, series.gate)).collect();
    let mut gate = Mean::default();
    predictions.iter().for_each(|series| gate.add(series.gate.into()));
    let gate = single(gate.value().unwrap_or(0.5));
    let known: BTreeMap<(&SeriesUid, &InstanceUid), &SlicePrediction> = predictions
        .iter()
        .flat_map(|series| series.slices.iter().map(move |slice| ((&series.series, &slice.instance), slice)))
        .collect();
    // Masks that hold no value but 1 tell no subtypes; labels may.
    let drawn = || truth.iter().flat_map(|case| &case.slices);
    let masks_tell = drawn().filter_map(|slice| slice.mask.as_ref()).flatten().any(|value| *value > 1);
    let told = masks_tell || drawn().any(|slice| slice.subtypes.iter().any(Option::is_some));
    let mut all = Slices::default();
    let mut series = Slices::default();
    let mut masks = [Tally::default(), Tally::default(), Tally::default()];
    let mut subtypes: [SubtypeTally; 5] = Default::default();
    let mut outcomes: [Vec<Outcome>; 3] = Default::default();
    let mut missing_slices = 0;
    let mut cases = Vec::with_capacity(truth.len());
    for case in truth {
        let gate = gates.get(&case.series).copied().unwrap_or(gate);
        let mut scores = Vec::with_capacity(case.slices.len());
        let mut volumes = Volumes::default();
        all.begin_case(gate);
        for slice in &case.slices {
            let found = known.get(&(&case.series, &slice.instance)).copied();
            missing_slices += u64::from(found.is_none());
            let probability = found.map_or(0.0, |found| found.probability);
            scores.push(probability);
            all.add(probability, slice.label);
            let Some(drawn) = &slice.mask else { continue };
            let predicted = Predicted::of(found, drawn.len());
            for (tally, mask) in masks.iter_mut().zip([&predicted.mask, &predicted.pseudo, &predicted.union]) {
                tally.add(&sized(slice, mask, drawn)?, slice.voxel_ml);
            }
            volumes.add(drawn, &predicted);
            for (tally, subtype) in subtypes.iter_mut().zip(Subtype::ALL) {
                let own = match slice.subtypes[subtype.index()] {
                    _ if masks_tell => Overlap::with(&predicted.mask, drawn, |value| value == subtype.value()),
                    Some(true) => Overlap::of(&predicted.mask, drawn),
                    _ => None,
                };
                tally.add(own, overlap::dice(&predicted.mask, drawn), probability >= gate);
            }
        }
        series.begin_case(gate);
        let (probability, positive) = (highest(scores), case.slices.iter().any(|slice| slice.label));
        series.add(probability, positive);
        if let Some(of_case) = volumes.outcomes(case) {
            outcomes.iter_mut().zip(of_case).for_each(|(outcomes, outcome)| outcomes.push(outcome));
        }
        let drawn = case.slices.iter().any(|slice| slice.mask.is_some());
        let of_case = masks.iter_mut().zip(MASKS).filter_map(|(tally, name)| Some((name, tally.end_volume(drawn)?)));
        cases.push(CaseScore {
            series: case.series.to_string(),
            patient: case.patient.clone(),
            positive,
            probability,
            masks: of_case.map(|(name, mask)| (name.to_owned(), mask)).collect(),
        });
    }
    let [segmentation, pseudo_mask, union] = masks.map(Tally::scores);
    let instance = MASKS.map(str::to_owned).into_iter().zip(outcomes.map(|outcomes| Instance::of(&outcomes)));
    let subtypes = Subtype::ALL.iter().zip(subtypes).filter(|_| told);
    let subtypes = subtypes.map(|(subtype, tally)| (subtype.word().to_owned(), tally.scores()));
    Ok(Metrics {
        gate,
        missing_slices,
        slices: all.classification(),
        series: series.classification(),
        segmentation,
        pseudo_mask,
        union,
        instance: instance.collect(),
        subtypes: subtypes.collect(),
        roc: auc::roc(&all.scores(), &all.labels()),
        reliability: auc::reliability(&all.scores(), &all.labels()),
        cases,
    })
}

#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a mean of single precision")]
fn single(value: f64) -> f32 {
    value as f32
}

/// The masks of a series, one slice after the other.
#[derive(Default)]
struct Volumes {
    slices: usize,
    truth: Vec<u8>,
    predictions: [Vec<u8>; 3],
}

impl Volumes {
    fn add(&mut self, truth: &[u8], predicted: &Predicted) {
        self.slices += 1;
        self.truth.extend_from_slice(truth);
        let masks = [&predicted.mask, &predicted.pseudo, &predicted.union];
        self.predictions.iter_mut().zip(masks).for_each(|(volume, mask)| volume.extend_from_slice(mask));
    }

    /// What the predictions are by INSTANCE; `None` if the masks are no volume of all slices.
    fn outcomes(self, case: &SeriesTruth) -> Option<[Outcome; 3]> {
        let [rows, columns] = case.size.filter(|_| self.slices == case.slices.len())?;
        let (shape, spacing_mm) = ([self.slices, rows, columns], case.spacing_mm);
        let outcome = |prediction| Case { truth: self.truth.clone(), prediction, shape, spacing_mm }.outcome();
        let [segmentation, pseudo_mask, union] = self.predictions.map(outcome);
        Some([segmentation?, pseudo_mask?, union?])
    }
}

/// The three masks of a slice, empty where there is none.
struct Predicted {
    mask: Vec<u8>,
    pseudo: Vec<u8>,
    union: Vec<u8>,
}

impl Predicted {
    fn of(found: Option<&SlicePrediction>, voxels: usize) -> Self {
        let get = |mask: Option<&Vec<u8>>| mask.cloned().unwrap_or_else(|| vec![0; voxels]);
        let mask = get(found.and_then(|found| found.mask.as_ref()));
        let pseudo = get(found.and_then(|found| found.pseudo_mask.as_ref()));
        let union = union(&mask, &pseudo);
        Self { mask, pseudo, union }
    }
}

fn sized(slice: &SliceTruth, mask: &[u8], drawn: &[u8]) -> Result<Overlap, SizeError> {
    let error = || SizeError { instance: slice.instance.clone(), predicted: mask.len(), truth: drawn.len() };
    Overlap::of(mask, drawn).ok_or_else(error)
}

/// Mean of the three highest.
fn highest(mut scores: Vec<f32>) -> f32 {
    scores.sort_by(|a, b| b.total_cmp(a));
    scores.truncate(3);
    let count = u8::try_from(scores.len()).map_or(3.0, f32::from);
    if scores.is_empty() { 0.0 } else { scores.iter().sum::<f32>() / count }
}

/// Draws of series for an interval.
const DRAWS: usize = 10_000;

/// Probabilities with their labels, by case.
#[derive(Default)]
struct Slices {
    cases: Vec<(Vec<f32>, Vec<bool>)>,
    gates: Vec<f32>,
}

impl Slices {
    fn begin_case(&mut self, gate: f32) {
        self.cases.push(Default::default());
        self.gates.push(gate);
    }

    fn add(&mut self, score: f32, label: bool) {
        if let Some((scores, labels)) = self.cases.last_mut() {
            scores.push(score);
            labels.push(label);
        }
    }

    fn scores(&self) -> Vec<f32> {
        self.cases.iter().flat_map(|(scores, _)| scores).copied().collect()
    }

    fn labels(&self) -> Vec<bool> {
        self.cases.iter().flat_map(|(_, labels)| labels).copied().collect()
    }

    fn classification(&self) -> Classification {
        let (scores, labels) = (self.scores(), self.labels());
        let decided = self.cases.iter().zip(&self.gates).map(|((s, l), gate)| Confusion::at(*gate, s, l));
        let confusion = decided.fold(Confusion::default(), Confusion::plus);
        let positives = confusion.true_positives + confusion.false_negatives;
        Classification {
            n: positives + confusion.true_negatives + confusion.false_positives,
            positives,
            auc: auc::auc(&scores, &labels),
            auc_interval: auc::auc_interval(&self.cases, DRAWS, 0),
            sensitivity_at_90: auc::sensitivity_at(&scores, &labels, 0.9),
            calibration_error: auc::calibration_error(&scores, &labels),
            sensitivity: confusion.sensitivity(),
            specificity: confusion.specificity(),
            youden: auc::youden(&scores, &labels),
        }
    }
}

/// Sums toward a mean.
#[derive(Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

/// Sums toward [`Masks`].
#[derive(Clone, Default)]
struct Tally {
    dice: Mean,
    iou: Mean,
    sensitivity: Mean,
    empty: u64,
    specificity: Mean,
    volume_dice: Mean,
    bias: Mean,
    error: Mean,
    /// Predicted and true, mL.
    volumes_ml: Vec<(f64, f64)>,
    false_positive_ml: f64,
    volume: Overlap,
    volume_ml: [f64; 2],
    volume_slices: Mean,
}

impl Tally {
    fn add(&mut self, overlap: &Overlap, voxel_ml: f64) {
        #[allow(clippy::as_conversions, reason = "counts of voxels stay below 2^53")]
        let ml = |voxels: u64| voxels as f64 * voxel_ml;
        self.volume = self.volume.plus(*overlap);
        self.volume_ml[0] += ml(overlap.predicted);
        self.volume_ml[1] += ml(overlap.truth);
        if let Some(sensitivity) = overlap.sensitivity() {
            self.empty += u64::from(overlap.predicted == 0);
            self.sensitivity.add(sensitivity);
            self.dice.add(overlap.dice().unwrap_or(0.0));
            self.volume_slices.add(overlap.dice().unwrap_or(0.0));
            self.iou.add(overlap.iou().unwrap_or(0.0));
        } else {
            self.specificity.add(f64::from(u8::from(overlap.predicted == 0)));
            self.false_positive_ml += ml(overlap.predicted);
        }
    }

    /// Ends a series, of which something was `drawn` or nothing.
    fn end_volume(&mut self, drawn: bool) -> Option<CaseMask> {
        let volume = std::mem::take(&mut self.volume);
        let slices = std::mem::take(&mut self.volume_slices);
        let [predicted, truth] = std::mem::take(&mut self.volume_ml);
        if !drawn {
            return None;
        }
        self.bias.add(predicted - truth);
        self.error.add((predicted - truth).abs());
        self.volumes_ml.push((predicted, truth));
        let volume_dice = (volume.truth > 0).then(|| volume.dice().unwrap_or(0.0));
        volume_dice.into_iter().for_each(|dice| self.volume_dice.add(dice));
        let (count, dice) = (slices.count, slices.value());
        Some(CaseMask { slices: count, dice, volume_dice, predicted_ml: predicted, true_ml: truth })
    }

    fn scores(self) -> Masks {
        let agreement = statistics::agreement(&self.volumes_ml);
        Masks {
            volume_icc: agreement.and_then(|agreement| agreement.icc),
            volume_limits_ml: agreement.map(|agreement| agreement.limits),
            slices: u64::from(self.dice.count),
            empty_slices: self.empty,
            dice: self.dice.value(),
            iou: self.iou.value(),
            sensitivity: self.sensitivity.value(),
            specificity: self.specificity.value(),
            volumes: u64::from(self.volume_dice.count),
            volume_dice: self.volume_dice.value(),
            volume_bias_ml: self.bias.value(),
            volume_error_ml: self.error.value(),
            false_positive_ml: self.false_positive_ml,
        }
    }
}

/// Sums toward [`SubtypeScores`].
#[derive(Clone, Copy, Default)]
struct SubtypeTally {
    found: Mean,
    dice: Mean,
    voxels: Mean,
}

impl SubtypeTally {
    /// Adds a slice: what the mask has of the subtype, and its Dice with the whole truth.
    fn add(&mut self, own: Option<Overlap>, dice: Option<f64>, finding: bool) {
        let Some(sensitivity) = own.and_then(|own| own.sensitivity()) else { return };
        self.voxels.add(sensitivity);
        self.found.add(f64::from(u8::from(finding)));
        self.dice.add(dice.unwrap_or(0.0));
    }

    fn scores(self) -> SubtypeScores {
        SubtypeScores {
            slices: u64::from(self.found.count),
            sensitivity: self.found.value(),
            dice: self.dice.value(),
            voxel_sensitivity: self.voxels.value(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series() -> SeriesUid {
        SeriesUid::new("1").expect("not empty")
    }

    fn truth(slices: &[(&str, &[u8])]) -> Vec<SeriesTruth> {
        let slice = |(uid, mask): &(&str, &[u8])| SliceTruth {
            instance: InstanceUid::new(uid).expect("not empty"),
            label: mask.iter().any(|voxel| *voxel != 0),
            subtypes: [None; 5],
            mask: Some(mask.to_vec()),
            voxel_ml: 0.5,
        };
        let size = slices.first().map(|(_, mask)| [1, mask.len()]);
        let slices = slices.iter().map(slice).collect();
        vec![SeriesTruth { series: series(), patient: "p".to_owned(), size, spacing_mm: [1.0; 3], slices }]
    }

    fn prediction(slices: &[(&str, f32, Option<&[u8]>)]) -> Vec<SeriesPrediction> {
        let slice = |(uid, probability, mask): &(&str, f32, Option<&[u8]>)| SlicePrediction {
            instance: InstanceUid::new(uid).expect("not empty"),
            probability: *probability,
            mask: mask.map(<[u8]>::to_vec),
            pseudo_mask: None,
        };
        vec![SeriesPrediction { series: series(), gate: 0.5, slices: slices.iter().map(slice).collect() }]
    }

    #[test]
    fn a_perfect_prediction_scores_one_everywhere() {
        let truth = truth(&[("a", &[0, 4, 2]), ("b", &[0, 0, 0])]);
        let predictions = prediction(&[("a", 0.9, Some(&[0, 1, 1])), ("b", 0.1, None)]);
        let metrics = evaluate(&predictions, &truth).expect("equal sizes");
        assert_eq!(
            (metrics.slices.auc, metrics.slices.sensitivity, metrics.slices.specificity),
            (Some(1.0), Some(1.0), Some(1.0))
        );
        let masks = &metrics.segmentation;
        assert_eq!(
            (masks.dice, masks.volume_dice, masks.specificity, masks.volume_error_ml),
            (Some(1.0), Some(1.0), Some(1.0), Some(0.0))
        );
        assert_eq!(metrics.union, *masks);
        assert_eq!(metrics.pseudo_mask.dice, Some(0.0));
        assert_eq!(metrics.subtypes["subarachnoid"].voxel_sensitivity, Some(1.0));
        assert_eq!(metrics.subtypes["epidural"], SubtypeScores::default());
    }

    #[test]
    fn empty_predictions_count_zero_and_false_ones_count_as_volume() {
        let truth = truth(&[("a", &[1, 1, 0]), ("b", &[1, 0, 0]), ("c", &[0, 0, 0])]);
        let predictions = prediction(&[("a", 0.9, Some(&[1, 1, 0])), ("b", 0.2, None), ("c", 0.7, Some(&[1, 1, 0]))]);
        let metrics = evaluate(&predictions, &truth).expect("equal sizes");
        let masks = &metrics.segmentation;
        assert_eq!((masks.slices, masks.empty_slices, masks.dice), (2, 1, Some(0.5)));
        assert!(metrics.subtypes.is_empty(), "binary masks tell no subtypes");
        assert_eq!((masks.specificity, masks.false_positive_ml), (Some(0.0), 1.0));
        assert_eq!(masks.volume_bias_ml, Some(0.5));
        // Over the volume: 2 of 4 predicted and 3 true voxels agree.
        assert!(masks.volume_dice.is_some_and(|dice| (dice - 4.0 / 7.0).abs() < 1e-12));
    }

    #[test]
    fn labels_tell_the_subtypes_that_a_binary_mask_does_not() {
        let mut truth = truth(&[("a", &[1, 1, 0]), ("b", &[1, 0, 0])]);
        truth[0].slices[0].subtypes = [Some(false), Some(false), Some(false), Some(true), Some(true)];
        truth[0].slices[1].subtypes = [Some(false), Some(false), Some(false), Some(false), Some(true)];
        let predictions = prediction(&[("a", 0.9, Some(&[1, 0, 0])), ("b", 0.2, None)]);
        let metrics = evaluate(&predictions, &truth).expect("equal sizes");
        let scores = |name: &str| &metrics.subtypes[name];
        assert_eq!((scores("subarachnoid").slices, scores("subarachnoid").voxel_sensitivity), (1, Some(0.5)));
        assert_eq!((scores("subdural").slices, scores("subdural").sensitivity), (2, Some(0.5)));
        assert_eq!(scores("epidural"), &SubtypeScores::default(), "a value of 1 is no epidural bleed here");
    }

    #[test]
    fn each_series_is_judged_at_its_own_gate_and_told_by_itself() {
        let mut truth = truth(&[("a", &[1, 1, 0]), ("b", &[0, 0, 0])]);
        let mut predictions = prediction(&[("a", 0.4, Some(&[1, 1, 1])), ("b", 0.1, None)]);
        let other = SeriesUid::new("2").expect("not empty");
        truth.push(SeriesTruth { series: other.clone(), patient: "q".to_owned(), ..truth[0].clone() });
        predictions.push(SeriesPrediction { series: other, gate: 0.3, ..predictions[0].clone() });
        let metrics = evaluate(&predictions, &truth).expect("equal sizes");
        assert_eq!((metrics.slices.sensitivity, metrics.slices.specificity), (Some(0.5), Some(1.0)));
        assert!((metrics.gate - 0.4).abs() < 1e-6);
        let patients: Vec<&str> = metrics.cases.iter().map(|case| case.patient.as_str()).collect();
        assert_eq!(patients, ["p", "q"]);
        for case in &metrics.cases {
            let mask = case.masks["segmentation"];
            assert_eq!((mask.slices, mask.dice, mask.volume_dice), (1, Some(0.8), Some(0.8)));
            assert_eq!((mask.predicted_ml, mask.true_ml), (1.5, 1.0));
        }
    }

    #[test]
    fn a_slice_without_prediction_is_a_missed_one() {
        let truth = truth(&[("a", &[1, 0]), ("b", &[0, 0])]);
        let metrics = evaluate(&prediction(&[("b", 0.1, None)]), &truth).expect("equal sizes");
        assert_eq!((metrics.missing_slices, metrics.slices.n, metrics.slices.sensitivity), (1, 2, Some(0.0)));
        assert_eq!(metrics.segmentation.dice, Some(0.0));
    }

    #[test]
    fn both_empty_is_no_overlap() {
        let metrics = evaluate(&prediction(&[("a", 0.1, None)]), &truth(&[("a", &[0, 0])])).expect("equal sizes");
        assert_eq!((metrics.segmentation.dice, metrics.segmentation.slices), (None, 0));
        assert_eq!((metrics.slices.auc, metrics.series.sensitivity), (None, None));
        assert_eq!(metrics.segmentation.volume_error_ml, Some(0.0));
    }

    #[test]
    fn a_mask_of_another_size_is_refused_by_name() {
        let error = evaluate(&prediction(&[("a", 0.9, Some(&[1]))]), &truth(&[("a", &[1, 0])]));
        assert!(error.is_err_and(|error| error.to_string() == "a: a mask of 1 voxels for a truth of 2"));
    }

    #[test]
    fn metrics_survive_json() {
        let metrics = evaluate(&prediction(&[("a", 0.75, Some(&[1, 0]))]), &truth(&[("a", &[1, 1])])).expect("sizes");
        let json = serde_json::to_string(&metrics).expect("plain data");
        assert_eq!(serde_json::from_str::<Metrics>(&json).expect("our own"), metrics);
    }

    #[test]
    fn a_series_is_as_sure_as_its_three_surest_slices() {
        assert!((highest(vec![0.1, 0.9, 0.3, 0.6]) - 0.6).abs() < 1e-6);
        assert!((highest(vec![0.4]) - 0.4).abs() < 1e-6);
        assert!(highest(Vec::new()).abs() < 1e-6);
    }
}
