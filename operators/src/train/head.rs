//! Stage 2: the sequence head learns from the features of neighboring slices.
//!
//! The encoder is frozen and its features are cached, so a whole training costs minutes. Fine-tuning encoder and head
//! together is not done here.

use burn::tensor::{Tensor, TensorData};

use super::classifier::number;
use super::fit::fit;
use super::loss::cross_entropy;
use super::sampler::Balanced;
use super::{Course, Features, Images, Random, Split, TrainConfig, TrainError};
use crate::model::windows::{mean, windows};
use crate::model::{Head, Network, connect, sequences};
use crate::score::auc::{auc, youden};

/// What the sequence head scores on the series that are held back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HeadScore {
    /// Slice AUC of the mean over windows.
    pub auc: Option<f64>,
    /// The probability at which sensitivity plus specificity is greatest.
    pub gate: Option<f32>,
}

/// Trains the sequence head alone: contiguous crops of 1 to `context_radius + 1` slices from a zero state, each around a slice
/// drawn with both labels equally often; one loss for each slice of the crop.
///
/// # Errors
///
/// Returns [`TrainError`] if the network cannot run or the loss is lost.
pub fn train_head(
    mut network: Network,
    features: &Features,
    images: &Images,
    split: &Split,
    config: &TrainConfig,
    device: kernels::Device,
    course: &mut Course,
) -> Result<(Network, HeadScore), TrainError> {
    let plain = connect(device)?;
    let training = plain.clone().autodiff();
    let slices = images.slices_of(&split.training);
    let sampler = Balanced::new(&slices, |slice| images.labels[slice]);
    let mut run_of = vec![0..0; images.slices()];
    for run in &images.runs {
        run_of[run.slices.clone()].fill(run.slices.clone());
    }
    let longest = split.training.iter().map(|&run| images.runs[run].slices.len()).max().unwrap_or(1);
    let limit = longest.min(config.context_radius + 1);
    let labels: Vec<bool> = images.slices_of(&split.validation).iter().map(|&slice| images.labels[slice]).collect();
    let (head, _) = fit(
        "head",
        config.head,
        network.head,
        |head, step, count| {
            let random = &mut Random::step(config.seed, "head", step);
            let length = 1 + random.below(limit);
            let mut values = Vec::new();
            let mut labels = Vec::new();
            // Runs that are shorter than the crop are passed over; the longest run always fits.
            for _ in 0..count * 64 {
                let Some(slice) = sampler.draw(random).filter(|_| labels.len() < count * length) else { break };
                let run = &run_of[slice];
                if run.len() < length {
                    continue;
                }
                let first = run.start.max((slice + 1).saturating_sub(length));
                let last = slice.min(run.end - length);
                let start = first + random.below(last - first + 1);
                for slice in start..start + length {
                    values.extend_from_slice(&features.features[slice]);
                    labels.push(number(images.labels[slice]));
                }
            }
            let batch = labels.len() / length;
            let width = values.len() / labels.len().max(1);
            let input = Tensor::<3>::from_data(TensorData::new(values, [batch, length, width]), &training);
            let labels = Tensor::<2>::from_data(TensorData::new(labels, [batch, length]), &training);
            Ok(cross_entropy(head.forward(input), labels).mean())
        },
        |head| Ok(auc(&held_logits(head, features, images, split, config, &plain)?, &labels)),
        course,
    )?;
    let logits = held_logits(&head, features, images, split, config, &plain)?;
    let gate = youden(&logits, &labels).map(|logit| 1.0 / (1.0 + libm::expf(-logit)));
    network.head = head;
    Ok((network, HeadScore { auc: auc(&logits, &labels), gate }))
}

/// The logits of the slices that are held back, as inference gives them: the mean over their windows.
fn held_logits(
    head: &Head,
    features: &Features,
    images: &Images,
    split: &Split,
    config: &TrainConfig,
    device: &burn::tensor::Device,
) -> Result<Vec<f32>, TrainError> {
    let mut logits = Vec::new();
    for &run in &split.validation {
        let slices = &features.features[images.runs[run].slices.clone()];
        let windows = windows(slices.len(), config.context_radius);
        let inputs: Vec<Vec<&[f32]>> =
            windows.iter().map(|window| slices[window.clone()].iter().map(Vec::as_slice).collect()).collect();
        let width = slices.first().map_or(0, Vec::len);
        logits.extend(mean(&windows, &sequences(head, &inputs, width, device)?, slices.len()));
    }
    Ok(logits)
}
