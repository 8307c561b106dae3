//! The result of a series as other programs read it: `result.json`.
//!
//! Lengths are millimeters, areas mm², volumes mL, probabilities in `[0, 1]`, durations seconds. Equal publications give
//! equal reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::completeness::{Completeness, Status};
use crate::measure::{self, Priority};
use crate::publish::{Publication, PublishedSlice, inputs};
use crate::record::{Mask, ModelName, Slice};

/// The result of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Study Instance UID.
    pub study_uid: String,
    /// Series Instance UID.
    pub series_uid: String,
    /// Counts the results of the series from 1.
    pub version: u64,
    /// The tick that the result is true at.
    pub tick: u64,
    /// Where the result stands.
    pub status: Status,
    /// What is known of missing slices and of odd geometry.
    pub completeness: Completeness,
    /// The weights behind it.
    pub model: ModelName,
    /// The probability of hemorrhage in the series.
    pub probability: f32,
    /// How soon a reader should look.
    pub priority: Priority,
    /// The probability of each subtype that the model tells.
    pub subtypes: BTreeMap<String, f32>,
    /// Volumes of the masks.
    pub volume_ml: Volumes,
    /// The slices, in z order.
    pub slices: Vec<SliceReport>,
    /// Names the slices that the result was made from.
    pub inputs_sha256: String,
    /// From arrival to result.
    pub latency_seconds: Latency,
}

/// Volumes, mL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Volumes {
    /// Of the segmenter's masks.
    pub segmentation: f64,
    /// Of the pseudo-masks.
    pub pseudo_mask: f64,
}

/// The result of a slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceReport {
    /// SOP Instance UID.
    pub sop_uid: String,
    /// Position along the slice normal.
    pub position_mm: f64,
    /// The probability of hemorrhage in the context of the neighbors.
    pub probability: f32,
    /// Area of the segmenter's mask.
    pub area_mm2: f64,
    /// Voxels of the segmenter's mask.
    pub segmented_voxels: usize,
}

/// Durations, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// From the first slice to the first result.
    pub first: f64,
    /// From the last change to the result that holds it.
    pub last: f64,
}

/// The report of a publication.
#[must_use]
pub fn report(publication: &Publication, latency_seconds: Latency) -> Report {
    let max_gap_mm = publication.method.config.max_gap_mm;
    let slices: Vec<Slice> = publication.slices.iter().map(|published| published.slice.clone()).collect();
    let volume = |mask: fn(&PublishedSlice) -> Option<&Mask>| {
        let voxels: Vec<usize> =
            publication.slices.iter().map(|published| mask(published).map_or(0, Mask::count)).collect();
        measure::volume_ml(&slices, &voxels, max_gap_mm)
    };
    let volume_ml = Volumes {
        segmentation: volume(|published| published.mask.as_deref()),
        pseudo_mask: volume(|published| published.pseudo_mask.as_deref()),
    };
    let probabilities: Vec<f32> = publication.slices.iter().map(|published| published.probability).collect();
    let probability = measure::series_probability(&probabilities);
    Report {
        study_uid: publication.key.study.to_string(),
        series_uid: publication.key.series.to_string(),
        version: publication.version,
        tick: publication.tick,
        status: publication.status,
        completeness: publication.completeness.clone(),
        model: publication.method.name.clone(),
        probability,
        priority: measure::priority(probability, publication.method.config.mask_gate, volume_ml.segmentation),
        subtypes: BTreeMap::new(),
        volume_ml,
        slices: publication.slices.iter().map(slice_report).collect(),
        inputs_sha256: inputs(slices.iter()).to_string(),
        latency_seconds,
    }
}

#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "micrometers and voxels stay below 2^53")]
fn slice_report(published: &PublishedSlice) -> SliceReport {
    let segmented_voxels = published.mask.as_deref().map_or(0, Mask::count);
    SliceReport {
        sop_uid: published.slice.instance.to_string(),
        position_mm: published.slice.along_um as f64 / 1e3,
        probability: published.probability,
        area_mm2: segmented_voxels as f64 * published.slice.geometry.pixel_area_mm2(),
        segmented_voxels,
    }
}
