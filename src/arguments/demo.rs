//! `hemoflow demo`.

use std::path::PathBuf;

use clap::Args;

use super::Inference;

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
