//! The host's own loops, for processors: rows of a map at a time, maps on all threads.
//!
//! Shares are found of the small map, once its range at the size asked for is known: upsampling is linear, so shares
//! of what is upsampled are upsampled shares.

use rayon::prelude::*;

use super::LEAST_RANGE;
use crate::launch::finite;
use crate::resize::{Linear, lerp};
use crate::wide::widest;

/// Maps of features and weights of a shape.
pub(super) fn activation(features: &[f32], shape: [usize; 4], weights: &[f32]) -> Vec<f32> {
    let [slices, channels, rows, columns] = shape;
    let cells = rows * columns;
    let mut maps = vec![0.0; slices * cells];
    if cells == 0 || channels == 0 {
        return maps;
    }
    let slices = features.par_chunks(channels * cells).zip(maps.par_chunks_mut(cells));
    slices.for_each(|(features, map)| {
        for (feature, weight) in features.chunks_exact(cells).zip(weights) {
            for (sum, value) in map.iter_mut().zip(feature) {
                *sum += weight * value;
            }
        }
        for sum in map {
            // False for NaN.
            *sum = if *sum > 0.0 { sum.min(f32::MAX) } else { 0.0 };
        }
    });
    maps
}

/// Normalized maps, of a shape and to a size without zeros.
pub(super) fn normalized(maps: &[f32], shape: [usize; 3], size: [usize; 2]) -> Vec<f32> {
    upsampled(maps, shape, size, Values::Shares, share)
}

/// The regions of normalized maps, of a shape and to a size without zeros.
pub(super) fn region(maps: &[f32], shape: [usize; 3], size: [usize; 2], threshold: f32) -> Vec<u8> {
    upsampled(maps, shape, size, Values::Shares, |value| u8::from(share(value) > threshold))
}

/// What of upsampled maps is above a threshold, of a shape and to a size without zeros.
pub(super) fn above(maps: &[f32], shape: [usize; 3], size: [usize; 2], threshold: f32) -> Vec<u8> {
    upsampled(maps, shape, size, Values::Given, |value| u8::from(value > threshold))
}

/// A share that rounding may have moved out of the range.
#[inline(always)]
fn share(value: f32) -> f32 {
    let share = if value > 0.0 { value } else { 0.0 };
    if share < 1.0 { share } else { 1.0 }
}

/// Which values of maps are upsampled.
#[derive(Clone, Copy)]
enum Values {
    /// As they are.
    Given,
    /// The shares of the range that the upsampled map has.
    Shares,
}

/// Upsamples each map and makes a cell of each value.
fn upsampled<T: Clone + Default + Send>(
    maps: &[f32],
    [slices, rows, columns]: [usize; 3],
    size: [usize; 2],
    values: Values,
    cell: impl Fn(f32) -> T + Copy + Sync,
) -> Vec<T> {
    let mut result = vec![T::default(); slices * size[0] * size[1]];
    let (down, across) = (Linear::new(rows, size[0]), Linear::new(columns, size[1]));
    let ends = [down.only(&down.ends()), across.only(&across.ends())];
    let maps = maps.par_chunks(rows * columns).zip(result.par_chunks_mut(size[0] * size[1]));
    maps.for_each(|(map, cells)| {
        let mut map: Vec<f32> = map.iter().map(|value| finite(*value)).collect();
        if let Values::Shares = values {
            shares(&mut map, columns, &ends);
        }
        let wide = across.widened(&map, columns);
        widest(fill, (&wide, &down, size[1], cells, cell));
    });
    result
}

/// Makes the values of a map shares of the range that it has upsampled. Between two rows or columns of the map the axes are
/// straight: the extremes are among the first and last ones there, the `ends`.
fn shares(map: &mut [f32], columns: usize, [down, across]: &[Linear; 2]) {
    let wide = across.widened(map, columns);
    let mut values = vec![0.0; down.low.len() * across.low.len()];
    widest(fill, (&wide, down, across.low.len(), &mut values, |value| value));
    let lowest = values.iter().copied().fold(f32::MAX, f32::min);
    let extent = values.iter().copied().fold(f32::MIN, f32::max) - lowest;
    if extent < LEAST_RANGE {
        map.fill(0.0);
    } else {
        map.iter_mut().for_each(|value| *value = (*value - lowest) / extent);
    }
}

/// Cells of the values between rows of a widened map.
#[inline(always)]
fn fill<T>((wide, down, columns, cells, cell): (&[f32], &Linear, usize, &mut [T], impl Fn(f32) -> T)) {
    let rows = wide.len() / columns;
    for ((cells, low), fraction) in cells.chunks_exact_mut(columns).zip(&down.low).zip(&down.fraction) {
        let low = *low as usize;
        let row = |row: usize| &wide[row.min(rows - 1) * columns..][..columns];
        for ((out, above), below) in cells.iter_mut().zip(row(low)).zip(row(low + 1)) {
            *out = cell(lerp(*above, *below, *fraction));
        }
    }
}
