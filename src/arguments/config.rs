//! `hemoflow config`.

use std::path::PathBuf;

use clap::Subcommand;

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
