//! The host's own loops, for processors: rows of a map at a time, maps on all threads.
//!
//! Shares are found of the small map, once its range at the size asked for is known: upsampling is linear, so shares
//! of what is upsampled are upsampled shares.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::LEAST_RANGE;
use crate::launch::finite;
use crate::resize::{Grid, Linear, lerp};
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
    slices.for_each(|(features, map)| widest(weigh, (features, weights, map)));
    maps
}

/// Adds up the features of a slice, weighted, and keeps what is positive.
#[inline(always)]
fn weigh((features, weights, map): (&[f32], &[f32], &mut [f32])) {
    let cells = map.len();
    // Four features at once, so that sums are read and written a quarter as often; the order stays the same.
    let (fours, rest) = weights.as_chunks::<4>();
    for (four, [a, b, c, d]) in features.chunks_exact(4 * cells).zip(fours) {
        let (first, last) = four.split_at(2 * cells);
        let (pairs, others) = (first.split_at(cells), last.split_at(cells));
        for ((((sum, w), x), y), z) in map.iter_mut().zip(pairs.0).zip(pairs.1).zip(others.0).zip(others.1) {
            *sum = *sum + a * w + b * x + c * y + d * z;
        }
    }
    for (feature, weight) in features[4 * fours.len() * cells..].chunks_exact(cells).zip(rest) {
        for (sum, value) in map.iter_mut().zip(feature) {
            *sum += weight * value;
        }
    }
    for sum in map {
        // False for NaN.
        *sum = if *sum > 0.0 { sum.min(f32::MAX) } else { 0.0 };
    }
}

/// Normalized maps, as many as their shape says.
pub(super) fn normalized(maps: &[f32], shape: [usize; 3], grid: Grid) -> Vec<f32> {
    upsampled(maps, shape, grid, Values::Shares, share)
}

/// The regions of normalized maps.
pub(super) fn region(maps: &[f32], shape: [usize; 3], grid: Grid, threshold: f32) -> Vec<u8> {
    upsampled(maps, shape, grid, Values::Shares, |value| u8::from(share(value) > threshold))
}

/// What of upsampled maps is above a threshold.
pub(super) fn above(maps: &[f32], shape: [usize; 3], size: [usize; 2], threshold: f32) -> Vec<u8> {
    upsampled(maps, shape, size.into(), Values::Given, |value| u8::from(value > threshold))
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
fn upsampled<T: Send>(
    maps: &[f32],
    [slices, rows, columns]: [usize; 3],
    grid: Grid,
    values: Values,
    cell: impl Fn(f32) -> T + Copy + Sync,
) -> Vec<T> {
    let size = grid.size;
    let len = slices * size[0] * size[1];
    if maps.is_empty() || len == 0 {
        return Vec::new();
    }
    let mut result = Vec::with_capacity(len);
    let [down, across] = Linear::of_grid([rows, columns], grid);
    let ends = [down.only(&down.ends()), across.only(&across.ends())];
    let room = &mut result.spare_capacity_mut()[..len];
    let maps = maps.par_chunks_exact(rows * columns).zip(room.par_chunks_exact_mut(size[0] * size[1]));
    maps.for_each(|(map, cells)| {
        let mut map: Vec<f32> = map.iter().map(|value| finite(*value)).collect();
        if let Values::Shares = values {
            shares(&mut map, columns, &ends);
        }
        let wide = across.widened(&map, columns);
        widest(fill, (&wide, &down, size[1], cells, cell));
    });
    // SAFETY: the caller checked that there are as many maps as slices, and each has filled its cells: as many rows as the
    // axis has outputs, each to its last column.
    unsafe { result.set_len(len) };
    result
}

/// Makes the values of a map shares of the range that it has upsampled. Between two rows or columns of the map the axes are
/// straight: the extremes are among the first and last ones there, the `ends`.
fn shares(map: &mut [f32], columns: usize, [down, across]: &[Linear; 2]) {
    let wide = across.widened(map, columns);
    let [lowest, highest] = widest(range, (&wide, down, across.low.len()));
    let extent = highest - lowest;
    if extent < LEAST_RANGE {
        map.fill(0.0);
    } else {
        map.iter_mut().for_each(|value| *value = (*value - lowest) / extent);
    }
}

/// The lowest and the highest value between rows of a widened map, found for each column, then among them.
#[inline(always)]
fn range((wide, down, columns): (&[f32], &Linear, usize)) -> [f32; 2] {
    let (mut lowest, mut highest) = (vec![f32::MAX; columns], vec![f32::MIN; columns]);
    for (low, fraction) in down.low.iter().zip(&down.fraction) {
        let rows = neighbors(wide, columns, *low as usize);
        for (((lowest, highest), above), below) in lowest.iter_mut().zip(&mut highest).zip(rows[0]).zip(rows[1]) {
            let value = lerp(*above, *below, *fraction);
            *lowest = if value < *lowest { value } else { *lowest };
            *highest = if value > *highest { value } else { *highest };
        }
    }
    [lowest.into_iter().fold(f32::MAX, f32::min), highest.into_iter().fold(f32::MIN, f32::max)]
}

/// Writes the cells of the values between rows of a widened map.
#[inline(always)]
fn fill<T>((wide, down, columns, cells, cell): (&[f32], &Linear, usize, &mut [MaybeUninit<T>], impl Fn(f32) -> T)) {
    for ((cells, low), fraction) in cells.chunks_exact_mut(columns).zip(&down.low).zip(&down.fraction) {
        let [above, below] = neighbors(wide, columns, *low as usize);
        for ((out, above), below) in cells.iter_mut().zip(above).zip(below) {
            out.write(cell(lerp(*above, *below, *fraction)));
        }
    }
}

/// A row of a widened map and the next, if there is one.
#[inline(always)]
fn neighbors(wide: &[f32], columns: usize, row: usize) -> [&[f32]; 2] {
    let last = wide.len() / columns - 1;
    [row, (row + 1).min(last)].map(|row| &wide[row * columns..][..columns])
}
