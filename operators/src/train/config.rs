//! The numbers of a training.

use kernels::units::Window;
use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::model::{Arch, Card, Context, ModelError, Pooling, TrainedWith, connect};
use crate::tensor::Precision;

/// One stage: AdamW (Loshchilov, Hutter, ICLR 2019), the learning rate rising for the first twentieth of the steps and
/// falling to zero along a cosine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Epochs; after each the validation score decides whether its weights are the best so far.
    pub epochs: usize,
    /// Samples drawn in an epoch.
    pub samples: usize,
    /// Samples in a step.
    pub batch: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

/// How the segmenter learns: each is a switch, to see what it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Student {
    /// Cross-entropy beside Dice.
    pub cross_entropy: bool,
    /// Pixels that touch a mask from outside count for nothing.
    pub ignore_band: bool,
    /// Half of the samples are slices without a hemorrhage.
    pub negatives: bool,
}

impl Default for Student {
    fn default() -> Self {
        Self { cross_entropy: true, ignore_band: true, negatives: true }
    }
}

/// The networks and how they are trained. With the defaults that takes about an hour on two processor cores: the number of
/// samples is fixed, and slices beyond it cost little.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// The encoder.
    pub arch: Arch,
    /// Channels of the encoder's first stage; 64 is standard.
    pub width: usize,
    /// Whether the encoder's last stage keeps its resolution.
    pub last_stride_one: bool,
    /// How the encoder's maps become features.
    pub pooling: Pooling,
    /// Rows and columns of the networks' input, pixels.
    pub input_size: usize,
    /// The channels of the encoder's input; the first is what the U-Net sees.
    pub windows: Vec<Window>,
    /// The sequence head.
    pub context: Context,
    /// Units of each of its layers and directions.
    pub context_hidden: usize,
    /// Its layers.
    pub context_layers: usize,
    /// Slices on each side that a slice's probability depends on.
    pub context_radius: usize,
    /// Channels of the U-Net's first level.
    pub unet_width: usize,
    /// Side of the patches that the U-Net works on: 1 or 2.
    pub unet_patch: usize,
    /// What the encoder and the segmenter are trained in: `f32`, or `bf16` on a device that computes in it. Weights, gradients and
    /// the optimizer stay `f32`.
    pub precision: Precision,
    /// Decides the initial weights, the split, the samples and the augmentation.
    pub seed: u64,
    /// The part of the series that is used; the mix of series with and without a hemorrhage stays.
    pub fraction: f64,
    /// The part of the used series that is held back to choose epochs and the gate.
    pub validation: f64,
    /// The first epochs of stage 1 see images of half the side, at a quarter of the cost.
    pub coarse_epochs: usize,
    /// The part of the samples without a hemorrhage in stage 1 that are partners of one with it: of the same patient, at the
    /// nearest place.
    pub partners: f64,
    /// Stage 1, the slice classifier.
    pub classifier: StageConfig,
    /// Stage 2, the sequence head; a sample is a crop.
    pub head: StageConfig,
    /// Stage 3, the CAM head.
    pub cam: StageConfig,
    /// Stage 4, the segmenter.
    pub segmenter: StageConfig,
    /// How it learns.
    pub student: Student,
    /// Rounds of self-training after it: a new segmenter learns from the masks of the one before.
    pub self_training: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            arch: Arch::ResNet18,
            width: 16,
            last_stride_one: true,
            pooling: Pooling::GeneralizedMean,
            input_size: 256,
            windows: vec![Window::BRAIN, Window::SUBDURAL, Window::BONE],
            context: Context::BiGru,
            context_hidden: 64,
            context_layers: 1,
            context_radius: 7,
            unet_width: 8,
            unet_patch: 2,
            precision: Precision::F32,
            seed: 1,
            fraction: 1.0,
            validation: 0.15,
            coarse_epochs: 30,
            partners: 0.5,
            classifier: StageConfig { epochs: 40, samples: 3200, batch: 8, learning_rate: 1e-3, weight_decay: 1e-4 },
            head: StageConfig { epochs: 10, samples: 2048, batch: 32, learning_rate: 2e-3, weight_decay: 1e-3 },
            cam: StageConfig { epochs: 10, samples: 4096, batch: 64, learning_rate: 1e-3, weight_decay: 1e-4 },
            segmenter: StageConfig { epochs: 40, samples: 800, batch: 8, learning_rate: 2e-3, weight_decay: 1e-4 },
            student: Student::default(),
            self_training: 0,
        }
    }
}

impl TrainConfig {
    /// The numbers to train in on a device.
    pub(crate) fn precision_on(&self, device: kernels::Device) -> Result<Precision, TrainError> {
        let precision = self.precision;
        if precision == Precision::F16 {
            return Err(TrainError::Precision(precision));
        }
        if !precision.is_supported(&connect(device)?) {
            return Err(ModelError::Precision { device, precision }.into());
        }
        Ok(precision)
    }

    /// Puts the numbers of the segmenter's training in place of those that a card's configuration tells; the others stay.
    pub(crate) fn tell_segmenter(&self, told: &mut serde_json::Value) {
        let ours = serde_json::to_value(self).unwrap_or_default();
        for name in ["segmenter", "student", "self_training"] {
            if let (Some(told), Some(ours)) = (told.get_mut(name), ours.get(name)) {
                *told = ours.clone();
            }
        }
    }

    /// The card of the model that this configuration trains, without its weights' checksum.
    #[must_use]
    pub fn card(&self, name: &str, version: &str) -> Card {
        Card {
            name: name.to_owned(),
            version: version.to_owned(),
            arch: self.arch,
            width: self.width,
            last_stride_one: self.last_stride_one,
            pooling: self.pooling,
            input_size: self.input_size,
            windows: self.windows.clone(),
            context: self.context,
            context_hidden: self.context_hidden,
            context_layers: self.context_layers,
            context_radius: self.context_radius,
            map_before: None,
            unet_width: self.unet_width,
            unet_patch: self.unet_patch,
            segmenter: false,
            gate: 0.5,
            sha256: String::new(),
            trained: TrainedWith {
                seed: self.seed,
                config: serde_json::to_value(self).unwrap_or_default(),
                ..TrainedWith::default()
            },
        }
    }
}
