//! `hemoflow bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use operators::tensor::Precision;

use super::bytes;

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
