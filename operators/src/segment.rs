//! Segmentation: the student network's own answer, from the pixels of one slice.
//!
//! In: `(reading, call)`. Out: the same, once the mask of a positive slice is on the shelf. Logits come back to the
//! slice's own grid bilinearly; a voxel is inside where its logit is positive, in the brain, and can be blood
//! ([`plausible`]).

use std::sync::Arc;

use kernels::units::Window;
use kernels::{Client, KernelError, cam};

use crate::brain::brain_mask;
use crate::classify::Call;
use crate::encode::images;
use crate::model::{Model, ModelError};
use crate::plumbing::{self, Collection, Stage, Task};
use crate::record::{Digest, Mask, Plane, Reading};
use crate::refine::{RefineConfig, plausible};

/// A segmentation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// The model failed.
    #[error("the segmenter failed")]
    Model(#[from] ModelError),
    /// A kernel failed.
    #[error("a kernel failed")]
    Kernel(#[from] KernelError),
}

/// Segments planes, each with its pixel spacing (between rows, between columns, mm), in one batch. A model without a
/// trained segmenter gives empty masks.
///
/// # Errors
///
/// Returns [`SegmentError`] if the device or the model fails.
pub fn segment(
    model: &Model,
    client: &Client,
    planes: &[(Arc<Plane>, [f64; 2])],
    config: &RefineConfig,
) -> Result<Vec<Mask>, SegmentError> {
    if !model.card().segmenter {
        return Ok(planes.iter().map(|(plane, _)| Mask { voxels: vec![0; plane.rows * plane.columns] }).collect());
    }
    let answers = answers(client, planes, &logits(model, client, planes)?, [model.card().input_size; 2])?;
    let mask = |((plane, spacing_mm), answer): (&(Arc<Plane>, [f64; 2]), Vec<u8>)| {
        let (hu, shape) = (plane.hu(), [plane.rows, plane.columns]);
        let brain = brain_mask(&hu, plane.rows, plane.columns, *spacing_mm);
        plausible(&answer, &hu, shape, *spacing_mm, &brain, config)
    };
    Ok(planes.iter().zip(answers).map(mask).collect())
}

/// The segmenter's answer alone: where its logits are positive, whatever lies there, and the highest of them. What a network
/// that people's masks taught is judged by.
///
/// # Errors
///
/// Returns [`SegmentError`] if the device or the model fails.
pub fn answer(model: &Model, client: &Client, plane: &Arc<Plane>) -> Result<(Vec<u8>, f32), SegmentError> {
    let planes = [(Arc::clone(plane), [1.0; 2])];
    let logits = logits(model, client, &planes)?;
    let mask = answers(client, &planes, &logits, [model.card().input_size; 2])?.pop().unwrap_or_default();
    Ok((mask, logits.into_iter().fold(f32::NEG_INFINITY, f32::max)))
}

/// The logits of planes, `[planes, size, size]`.
fn logits(model: &Model, client: &Client, planes: &[(Arc<Plane>, [f64; 2])]) -> Result<Vec<f32>, SegmentError> {
    let size = model.card().input_size;
    let images = images(client, planes.iter().map(|(plane, _)| plane.as_ref()), &[Window::BRAIN], size)?;
    Ok(model.segment(&images, planes.len())?)
}

/// Where the logits of planes, `[planes, size, size]`, are positive on the planes' own grids: one launch for planes of one
/// shape that follow each other.
fn answers(
    client: &Client,
    planes: &[(Arc<Plane>, [f64; 2])],
    logits: &[f32],
    size: [usize; 2],
) -> Result<Vec<Vec<u8>>, KernelError> {
    let shape = |(plane, _): &(Arc<Plane>, _)| [plane.rows, plane.columns];
    let mut answers = Vec::with_capacity(planes.len());
    let mut rest = logits;
    for batch in planes.chunk_by(|a, b| shape(a) == shape(b)) {
        let (own, others) = rest.split_at(batch.len() * size[0] * size[1]);
        rest = others;
        let shape = shape(&batch[0]);
        let answer = cam::above(client, own, [batch.len(), size[0], size[1]], shape, 0.0)?;
        let pixels = shape[0] * shape[1];
        answers.extend((0..batch.len()).map(|plane| answer[plane * pixels..][..pixels].to_vec()));
    }
    Ok(answers)
}

/// Segment the slice of this digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentTask {
    name: Digest,
    /// The method whose model segments.
    pub method: Digest,
    /// The slice, and the name of its plane.
    pub slice: Digest,
    /// Pixel spacing, nanometers.
    pub spacing_nm: [i64; 2],
}

impl SegmentTask {
    /// The task of a positive call.
    #[must_use]
    pub fn of(call: &Call, method: Digest) -> Option<Self> {
        let slice = &call.plan.slice;
        let name = Digest::builder("mask").digest(&method).digest(&slice.digest).finish();
        call.positive.then_some(Self { name, method, slice: slice.digest, spacing_nm: slice.geometry.spacing_nm })
    }
}

impl SegmentTask {
    /// Pixel spacing, between rows, then between columns.
    #[must_use]
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "nanometers stay below 2^53")]
    pub fn spacing_mm(&self) -> [f64; 2] {
        self.spacing_nm.map(|nm| nm as f64 / 1e6)
    }
}

impl Task for SegmentTask {
    fn name(&self) -> Digest {
        self.name
    }
}

/// Extension trait for collections of calls.
pub trait Segment<'scope> {
    /// Passes each call on once the mask of a positive slice is on the shelf.
    fn segment(self, stage: Stage<SegmentTask, Mask>) -> Self;
}

impl<'scope> Segment<'scope> for Collection<'scope, (Reading, Call)> {
    fn segment(self, stage: Stage<SegmentTask, Mask>) -> Self {
        plumbing::furnish(self, stage, |(reading, call)| SegmentTask::of(call, reading.by.method).into_iter().collect())
    }
}
