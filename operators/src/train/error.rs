//! Why a training did not happen.

use std::path::PathBuf;

use crate::model::ModelError;
use crate::tensor::Precision;

/// A training that cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The networks cannot be built or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A slice cannot be brought to the networks' input.
    #[error("series {series}, slice {slice}: {reason}")]
    Preprocess {
        /// The series.
        series: String,
        /// The slice in it, from 0.
        slice: usize,
        /// What failed.
        reason: String,
    },
    /// There is nothing to learn from.
    #[error("training needs slices of both labels: {positive} of {slices} have a hemorrhage")]
    OneLabel {
        /// Slices to train on.
        slices: usize,
        /// Those with a hemorrhage.
        positive: usize,
    },
    /// There is nothing to segment.
    #[error("the segmenter needs pseudo-masks: none of {positive} positive slices has one")]
    NoMasks {
        /// Slices with a hemorrhage.
        positive: usize,
    },
    /// A pseudo-mask does not fit its slice.
    #[error("pseudo-mask of series {series}, slice {slice}: {len} pixels, must be {expected}")]
    Mask {
        /// The series.
        series: String,
        /// The slice in it, from 0.
        slice: usize,
        /// Its pixels.
        len: usize,
        /// Pixels of the networks' input.
        expected: usize,
    },
    /// A number of the configuration makes no sense.
    #[error("training configuration: {what} is {value}, must be {must}")]
    Config {
        /// The number.
        what: &'static str,
        /// What it is.
        value: f64,
        /// What it must be.
        must: &'static str,
    },
    /// Numbers that nothing is trained in.
    #[error("nothing is trained in {0}, in which small gradients vanish: say f32 or bf16")]
    Precision(Precision),
    /// A checkpoint cannot be written, read or used.
    #[error("checkpoint {path}: {reason}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
    /// Weights or the optimizer's state cannot be kept or taken back.
    #[error("{stage}: a checkpoint cannot be made or used: {reason}")]
    Unkept {
        /// The stage.
        stage: &'static str,
        /// What failed.
        reason: String,
    },
    /// The loss left the numbers.
    #[error("{stage}: the loss of epoch {epoch} is not finite: lower the learning rate")]
    Diverged {
        /// The stage.
        stage: &'static str,
        /// The epoch, from 1.
        epoch: usize,
    },
}
