//! The encoder: a residual network with a selectable width.
//!
//! Layers and their names are those of torchvision's ResNet (He et al., CVPR 2016, table 1), so importing weights of
//! the standard width is a rename. Input `[batch, windows, size, size]`, output maps `[batch, D, size / 16, size / 16]`
//! where the last stage keeps its resolution, or `size / 32` where it strides as published. Even kernels and paddings
//! are the published ones; `size` is a multiple of 32.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::store::RecordError;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::card::{Arch, Pooling};
use super::learn::{convolve, layer, normalize};
use crate::tensor::Precision;

/// One residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1 where there is a third.
#[derive(Module, Debug)]
pub(crate) struct Block {
    pub(super) conv1: Conv2d,
    bn1: Option<BatchNorm>,
    pub(super) conv2: Conv2d,
    bn2: Option<BatchNorm>,
    pub(super) conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
    pub(super) downsample: Option<(Conv2d, Option<BatchNorm>)>,
}

/// The network, with the linear layer that it is trained through.
#[derive(Module, Debug)]
pub(crate) struct ResNet {
    pub(super) conv1: Conv2d,
    bn1: Option<BatchNorm>,
    maxpool: MaxPool2d,
    pub(super) layer1: Vec<Block>,
    pub(super) layer2: Vec<Block>,
    pub(super) layer3: Vec<Block>,
    pub(super) layer4: Vec<Block>,
    pub(crate) fc: Linear,
}

/// What decides the shapes of a [`ResNet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResNetShape {
    pub(crate) arch: Arch,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) last_stride_one: bool,
}

impl ResNetShape {
    /// D: channels of the last map.
    pub(crate) fn features(self) -> usize {
        8 * self.width * self.arch.expansion()
    }

    /// Pixels of the input per pixel of the last map, along one axis.
    pub(crate) fn reduction(self) -> usize {
        if self.last_stride_one { 16 } else { 32 }
    }

    pub(crate) fn init(self, device: &Device) -> ResNet {
        let [one, two, three, four] = self.arch.blocks();
        let width = self.width;
        let expansion = self.arch.expansion();
        let last_stride = if self.last_stride_one { 1 } else { 2 };
        let stage = |from: usize, planes: usize, blocks: usize, stride: usize| -> Vec<Block> {
            (0..blocks)
                .map(|index| match index {
                    0 => self.block(from, planes, stride, device),
                    _ => self.block(planes * expansion, planes, 1, device),
                })
                .collect()
        };
        ResNet {
            conv1: conv([self.channels, width], 7, 2, device),
            bn1: Some(BatchNormConfig::new(width).init(device)),
            maxpool: MaxPool2dConfig::new([3, 3])
                .with_strides([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(),
            layer1: stage(width, width, one, 1),
            layer2: stage(width * expansion, 2 * width, two, 2),
            layer3: stage(2 * width * expansion, 4 * width, three, 2),
            layer4: stage(4 * width * expansion, 8 * width, four, last_stride),
            fc: LinearConfig::new(self.features(), 1).init(device),
        }
    }

    fn block(self, from: usize, planes: usize, stride: usize, device: &Device) -> Block {
        let to = planes * self.arch.expansion();
        let norm = |channels| Some(BatchNormConfig::new(channels).init(device));
        let downsample = (stride != 1 || from != to).then(|| (conv([from, to], 1, stride, device), norm(to)));
        if self.arch.bottleneck() {
            Block {
                conv1: conv([from, planes], 1, 1, device),
                bn1: norm(planes),
                conv2: conv([planes, planes], 3, stride, device),
                bn2: norm(planes),
                conv3: Some(conv([planes, to], 1, 1, device)),
                bn3: norm(to),
                downsample,
            }
        } else {
            Block {
                conv1: conv([from, planes], 3, stride, device),
                bn1: norm(planes),
                conv2: conv([planes, planes], 3, 1, device),
                bn2: norm(planes),
                conv3: None,
                bn3: None,
                downsample,
            }
        }
    }
}

/// A square convolution without bias, padded so that stride 1 keeps the size.
fn conv(channels: [usize; 2], kernel: usize, stride: usize, device: &Device) -> Conv2d {
    let pad = kernel / 2;
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_bias(false)
        .init(device)
}

impl Block {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let identity = match &self.downsample {
            Some((conv, norm)) => normalized(conv, norm.as_ref(), input.clone()),
            None => input.clone(),
        };
        let mut out = relu(normalized(&self.conv1, self.bn1.as_ref(), input));
        out = normalized(&self.conv2, self.bn2.as_ref(), out);
        if let Some(conv) = &self.conv3 {
            out = normalized(conv, self.bn3.as_ref(), relu(out));
        }
        relu(out + identity)
    }

    fn folded(mut self) -> Self {
        (self.conv1, self.bn1) = (fold(self.conv1, self.bn1.as_ref()), None);
        (self.conv2, self.bn2) = (fold(self.conv2, self.bn2.as_ref()), None);
        self.conv3 = self.conv3.map(|conv| fold(conv, self.bn3.as_ref()));
        self.bn3 = None;
        self.downsample = self.downsample.map(|(conv, norm)| (fold(conv, norm.as_ref()), None));
        self
    }
}

fn normalized(conv: &Conv2d, norm: Option<&BatchNorm>, input: Tensor<4>) -> Tensor<4> {
    let out = layer(conv, input);
    match norm {
        Some(norm) => normalize(norm, out),
        None => out,
    }
}

/// The convolution that does what this one and the stored statistics of its normalization do: weights times
/// `gamma / sqrt(variance + epsilon)`, and a bias.
fn fold(mut conv: Conv2d, norm: Option<&BatchNorm>) -> Conv2d {
    let Some(norm) = norm else { return conv };
    let scale = norm.gamma.val() / norm.running_var.value().add_scalar(norm.epsilon).sqrt();
    let bias = norm.beta.val() - norm.running_mean.value() * scale.clone();
    let channels = scale.dims()[0];
    conv.weight = conv.weight.map(|weight| weight * scale.reshape([channels, 1, 1, 1]));
    conv.bias = Some(Param::from_tensor(bias));
    conv
}

impl ResNet {
    /// The same network for inference, without normalization layers: these cost more than the convolutions on `cpu`.
    pub(crate) fn folded(mut self) -> Self {
        (self.conv1, self.bn1) = (fold(self.conv1, self.bn1.as_ref()), None);
        for stage in [&mut self.layer1, &mut self.layer2, &mut self.layer3, &mut self.layer4] {
            *stage = std::mem::take(stage).into_iter().map(Block::folded).collect();
        }
        self
    }

