//! The host's own loops, for processors: rows of a map at a time, maps on all threads.

use rayon::prelude::*;

use super::LEAST_RANGE;
use crate::launch::finite;
use crate::resize::{bilinear, rows};

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
    upsampled(maps, shape, size, |row, range, shares: &mut [f32]| wide_shares(row, range, shares))
}

/// The regions of normalized maps, of a shape and to a size without zeros.
pub(super) fn region(maps: &[f32], shape: [usize; 3], size: [usize; 2], threshold: f32) -> Vec<u8> {
    upsampled(maps, shape, size, |row, range, cells: &mut [u8]| wide_region(row, range, threshold, cells))
}

/// What of upsampled maps is above a threshold, of a shape and to a size without zeros.
pub(super) fn above(maps: &[f32], [_, rows, columns]: [usize; 3], size: [usize; 2], threshold: f32) -> Vec<u8> {
    let above = |map: &[f32]| {
        let map: Vec<f32> = map.iter().map(|value| finite(*value)).collect();
        bilinear(&map, [rows, columns], size).into_iter().map(|value| u8::from(value > threshold)).collect::<Vec<_>>()
    };
    maps.par_chunks(rows * columns).flat_map_iter(above).collect()
}

/// The lowest value of an upsampled map, and what to divide what is above it by.
#[derive(Clone, Copy)]
struct Range {
    lowest: f32,
    extent: f32,
}

/// Upsamples each map and writes its rows, which are told the range of the map.
fn upsampled<T: Clone + Default + Send>(
    maps: &[f32],
    [slices, map_rows, map_columns]: [usize; 3],
    size: [usize; 2],
    write: impl Fn(&[f32], Range, &mut [T]) + Sync,
) -> Vec<T> {
    let mut result = vec![T::default(); slices * size[0] * size[1]];
    let slice = |(map, cells): (&[f32], &mut [T])| {
        let from = [map_rows, map_columns];
        let map: Vec<f32> = map.iter().map(|value| finite(*value)).collect();
        let (mut lowest, mut highest) = (f32::MAX, f32::MIN);
        rows(&map, from, size, |_, row| {
            let [low, high] = extremes(row);
            (lowest, highest) = (lowest.min(low), highest.max(high));
        });
        let extent = highest - lowest;
        // Of a constant map nothing is above the lowest value.
        let range =
            if extent < LEAST_RANGE { Range { lowest: f32::MAX, extent: 1.0 } } else { Range { lowest, extent } };
        rows(&map, from, size, |index, row| write(row, range, &mut cells[index * size[1]..][..size[1]]));
    };
    let maps = maps.par_chunks(map_rows * map_columns).zip(result.par_chunks_mut(size[0] * size[1]));
    maps.for_each(slice);
    result
}

/// The lowest and the highest value of a row.
fn extremes(row: &[f32]) -> [f32; 2] {
    const LANES: usize = 16;
    let (whole, rest) = row.as_chunks::<LANES>();
    let mut lanes = [[f32::MAX; LANES], [f32::MIN; LANES]];
    for values in whole {
        for (lane, value) in values.iter().enumerate() {
            lanes[0][lane] = if *value < lanes[0][lane] { *value } else { lanes[0][lane] };
            lanes[1][lane] = if *value > lanes[1][lane] { *value } else { lanes[1][lane] };
        }
    }
    let all = |lanes: [f32; LANES]| lanes.into_iter().chain(rest.iter().copied());
    [all(lanes[0]).fold(f32::MAX, f32::min), all(lanes[1]).fold(f32::MIN, f32::max)]
}

/// The share of the range that lies below a value; zero below the range.
#[inline(always)]
fn share(value: f32, range: Range) -> f32 {
    let share = (value - range.lowest) / range.extent;
    if share > 0.0 { share } else { 0.0 }
}

#[inline(always)]
fn shares(row: &[f32], range: Range, shares: &mut [f32]) {
    for (out, value) in shares.iter_mut().zip(row) {
        *out = share(*value, range);
    }
}

#[inline(always)]
fn inside(row: &[f32], range: Range, threshold: f32, cells: &mut [u8]) {
    for (out, value) in cells.iter_mut().zip(row) {
        *out = u8::from(share(*value, range) > threshold);
    }
}

/// [`shares`] in the widest vectors that this processor has.
fn wide_shares(row: &[f32], range: Range, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn with_avx2(row: &[f32], range: Range, out: &mut [f32]) {
            shares(row, range, out);
        }
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { with_avx2(row, range, out) };
    }
    shares(row, range, out);
}

/// [`inside`] in the widest vectors that this processor has.
fn wide_region(row: &[f32], range: Range, threshold: f32, cells: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn with_avx2(row: &[f32], range: Range, threshold: f32, cells: &mut [u8]) {
            inside(row, range, threshold, cells);
        }
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { with_avx2(row, range, threshold, cells) };
    }
    inside(row, range, threshold, cells);
}
