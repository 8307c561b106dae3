//! What was typed. No input or output happens here.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use kernels::Device;
use operators::layout::Layout;
use operators::record::MethodConfig;
use operators::tensor::Precision;

/// Version, revision and features, as `--version` prints them.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision ",
    env!("HEMOFLOW_REVISION"),
    ", features ",
    env!("HEMOFLOW_FEATURES"),
    ")"
);

/// Head-CT slices to intracranial-hemorrhage results that stay true while slices arrive.
#[derive(Debug, Parser)]
#[command(name = "hemoflow", version = VERSION)]
pub struct Arguments {
    /// Where kernels and networks run: cpu, cuda, cuda:N or wgpu
    #[arg(long, global = true, default_value = "cpu", value_name = "DEVICE")]
    pub device: Device,
    /// Tell results as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more on standard error; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say only warnings on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// The configuration: of a node [default: hemoflow.toml, if it is here]; of `run`, which takes its selection
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make synthetic studies, stream them through the graph out of order, and check what comes out
    Demo(Demo),
    /// Stream files, folders, DICOMDIRs or NIfTI volumes through the graph, and end
    Run(Run),
    /// Run a node: take slices in from the network, publish results, and lose nothing, until told to end
    Serve,
    /// Make a synthetic head-CT data set: DICOM, masks, labels, truth
    Phantom(Phantom),
    /// Train models from slice labels alone
    Train(Train),
    /// Score a model on a data set with labels and masks
    Evaluate(Evaluate),
    /// Tell which slices and which model a study's results came from, and what changed between them
    Explain(Explain),
    /// Write the images of a study without who they are of, by the basic profile of DICOM PS3.15
    Export(Export),
    /// Print the dataflow graphs as named trees
    Graphs(Graphs),
    /// Look at a model, or bring weights in and out
    #[command(subcommand)]
    Model(Model),
    /// Check the configuration of a node, or print the default one
    #[command(subcommand)]
    Config(Config),
    /// Measure kernels, networks, and what updates cost
    #[command(subcommand)]
    Bench(Bench),
}

/// What is not forgotten, and what leaves memory for it.
#[derive(Args, Clone, Debug, Default)]
pub struct Keep {
    /// Keep here what was received, computed and published, and go on from it
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Series in memory at most; those that changed longest ago come back from the data folder when they change again
    #[arg(long, value_name = "N", requires = "data")]
    pub series: Option<usize>,
}

/// Which model, and who watches.
#[derive(Args, Clone, Debug)]
pub struct Inference {
    /// The folder or card of the model [default: the shipped one]
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Numbers that the encoder and the segmenter compute in: f32, or on a GPU f16 or bf16
    #[arg(long, default_value_t, value_name = "NUMBERS")]
    pub precision: Precision,
    /// Numbers of the method that are not the defaults, as JSON or a file of it: '{"fuse_reach": 0, "refine": {"smooth": false}}'
    #[arg(long, value_name = "JSON", value_parser = method)]
    pub method: Option<MethodConfig>,
    /// Worker threads of the dataflow
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Bytes of results and pixels in memory at most, as 2G or 500M; more goes to disk
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub memory: Option<usize>,
    /// Serve Prometheus metrics here while working, as 127.0.0.1:9464
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
}

/// `hemoflow demo`
#[derive(Args, Debug)]
pub struct Demo {
    /// Studies to make
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub studies: u64,
    /// Seed of the studies
    #[arg(long, default_value_t = 2025, value_name = "S")]
    pub seed: u64,
    /// Where results are written
    #[arg(long, default_value = "demo-out", value_name = "DIR")]
    pub out: PathBuf,
    /// Stay up after the results, until interrupted
    #[arg(long)]
    pub hold: bool,
    /// Which model, and who watches.
    #[command(flatten)]
    pub inference: Inference,
}

/// `hemoflow run`
#[derive(Args, Debug)]
pub struct Run {
    /// DICOM files, folders, DICOMDIRs, NIfTI volumes
    #[arg(required = true, value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// Where results are written
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Write masks as NIfTI too
    #[arg(long)]
    pub nifti: bool,
    /// What is not forgotten.
    #[command(flatten)]
    pub keep: Keep,
    /// Slice labels in the RSNA 2019 form: `views.json` tells how the results agree with them
    #[arg(long, value_name = "CSV")]
    pub labels: Option<PathBuf>,
    /// A model that stands beside the active one: the studies that it calls otherwise are listed
    #[arg(long, value_name = "PATH")]
    pub shadow: Option<PathBuf>,
    /// Which model, and who watches.
    #[command(flatten)]
    pub inference: Inference,
}

