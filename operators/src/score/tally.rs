//! Sums toward scores, slice by slice and series by series.

use super::auc::{self, Confusion};
use super::metrics::{CaseMask, Classification, Masks, SubtypeScores};
use super::overlap::Overlap;
use super::statistics;

/// Draws of series for an interval.
const DRAWS: usize = 10_000;

/// Probabilities with their labels, by case.
#[derive(Default)]
pub(super) struct Slices {
    cases: Vec<(Vec<f32>, Vec<bool>)>,
    gates: Vec<f32>,
}

impl Slices {
    pub(super) fn begin_case(&mut self, gate: f32) {
        self.cases.push(Default::default());
        self.gates.push(gate);
    }

    pub(super) fn add(&mut self, score: f32, label: bool) {
        if let Some((scores, labels)) = self.cases.last_mut() {
            scores.push(score);
            labels.push(label);
        }
    }

    pub(super) fn scores(&self) -> Vec<f32> {
        self.cases.iter().flat_map(|(scores, _)| scores).copied().collect()
    }

    pub(super) fn labels(&self) -> Vec<bool> {
        self.cases.iter().flat_map(|(_, labels)| labels).copied().collect()
    }

    pub(super) fn classification(&self) -> Classification {
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
pub(super) struct Mean {
    sum: f64,
    pub(super) count: u32,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    pub(super) fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / f64::from(self.count))
    }
}

/// Sums toward [`Masks`].
#[derive(Clone, Default)]
pub(super) struct Tally {
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
    pub(super) fn add(&mut self, overlap: &Overlap, voxel_ml: f64) {
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
    pub(super) fn end_volume(&mut self, drawn: bool) -> Option<CaseMask> {
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

    pub(super) fn scores(self) -> Masks {
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
pub(super) struct SubtypeTally {
    found: Mean,
    dice: Mean,
    voxels: Mean,
}

impl SubtypeTally {
    /// Adds a slice: what the mask has of the subtype, and its Dice with the whole truth.
    pub(super) fn add(&mut self, own: Option<Overlap>, dice: Option<f64>, finding: bool) {
        let Some(sensitivity) = own.and_then(|own| own.sensitivity()) else { return };
        self.voxels.add(sensitivity);
        self.found.add(f64::from(u8::from(finding)));
        self.dice.add(dice.unwrap_or(0.0));
    }

    pub(super) fn scores(self) -> SubtypeScores {
        SubtypeScores {
            slices: u64::from(self.found.count),
            sensitivity: self.found.value(),
            dice: self.dice.value(),
            voxel_sensitivity: self.voxels.value(),
        }
    }
}
