//! Encoding: what the classifier sees in one slice, alone.
//!
//! In: `(reading, slice)` whose plane is on the shelf. Out: the same, once its [`Encoding`] is on the shelf. The plane is
//! windowed and resampled (kernel `window`), encoded (ResNet), and its activations weighted by class (kernel `cam`).

use std::sync::Arc;

use kernels::{Client, KernelError, cam, window};

use crate::model::{Model, ModelError};
use crate::plumbing::{self, Collection, Stage, Task};
use crate::record::{Digest, Method, Methods, Plane, Reading, Slice};
use crate::stack::encoding_name;

/// What a slice is to the rest of the method.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    /// The pooled feature vector.
    pub feature: Vec<f32>,
    /// The class activation map before normalization, `[rows, columns]` of [`Model::map_size`], not negative.
    pub activation: Vec<f32>,
    /// The probability of hemorrhage from this slice alone.
    pub probability: f32,
}

/// An encoding that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The model failed.
    #[error("the classifier failed")]
    Model(#[from] ModelError),
    /// A kernel failed.
    #[error("a kernel failed")]
    Kernel(#[from] KernelError),
}

/// Encodes planes in one batch.
///
/// # Errors
///
/// Returns [`EncodeError`] if the device or the model fails.
pub fn encode(model: &Model, client: &Client, planes: &[Arc<Plane>]) -> Result<Vec<Encoding>, EncodeError> {
    let card = model.card();
    let size = [card.input_size; 2];
    let mut images = Vec::with_capacity(planes.len() * card.windows.len() * size[0] * size[1]);
    for plane in planes {
        let shape = [plane.rows, plane.columns];
        images.extend(window::window(client, plane.stored(), shape, plane.rescale, &card.windows, size)?);
    }
    let [rows, columns] = model.map_size();
    let encoded = model.encode(&images, planes.len())?;
    encoded
        .into_iter()
        .map(|slice| {
            let shape = [1, slice.feature.len(), rows, columns];
            let activation = cam::activation(client, &slice.map, shape, model.cam_weights())?;
            Ok(Encoding { feature: slice.feature, activation, probability: sigmoid(slice.logit) })
        })
        .collect()
}

/// The probability of a logit.
#[must_use]
pub fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Encode the slice of this digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeTask {
    name: Digest,
    /// The method whose model encodes.
    pub method: Digest,
    /// The slice, and the name of its plane.
    pub slice: Digest,
}

impl Task for EncodeTask {
    fn name(&self) -> Digest {
        self.name
    }
}

/// Extension trait for collections of decoded slices.
pub trait Encode<'scope> {
    /// Passes each slice on once its encoding is on the shelf.
    fn encode(self, methods: Methods, stage: Stage<EncodeTask, Encoding>) -> Self;
}

impl<'scope> Encode<'scope> for Collection<'scope, (Reading, Slice)> {
    fn encode(self, methods: Methods, stage: Stage<EncodeTask, Encoding>) -> Self {
        plumbing::furnish(self, stage, move |(reading, slice)| {
            let task = |method: Arc<Method>| EncodeTask {
                name: encoding_name(&method, slice),
                method: method.digest,
                slice: slice.digest,
            };
            methods.get(&reading.by.method).map(task).into_iter().collect()
        })
    }
}
