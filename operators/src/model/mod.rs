//! The networks, their weights and their cards.
//!
//! | network | in | out |
//! |---|---|---|
//! | encoder and CAM head | `[slices, windows, size, size]`, intensities | a pooled feature, the maps and a logit per slice |
//! | sequence head | features of neighboring slices | a logit per slice |
//! | segmenter | `[slices, 1, size, size]`, the first window | a logit per pixel |
//!
//! An [`Engine`] runs encoder and segmenter: burn, or direct convolutions on the processor, two to four times as fast
//! there. Training and the sequence head are burn's on every device; on the processor, training does its convolutions
//! directly as well, and its batch normalizations where the batch lies (`learn`).
//!
//! **On `cpu` a result does not depend on what else was asked in the same call**: slices go through the encoder and the
//! segmenter one by one, sequences in batches of a fixed size, padded where there are fewer, and features and logits are
//! summed on the host in a fixed order. On other devices, and between engines, results agree to rounding.

pub(crate) mod card;
mod device;
mod engine;
mod error;
mod head;
pub mod import;
mod learn;
mod network;
mod resnet;
mod unet;
mod weights;
pub mod windows;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::Module as _;
use burn::tensor::{Tensor, TensorData};
use kernels::{Array, Device};

pub use card::{Arch, Card, Context, MapGrid, Pooling, TrainedWith};
pub use engine::Engine;
pub use error::ModelError;
pub use network::Network;

pub(crate) use device::connect;
pub(crate) use head::Head;

use crate::record::{Digest, ModelName};
use crate::tensor::Precision;
use engine::Networks;

/// Sequences that run at once.
const SEQUENCES: usize = 8;

/// What the encoder says about one slice.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedSlice {
    /// The globally pooled feature, D numbers.
    pub feature: Vec<f32>,
    /// The last stage's maps, `[D, rows, columns]`, row major.
    pub map: Vec<f32>,
    /// The logit of the CAM head for this slice alone.
    pub logit: f32,
}

/// What the encoder says about one slice whose maps stay on the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Pooled {
    /// The globally pooled feature, D numbers.
    pub feature: Vec<f32>,
    /// The logit of the CAM head for this slice alone.
    pub logit: f32,
}

/// Weights, ready to run, with their card.
#[derive(Clone, Debug)]
pub struct Model {
    card: Card,
    digest: Digest,
    /// The digest in `f32`.
    exact: Digest,
    device: Device,
    network: Network,
    engine: Engine,
    /// What the encoder and the segmenter compute in.
    precision: Precision,
    /// Encoder and segmenter, ready to run.
    ready: Arc<dyn Networks>,
    cam_weights: Vec<f32>,
    cam_bias: f32,
}

impl Model {
    /// A model of these networks. The card's `sha256` is replaced by that of the weights.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError`] if the card describes no network or the weights cannot be written.
    pub fn new(mut card: Card, network: &Network, device: Device) -> Result<Self, ModelError> {
        card.check()?;
        let network = network.valid();
        card.sha256 = Digest::of(&weights::write(&card.name, &network)?).to_string();
        let digest = card
            .name_numbers(Digest::builder("model"))
            .map_err(|source| ModelError::Card { path: card.name.clone().into(), source })?;
        let cam_weights = host("CAM head", network.cam.weight.val())?;
        let cam_bias = match &network.cam.bias {
            Some(bias) => host("CAM head", bias.val())?.first().copied().unwrap_or(0.0),
            None => 0.0,
        };
        let engine = Engine::of(device);
        let precision = Precision::F32;
        let ready = engine.ready(&card, &network, device, precision)?;
        Ok(Self { card, digest, exact: digest, device, network, engine, precision, ready, cam_weights, cam_bias })
    }

    /// The same model on another engine than the fastest, to compare. Names of results do not tell engines apart: one store
    /// of results belongs to one engine.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError::Engine`] if the engine does not run on the model's device.
    pub fn with_engine(self, engine: Engine) -> Result<Self, ModelError> {
        let ready = engine.ready(&self.card, &self.network, self.device, self.precision)?;
        Ok(Self { engine, ready, ..self })
    }

    /// The same weights, with the encoder and the segmenter in numbers of another width. Another digest names its results;
    /// what is saved or trained further stays `f32`.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError::Precision`] if the device or the engine does not compute in them.
    pub fn with_precision(self, precision: Precision) -> Result<Self, ModelError> {
        let ready = self.engine.ready(&self.card, &self.network, self.device, precision)?;
        let digest = match precision {
            Precision::F32 => self.exact,
            Precision::F16 | Precision::Bf16 => {
                Digest::builder("model at").digest(&self.exact).bytes(precision.to_string().as_bytes()).finish()
            }
        };
        Ok(Self { digest, precision, ready, ..self })
    }

    /// A model of random weights: the shapes and the speed of a trained one.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError`] if the card describes no network or this build lacks the device.
    pub fn untrained(card: Card, seed: u64, device: Device) -> Result<Self, ModelError> {
        card.check()?;
        let network = Network::new(&card, seed, &connect(device)?);
        Self::new(card, &network, device)
    }

    /// Reads a model: a card, or a folder that holds one card. The weights lie beside it.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError`] if a file cannot be read, the weights are not those of the card, or this build lacks the device.
    pub fn load(path: &Path, device: Device) -> Result<Self, ModelError> {
        let (card, network) = weights::load(path, device)?;
        Self::new(card, &network, device)
    }