/// `hemoflow phantom`
#[derive(Args, Debug)]
pub struct Phantom {
    /// Where the data set is written
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Studies to make
    #[arg(long, value_name = "N")]
    pub studies: u64,
    /// Seed of the data set
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub seed: u64,
    /// Slices of each study [default: drawn, 28 to 36]
    #[arg(long, value_name = "N")]
    pub slices: Option<usize>,
    /// Rows and columns of each slice
    #[arg(long, default_value_t = 512, value_name = "N")]
    pub matrix: usize,
    /// What to write
    #[arg(long, value_delimiter = ',', default_values = ["dicom", "nifti"], value_name = "FORMAT")]
    pub format: Vec<Format>,
    /// Write them as this data set lies on disk, quirks included: rsna, instance, ct-ich or bhsd
    #[arg(long, default_value = "phantom", value_name = "LAYOUT")]
    pub layout: Layout,
}

/// A form of the synthetic images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// An instance for each slice, under `dicom/`.
    Dicom,
    /// A mask for each study, under `masks/`.
    Nifti,
}

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

/// `hemoflow evaluate`
#[derive(Args, Debug)]
pub struct Evaluate {
    /// On what.
    #[command(flatten)]
    pub data: Data,
    /// Which scores of masks are printed; `metrics.json` holds all
    #[arg(long, value_enum, default_value_t = Protocol::Paper)]
    pub protocol: Protocol,
    /// What is compared, on the same patients [default: model, or weak with --folds]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ARM")]
    pub arms: Vec<ArmKind>,
    /// Cross validation: parts into which patients are split, each the test of models trained on the others [default where
    /// something is trained: 5]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u8).range(2..=50))]
    pub folds: Option<u8>,
    /// The label-fraction curve: percents of the labels to train with, tested on the first fold
    #[arg(long, value_delimiter = ',', value_name = "P", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub fractions: Vec<u8>,
    /// Seeds of the label-fraction curve
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=20))]
    pub seeds: u8,
    /// Write `metrics.json` and `report.html` here
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How models of the folds are trained.
    #[command(flatten)]
    pub training: Training,
    /// Which model, and who watches.
    #[command(flatten)]
    pub inference: Inference,
}

/// A way to get masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ArmKind {
    /// The model of --model, as it is
    Model,
    /// The method, trained in each fold from slice labels alone
    Weak,
    /// A U-Net, trained in each fold from masks: the fully supervised baseline
    Supervised,
}

/// Whose definitions masks are scored by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// Per slice, as Ramananda and Sundaresan 2025
    Paper,
    /// Per volume, as the challenge INSTANCE 2022
    Instance,
}

