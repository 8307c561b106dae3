//! Training: slice labels in, weights out.
//!
//! | stage | learns | from | loss |
//! |---|---|---|---|
//! | 1 `classifier` | the encoder | slices and labels | cross-entropy of logits, balanced |
//! | 2 `head` | the sequence head | features of contiguous crops, encoder frozen | cross-entropy, one for each slice |
//! | 3 `cam` | the CAM head, D + 1 numbers | features, encoder frozen | cross-entropy of logits, balanced |
//! | 4 `segmenter` | the U-Net | pseudo-masks | Dice and cross-entropy |
//!
//! [`train`] runs stages 1 to 3, and measures where the maps look ([`aim`]); whoever has the pseudo-masks of the result runs
//! [`train_segmenter`]. The same data, configuration
//! and seed give the same weights on `cpu`, also when a kill came between and the training went on from its checkpoints
//! ([`Course`]). The joint fine-tuning of encoder and head, as published, is not done here.

mod aim;
mod cam;
mod checkpoint;
mod classifier;
mod config;
mod course;
mod error;
mod features;
mod fit;
mod head;
mod images;
mod loss;
mod metrics;
mod random;
mod sampler;
mod segmenter;
mod warp;

pub use aim::aim;
pub use cam::train_cam;
pub use classifier::train_classifier;
pub use config::{StageConfig, Student, TrainConfig};
pub use course::{Checkpoints, Course};
pub use error::TrainError;
pub use features::Features;
pub use fit::{Progress, Step};
pub use head::{HeadScore, train_head};
pub use images::{Images, Split, TrainSeries, TrainSlice};
pub use metrics::TrainingMetrics;
pub use segmenter::train_segmenter;

#[cfg(test)]
pub(crate) use loss::cross_entropy;
pub(crate) use random::Random;

use kernels::Device;

use crate::model::{Card, Model, ModelError, Network, connect};

/// Trains encoder, sequence head and CAM head from slice labels: stages 1 to 3. `card` names the model ([`TrainConfig::card`]);
/// its gate, counts and metrics are filled in, and where its maps look ([`aim`]). The encoder begins with the weights of `start` if it is given and of the same
/// shape, otherwise all begins with random weights.
///
/// # Errors
///
/// Returns [`TrainError`] if the data cannot teach, the networks cannot run or a loss is lost.
pub fn train(
    mut card: Card,
    start: Option<&Model>,
    images: &Images,
    config: &TrainConfig,
    device: Device,
    course: &mut Course,
) -> Result<Model, TrainError> {
    card.check()?;
    let split = images.split(config)?;
    course.about(|| images.digest(config));
    let mut network = Network::new(&card, config.seed, &connect(device)?);
    if let Some(start) = start {
        card.same_encoder(start.card())?;
        network.encoder = network
            .encoder
            .with_weights_of(&start.network().encoder)
            .map_err(|error| ModelError::Weights { name: start.card().name.clone(), reason: error.to_string() })?;
    }
    let (network, slice_auc) = train_classifier(&card, network, images, &split, config, device, course)?;
    let features = Features::of(&Model::new(card.clone(), &network, device)?, images, &split)?;
    let (network, head) = train_head(network, &features, images, &split, config, device, course)?;
    let (network, cam_auc) = train_cam(network, &features, images, &split, config, device, course)?;

    card.gate = head.gate.unwrap_or(card.gate);
    card.trained.studies = images.series();
    card.trained.slices = images.slices();
    card.trained.positive_slices = images.positive_slices();
    "slice labels only".clone_into(&mut card.trained.supervision);
    for (name, value) in [("slice_auc", slice_auc), ("sequence_auc", head.auc), ("cam_auc", cam_auc)] {
        card.trained.metrics.extend(value.map(|value| (name.to_owned(), value)));
    }
    aim(&Model::new(card, &network, device)?, images, config)
}

/// Who draws the masks that the segmenter learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teacher {
    /// The refinement of the model's own activation maps: stage 4 as published.
    Maps,
    /// The segmenter itself, in a round of self-training, from 1 to [`Teacher::ROUNDS`]: a new one learns from its masks.
    Itself(usize),
    /// People: full supervision, for a baseline.
    People,
}

impl Teacher {
    /// Rounds of self-training at most.
    pub const ROUNDS: usize = 3;

    fn stage(self) -> &'static str {
        match self {
            Self::Maps | Self::People => "segmenter",
            Self::Itself(0 | 1) => "segmenter round 1",
            Self::Itself(2) => "segmenter round 2",
            Self::Itself(_) => "segmenter round 3",
        }
    }
}

/// Trains a new segmenter for a model: stage 4. It begins with the weights that `config.seed` gives, whatever segmenter the model
/// had. `mask` is that of [`train_segmenter`].
///
/// # Errors
///
/// Returns [`TrainError`] if there are no masks, one does not fit, the network cannot run or the loss is lost.
pub fn add_segmenter(
    model: &Model,
    teacher: Teacher,
    images: &Images,
    mask: impl Fn(usize, usize) -> Option<Vec<bool>>,
    config: &TrainConfig,
    course: &mut Course,
) -> Result<Model, TrainError> {
    let split = images.split(config)?;
    let mut network = model.network().clone();
    network.unet = Network::new(model.card(), config.seed, &connect(model.device())?).unet;
    let stage = teacher.stage();
    let (network, loss) = train_segmenter(stage, network, images, &split, mask, config, model.device(), course)?;
    let mut card = model.card().clone();
    card.segmenter = true;
    config.tell_segmenter(&mut card.trained.config);
    card.trained.metrics.extend(loss.map(|loss| ("segmenter_loss".to_owned(), loss)));
    match teacher {
        Teacher::Maps => "slice labels only".clone_into(&mut card.trained.supervision),
        Teacher::People => "slice labels, and masks for the segmenter".clone_into(&mut card.trained.supervision),
        Teacher::Itself(_) => {}
    }
    Ok(Model::new(card, &network, model.device())?)
}

#[cfg(test)]
pub(crate) mod tests;
