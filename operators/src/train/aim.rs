//! Where the cells of a model's maps look: measured, with bright spots that no slice has.
//!
//! Whoever upsamples a map must know which pixel a cell is about. The strides tell over which one its window has its middle
//! ([`Grid::before_of_strides`]); what in the window counts is learned, and nothing in training holds that to the middle: half a cell to a
//! whole one more is usual, down rather than along, because augmentation mirrors left and right alone. So a spot like a small bleed
//! is drawn into slices without a hemorrhage, and where the activation map answers is compared with where the spot is. No label of a pixel
//! takes part. (Luo et al., NeurIPS 2016, describe the receptive field that is effective.)
//!
//! [`Grid::before_of_strides`]: kernels::resize::Grid::before_of_strides

use kernels::cam::activation_reference;

use super::fit::count;
use super::warp::side;
use super::{Images, Random, Split, TrainConfig, TrainError};
use crate::model::Model;

/// Spots that are drawn.
const SPOTS: u64 = 96;
/// Fewer answers say nothing.
const LEAST_ANSWERS: usize = 16;
/// Half of the answers lie no wider apart, in cells, or they say nothing: those of trained encoders lie within 0.2.
const STEADY: f64 = 0.5;
/// How much brighter the middle of a spot is than what lies there, HU.
const SPOT_HU: f32 = 30.0;
/// A side by the standard deviation of a spot: 4 of 256 pixels.
const SPOTS_IN_A_SIDE: f32 = 64.0;
/// A side by the distance around a spot that must be as dense as brain: 8 of 256 pixels.
const MARGINS_IN_A_SIDE: usize = 32;
/// What brain is, HU.
const BRAIN_HU: std::ops::RangeInclusive<f32> = 15.0..=55.0;

/// The same model, its card telling where its maps look: the median over spots, if enough of them are answered and the answers agree.
///
/// # Errors
///
/// Returns [`TrainError`] if the split makes no sense or the encoder cannot run.
pub fn aim(model: &Model, images: &Images, config: &TrainConfig) -> Result<Model, TrainError> {
    let mut card = model.card().clone();
    card.map_before = before(model, images, &images.split(config)?, config.seed)?.or(card.map_before);
    Ok(Model::new(card, model.network(), model.device())?)
}

/// How far before the middle of its square a cell looks, down and along, in cells.
fn before(model: &Model, images: &Images, split: &Split, seed: u64) -> Result<Option<[f32; 2]>, TrainError> {
    let slices: Vec<usize> =
        images.slices_of(&split.training).into_iter().filter(|&slice| !images.labels[slice]).collect();
    let [rows, columns] = model.card().map_grid().size;
    let mut answers: [Vec<f64>; 2] = Default::default();
    for item in 0..SPOTS {
        let random = &mut Random::item(seed, "spots", item);
        let Some(&slice) = slices.get(random.below(slices.len())) else { break };
        let Some(place) = inside(images, slice, random) else { continue };
        let (mut pixels, channels) = (Vec::new(), images.windows.len());
        images.intensities(slice, channels, &mut pixels);
        let lit = spotted(images, &pixels, place);
        let map = |pixels: &[f32]| -> Result<Vec<f32>, TrainError> {
            let maps = model.encode(pixels, 1)?.remove(0).map;
            let weights = model.cam_weights();
            Ok(activation_reference(&maps, [1, weights.len(), rows, columns], weights))
        };
        let Some(answer) = middle(&map(&pixels)?, &map(&lit)?, columns) else { continue };
        let cell = |place: usize, cells: usize| (count(place) + 0.5) / count(images.size) * count(cells);
        answers[0].push(answer[0] - cell(place[0], rows));
        answers[1].push(answer[1] - cell(place[1], columns));
    }
    let [down, along] = answers.map(agreed);
    Ok(down.zip(along).map(|(down, along)| [down, along]))
}

/// A pixel of a slice that lies in brain, if one is soon found: row and column.
fn inside(images: &Images, slice: usize, random: &mut Random) -> Option<[usize; 2]> {
    let (size, window) = (images.size, images.windows[0]);
    let margin = size.div_ceil(MARGINS_IN_A_SIDE);
    let is_brain = |row: usize, column: usize| {
        let intensity = f32::from(images.pixels[slice][row * size + column]) / 255.0;
        BRAIN_HU.contains(&(window.lower_hu() + intensity * window.width_hu()))
    };
    let mut places =
        (0..64).map(|_| [margin + random.below(size - 2 * margin), margin + random.below(size - 2 * margin)]);
    places.find(|&[row, column]| {
        let around = [[row - margin, column], [row + margin, column], [row, column - margin], [row, column + margin]];
        is_brain(row, column) && around.into_iter().all(|[row, column]| is_brain(row, column))
    })
}

/// A slice with a spot.
fn spotted(images: &Images, pixels: &[f32], place: [usize; 2]) -> Vec<f32> {
    let size = images.size;
    let deviation = side(size) / SPOTS_IN_A_SIDE;
    let mut lit = pixels.to_vec();
    for (channel, window) in lit.chunks_exact_mut(size * size).zip(&images.windows) {
        for (index, pixel) in channel.iter_mut().enumerate() {
            let [down, along] = [(index / size).abs_diff(place[0]), (index % size).abs_diff(place[1])];
            let distance = side(down * down + along * along) / (2.0 * deviation * deviation);
            *pixel = (*pixel + SPOT_HU * libm::expf(-distance) / window.width_hu()).min(1.0);
        }
    }
    lit
}

/// The middle of what rose from one map to another, squared, so that the cells around the peak decide: row and column, in
/// cells. `None` if nothing rose.
fn middle(from: &[f32], to: &[f32], columns: usize) -> Option<[f64; 2]> {
    let (mut sum, mut place) = (0.0, [0.0, 0.0]);
    for (index, (from, to)) in from.iter().zip(to).enumerate() {
        let rise = f64::from((to - from).max(0.0)).powi(2);
        sum += rise;
        place[0] += rise * (count(index / columns) + 0.5);
        place[1] += rise * (count(index % columns) + 0.5);
    }
    (sum > 0.0).then(|| place.map(|place| place / sum))
}

/// The median of answers that agree.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a place is rounded once")]
fn agreed(mut answers: Vec<f64>) -> Option<f32> {
    answers.sort_by(f64::total_cmp);
    let quartile = |number: usize| answers[number * answers.len() / 4];
    (answers.len() >= LEAST_ANSWERS && quartile(3) - quartile(1) <= STEADY).then(|| quartile(2) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_that_of_what_rose() {
        assert_eq!(middle(&[1.0, 0.0, 3.0, 0.0], &[1.0, 2.0, 0.0, 2.0], 2), Some([1.0, 1.5]));
        assert_eq!(middle(&[1.0; 4], &[1.0, 0.0, 1.0, 0.5], 2), None);
        assert_eq!(middle(&[0.0; 6], &[0.0, 0.0, 0.0, 1.0, 2.0, 0.0], 3), Some([1.5, 1.3]));
    }

    #[test]
    fn the_median_is_that_of_answers_that_agree() {
        let around = |middle: f64, by: f64| (0..20).map(|index| middle + by * (f64::from(index) - 10.0)).collect();
        assert_eq!(agreed(around(0.5, 0.01)), Some(0.5));
        assert_eq!(agreed(around(0.5, 0.1)), None);
        assert_eq!(agreed(vec![0.5; 15]), None);
    }
}