/// `hemoflow explain`
#[derive(Args, Debug)]
pub struct Explain {
    /// The Study Instance UID
    #[arg(value_name = "STUDY")]
    pub study: String,
    /// The tick to look at [default: the last one]
    #[arg(long, value_name = "TICK")]
    pub at: Option<u64>,
    /// The data folder of a run or a node
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Write the results as they were published at the tick
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `hemoflow export`
#[derive(Args, Debug)]
pub struct Export {
    /// The Study Instance UID
    #[arg(value_name = "STUDY")]
    pub study: String,
    /// The data folder of a run or a node
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where the study is written
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Export the objects of the study in this result tree too
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// A secret of 16 bytes or more that pseudonyms are made from: the same secret, the same pseudonyms [default: one that is
    /// drawn and forgotten]
    #[arg(long, value_name = "FILE")]
    pub salt: Option<PathBuf>,
}

/// `hemoflow graphs`
#[derive(Args, Debug)]
pub struct Graphs {
    /// One graph only
    pub name: Option<String>,
}

/// `hemoflow model`
#[derive(Debug, Subcommand)]
pub enum Model {
    /// Print the card, the digest and the layers
    Show {
        /// The folder or card of the model [default: the shipped one]
        path: Option<PathBuf>,
    },
    /// Make a model whose encoder has the weights of a ResNet of torchvision, to begin a training with
    ///
    /// Reads safetensors and PyTorch state dictionaries (.pt, .pth) of resnet18, 34, 50 and 101, of any width; the file says which.
    /// The last layer is left out, the other networks have random weights. Nothing in the file is executed.
    Import {
        /// The file of weights
        file: PathBuf,
        /// Where the model is written
        #[arg(long, value_name = "MODEL_DIR")]
        out: PathBuf,
        /// Name of the model
        #[arg(long, default_value = "imported", value_name = "NAME")]
        name: String,
        /// Seed of the random weights
        #[arg(long, default_value_t = 1, value_name = "S")]
        seed: u64,
    },
    /// Write the encoder of a model as a safetensors file with the names of torchvision
    Export {
        /// The folder or card of the model [default: the shipped one]
        path: Option<PathBuf>,
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// `hemoflow config`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Tell what is wrong, with line and key, and what lets in more than one may think
    Check {
        /// The configuration [default: that of --config, or hemoflow.toml]
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print a commented configuration with every key and its default
    Default,
}

/// `hemoflow bench`
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Kernels against a copy of as many bytes on the same device and against plain Rust
    ///
    /// Inputs lie on the device before the clock starts, and no result comes back: what is timed is the kernel. Time is that
    /// between two events of the device where it has them, otherwise until it has nothing left to do. GB/s count the
    /// fewest bytes that the problem moves: each input read once, each output written once. The copy moves as
    /// many, in turns with the kernel: from device to device, or by memcpy on as many threads as the kernel may use. The
    /// plain-Rust definition runs on one thread over one slice, and its time is multiplied by the batch.
    ///
    /// A size is the rows and columns of a slice, a batch is slices. Cases run from small to large until the time is over; what
    /// is left out is named with its reason.
    Kernels(BenchKernels),
    /// Networks of the shipped model and of untrained ones: slices a second, share of the kernels, launches
    ///
    /// An untrained network has random weights: the shapes and the speed of a trained one. `encode` is all that the stage of that
    /// name does for a slice: window, encoder, class activation map. Times are a caller's: arrays in and
    /// arrays out. Ratios are to burn, measured in turns in the same run.
    Models(BenchModels),
    /// Cost of a change, growth, memory, urgency and shadows of the streaming graph, on tiny synthetic slices
    Graph(BenchGraph),
    /// What a C-STORE receiver takes: this program beside DCMTK's storescp and Orthanc, from the same senders
    Ingest(BenchIngest),
}

/// `hemoflow bench kernels`
#[derive(Args, Debug)]
pub struct BenchKernels {
    /// Measure little, in seconds: one small size, two batches, three samples
    #[arg(long)]
    pub quick: bool,
    /// Only kernels whose names contain one of these
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub only: Vec<String>,
    /// Rows and columns of the slices, multiples of 32 [default: 128,256,512,1024, or 128 with --quick]
    #[arg(long, value_delimiter = ',', value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(32..=4096))]
    pub sizes: Vec<u32>,
    /// Slices in one launch [default: 1,8,64,256, or 1,8 with --quick]
    #[arg(long, value_delimiter = ',', value_name = "SLICES", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batches: Vec<u32>,
    /// What bounds it, and where figures go.
    #[command(flatten)]
    pub limits: BenchLimits,
}

/// `hemoflow bench models`
#[derive(Args, Debug)]
pub struct BenchModels {
    /// Measure little, in seconds: a tiny network, two batches, three samples
    #[arg(long)]
    pub quick: bool,
    /// Networks to measure: shipped, resnet18, resnet34, resnet50, resnet101 [default: shipped,resnet18,resnet50]
    #[arg(long, value_delimiter = ',', value_name = "ARCH")]
    pub arch: Vec<String>,
    /// Slices at once [default: 1,8,32, or 1,2 with --quick]
    #[arg(long, value_delimiter = ',', value_name = "SLICES", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batches: Vec<u32>,
    /// Rows and columns of the input of untrained networks, a multiple of 32 [default: 256, or 32 with --quick]
    #[arg(long, value_name = "PIXELS")]
    pub size: Option<u32>,
    /// Channels of the first stage of untrained networks [default: 64, or 4 with --quick]
    #[arg(long, value_name = "CHANNELS")]
    pub width: Option<u32>,
    /// Channels of the first level of untrained U-Nets [default: 8, as trained here, or 2 with --quick]
    #[arg(long, value_name = "CHANNELS")]
    pub unet_width: Option<u32>,
    /// The folder or card of the model that is measured as `shipped` [default: the shipped one]
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Numbers that the networks compute in: f32, or on a GPU f16 or bf16
    #[arg(long, default_value_t, value_name = "NUMBERS")]
    pub precision: Precision,
    /// What bounds it, and where figures go.
    #[command(flatten)]
    pub limits: BenchLimits,
}

/// What bounds a measurement, and where it goes.
#[derive(Args, Debug)]
pub struct BenchLimits {
    /// End after about so many seconds [default: 110, or 15 with --quick]
    #[arg(long, value_name = "S")]
    pub seconds: Option<u32>,
    /// Leave out what would hold more bytes at once, as 4G or 500M
    #[arg(long, value_name = "BYTES", default_value = "4G", value_parser = bytes)]
    pub memory: usize,
    /// Write the figures here, as `kernels.json` or `models.json`
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write what was timed here, as Chrome trace events that Perfetto opens; each launch is timed alone then
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// `hemoflow bench ingest`
#[derive(Args, Debug)]
pub struct BenchIngest {
    /// Write `ingest.json` here
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Measure little, in seconds
    #[arg(long)]
    pub quick: bool,
    /// Instances that are sent in each measurement [default: 400 in pairs and commits, 10000 in long, 10 for each association
    /// in crowd; less with --quick]
    #[arg(long, value_name = "N")]
    pub instances: Option<usize>,
    /// Associations at once in crowd [default: 64, or 16 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub associations: Option<u16>,
    /// Measure only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    pub only: Vec<Load>,
    /// Where what is sent and received lies, as a RAM disk [default: the temporary folder]
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// `hemoflow bench graph`
#[derive(Args, Debug)]
pub struct BenchGraph {
    /// Write `graph.json` here
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Measure less, in a minute or two
    #[arg(long)]
    pub quick: bool,
    /// Studies that pass through in the soak [default: 10000, or 400 with --quick]
    #[arg(long, value_name = "N")]
    pub studies: Option<usize>,
    /// Seed of models and slices
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub seed: u64,
    /// Measure only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    pub only: Vec<Part>,
}

/// A part of `hemoflow bench ingest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Load {
    /// Every sender with every receiver, over one association and four.
    Pairs,
    /// Many small instances over one association.
    Long,
    /// Many associations at once.
    Crowd,
    /// Four associations with each instance on the disk, against a loop with one fsync each.
    Commits,
}

/// A part of `hemoflow bench graph`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// One late slice in series of 20 to 2,000.
    Cost,
    /// One update beside 10 to 10,000 studies.
    Resident,
    /// Studies pass through under a limit of memory.
    Soak,
    /// A series that cannot wait in a flood.
    Urgency,
    /// A second model beside the active one.
    Shadow,
}

/// Numbers of the method: JSON, or the name of a file that holds it.
fn method(text: &str) -> Result<MethodConfig, String> {
    let read = || std::fs::read_to_string(text).map_err(|error| format!("{text}: {error}"));
    let json = if text.trim_start().starts_with('{') { text.to_owned() } else { read()? };
    serde_json::from_str(&json).map_err(|error| error.to_string())
}

/// A number of bytes, with K, M or G for 1024, 1024^2 or 1024^3.
pub(crate) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let unit = match text.get(digits.len()..) {
        Some("") => Some(0),
        Some("K") => Some(10),
        Some("M") => Some(20),
        Some("G") => Some(30),
        _ => None,
    };
    let (Some(unit), Ok(number)) = (unit, digits.parse::<usize>()) else {
        return Err("must be a whole number with at most one of K, M, G".to_owned());
    };
    number.checked_mul(1 << unit).ok_or_else(|| "does not fit".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn bytes_have_units_and_anything_else_is_refused() {
        assert_eq!((bytes("17"), bytes("2K"), bytes("3G")), (Ok(17), Ok(2048), Ok(3 << 30)));
        for text in ["", "K", "1KM", "-1", "1.5G", "99999999999G"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_the_method_are_json_in_place_or_in_a_file_and_unknown_ones_are_refused() {
        let given = method(r#"{"fuse_reach": 0, "refine": {"smooth": false}}"#).expect("numbers");
        assert_eq!((given.fuse_reach, given.refine.smooth, given.cam_threshold), (0, false, 0.7));
        assert!(method(r#"{"fuse_raech": 0}"#).expect_err("unknown").contains("fuse_raech"));
        assert!(method("no/such/file").expect_err("missing").contains("no/such/file"));
    }

    #[test]
    fn a_device_that_is_none_is_refused_by_name() {
        let error = Arguments::try_parse_from(["hemoflow", "--device", "tpu", "graphs"]).expect_err("no such device");
        assert!(error.to_string().contains("tpu"));
        assert_eq!(error.exit_code(), 2);
    }
}
