//! The host's own loops, for processors: rows of a map at a time, maps on all threads.

use rayon::prelude::*;

use super::LEAST_RANGE;
use crate::launch::finite;
use crate::resize::{Linear, lerp, rows};

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
    upsampled(maps, shape, size, |between, range, cells: &mut [f32]| wide_shares(between, range, cells))
}

/// The regions of normalized maps, of a shape and to a size without zeros.
pub(super) fn region(maps: &[f32], shape: [usize; 3], size: [usize; 2], threshold: f32) -> Vec<u8> {
    upsampled(maps, shape, size, |between, range, cells: &mut [u8]| wide_region(between, range, threshold, cells))
}

/// What of upsampled maps is above a threshold, of a shape and to a size without zeros.
pub(super) fn above(
    maps: &[f32],
    [slices, map_rows, map_columns]: [usize; 3],
    size: [usize; 2],
    threshold: f32,
) -> Vec<u8> {
    let mut result = vec![0; slices * size[0] * size[1]];
    let slices = maps.par_chunks(map_rows * map_columns).zip(result.par_chunks_mut(size[0] * size[1]));
    slices.for_each(|(map, cells)| {
        let map: Vec<f32> = map.iter().map(|value| finite(*value)).collect();
        rows(&map, [map_rows, map_columns], size, 0..size[0], |index, [above, below], fraction| {
            let row = &mut cells[index * size[1]..][..size[1]];
            for (cell, (above, below)) in row.iter_mut().zip(above.iter().zip(below)) {
                *cell = u8::from(lerp(*above, *below, fraction) > threshold);
            }
        });
    });
    result
}

/// A row of an upsampled map: the widened rows above and below, and how far it lies between them.
#[derive(Clone, Copy)]
struct Between<'a> {
    above: &'a [f32],
    below: &'a [f32],
    fraction: f32,
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
    write: impl Fn(Between<'_>, Range, &mut [T]) + Sync,
) -> Vec<T> {
    let mut result = vec![T::default(); slices * size[0] * size[1]];
    let ends = Linear::new(map_rows, size[0]).ends();
    let slice = |(map, cells): (&[f32], &mut [T])| {
        let mut wide = vec![0.0; size[1]];
        let from = [map_rows, map_columns];
        let map: Vec<f32> = map.iter().map(|value| finite(*value)).collect();
        let (mut lowest, mut highest) = (f32::MAX, f32::MIN);
        // Between two rows of the map a column is straight: the extremes are among the first and last rows there.
        rows(&map, from, size, ends.iter().map(|row| *row as usize), |_, [above, below], fraction| {
            for (value, (above, below)) in wide.iter_mut().zip(above.iter().zip(below)) {
                *value = lerp(*above, *below, fraction);
            }
            let [low, high] = extremes(&wide);
            (lowest, highest) = (lowest.min(low), highest.max(high));
        });
        let extent = highest - lowest;
        // Of a constant map nothing is above the lowest value.
        let range =
            if extent < LEAST_RANGE { Range { lowest: f32::MAX, extent: 1.0 } } else { Range { lowest, extent } };
        rows(&map, from, size, 0..size[0], |index, [above, below], fraction| {
            write(Between { above, below, fraction }, range, &mut cells[index * size[1]..][..size[1]]);
        });
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
fn shares(between: Between<'_>, range: Range, shares: &mut [f32]) {
    for (out, (above, below)) in shares.iter_mut().zip(between.above.iter().zip(between.below)) {
        *out = share(lerp(*above, *below, between.fraction), range);
    }
}

#[inline(always)]
fn inside(between: Between<'_>, range: Range, threshold: f32, cells: &mut [u8]) {
    for (out, (above, below)) in cells.iter_mut().zip(between.above.iter().zip(between.below)) {
        *out = u8::from(share(lerp(*above, *below, between.fraction), range) > threshold);
    }
}

/// [`shares`] in the widest vectors that this processor has.
fn wide_shares(between: Between<'_>, range: Range, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn with_avx2(between: Between<'_>, range: Range, out: &mut [f32]) {
            shares(between, range, out);
        }
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { with_avx2(between, range, out) };
    }
    shares(between, range, out);
}

/// [`inside`] in the widest vectors that this processor has.
fn wide_region(between: Between<'_>, range: Range, threshold: f32, cells: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn with_avx2(between: Between<'_>, range: Range, threshold: f32, cells: &mut [u8]) {
            inside(between, range, threshold, cells);
        }
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { with_avx2(between, range, threshold, cells) };
    }
    inside(between, range, threshold, cells);
}
