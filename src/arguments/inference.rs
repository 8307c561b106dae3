//! What a command needs that infers: what is kept, which model, who watches.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use operators::record::MethodConfig;
use operators::tensor::Precision;

use super::{bytes, method};

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
