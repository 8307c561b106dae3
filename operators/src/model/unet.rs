//! The segmenter: a U-Net of five levels, the brain window in, one logit per pixel out.
//!
//! Levels of `width` to `16 * width` channels, each two times (3x3 convolution, ReLU, batch norm); max-pooling down,
//! transposed 2x2 convolution up, skip connections concatenated (Ronneberger et al., MICCAI 2015). Sides are multiples of
//! 16 patches. A patch is one pixel, or 2x2 pixels that a strided convolution gathers and a transposed one spreads again:
//! a quarter of the work, which lies almost all in the first level. Upsampling is learned because no cubecl device has a backward pass for bilinear interpolation.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, PaddingConfig2d};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::learn::{layer, normalize, spread};

/// Two times convolution, ReLU, batch norm.
#[derive(Module, Debug)]
pub(crate) struct Level {
    pub(super) conv1: Conv2d,
    pub(super) bn1: BatchNorm,
    pub(super) conv2: Conv2d,
    pub(super) bn2: BatchNorm,
}

/// The network.
#[derive(Module, Debug)]
pub(crate) struct UNet {
    pub(super) patches: Option<Conv2d>,
    pub(super) down: Vec<Level>,
    pool: MaxPool2d,
    pub(super) bottom: Level,
    pub(super) up: Vec<ConvTranspose2d>,
    pub(super) merge: Vec<Level>,
    pub(super) last: ConvTranspose2d,
}

/// What decides the shapes of a [`UNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UNetShape {
    pub(crate) width: usize,
    /// 1, or the side of the patches that the network works on.
    pub(crate) patch: usize,
}

impl UNetShape {
    pub(crate) fn init(self, device: &Device) -> UNet {
        let Self { patch, .. } = self;
        let width = |level: usize| self.width << level;
        let channels = patch * patch;
        UNet {
            patches: (patch > 1).then(|| {
                Conv2dConfig::new([1, channels], [patch, patch])
                    .with_stride([patch, patch])
                    .with_bias(false)
                    .init(device)
            }),
            down: (0..4)
                .map(|level| Level::new(if level == 0 { channels } else { width(level - 1) }, width(level), device))
                .collect(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            bottom: Level::new(width(3), width(4), device),
            up: (0..4)
                .rev()
                .map(|level| {
                    ConvTranspose2dConfig::new([width(level + 1), width(level)], [2, 2])
                        .with_stride([2, 2])
                        .init(device)
                })
                .collect(),
            merge: (0..4).rev().map(|level| Level::new(width(level + 1), width(level), device)).collect(),
            last: ConvTranspose2dConfig::new([self.width, 1], [patch, patch]).with_stride([patch, patch]).init(device),
        }
    }
}

impl Level {
    fn new(from: usize, to: usize, device: &Device) -> Self {
        let conv = |from| {
            Conv2dConfig::new([from, to], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device)
        };
        let norm = || BatchNormConfig::new(to).init(device);
        Self { conv1: conv(from), bn1: norm(), conv2: conv(to), bn2: norm() }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let out = normalize(&self.bn1, relu(layer(&self.conv1, input)));
        normalize(&self.bn2, relu(layer(&self.conv2, out)))
    }
}

impl UNet {
    /// Logits: `[batch, 1, size, size]` to the same shape.
    pub(crate) fn forward(&self, images: Tensor<4>) -> Tensor<4> {
        let mut out = match &self.patches {
            Some(conv) => layer(conv, images),
            None => images,
        };
        let mut skips = Vec::with_capacity(self.down.len());
        for level in &self.down {
            let skip = level.forward(out);
            out = self.pool.forward(skip.clone());
            skips.push(skip);
        }
        out = self.bottom.forward(out);
        for ((up, merge), skip) in self.up.iter().zip(&self.merge).zip(skips.into_iter().rev()) {
            out = merge.forward(Tensor::cat(vec![skip, spread(up, out)], 1));
        }
        spread(&self.last, out)
    }
}
