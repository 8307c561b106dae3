//! `hemoflow train`, and what it shares with `hemoflow evaluate`: a data set, and how models are trained.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use operators::layout::Layout;
use operators::record::MethodConfig;
use operators::tensor::Precision;

use super::method;

/// A data set, and what is known of it.
#[derive(Args, Clone, Debug)]
pub struct Data {
    /// The data set: a folder in one of the layouts
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// How it lies on disk: rsna, instance, ct-ich, bhsd, phantom or plain [default: found out by what is there]
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<Layout>,
    /// Slice labels in the RSNA 2019 form [default: those of the layout]
    #[arg(long, value_name = "CSV")]
    pub labels: Option<PathBuf>,
    /// Masks, `<StudyUID>.nii.gz` or by the name of a volume [default: those of the layout]
    #[arg(long, value_name = "DIR")]
    pub masks: Option<PathBuf>,
}

/// How models are trained.
#[derive(Args, Clone, Debug)]
pub struct Training {
    /// All numbers of the training, as `config.json` beside a model has them
    #[arg(long, value_name = "JSON")]
    pub training: Option<PathBuf>,
    /// The classifier: resnet18, resnet34, resnet50 or resnet101
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Channels of the classifier's first stage; 64 is the published width
    #[arg(long, value_name = "N")]
    pub width: Option<usize>,
    /// Rows and columns that the networks see
    #[arg(long, value_name = "N")]
    pub input_size: Option<usize>,
    /// The sequence head: gru, bigru, lstm or bilstm
    #[arg(long, value_name = "HEAD")]
    pub context: Option<String>,
    /// Epochs of the classifier
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Seed of initialization, sampling and augmentation [default: 1]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Percent of the positive slices to learn from, by whole patients [default: 100]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub fraction: Option<u8>,
    /// Rounds in which a new segmenter learns from the masks of the one before [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=3))]
    pub self_training: Option<u8>,
}

/// `hemoflow train`
#[derive(Args, Debug)]
pub struct Train {
    /// Which stages to train
    pub stage: Stage,
    /// On what.
    #[command(flatten)]
    pub data: Data,
    /// Train the segmenter on masks that people drew: full supervision, for a baseline. `--masks` says so too
    #[arg(long)]
    pub supervised: bool,
    /// Where the model is written, and read from by a later stage
    #[arg(long, value_name = "MODEL_DIR")]
    pub out: PathBuf,
    /// Name of the model
    #[arg(long, default_value = "hemoflow", value_name = "NAME")]
    pub name: String,
    /// Begin with the encoder of this model instead of random weights; arch and width are its
    #[arg(long, value_name = "MODEL_DIR")]
    pub init: Option<PathBuf>,
    /// Numbers of the method that makes pseudo-masks, as JSON or a file of it [default: those of inference]
    #[arg(long, value_name = "JSON", value_parser = method)]
    pub method: Option<MethodConfig>,
    /// Numbers that the networks are trained in: f32, or on a GPU bf16 [default: f32]
    #[arg(long, value_name = "NUMBERS")]
    pub precision: Option<Precision>,
    /// Go on from the checkpoints of a training that was killed
    #[arg(long)]
    pub resume: bool,
    /// Serve Prometheus metrics here while working, as 127.0.0.1:9464
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// How.
    #[command(flatten)]
    pub training: Training,
}

/// A part of the method to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// The encoder, the sequence head and the map head.
    Classifier,
    /// The segmentation network, on the classifier's pseudo-masks.
    Segmenter,
    /// Both.
    All,
}
