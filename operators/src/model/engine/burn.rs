//! The networks on burn.

use burn::tensor::{Tensor, TensorData};
use kernels::Device;
use rayon::prelude::*;

use super::Networks;
use crate::model::resnet::ResNet;
use crate::model::{Card, ModelError, Network, connect, host};

/// Slices that run at once on a device that is not `cpu`.
const SLICES: usize = 16;

/// The networks on a device of burn's. On `cpu` slices run one by one, each on a thread: which is also the fastest there.
#[derive(Debug)]
pub(super) struct OnBurn {
    network: Network,
    /// The encoder without normalization layers.
    folded: ResNet,
    device: Device,
    size: usize,
    windows: usize,
}

impl OnBurn {
    pub(super) fn new(card: &Card, network: &Network, device: Device) -> Self {
        let folded = network.encoder.clone().folded();
        Self { network: network.clone(), folded, device, size: card.input_size, windows: card.windows.len() }
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
            let output = host(network, run(input))?;
            Ok(output.chunks(output.len() / count).map(<[f32]>::to_vec).collect::<Vec<_>>())
        });
        Ok(batches.collect::<Result<Vec<_>, ModelError>>()?.concat())
    }
}

impl Networks for OnBurn {
    fn maps(&self, images: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.by_slices("encoder", images, self.windows, |images| self.folded.maps(images))
    }

    fn segment(&self, images: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.by_slices("segmenter", images, 1, |images| self.network.unet.forward(images))
    }
}
