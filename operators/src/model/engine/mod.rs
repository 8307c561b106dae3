//! What runs the networks of a model: burn on any device, or direct convolutions on the processor.
//!
//! Training is burn's. Inference on `cpu` is that of [`direct`], two to four times as fast as burn's there; the measurements
//! are in `docs/adr/0005-direct-convolutions-on-the-processor.md`.

mod burn;
pub(in crate::model) mod direct;

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use kernels::{Array, Device, KernelError};

use super::resnet::pool_channel;
use super::{Card, ModelError, Network, Pooling};
use crate::tensor::Precision;

/// Who runs the networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// burn, on any device.
    Burn,
    /// Direct convolutions, on the processor.
    Direct,
}

impl Engine {
    /// The fastest on a device.
    #[must_use]
    pub fn of(device: Device) -> Self {
        match device {
            Device::Cpu => Self::Direct,
            Device::Cuda(_) | Device::Wgpu => Self::Burn,
        }
    }

    /// Makes the networks ready to run.
    pub(super) fn ready(
        self,
        card: &Card,
        network: &Network,
        device: Device,
        precision: Precision,
    ) -> Result<Arc<dyn Networks>, ModelError> {
        match (self, device) {
            (Self::Burn, _) => Ok(Arc::new(burn::OnBurn::new(card, network, device, precision)?)),
            (Self::Direct, Device::Cpu) if precision != Precision::F32 => {
                Err(ModelError::Precision { device, precision })
            }
            (Self::Direct, Device::Cpu) => Ok(Arc::new(direct::Direct::new(card, network)?)),
            (Self::Direct, Device::Cuda(_) | Device::Wgpu) => Err(ModelError::Engine { engine: self, device }),
        }
    }
}

impl Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Burn => "burn",
            Self::Direct => "direct",
        })
    }
}

/// The networks of a model, ready to run. Inputs have the lengths that their shapes say: [`super::Model`] looks.
pub(super) trait Networks: Debug + Send + Sync {
    /// The encoder's maps, `[D, rows, columns]` for each of the images `[slices, windows, size, size]`.
    fn maps(&self, images: &[f32]) -> Result<Vec<Vec<f32>>, ModelError>;

    /// The same from an array of a device to one of the same device, and the pooled features `[slices, D]`. A channel of
    /// the maps has `pixels` pixels.
    fn maps_there(
        &self,
        images: Array<f32>,
        pooling: Pooling,
        pixels: usize,
    ) -> Result<(Array<f32>, Vec<f32>), ModelError> {
        let failed = |error: KernelError| ModelError::Device { network: "encoder", reason: error.to_string() };
        let maps = self.maps(&images.download().map_err(failed)?)?.concat();
        let features = maps.chunks(pixels.max(1)).map(|channel| pool_channel(channel, pooling)).collect();
        Ok((Array::upload(images.client(), &maps), features))
    }

    /// The segmenter's logits, `[size, size]` for each of the images `[slices, size, size]`.
    fn segment(&self, images: &[f32]) -> Result<Vec<Vec<f32>>, ModelError>;
}
