//! `hemoflow run`.

use std::path::PathBuf;

use clap::Args;

use super::{Inference, Keep};

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
