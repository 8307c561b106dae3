//! `hemoflow doctor`.

use std::path::PathBuf;

use clap::Args;

/// `hemoflow doctor`
#[derive(Args, Debug)]
pub struct Doctor {
    /// The configuration of the node [default: that of --config, or hemoflow.toml if it is here]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}
