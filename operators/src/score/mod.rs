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

mod area;
pub mod auc;
pub mod compare;
pub mod folds;
pub mod instance;
mod metrics;
pub mod overlap;
pub mod picture;
mod plot;
mod report;
pub mod statistics;
pub mod surface;
mod tally;

use std::collections::BTreeMap;

use crate::labels::Subtype;
use crate::record::{InstanceUid, SeriesUid};
use area::Areas;
use instance::{Case, Instance, Outcome};
use overlap::{Overlap, union};
use tally::{Mean, Slices, SubtypeTally, Tally};

pub use area::Area;
pub use metrics::{
    CaseMask, CaseScore, Classification, MASKS, Masks, Metrics, SeriesPrediction, SeriesTruth, SizeError,
    SlicePrediction, SliceTruth, SubtypeScores,
};
pub use report::{Arm, Curve, Report, report};

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
    let mut areas = Areas::default();
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
            let overlap = sized(slice, &predicted.mask, drawn)?;
            if overlap.truth > 0 {
                let dice = overlap.dice().unwrap_or(0.0);
                areas.add(mm2(overlap.truth, case), probability, probability >= gate, dice);
            } else if !slice.label {
                areas.add_negative(probability);
            }
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
        areas: areas.scores(),
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

/// The area of voxels of a slice, mm².
#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts of voxels stay below 2^53")]
fn mm2(voxels: u64, case: &SeriesTruth) -> f64 {
    let [_, row, column] = case.spacing_mm;
    voxels as f64 * row * column
}

/// Mean of the three highest.
fn highest(mut scores: Vec<f32>) -> f32 {
    scores.sort_by(|a, b| b.total_cmp(a));
    scores.truncate(3);
    let count = u8::try_from(scores.len()).map_or(3.0, f32::from);
    if scores.is_empty() { 0.0 } else { scores.iter().sum::<f32>() / count }
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
        let areas: Vec<_> = metrics.areas.iter().map(|area| (area.slices, area.auc, area.dice)).collect();
        assert_eq!(areas, [(2, Some(0.5), Some(0.5)), (0, None, None), (0, None, None), (0, None, None)]);
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
