//! Stage 4: the U-Net learns from pseudo-masks.

use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::fit::fit;
use super::loss::{dice, dice_and_cross_entropy};
use super::sampler::Balanced;
use super::warp::Warp;
use super::{Course, Images, Random, Split, TrainConfig, TrainError};
use crate::model::{Network, connect, host};
use crate::record::Digest;
use crate::tensor::Precision;

/// Slices that are held back and scored at most: the score chooses an epoch, no more.
const SCORED: usize = 96;
/// A pixel next to a pseudo-mask: neither label.
const IGNORED: u8 = 2;

/// Trains the segmenter, as the stage of this name: Dice and cross-entropy; half of the samples have a pseudo-mask, the other
/// half are slices without a hemorrhage; pixels that touch a pseudo-mask from outside are ignored
/// ([`Student`](super::Student) switches each of these); image and mask are changed together.
/// Gives the loss of the best epoch on the series that are held back.
///
/// `mask(run, slice)` is the pseudo-mask of a slice at the networks' input size, `size * size` pixels, for the runs in the
/// order that they were added; `None` or no pixel where there is none, then a slice with a hemorrhage is not used.
///
/// # Errors
///
/// Returns [`TrainError`] if there are no pseudo-masks, one does not fit, the network cannot run or the loss is lost.
#[allow(clippy::too_many_arguments, reason = "one more than the other stages: its name, which tells rounds apart")]
pub fn train_segmenter(
    stage: &'static str,
    mut network: Network,
    images: &Images,
    split: &Split,
    mask: impl Fn(usize, usize) -> Option<Vec<bool>>,
    config: &TrainConfig,
    device: kernels::Device,
    course: &mut Course,
) -> Result<(Network, Option<f64>), TrainError> {
    let size = images.size;
    let student = config.student;
    let cost = if student.cross_entropy { dice_and_cross_entropy } else { dice };
    let mut masks = targets(images, split, mask)?;
    if !student.ignore_band {
        masks.iter_mut().flatten().flatten().filter(|target| **target == IGNORED).for_each(|target| *target = 0);
    }
    course.about(|| {
        let start = Digest::builder("segmenter").digest(&images.digest(config));
        masks.iter().fold(start, |name, mask| name.bytes(mask.as_deref().unwrap_or_default())).finish()
    });
    let plain = connect(device)?;
    let training = plain.clone().autodiff();
    let precision = config.precision_on(device)?;
    let usable = |runs: &[usize]| -> Vec<usize> {
        images
            .slices_of(runs)
            .into_iter()
            .filter(|&slice| masks[slice].is_some() || student.negatives && !images.labels[slice])
            .collect()
    };
    let sampler = Balanced::new(&usable(&split.training), |slice| masks[slice].is_some());
    let mut held = usable(&split.validation);
    Random::new(config.seed, "segmenter validation").shuffle(&mut held);
    held.sort_by_key(|&slice| masks[slice].is_none());
    let with = held.iter().filter(|&&slice| masks[slice].is_some()).count();
    held.truncate((2 * with).min(SCORED).max(with.min(SCORED)));
    let background = vec![0_u8; size * size];
    let (unet, score) = fit(
        stage,
        config.segmenter,
        network.unet,
        |unet, step, count| {
            let slices = sampler.draws(count, &mut Random::step(config.seed, "segmenter", step));
            let samples = slices.par_iter().enumerate().map(|(index, &slice)| {
                let item = u64::try_from(step * count + index).unwrap_or(u64::MAX);
                let warp = Warp::draw(size, &mut Random::item(config.seed, "segmenter warp", item));
                let mut image = Vec::with_capacity(size * size);
                warp.image(&images.pixels[slice][..size * size], images.windows[0], &mut image);
                (image, warp.mask(masks[slice].as_ref().unwrap_or(&background), 0))
            });
            let (pixels, masks): (Vec<Vec<f32>>, Vec<Vec<u8>>) = samples.collect::<Vec<_>>().into_iter().unzip();
            let shape = [slices.len(), 1, size, size];
            let input = Tensor::from_data(TensorData::new(pixels.concat(), shape), &training);
            let (target, weight) = tensors(&masks.concat(), shape, &training);
            let logits = Precision::F32.tensor(unet.forward(precision.tensor(input)));
            Ok(cost(logits, target, weight))
        },
        |unet| {
            let mut sum = 0.0;
            for some in held.chunks(8) {
                let shape = [some.len(), 1, size, size];
                let mut pixels = Vec::new();
                some.iter().for_each(|&slice| images.intensities(slice, 1, &mut pixels));
                let input = Tensor::from_data(TensorData::new(pixels, shape), &plain);
                let targets: Vec<&[u8]> =
                    some.iter().map(|&slice| masks[slice].as_ref().unwrap_or(&background).as_slice()).collect();
                let (target, weight) = tensors(&targets.concat(), shape, &plain);
                let loss = host("segmenter", cost(unet.forward(input), target, weight))?;
                sum +=
                    f64::from(loss.first().copied().unwrap_or(0.0)) * f64::from(u32::try_from(some.len()).unwrap_or(0));
            }
            Ok((with > 0).then(|| -sum / f64::from(u32::try_from(held.len()).unwrap_or(1))))
        },
        course,
    )?;
    network.unet = unet;
    Ok((network, score.map(|score| -score)))
}

