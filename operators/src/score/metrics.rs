//! What is compared, and what is said of it: the content of `metrics.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::area::Area;
use super::instance::Instance;
use crate::record::{InstanceUid, SeriesUid};

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
    /// Whether it shows each subtype, in the order of [`Subtype::ALL`](crate::labels::Subtype::ALL); `None` where nobody says. A mask that tells subtypes
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
    /// Slices by the area of the hemorrhage drawn in them, from small to large.
    pub areas: Vec<Area>,
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
