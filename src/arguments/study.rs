//! `hemoflow explain` and `hemoflow export`: what is known of a study, and its images for others.

use std::path::PathBuf;

use clap::Args;

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
