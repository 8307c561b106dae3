//! The model card: what a file of weights is, how it was trained, and how to know that it is the right file.

use kernels::resize::Grid;
use kernels::units::Window;
use serde::{Deserialize, Serialize};

use super::ModelError;
use super::head::HeadShape;
use super::resnet::ResNetShape;
use super::unet::UNetShape;
use crate::record::{Digest, DigestBuilder};

/// Which residual network (He et al., CVPR 2016, table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 18 layers.
    ResNet18,
    /// 34 layers.
    ResNet34,
    /// 50 layers, bottleneck blocks.
    ResNet50,
    /// 101 layers, bottleneck blocks.
    ResNet101,
}

impl Arch {
    /// Blocks of the four stages.
    pub(crate) fn blocks(self) -> [usize; 4] {
        match self {
            Self::ResNet18 => [2, 2, 2, 2],
            Self::ResNet34 | Self::ResNet50 => [3, 4, 6, 3],
            Self::ResNet101 => [3, 4, 23, 3],
        }
    }

    pub(crate) fn bottleneck(self) -> bool {
        matches!(self, Self::ResNet50 | Self::ResNet101)
    }

    /// Its name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ResNet18 => "resnet18",
            Self::ResNet34 => "resnet34",
            Self::ResNet50 => "resnet50",
            Self::ResNet101 => "resnet101",
        }
    }

    /// Channels that a block gives per channel of its 3x3 convolution.
    pub(crate) fn expansion(self) -> usize {
        if self.bottleneck() { 4 } else { 1 }
    }
}

impl std::str::FromStr for Arch {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        match name {
            "resnet18" => Ok(Self::ResNet18),
            "resnet34" => Ok(Self::ResNet34),
            "resnet50" => Ok(Self::ResNet50),
            "resnet101" => Ok(Self::ResNet101),
            _ => Err(ModelError::Architecture {
                reason: format!("no encoder is named {name:?}: say resnet18, resnet34, resnet50 or resnet101"),
            }),
        }
    }
}

/// Which recurrence reads the features of neighboring slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// Gated recurrent unit, one way.
    Gru,
    /// Gated recurrent unit, both ways.
    BiGru,
    /// Long short-term memory, one way.
    Lstm,
    /// Long short-term memory, both ways.
    BiLstm,
}

impl Context {
    pub(crate) fn both_ways(self) -> bool {
        matches!(self, Self::BiGru | Self::BiLstm)
    }

    pub(crate) fn is_lstm(self) -> bool {
        matches!(self, Self::Lstm | Self::BiLstm)
    }
}

impl std::str::FromStr for Context {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        match name {
            "gru" => Ok(Self::Gru),
            "bigru" => Ok(Self::BiGru),
            "lstm" => Ok(Self::Lstm),
            "bilstm" => Ok(Self::BiLstm),
            _ => Err(ModelError::Architecture {
                reason: format!("no sequence head is named {name:?}: say gru, bigru, lstm or bilstm"),
            }),
        }
    }
}

/// How a map becomes one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The mean, as published.
    #[default]
    Average,
    /// The fourth root of the mean of fourth powers (generalized mean, Radenovic et al., TPAMI 41(7), 2019): a small bleed
    /// counts for more than its share of the map.
    GeneralizedMean,
}

/// The cells of a model's maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapGrid {
    /// Rows and columns.
    pub size: [usize; 2],
    /// How far before the middle of its square a cell looks, down and along, in cells.
    pub before: [f32; 2],
}

/// How the weights came to be. Nothing here changes a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainedWith {
    /// The command line that trains these weights again.
    pub command: String,
    /// Its seed.
    pub seed: u64,
    /// What it was trained on, in words.
    pub data: String,
    /// Studies among that.
    pub studies: usize,
    /// Slices among that.
    pub slices: usize,
    /// Slices of these with a hemorrhage.
    pub positive_slices: usize,
    /// Whether pixel labels took part in any way.
    pub supervision: String,
    /// Scores on series that were held back, by name.
    pub metrics: std::collections::BTreeMap<String, f64>,
    /// The configuration, as it was used.
    pub config: serde_json::Value,
}

