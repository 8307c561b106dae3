//! `hemoflow phantom`.

use std::path::PathBuf;

use clap::Args;
use operators::layout::Layout;

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
    /// After each study with a hemorrhage its twin too: the same head without one, another study of the same patient
    #[arg(long)]
    pub twins: bool,
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
