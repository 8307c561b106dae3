//! Training: slice labels in, weights out.
//!
//! | stage | learns | from | loss |
//! |---|---|---|---|
//! | 1 `classifier` | the encoder | slices and labels | cross-entropy of logits, balanced |
//! | 2 `head` | the sequence head | features of contiguous crops, encoder frozen | cross-entropy, one for each slice |
//! | 3 `cam` | the CAM head, D + 1 numbers | features, encoder frozen | cross-entropy of logits, balanced |
//! | 4 `segmenter` | the U-Net | pseudo-masks | Dice and cross-entropy |
//!
//! [`train`] runs stages 1 to 3; whoever has the pseudo-masks of the result runs [`train_segmenter`]. The same data, configuration
//! and seed give the same weights on `cpu`. The joint fine-tuning of encoder and head, as published, is not done here.

mod cam;
mod classifier;
mod config;
mod error;
mod features;
mod fit;
mod head;
mod images;
mod loss;
mod random;
mod sampler;
mod segmenter;
mod warp;

pub use cam::train_cam;
pub use classifier::train_classifier;
pub use config::{StageConfig, TrainConfig};
pub use error::TrainError;
pub use features::Features;
pub use fit::Progress;
pub use head::{HeadScore, train_head};
pub use images::{Images, Split, TrainSeries, TrainSlice};
pub use segmenter::train_segmenter;

#[cfg(test)]
pub(crate) use loss::cross_entropy;
pub(crate) use random::Random;

use kernels::Device;

use crate::model::{Card, Model, Network, connect};

/// Trains encoder, sequence head and CAM head from slice labels: stages 1 to 3. `card` names the model ([`TrainConfig::card`]);
/// its gate, counts and metrics are filled in.
///
/// # Errors
///
/// Returns [`TrainError`] if the data cannot teach, the networks cannot run or a loss is lost.
pub fn train(
    mut card: Card,
    images: &Images,
    config: &TrainConfig,
    device: Device,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Model, TrainError> {
    card.check()?;
    let split = images.split(config)?;
    let network = Network::new(&card, config.seed, &connect(device)?);
    let (network, slice_auc) = train_classifier(&card, network, images, &split, config, device, progress)?;
    let features = Features::of(&Model::new(card.clone(), &network, device)?, images, &split)?;
    let (network, head) = train_head(network, &features, images, &split, config, device, progress)?;
    let (network, cam_auc) = train_cam(network, &features, images, &split, config, device, progress)?;

    card.gate = head.gate.unwrap_or(card.gate);
    card.trained.studies = images.series();
    card.trained.slices = images.slices();
    card.trained.positive_slices = images.positive_slices();
    "slice labels only".clone_into(&mut card.trained.supervision);
    for (name, value) in [("slice_auc", slice_auc), ("sequence_auc", head.auc), ("cam_auc", cam_auc)] {
        card.trained.metrics.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(Model::new(card, &network, device)?)
}

/// Trains the segmenter of a model from the pseudo-masks that the model itself gives: stage 4. `mask` is that of
/// [`train_segmenter`].
///
/// # Errors
///
/// Returns [`TrainError`] if there are no pseudo-masks, one does not fit, the network cannot run or the loss is lost.
pub fn add_segmenter(
    model: &Model,
    images: &Images,
    mask: impl Fn(usize, usize) -> Option<Vec<bool>>,
    config: &TrainConfig,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Model, TrainError> {
    let split = images.split(config)?;
    let network = model.network().clone();
    let (network, loss) = train_segmenter(network, images, &split, mask, config, model.device(), progress)?;
    let mut card = model.card().clone();
    card.segmenter = true;
    card.trained.metrics.extend(loss.map(|loss| ("segmenter_loss".to_owned(), loss)));
    Ok(Model::new(card, &network, model.device())?)
}

#[cfg(test)]
pub(crate) mod tests;
