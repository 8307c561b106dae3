//! Why there is no model, or no answer from it.

use std::path::PathBuf;

use kernels::{Device, DeviceError};

use super::Engine;
use crate::tensor::Precision;

/// A model that cannot be read, built or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A folder holds no model card, or more than one.
    #[error("{path}: {found} model cards, must be one: name the .json")]
    Cards {
        /// The folder.
        path: PathBuf,
        /// The cards in it.
        found: usize,
    },
    /// A card is not a card.
    #[error("{path}: not a model card: {source}")]
    Card {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The weights are not those that the card names.
    #[error("{path}: sha256 is {found}, the card says {expected}")]
    Checksum {
        /// The file of weights.
        path: PathBuf,
        /// What the card says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// The weights do not fit the networks of the card.
    #[error("weights of {name}: {reason}")]
    Weights {
        /// The model.
        name: String,
        /// What does not fit.
        reason: String,
    },
    /// The card describes no network.
    #[error("model card: {reason}")]
    Architecture {
        /// The number, and what it must be.
        reason: String,
    },
    /// An input has not the length that its shape says.
    #[error("{array} has {len} elements, its shape needs {expected}")]
    Length {
        /// The input.
        array: &'static str,
        /// Its length.
        len: usize,
        /// The length that the shape needs.
        expected: usize,
    },
    /// This build or this machine lacks the device.
    #[error(transparent)]
    NoDevice(#[from] DeviceError),
    /// The engine does not run on the device.
    #[error("the {engine} engine runs on cpu only, not on {device}")]
    Engine {
        /// The engine.
        engine: Engine,
        /// The device.
        device: Device,
    },
    /// The device, or the engine on it, does not compute in numbers of this width.
    #[error("no network runs in {precision} on {device}")]
    Precision {
        /// The device.
        device: Device,
        /// The numbers.
        precision: Precision,
    },
    /// The device failed.
    #[error("{network}: the device failed: {reason}")]
    Device {
        /// The network that ran.
        network: &'static str,
        /// What the device said.
        reason: String,
    },
}