    /// The same network with the weights of another that has layers of the same shapes. Strides stay: they are no weights.
    pub(crate) fn with_weights_of(self, other: &Self) -> Result<Self, RecordError> {
        self.try_load_record(other.clone().into_record())
    }

    /// The maps of the last stage, `[batch, D, rows, columns]`.
    pub(crate) fn maps(&self, images: Tensor<4>) -> Tensor<4> {
        let mut out = self.maxpool.forward(relu(self.stem(images)));
        for block in self.layer1.iter().chain(&self.layer2).chain(&self.layer3).chain(&self.layer4) {
            out = block.forward(out);
        }
        out
    }

    /// `conv1` and its normalization: 7x7 with stride 2, done as the same sum over 2x2 patches, 4x4 with stride 1. On `cpu` the
    /// strided form has no fast path; the difference is a third of the encoder.
    fn stem(&self, images: Tensor<4>) -> Tensor<4> {
        let images = patches(images.pad((4, 2, 4, 2), 0.0_f32));
        let weight = patches(self.conv1.weight.val().pad((1, 0, 1, 0), 0.0_f32));
        let bias = self.conv1.bias.as_ref().map(Param::val);
        let out = convolve(images, weight, bias, 1);
        match &self.bn1 {
            Some(norm) => normalize(norm, out),
            None => out,
        }
    }

    /// One logit for each image through the pooled features: `[batch, 1]`, in `f32`, as pooling is.
    pub(crate) fn forward(&self, images: Tensor<4>, pooling: Pooling) -> Tensor<2> {
        self.fc.forward(pool(Precision::F32.tensor(self.maps(images)), pooling))
    }
}

/// Every 2x2 patch becomes four channels: `[batch, channels, rows, columns]` to `[batch, 4 channels, rows / 2, columns / 2]`.
fn patches(images: Tensor<4>) -> Tensor<4> {
    let [batch, channels, rows, columns] = images.dims();
    images.reshape([batch, channels, rows / 2, 2, columns / 2, 2]).permute([0, 1, 3, 5, 2, 4]).reshape([
        batch,
        4 * channels,
        rows / 2,
        columns / 2,
    ])
}

/// Global pooling of maps that are not negative: `[batch, D, rows, columns]` to `[batch, D]`.
pub(crate) fn pool(maps: Tensor<4>, pooling: Pooling) -> Tensor<2> {
    /// Keeps the slope of the root finite on an empty map.
    const NOTHING: f32 = 1e-8;
    let [batch, channels, rows, columns] = maps.dims();
    let maps = maps.reshape([batch, channels, rows * columns]);
    let pooled = match pooling {
        Pooling::Average => maps.mean_dim(2),
        Pooling::GeneralizedMean => (maps.square().square().mean_dim(2) + NOTHING).sqrt().sqrt(),
    };
    pooled.reshape([batch, channels])
}

/// The same for one channel on the host, in a fixed order.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a sum in f64 is rounded once to f32")]
pub(crate) fn pool_channel(channel: &[f32], pooling: Pooling) -> f32 {
    let mean =
        |of: fn(f64) -> f64| channel.iter().map(|&value| of(f64::from(value))).sum::<f64>() / channel.len() as f64;
    let pooled = match pooling {
        Pooling::Average => mean(|value| value),
        Pooling::GeneralizedMean => (mean(|value| value.powi(4)) + 1e-8).sqrt().sqrt(),
    };
    pooled as f32
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::model::card::tests::tiny;
    use crate::model::host;
    use crate::train::Random;

    #[test]
    fn the_stem_is_the_strided_convolution() {
        let device = Device::flex();
        let network = tiny().encoder().init(&device);
        let mut random = Random::new(1, "test");
        for size in [32, 34, 64] {
            let images: Vec<f32> = (0..2 * 3 * size * size).map(|_| random.uniform()).collect();
            let images = Tensor::<4>::from_data(TensorData::new(images, [2, 3, size, size]), &device);
            let strided = host("test", network.conv1.forward(images.clone())).unwrap();
            let plain = ResNet { bn1: None, ..network.clone() };
            let stem = host("test", plain.stem(images)).unwrap();
            assert_eq!(strided.len(), stem.len());
            assert!(strided.iter().zip(&stem).all(|(a, b)| (a - b).abs() < 1e-4));
            assert!(strided.iter().any(|a| a.abs() > 0.1));
        }
    }
}