    /// Writes `<name>.json` and `<name>.safetensors` into a folder, which is made if there is none.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError`] if a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        weights::save(folder, &self.card, &self.network)
    }

    /// What these weights are.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// Names the weights and the numbers of the card that change results.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What people call the model.
    #[must_use]
    pub fn name(&self) -> ModelName {
        let Card { name, version, sha256, .. } = &self.card;
        ModelName { name: name.clone(), version: version.clone(), sha256: sha256.to_string() }
    }

    /// The arrays of the weights: name and shape.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError`] if the weights cannot be written.
    pub fn layers(&self) -> Result<BTreeMap<String, Vec<usize>>, ModelError> {
        weights::shapes(&self.card.name, &self.network)
    }

    /// The device that the networks run on.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// What runs the encoder and the segmenter.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The networks, for further training.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The cells of a slice's maps.
    #[must_use]
    pub fn map_grid(&self) -> MapGrid {
        self.card.map_grid()
    }

    /// The class weights of the CAM head, D numbers.
    #[must_use]
    pub fn cam_weights(&self) -> &[f32] {
        &self.cam_weights
    }

    /// Encodes `slices` slices: `images` is `[slices, windows, size, size]`, intensities in `[0, 1]`.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError::Length`] if the images have another shape, [`ModelError::Device`] if the device fails.
    pub fn encode(&self, images: &[f32], slices: usize) -> Result<Vec<EncodedSlice>, ModelError> {
        self.check_images(images.len(), slices, self.card.windows.len())?;
        Ok(self.ready.maps(images)?.into_iter().map(|map| self.pooled(map)).collect())
    }

    /// Encodes `slices` images that are on a device, `[slices, windows, size, size]`: the maps `[slices, D, rows, columns]` stay
    /// there, feature and logit of each slice come back. On `cpu` all pass through the host.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError::Length`] if the images have another shape, [`ModelError::Device`] if the device fails.
    pub fn encode_there(&self, images: Array<f32>, slices: usize) -> Result<(Array<f32>, Vec<Pooled>), ModelError> {
        self.check_images(images.len(), slices, self.card.windows.len())?;
        let pixels = self.map_grid().size.into_iter().product();
        let (maps, features) = self.ready.maps_there(images, self.card.pooling, pixels)?;
        let features = features.chunks(self.card.features().max(1));
        let pooled = |feature: &[f32]| Pooled { feature: feature.to_vec(), logit: self.logit(feature) };
        Ok((maps, features.map(pooled).collect()))
    }

    /// One logit for each slice of each sequence; a sequence is a slice's features by position, D numbers each.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError::Length`] if a feature has not D numbers, [`ModelError::Device`] if the device fails.
    pub fn classify(&self, sequences: &[Vec<&[f32]>]) -> Result<Vec<Vec<f32>>, ModelError> {
        self::sequences(&self.network.head, sequences, self.card.features(), &connect(self.device)?)
    }

    /// Segments `slices` slices: `images` is `[slices, 1, size, size]`, the first window. Gives a logit per pixel in the
    /// same shape.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError::Length`] if the images have another shape, [`ModelError::Device`] if the device fails.
    pub fn segment(&self, images: &[f32], slices: usize) -> Result<Vec<f32>, ModelError> {
        self.check_images(images.len(), slices, 1)?;
        Ok(self.ready.segment(images)?.concat())
    }

    fn check_images(&self, len: usize, slices: usize, channels: usize) -> Result<(), ModelError> {
        check_length("images", len, slices * channels * self.card.input_size * self.card.input_size)
    }

    /// Pools a slice's maps and asks the CAM head.
    fn pooled(&self, map: Vec<f32>) -> EncodedSlice {
        let pixels = map.len() / self.card.features().max(1);
        let pool = |channel| resnet::pool_channel(channel, self.card.pooling);
        let feature: Vec<f32> = map.chunks(pixels.max(1)).map(pool).collect();
        let logit = self.logit(&feature);
        EncodedSlice { feature, map, logit }
    }

    /// What the CAM head says of a feature.
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a sum in f64 is rounded once to f32")]
    fn logit(&self, feature: &[f32]) -> f32 {
        let terms = feature.iter().zip(&self.cam_weights).map(|(&value, &weight)| f64::from(value) * f64::from(weight));
        (terms.sum::<f64>() + f64::from(self.cam_bias)) as f32
    }
}

/// Runs the sequence head over sequences of any lengths, [`SEQUENCES`] of one length at once.
pub(crate) fn sequences(
    head: &Head,
    sequences: &[Vec<&[f32]>],
    features: usize,
    device: &burn::tensor::Device,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, sequence) in sequences.iter().enumerate() {
        for feature in sequence {
            check_length("feature", feature.len(), features)?;
        }
        by_length.entry(sequence.len()).or_default().push(index);
    }
    let mut logits = vec![Vec::new(); sequences.len()];
    for (length, indices) in by_length.into_iter().filter(|(length, _)| *length > 0) {
        for batch in indices.chunks(SEQUENCES) {
            let mut values = Vec::with_capacity(SEQUENCES * length * features);
            for &index in batch {
                sequences[index].iter().for_each(|feature| values.extend_from_slice(feature));
            }
            values.resize(SEQUENCES * length * features, 0.0);
            let input = Tensor::<3>::from_data(TensorData::new(values, [SEQUENCES, length, features]), device);
            let output = host("sequence head", head.forward(input))?;
            for (&index, logit) in batch.iter().zip(output.chunks(length)) {
                logits[index] = logit.to_vec();
            }
        }
    }
    Ok(logits)
}

fn check_length(array: &'static str, len: usize, expected: usize) -> Result<(), ModelError> {
    if len == expected { Ok(()) } else { Err(ModelError::Length { array, len, expected }) }
}

/// Brings a result to the host.
pub(crate) fn host<const D: usize>(network: &'static str, tensor: Tensor<D>) -> Result<Vec<f32>, ModelError> {
    tensor.try_into_vec_as().map_err(|error| ModelError::Device { network, reason: error.to_string() })
}

#[cfg(test)]
mod tests;
