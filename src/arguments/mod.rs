//! What was typed. No input or output happens here.

mod bench;
mod config;
mod demo;
mod doctor;
mod evaluate;
mod inference;
mod model;
mod phantom;
mod run;
mod study;
mod train;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use kernels::Device;
use operators::record::MethodConfig;

pub use bench::{Bench, BenchGraph, BenchIngest, BenchKernels, BenchLimits, BenchModels, Load, Part};
pub use config::Config;
pub use demo::Demo;
pub use doctor::Doctor;
pub use evaluate::{ArmKind, Evaluate, Protocol};
pub use inference::{Inference, Keep};
pub use model::Model;
pub use phantom::{Format, Phantom};
pub use run::Run;
pub use study::{Explain, Export};
pub use train::{Data, Stage, Train, Training};

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
    /// Look at a node and its surroundings: configuration, devices, disk, ports, a C-ECHO in and to each peer; and say the mend
    Doctor(Doctor),
    /// Measure kernels, networks, and what updates cost
    #[command(subcommand)]
    Bench(Bench),
}

/// `hemoflow graphs`
#[derive(Args, Debug)]
pub struct Graphs {
    /// One graph only
    pub name: Option<String>,
}

/// Numbers of the method: JSON, or the name of a file that holds it.
fn method(text: &str) -> Result<MethodConfig, String> {
    let read = || std::fs::read_to_string(text).map_err(|error| format!("{text}: {error}"));
    let json = if text.trim_start().starts_with('{') { text.to_owned() } else { read()? };
    let given: serde_json::Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    if let Some(name) = MethodConfig::OF_CARD.into_iter().find(|name| given.get(name).is_some()) {
        return Err(format!("{name} is told by the card of the model"));
    }
    serde_json::from_value(given).map_err(|error| error.to_string())
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
        assert!(method(r#"{"mask_gate": 0.1}"#).expect_err("the card's").contains("mask_gate"));
        assert!(method("no/such/file").expect_err("missing").contains("no/such/file"));
    }

    #[test]
    fn a_device_that_is_none_is_refused_by_name() {
        let error = Arguments::try_parse_from(["hemoflow", "--device", "tpu", "graphs"]).expect_err("no such device");
        assert!(error.to_string().contains("tpu"));
        assert_eq!(error.exit_code(), 2);
    }
}
