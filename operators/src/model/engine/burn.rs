//! The networks on burn.

use burn::tensor::{Tensor, TensorData};
use kernels::{Array, Device};
use rayon::prelude::*;

use super::Networks;
use crate::model::resnet::{ResNet, pool};
use crate::model::unet::UNet;
use crate::model::{Card, ModelError, Network, Pooling, connect, host};
use crate::tensor::{Precision, array_of, tensor_of};

/// Slices that run at once on a device that is not `cpu`.
const SLICES: usize = 16;

/// The networks on a device of burn's. On `cpu` slices run one by one, each on a thread: which is also the fastest there.
#[derive(Debug)]
pub(super) struct OnBurn {
    /// The encoder without normalization layers.
    encoder: ResNet,
    segmenter: UNet,
    precision: Precision,
    device: Device,
    size: usize,
    windows: usize,
}

impl OnBurn {
    pub(super) fn new(
        card: &Card,
        network: &Network,
        device: Device,
        precision: Precision,
    ) -> Result<Self, ModelError> {
        if !precision.is_supported(&connect(device)?) {
            return Err(ModelError::Precision { device, precision });
        }
        let encoder = precision.cast(network.encoder.clone().folded());
        let segmenter = precision.cast(network.unet.clone());
        Ok(Self { encoder, segmenter, precision, device, size: card.input_size, windows: card.windows.len() })
    }

    /// Runs a network over slices and gives its output for each of them.
    fn by_slices(
        &self,
        network: &'static str,
        images: &[f32],
        channels: usize,
        run: impl Fn(Tensor<4>) -> Tensor<4> + Sync,
    ) -> Result<Vec<Vec<f32>>, ModelError> {
        let size = self.size;
        let length = channels * size * size;
        let device = connect(self.device)?;
        let at_once = if self.device == Device::Cpu { 1 } else { SLICES };
        let batches = images.par_chunks(at_once * length).map(|batch| {
            let count = batch.len() / length;
            let input = Tensor::<4>::from_data(TensorData::new(batch.to_vec(), [count, channels, size, size]), &device);
            let output = host(network, run(self.precision.tensor(input)))?;
            Ok(output.chunks(output.len() / count).map(<[f32]>::to_vec).collect::<Vec<_>>())
        });
        Ok(batches.collect::<Result<Vec<_>, ModelError>>()?.concat())
    }
}

impl Networks for OnBurn {
    fn maps(&self, images: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.by_slices("encoder", images, self.windows, |images| self.encoder.maps(images))
    }

    fn maps_there(
        &self,
        images: Array<f32>,
        pooling: Pooling,
        _pixels: usize,
    ) -> Result<(Array<f32>, Vec<f32>), ModelError> {
        let client = images.client().clone();
        let slices = images.len() / (self.windows * self.size * self.size).max(1);
        let images = tensor_of(images, [slices, self.windows, self.size, self.size], self.device)?;
        let maps = self.encoder.maps(self.precision.tensor(images));
        let features = host("encoder", pool(maps.clone(), pooling))?;
        Ok((array_of(maps, &client)?, features))
    }

    fn segment(&self, images: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.by_slices("segmenter", images, 1, |images| self.segmenter.forward(images))
    }
}