/// A model, in words and numbers: `models/<name>.json` beside `models/<name>.safetensors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The name; the weights are in `<name>.safetensors`.
    pub name: String,
    /// The version of the weights.
    pub version: String,
    /// The encoder.
    pub arch: Arch,
    /// Channels of the encoder's first stage; 64 is standard.
    pub width: usize,
    /// Whether the encoder's last stage keeps its resolution: maps of 1/16 of the input, not 1/32.
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
    /// Slices on each side that a slice's probability depends on: windows of `context_radius + 1` slices.
    pub context_radius: usize,
    /// How far before the middle of its square a cell of the maps looks, down and along, in cells, as it was measured. Without it, where
    /// the strides of the encoder have their middle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_before: Option<[f32; 2]>,
    /// Channels of the U-Net's first level.
    pub unet_width: usize,
    /// Side of the patches that the U-Net works on: 1 is standard, 2 is a quarter of the work.
    pub unet_patch: usize,
    /// Whether the U-Net was trained; an untrained one gives no segmentation.
    pub segmenter: bool,
    /// The probability in its sequence at which a slice counts as positive.
    pub gate: f32,
    /// SHA-256 of the file of weights, hexadecimal.
    pub sha256: String,
    /// Where the weights come from.
    pub trained: TrainedWith,
}

impl Card {
    /// Refuses numbers that no network can have.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError::Architecture`] that names the number.
    pub fn check(&self) -> Result<(), ModelError> {
        let refuse = |reason: String| Err(ModelError::Architecture { reason });
        if self.name.is_empty() || self.name.contains(['/', '\\']) {
            return refuse(format!("name {:?} names no file", self.name));
        }
        if self.windows.is_empty() {
            return refuse("windows is empty, must hold at least one".to_owned());
        }
        for (what, number) in [
            ("width", self.width),
            ("context_hidden", self.context_hidden),
            ("context_layers", self.context_layers),
            ("unet_width", self.unet_width),
        ] {
            if number == 0 || number > 4096 {
                return refuse(format!("{what} is {number}, must be in 1..=4096"));
            }
        }
        if self.input_size == 0 || !self.input_size.is_multiple_of(32) || self.input_size > 4096 {
            return refuse(format!("input_size is {}, must be a multiple of 32 up to 4096", self.input_size));
        }
        if !matches!(self.unet_patch, 1 | 2) {
            return refuse(format!("unet_patch is {}, must be 1 or 2", self.unet_patch));
        }
        if self.map_before.is_some_and(|before| before.iter().any(|before| !(-4.0..=4.0).contains(before))) {
            return refuse(format!("map_before is {:?}, must be in -4..=4", self.map_before.unwrap_or_default()));
        }
        if self.context_radius > 1024 {
            return refuse(format!("context_radius is {}, must be at most 1024", self.context_radius));
        }
        if !(0.0..=1.0).contains(&self.gate) {
            return refuse(format!("gate is {}, must be in 0..=1", self.gate));
        }
        Ok(())
    }

    /// Refuses a card whose encoder has other shapes.
    ///
    /// # Errors
    ///
    /// Returns [`ModelError::Architecture`] that tells both.
    pub fn same_encoder(&self, other: &Self) -> Result<(), ModelError> {
        let shape = |card: &Self| (card.arch.word(), card.width, card.windows.len());
        if shape(self) == shape(other) {
            return Ok(());
        }
        let reason =
            format!("the encoder is {:?} (arch, width, windows), that to begin with {:?}", shape(self), shape(other));
        Err(ModelError::Architecture { reason })
    }

    /// D: numbers in a slice's pooled feature.
    #[must_use]
    pub fn features(&self) -> usize {
        self.encoder().features()
    }