/// The targets by slice: 0, 1 and [`IGNORED`]; `None` where there is no pseudo-mask.
fn targets(
    images: &Images,
    split: &Split,
    mask: impl Fn(usize, usize) -> Option<Vec<bool>>,
) -> Result<Vec<Option<Vec<u8>>>, TrainError> {
    let expected = images.size * images.size;
    let mut targets = vec![None; images.slices()];
    for &run in split.training.iter().chain(&split.validation) {
        for (slice, index) in images.runs[run].slices.clone().enumerate() {
            let Some(mask) = mask(run, slice).filter(|_| images.labels[index]) else { continue };
            if mask.len() != expected {
                return Err(TrainError::Mask {
                    series: images.runs[run].key.clone(),
                    slice,
                    len: mask.len(),
                    expected,
                });
            }
            targets[index] = mask.contains(&true).then(|| band(&mask, images.size));
        }
    }
    let used = images.slices_of(&split.training);
    if used.iter().all(|&slice| targets[slice].is_none()) {
        return Err(TrainError::NoMasks { positive: used.iter().filter(|&&slice| images.labels[slice]).count() });
    }
    Ok(targets)
}

/// A mask as a target: its outer border, 8-connected and one pixel wide, is ignored.
fn band(mask: &[bool], size: usize) -> Vec<u8> {
    let near = |row: usize, column: usize| {
        (row.saturating_sub(1)..(row + 2).min(size))
            .any(|row| mask[row * size + column.saturating_sub(1)..row * size + (column + 2).min(size)].contains(&true))
    };
    (0..mask.len())
        .map(|index| match (mask[index], near(index / size, index % size)) {
            (true, _) => 1,
            (false, true) => IGNORED,
            (false, false) => 0,
        })
        .collect()
}

/// Targets as mask and weight.
fn tensors(targets: &[u8], shape: [usize; 4], device: &burn::tensor::Device) -> (Tensor<4>, Tensor<4>) {
    let tensor = |holds: fn(u8) -> bool| {
        let values: Vec<f32> = targets.iter().map(|&target| if holds(target) { 1.0 } else { 0.0 }).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    };
    (tensor(|target| target == 1), tensor(|target| target != IGNORED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_touches_the_mask_from_outside() {
        let mut mask = vec![false; 25];
        mask[12] = true;
        let band = band(&mask, 5);
        let rows: Vec<&[u8]> = band.chunks(5).collect();
        assert_eq!(rows, [[0, 0, 0, 0, 0], [0, 2, 2, 2, 0], [0, 2, 1, 2, 0], [0, 2, 2, 2, 0], [0, 0, 0, 0, 0]]);
    }
}
