//! The definitions: what the kernels of [`cam`](super) must equal.

use super::LEAST_RANGE;
use crate::launch::finite;
use crate::resize::{Grid, bilinear};

/// The definition of [`activation`](super::activation).
#[must_use]
pub fn activation_reference(features: &[f32], shape: [usize; 4], weights: &[f32]) -> Vec<f32> {
    let [slices, channels, rows, columns] = shape;
    let cells = rows * columns;
    let mut result = Vec::with_capacity(slices * cells);
    for slice in 0..slices {
        for cell in 0..cells {
            let mut sum = 0.0;
            for channel in 0..channels {
                sum += weights[channel] * features[(slice * channels + channel) * cells + cell];
            }
            // False for NaN.
            result.push(if sum > 0.0 { sum.min(f32::MAX) } else { 0.0 });
        }
    }
    result
}

/// The definition of [`normalized`](super::normalized).
#[must_use]
pub fn normalized_reference(maps: &[f32], shape: [usize; 3], to: impl Into<Grid>) -> Vec<f32> {
    let ([slices, rows, columns], grid) = (shape, to.into());
    let mut result = Vec::with_capacity(slices * grid.size[0] * grid.size[1]);
    for slice in 0..slices {
        let map = &maps[slice * rows * columns..][..rows * columns];
        let map: Vec<f32> = map.iter().map(|value| finite(*value)).collect();
        let upsampled = bilinear(&map, [rows, columns], grid);
        let lowest = upsampled.iter().copied().fold(f32::MAX, f32::min);
        let range = upsampled.iter().copied().fold(f32::MIN, f32::max) - lowest;
        let share = |value: f32| if range < LEAST_RANGE { 0.0 } else { (value - lowest) / range };
        result.extend(upsampled.into_iter().map(share));
    }
    result
}

/// The definition of [`region`](super::region).
#[must_use]
pub fn region_reference(maps: &[f32], shape: [usize; 3], to: impl Into<Grid>, threshold: f32) -> Vec<u8> {
    normalized_reference(maps, shape, to).into_iter().map(|share| u8::from(share > threshold)).collect()
}

/// The definition of [`cam`](super::cam).
#[must_use]
pub fn reference(features: &[f32], shape: [usize; 4], weights: &[f32], to: impl Into<Grid>, threshold: f32) -> Vec<u8> {
    let maps = activation_reference(features, shape, weights);
    region_reference(&maps, [shape[0], shape[2], shape[3]], to, threshold)
}

/// The definition of [`above`](super::above).
#[must_use]
pub fn above_reference(maps: &[f32], shape: [usize; 3], size: [usize; 2], threshold: f32) -> Vec<u8> {
    let [_, rows, columns] = shape;
    let mut result = Vec::with_capacity(shape[0] * size[0] * size[1]);
    for map in maps.chunks((rows * columns).max(1)) {
        let map: Vec<f32> = map.iter().map(|value| finite(*value)).collect();
        result.extend(bilinear(&map, [rows, columns], size).into_iter().map(|value| u8::from(value > threshold)));
    }
    result
}
