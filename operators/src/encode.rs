//! Encoding: what the classifier sees in one slice, alone.
//!
//! In: `(reading, slice)` whose plane is on the shelf. Out: the same, once its [`Encoding`] is on the shelf. The plane is
//! windowed and resampled (kernel `window`), encoded (ResNet), and its activations weighted by class (kernel `cam`).

use std::sync::Arc;

use kernels::units::Window;
use kernels::window::{Filter, Frame, Plan, Slices};
use kernels::{Array, Client, Device, KernelError, cam, window};

use crate::model::{EncodedSlice, Model, ModelError, Pooled};
use crate::plumbing::{self, Collection, Stage, Task};
use crate::record::{Digest, Method, Methods, Plane, Reading, Slice};
use crate::stack::encoding_name;

/// What a slice is to the rest of the method.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    /// The pooled feature vector.
    pub feature: Vec<f32>,
    /// The class activation map before normalization, `[rows, columns]` of [`Model::map_grid`], not negative.
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

/// Encodes planes in one batch. On a GPU nothing leaves the device between the stored values and the activation maps.
///
/// # Errors
///
/// Returns [`EncodeError`] if the device or the model fails.
pub fn encode(model: &Model, client: &Client, planes: &[Arc<Plane>]) -> Result<Vec<Encoding>, EncodeError> {
    match model.device() {
        Device::Cpu => on_host(model, client, planes),
        Device::Cuda(_) | Device::Wgpu => on_device(model, client, planes),
    }
}

fn on_host(model: &Model, client: &Client, planes: &[Arc<Plane>]) -> Result<Vec<Encoding>, EncodeError> {
    let card = model.card();
    let images = images(client, planes.iter().map(Arc::as_ref), &card.windows, card.input_size)?;
    let encoded = model.encode(&images, planes.len())?;
    let [rows, columns] = model.map_grid().size;
    let cells = rows * columns;
    let shape = [encoded.len(), model.cam_weights().len(), rows, columns];
    let features: Vec<f32> = encoded.iter().flat_map(|slice| slice.map.iter().copied()).collect();
    let activations = cam::activation(client, &features, shape, model.cam_weights())?;
    let encoding = |(slice, activation): (EncodedSlice, &[f32])| Encoding {
        feature: slice.feature,
        activation: activation.to_vec(),
        probability: sigmoid(slice.logit),
    };
    Ok(encoded.into_iter().zip(activations.chunks(cells.max(1))).map(encoding).collect())
}

/// Stored values go up, activation maps, features and logits come down.
fn on_device(model: &Model, client: &Client, planes: &[Arc<Plane>]) -> Result<Vec<Encoding>, EncodeError> {
    let card = model.card();
    let [rows, columns] = model.map_grid().size;
    let weights = Array::upload(client, model.cam_weights());
    let mut encodings = Vec::with_capacity(planes.len());
    for batch in planes.chunk_by(|a, b| same_shape(a, b)) {
        let shape = [batch[0].rows, batch[0].columns];
        let frames: Vec<Frame<'_>> = batch.iter().map(|plane| frame(plane)).collect();
        let plan = Plan::new(client, shape, &card.windows, [card.input_size; 2], Filter::Area);
        let images = window::on_device::<f32>(&Slices::upload(client, &frames, shape)?, &plan)?;
        let (maps, pooled) = model.encode_there(images, batch.len())?;
        let shape = [batch.len(), model.cam_weights().len(), rows, columns];
        let activations = cam::on_device::activation(&maps, shape, &weights)?.download()?;
        let encoding = |(Pooled { feature, logit }, activation): (Pooled, &[f32])| Encoding {
            feature,
            activation: activation.to_vec(),
            probability: sigmoid(logit),
        };
        encodings.extend(pooled.into_iter().zip(activations.chunks((rows * columns).max(1))).map(encoding));
    }
    Ok(encodings)
}

fn same_shape(a: &Plane, b: &Plane) -> bool {
    (a.rows, a.columns) == (b.rows, b.columns)
}

fn frame(plane: &Plane) -> Frame<'_> {
    Frame { stored: plane.stored(), rescale: plane.rescale }
}

/// What a network sees of planes, `[planes, windows, size, size]`: one launch for planes of one shape that follow each
/// other, as those of a series do.
pub(crate) fn images<'p>(
    client: &Client,
    planes: impl Iterator<Item = &'p Plane>,
    windows: &[Window],
    size: usize,
) -> Result<Vec<f32>, KernelError> {
    let planes: Vec<&Plane> = planes.collect();
    let mut images = Vec::new();
    for batch in planes.chunk_by(|a, b| same_shape(a, b)) {
        let shape = [batch[0].rows, batch[0].columns];
        let frames: Vec<Frame<'_>> = batch.iter().map(|plane| frame(plane)).collect();
        let mut whole = window::batch(client, &frames, shape, windows, [size; 2], Filter::Area)?;
        if images.is_empty() {
            images = whole;
        } else {
            images.append(&mut whole);
        }
    }
    Ok(images)
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

#[cfg(test)]
mod tests {
    use kernels::units::Rescale;

    use super::*;
    use crate::record::StoredValues;
    use crate::train::TrainConfig;

    #[test]
    fn what_stays_on_the_device_is_what_passes_through_the_host() {
        let device = std::env::var("HEMOFLOW_TEST_DEVICE").map_or(Device::Cpu, |name| name.parse().expect("a device"));
        let card = TrainConfig { input_size: 32, width: 4, unet_width: 2, ..TrainConfig::default() }.card("test", "1");
        let [host, there] =
            [Device::Cpu, device].map(|device| Model::untrained(card.clone(), 3, device).expect("a model"));
        let [cpu, client] = [Device::Cpu, device].map(|device| device.client().expect("a client"));
        let plane = |(index, [rows, columns]): (i16, [usize; 2])| {
            let values =
                (0..rows * columns).map(|place| i16::try_from(place * 7 % 160).expect("small") + index * 9 - 40);
            let values = StoredValues::Signed(values.collect());
            Arc::new(Plane { rows, columns, values, rescale: Rescale::IDENTITY })
        };
        let planes: Vec<Arc<Plane>> = (0_i16..).zip([[40, 40], [40, 40], [30, 50]]).map(plane).collect();
        let there = on_device(&there, &client, &planes).expect("encodings");
        let through = on_host(&host, &cpu, &planes).expect("encodings");
        assert_eq!(there.len(), planes.len());
        for (there, through) in there.iter().zip(&through) {
            let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-4);
            assert!(near(&there.feature, &through.feature) && near(&there.activation, &through.activation));
            assert!(near(&[there.probability], &[through.probability]));
        }
    }
}
