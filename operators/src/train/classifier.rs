//! Stage 1: the encoder learns from slice labels.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::fit::fit;
use super::loss::cross_entropy;
use super::sampler::Balanced;
use super::warp::Warp;
use super::{Course, Images, Random, Split, TrainConfig, TrainError};
use crate::model::{Card, Model, Network, connect};
use crate::score::auc::auc;

/// Trains the encoder: binary cross-entropy of logits, both labels equally often, every pair changed at random, the epoch
/// with the best slice AUC on the series that are held back kept. Gives that AUC.
///
/// # Errors
///
/// Returns [`TrainError`] if the networks cannot run or the loss is lost.
pub fn train_classifier(
    card: &Card,
    mut network: Network,
    images: &Images,
    split: &Split,
    config: &TrainConfig,
    device: kernels::Device,
    course: &mut Course,
) -> Result<(Network, Option<f64>), TrainError> {
    let channels = images.windows.len();
    let coarse_steps = config.coarse_epochs * config.classifier.samples.div_ceil(config.classifier.batch.max(1));
    let training = connect(device)?.autodiff();
    let precision = config.precision_on(device)?;
    let sampler = Balanced::new(&images.slices_of(&split.training), |slice| images.labels[slice]);
    let partners = images.partners();
    let held = images.slices_of(&split.validation);
    let rest = network.clone();
    let (encoder, score) = fit(
        "classifier",
        config.classifier,
        network.encoder,
        |encoder, step, count| {
            let random = &mut Random::step(config.seed, "classifier", step);
            let slices = sampler.pairs(count, random, config.partners, |slice| partners[slice]);
            let coarse = step < coarse_steps;
            let size = if coarse { images.size / 2 } else { images.size };
            let pixels = slices.par_iter().enumerate().map(|(index, &slice)| {
                let pair = u64::try_from(step * count.div_ceil(2) + index / 2).unwrap_or(u64::MAX);
                let warp = Warp::draw(size, &mut Random::item(config.seed, "classifier warp", pair));
                let mut out = Vec::with_capacity(channels * size * size);
                for (channel, &window) in images.pixels[slice].chunks(images.size * images.size).zip(&images.windows) {
                    if coarse {
                        warp.image(&halved(channel, images.size), window, &mut out);
                    } else {
                        warp.image(channel, window, &mut out);
                    }
                }
                out
            });
            let pixels = pixels.collect::<Vec<_>>().concat();
            let labels: Vec<f32> = slices.iter().map(|&slice| number(images.labels[slice])).collect();
            let batch = slices.len();
            let input = Tensor::from_data(TensorData::new(pixels, [batch, channels, size, size]), &training);
            let labels = Tensor::<2>::from_data(TensorData::new(labels, [batch, 1]), &training);
            Ok(cross_entropy(encoder.forward(precision.tensor(input), card.pooling), labels).mean())
        },
        |encoder| {
            let mut network = rest.clone();
            network.cam = encoder.fc.clone();
            network.encoder = encoder.clone();
            let model = Model::new(card.clone(), &network, device)?;
            let encoded = encode(&model, images, &held)?;
            let logits: Vec<f32> = encoded.iter().map(|(_, logit)| *logit).collect();
            Ok(auc(&logits, &held.iter().map(|&slice| images.labels[slice]).collect::<Vec<_>>()))
        },
        course,
    )?;
    network.cam = encoder.fc.clone();
    network.encoder = encoder;
    Ok((network, score))
}

/// The pooled features and single-slice logits of some slices, as inference gives them.
pub(crate) fn encode(model: &Model, images: &Images, slices: &[usize]) -> Result<Vec<(Vec<f32>, f32)>, TrainError> {
    let channels = images.windows.len();
    let mut encoded = Vec::with_capacity(slices.len());
    for some in slices.chunks(32) {
        let mut pixels = Vec::with_capacity(some.len() * channels * images.size * images.size);
        some.iter().for_each(|&slice| images.intensities(slice, channels, &mut pixels));
        encoded.extend(model.encode(&pixels, some.len())?.into_iter().map(|slice| (slice.feature, slice.logit)));
    }
    Ok(encoded)
}

/// A square image of half the side: means of 2x2 pixels.
fn halved(image: &[u8], size: usize) -> Vec<u8> {
    let at = |row: usize, column: usize| u16::from(image[row * size + column]);
    (0..size / 2 * (size / 2))
        .map(|index| {
            let (row, column) = (2 * (index / (size / 2)), 2 * (index % (size / 2)));
            let sum = at(row, column) + at(row, column + 1) + at(row + 1, column) + at(row + 1, column + 1);
            u8::try_from((sum + 2) / 4).unwrap_or(u8::MAX)
        })
        .collect()
}

/// A label as the losses take it.
pub(crate) fn number(label: bool) -> f32 {
    if label { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_takes_means_of_two_by_two() {
        let image = [0, 255, 8, 8, 0, 255, 8, 8, 1, 1, 255, 255, 1, 2, 255, 255];
        assert_eq!(halved(&image, 4), [128, 8, 1, 255]);
    }
}
