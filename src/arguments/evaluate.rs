//! `hemoflow evaluate`.

use std::path::PathBuf;

use clap::Args;

use super::{Data, Inference, Training};

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
