//! `hemoflow model`.

use std::path::PathBuf;

use clap::Subcommand;

/// `hemoflow model`
#[derive(Debug, Subcommand)]
pub enum Model {
    /// Print the card, the digest and the layers
    Show {
        /// The folder or card of the model [default: the shipped one]
        path: Option<PathBuf>,
    },
    /// Make a model whose encoder has the weights of a ResNet of torchvision, to begin a training with
    ///
    /// Reads safetensors and PyTorch state dictionaries (.pt, .pth) of resnet18, 34, 50 and 101, of any width; the file says which.
    /// The last layer is left out, the other networks have random weights. Nothing in the file is executed.
    Import {
        /// The file of weights
        file: PathBuf,
        /// Where the model is written
        #[arg(long, value_name = "MODEL_DIR")]
        out: PathBuf,
        /// Name of the model
        #[arg(long, default_value = "imported", value_name = "NAME")]
        name: String,
        /// Seed of the random weights
        #[arg(long, default_value_t = 1, value_name = "S")]
        seed: u64,
    },
    /// Write the encoder of a model as a safetensors file with the names of torchvision
    Export {
        /// The folder or card of the model [default: the shipped one]
        path: Option<PathBuf>,
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}