    /// Rows and columns of a slice's maps, and where they lie.
    #[must_use]
    pub fn map_grid(&self) -> MapGrid {
        let step = self.encoder().reduction();
        let before = self.map_before.unwrap_or([Grid::before_of_strides(step); 2]);
        MapGrid { size: [self.input_size.div_ceil(step); 2], before }
    }

    /// Adds every number that changes a result.
    pub(crate) fn name_numbers(&self, builder: DigestBuilder) -> Result<Digest, serde_json::Error> {
        let mut numbers = self.clone();
        numbers.name = String::new();
        numbers.version = String::new();
        numbers.trained = TrainedWith::default();
        Ok(builder.bytes(&serde_json::to_vec(&numbers)?).finish())
    }

    pub(crate) fn encoder(&self) -> ResNetShape {
        ResNetShape {
            arch: self.arch,
            width: self.width,
            channels: self.windows.len(),
            last_stride_one: self.last_stride_one,
        }
    }

    pub(crate) fn head(&self) -> HeadShape {
        HeadShape {
            features: self.features(),
            context: self.context,
            hidden: self.context_hidden,
            layers: self.context_layers,
        }
    }

    pub(crate) fn unet(&self) -> UNetShape {
        UNetShape { width: self.unet_width, patch: self.unet_patch }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A card of networks that run in milliseconds.
    pub(crate) fn tiny() -> Card {
        Card {
            name: "tiny".to_owned(),
            version: "1".to_owned(),
            arch: Arch::ResNet18,
            width: 4,
            last_stride_one: true,
            pooling: Pooling::GeneralizedMean,
            input_size: 32,
            windows: vec![Window::BRAIN, Window::SUBDURAL, Window::BONE],
            context: Context::BiGru,
            context_hidden: 32,
            context_layers: 1,
            context_radius: 7,
            map_before: None,
            unet_width: 2,
            unet_patch: 1,
            segmenter: true,
            gate: 0.5,
            sha256: String::new(),
            trained: TrainedWith::default(),
        }
    }

    #[test]
    fn a_card_reads_back_as_it_was_written() {
        let mut card = tiny();
        card.trained.metrics.insert("slice_auc".to_owned(), 0.9375);
        for arch in [Arch::ResNet18, Arch::ResNet34, Arch::ResNet50, Arch::ResNet101] {
            for context in [Context::Gru, Context::BiGru, Context::Lstm, Context::BiLstm] {
                (card.arch, card.context) = (arch, context);
                let text = serde_json::to_string_pretty(&card).unwrap();
                assert_eq!(serde_json::from_str::<Card>(&text).unwrap(), card);
            }
        }
        let text = serde_json::to_string(&card).unwrap();
        assert!(text.contains("\"resnet101\"") && text.contains("\"bilstm\""));
        assert_eq!("resnet101".parse::<Arch>().unwrap(), Arch::ResNet101);
        assert!("ResNet18".parse::<Arch>().is_err() && "rnn".parse::<Context>().is_err());
    }

    #[test]
    fn numbers_of_no_network_are_refused() {
        assert!(tiny().check().is_ok());
        type Breaks = fn(&mut Card);
        let broken: [(&str, Breaks); 7] = [
            ("unet_patch", |card| card.unet_patch = 3),
            ("name", |card| card.name = "../x".to_owned()),
            ("windows", |card| card.windows.clear()),
            ("width", |card| card.width = 0),
            ("input_size", |card| card.input_size = 48),
            ("gate", |card| card.gate = f32::NAN),
            ("context_layers", |card| card.context_layers = 0),
        ];
        for (what, breaks) in broken {
            let mut card = tiny();
            breaks(&mut card);
            let message = card.check().unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        }
    }

    #[test]
    fn provenance_does_not_rename_results_and_numbers_do() {
        let name = |card: &Card| card.name_numbers(Digest::builder("model")).unwrap();
        let mut other = tiny();
        other.trained.command = "hemoflow train".to_owned();
        assert_eq!(name(&tiny()), name(&other));
        other.context_radius = 8;
        assert_ne!(name(&tiny()), name(&other));
    }
}
