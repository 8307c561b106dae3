//! Slice labels to pseudo-masks: what the segmenter learns from, and no pixel was ever labeled.
//!
//! The same steps as in the streaming graph, with the slice's label in the place of the classifier's decision: a slice
//! without hemorrhage has no map and counts as a map of zeros to its neighbors.

use std::sync::Arc;

use kernels::Client;
use operators::encode::{Encoding, encode};
use operators::fuse::regions;
use operators::geometry;
use operators::model::Model;
use operators::record::{Mask, MethodConfig, Plane, Slice};
use operators::refine::{consistent, refine_region};

use crate::stages::StageError;

/// A slice with its label.
#[derive(Clone, Debug)]
pub struct LabeledSlice {
    /// Who and where it is.
    pub slice: Slice,
    /// Its pixels.
    pub plane: Arc<Plane>,
    /// Whether it shows hemorrhage of any kind.
    pub label: bool,
}

/// The runs of a series: slices in z order without a gap between them.
#[must_use]
pub fn runs(mut series: Vec<LabeledSlice>, max_gap_mm: f64) -> Vec<Vec<LabeledSlice>> {
    series.sort_by(|a, b| a.slice.cmp(&b.slice));
    let slices: Vec<Slice> = series.iter().map(|labeled| labeled.slice.clone()).collect();
    geometry::runs(&slices, max_gap_mm).into_iter().map(|run| series[run].to_vec()).collect()
}

/// The pseudo-mask of each slice of a run, `[rows, columns]` of its plane; empty where the label says so.
///
/// # Errors
///
/// Returns [`StageError`] if the device or the model fails.
pub fn pseudo_masks(
    model: &Model,
    client: &Client,
    run: &[LabeledSlice],
    config: &MethodConfig,
) -> Result<Vec<Mask>, StageError> {
    let planes: Vec<Arc<Plane>> = run.iter().map(|labeled| Arc::clone(&labeled.plane)).collect();
    let told = |(encoding, labeled): (Encoding, &LabeledSlice)| {
        Arc::new(Encoding { probability: if labeled.label { 1.0 } else { 0.0 }, ..encoding })
    };
    let single: Vec<Encoding> = encode(model, client, &planes)?;
    let probabilities: Vec<f32> = single.iter().map(|encoding| encoding.probability).collect();
    let encodings: Vec<Arc<Encoding>> = single.into_iter().zip(run).map(told).collect();
    let slices: Vec<Slice> = run.iter().map(|labeled| labeled.slice.clone()).collect();

    let regions = regions(client, &slices, &encodings, model.map_grid(), config)?;
    let candidate = |target: usize| -> Result<Mask, StageError> {
        let spacing_mm = slices[target].geometry.spacing_mm();
        Ok(refine_region(client, &planes[target], spacing_mm, &regions[target], &config.refine)?)
    };
    let candidates: Vec<Mask> = (0..run.len()).map(candidate).collect::<Result<_, _>>()?;
    let pseudo_mask = |target: usize| {
        let beside =
            |index: Option<usize>| index.and_then(|index| candidates.get(index)).map(|mask| mask.voxels.as_slice());
        let plane = &planes[target];
        let voxels = consistent(
            &candidates[target].voxels,
            plane.rows,
            plane.columns,
            beside(target.checked_sub(1)),
            beside(target.checked_add(1)),
            probabilities[target],
            &config.refine,
        );
        Mask { voxels }
    };
    Ok((0..run.len()).map(pseudo_mask).collect())
}
