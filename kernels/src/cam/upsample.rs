//! Maps at another size, and their ranges: columns first, then rows, whole vectors at a time.
#![allow(clippy::needless_range_loop, reason = "cube functions loop over positions")]

use cubecl::prelude::*;

use super::{KERNEL, LEAST_RANGE};
use crate::array::Array;
use crate::error::KernelError;
use crate::launch::{finite_on, lanes, singly, spread};
use crate::pack::Bits;
use crate::resize::{Grid, Linear};

/// Elements of a word of packed bits.
const WORD: usize = 32;

/// Maps on the device, widened to the columns asked for, and how their rows are upsampled.
pub(super) struct Maps {
    /// `[slices, rows, columns of the size]`.
    wide: Array<f32>,
    shape: [usize; 3],
    size: [usize; 2],
    low: Array<u32>,
    fraction: Array<f32>,
    /// The rows and columns that the extremes are among.
    ends: [Array<u32>; 2],
    /// Columns in a vector.
    lanes: usize,
}

impl Maps {
    /// Widens `maps` of a shape and to a size without zeros.
    pub(super) fn new(maps: &Array<f32>, shape: [usize; 3], grid: Grid) -> Result<Self, KernelError> {
        let (client, size) = (maps.client(), grid.size);
        let [slices, rows, columns] = shape;
        let len = slices * rows * size[1];
        let spread = spread(client, KERNEL, len)?;
        let [down, across] = Linear::of_grid([rows, columns], grid);
        let wide = Array::empty(client, len);
        // SAFETY: the kernel compares its position with the length of `out`, of which each row has as many elements as
        // the tables of the axis; those stay below the last column of a map.
        unsafe {
            widen_kernel::launch_unchecked(
                client,
                spread.cubes,
                spread.units,
                maps.argument(),
                Array::upload(client, &across.low).argument(),
                Array::upload(client, &across.fraction).argument(),
                wide.argument(),
                columns,
                spread.run,
            );
        }
        let (low, fraction) = (Array::upload(client, &down.low), Array::upload(client, &down.fraction));
        let ends = [Array::upload(client, &down.ends()), Array::upload(client, &across.ends())];
        let lanes = lanes(client, size_of::<f32>(), size[1]).min(WORD);
        Ok(Self { wide, shape, size, low, fraction, ends, lanes })
    }

    /// Vectors of all upsampled maps.
    fn vectors(&self) -> usize {
        self.shape[0] * self.size[0] * self.size[1] / self.lanes
    }

    /// The arguments of a kernel that interpolates between rows: the widened maps, then the axis.
    fn arguments(&self) -> [BufferArg; 3] {
        // SAFETY: vectors divide the columns.
        let wide = unsafe { self.wide.vectors(self.wide.len() / self.lanes) };
        [wide, self.low.argument(), self.fraction.argument()]
    }

    /// `[slices, 2]`: the lowest and the highest value of each upsampled map. Between the centres of two cells of a map
    /// both axes are straight, so that the extremes are among the first and last rows and columns there.
    fn ranges(&self) -> Result<Array<f32>, KernelError> {
        let client = self.wide.client();
        let slices = self.shape[0];
        let [end_rows, end_columns] = &self.ends;
        let parts = end_rows.len();
        let partial = Array::<f32>::empty(client, slices * parts * 2);
        let each = singly(client, KERNEL, slices * parts)?;
        // SAFETY: the kernel compares each position with the number of parts; rows and columns are those of an axis,
        // and its table stays below the last row of a map.
        unsafe {
            parts_kernel::launch_unchecked(
                client,
                each.cubes,
                each.units,
                self.wide.argument(),
                self.low.argument(),
                self.fraction.argument(),
                end_rows.argument(),
                end_columns.argument(),
                partial.argument(),
                self.shape[1],
                self.size[1],
            );
        }
        let ranges = Array::empty(client, slices * 2);
        let each = singly(client, KERNEL, slices)?;
        // SAFETY: the kernel compares each position with the number of slices, each of which has `parts` pairs.
        unsafe {
            ranges_kernel::launch_unchecked(
                client,
                each.cubes,
                each.units,
                partial.argument(),
                ranges.argument(),
                parts,
            );
        }
        Ok(ranges)
    }
}

/// Upsamples and normalizes maps: [`super::normalized`] without transfers. Does not wait for the device.
///
/// # Errors
///
/// As [`super::normalized`], but for what fails on the device: that is told where the result is waited for.
pub fn normalized(maps: &Array<f32>, shape: [usize; 3], to: impl Into<Grid>) -> Result<Array<f32>, KernelError> {
    super::check_maps(maps.len(), shape)?;
    let (client, grid) = (maps.client(), to.into());
    if maps.is_empty() || grid.size.contains(&0) {
        return Ok(Array::empty(client, 0));
    }
    let maps = Maps::new(maps, shape, grid)?;
    let spread = spread(client, KERNEL, maps.vectors())?;
    let output = Array::empty(client, maps.vectors() * maps.lanes);
    let ([wide, low, fraction], ranges) = (maps.arguments(), maps.ranges()?);
    // SAFETY: the kernel compares each position with the length of `out`, one vector for each of a slice; the table of
    // the axis stays below the last row of a map.
    unsafe {
        shares_kernel::launch_unchecked(
            client,
            spread.cubes,
            spread.units,
            maps.lanes,
            wide,
            low,
            fraction,
            ranges.argument(),
            output.vectors(maps.vectors()),
            maps.shape[1],
            maps.size[1] / maps.lanes,
            spread.run,
            LEAST_RANGE,
        );
    }
    Ok(output)
}

/// Upsamples maps and packs their regions: [`super::region`] as one bit a cell, without a byte a cell between. Does not
/// wait for the device.
///
/// # Errors
///
/// As [`super::region`], but for what fails on the device: that is told where the result is waited for.
pub fn packed_region(
    maps: &Array<f32>,
    shape: [usize; 3],
    to: impl Into<Grid>,
    threshold: f32,
) -> Result<Bits, KernelError> {
    packed(maps, shape, to.into(), threshold, true)
}

/// Upsamples maps and packs what of them is above a threshold, as they are: one bit a cell. Does not wait for the device.
///
/// # Errors
///
/// As [`packed_region`].
pub fn packed_above(
    maps: &Array<f32>,
    shape: [usize; 3],
    size: [usize; 2],
    threshold: f32,
) -> Result<Bits, KernelError> {
    packed(maps, shape, size.into(), threshold, false)
}

fn packed(
    maps: &Array<f32>,
    shape: [usize; 3],
    grid: Grid,
    threshold: f32,
    normalized: bool,
) -> Result<Bits, KernelError> {
    super::check_maps(maps.len(), shape)?;
    let client = maps.client();
    if maps.is_empty() || grid.size.contains(&0) {
        return Bits::new(Array::empty(client, 0), 0);
    }
    let maps = Maps::new(maps, shape, grid)?;
    let cells = maps.vectors() * maps.lanes;
    let words = cells.div_ceil(WORD);
    // Vectors are counted on the device, and are more than words.
    let spread = spread(client, KERNEL, maps.vectors()).and(spread(client, KERNEL, words))?;
    let output = Array::empty(client, words);
    let [wide, low, fraction] = maps.arguments();
    let ranges = if normalized { maps.ranges()? } else { Array::upload(client, &[0.0; 2]) };
    // SAFETY: the kernel compares each position with the length of `out`, and each vector with those of all slices; the
    // table of the axis stays below the last row of a map. Ranges are read only if there is one for each slice.
    unsafe {
        packed_kernel::launch_unchecked(
            client,
            spread.cubes,
            spread.units,
            maps.lanes,
            wide,
            low,
            fraction,
            ranges.argument(),
            output.argument(),
            maps.shape[1],
            maps.size[1] / maps.lanes,
            maps.vectors(),
            spread.run,
            LEAST_RANGE,
            threshold,
            maps.lanes,
            normalized,
        );
    }
    Bits::new(output, cells)
}

#[cube(launch_unchecked)]
fn widen_kernel(maps: &[f32], left: &[u32], across: &[f32], out: &mut [f32], columns: usize, run: usize) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < out.len() {
            let column = position % left.len();
            let row = position / left.len() * columns;
            let start = left[column] as usize;
            let end = min(start + 1, columns - 1);
            let from = finite_on::<f32>(maps[row + start]);
            out[position] = from + across[column] * (finite_on::<f32>(maps[row + end]) - from);
        }
    }
}

/// A vector of the upsampled maps, `vectors` of which make a row.
#[cube]
fn upsampled<N: Size>(
    wide: &[Vector<f32, N>],
    low: &[u32],
    fraction: &[f32],
    rows: usize,
    vectors: usize,
    position: usize,
) -> Vector<f32, N> {
    let row = position / vectors;
    let column = position % vectors;
    let first = row / low.len() * rows;
    let row = row % low.len();
    let top = low[row] as usize;
    let upper = wide[(first + top) * vectors + column];
    let lower = wide[(first + min(top + 1, rows - 1)) * vectors + column];
    upper + Vector::new(fraction[row]) * (lower - upper)
}

/// The share of the range of a slice that lies below each value.
#[cube]
fn share<N: Size>(value: Vector<f32, N>, ranges: &[f32], slice: usize, least_range: f32) -> Vector<f32, N> {
    let lowest = ranges[2 * slice];
    let highest = ranges[2 * slice + 1];
    let range = highest - lowest;
    // A range of zero gives zeros without dividing by it.
    let divisor = select(range < least_range, 1.0f32, range);
    let least = select(range < least_range, highest, lowest);
    // A fused multiply and add may leave the range by one rounding.
    clamp((value - Vector::new(least)) / Vector::new(divisor), Vector::new(0.0f32), Vector::new(1.0f32))
}

#[cube(launch_unchecked)]
fn parts_kernel(
    wide: &[f32],
    low: &[u32],
    fraction: &[f32],
    end_rows: &[u32],
    end_columns: &[u32],
    out: &mut [f32],
    rows: usize,
    columns: usize,
) {
    if ABSOLUTE_POS < out.len() / 2 {
        let slice = ABSOLUTE_POS / end_rows.len();
        let row = end_rows[ABSOLUTE_POS % end_rows.len()] as usize;
        let top = low[row] as usize;
        let above = (slice * rows + top) * columns;
        let below = (slice * rows + min(top + 1, rows - 1)) * columns;
        let mut lowest = f32::max_value();
        let mut highest = f32::min_value();
        for end in 0..end_columns.len() {
            let column = end_columns[end] as usize;
            let upper = wide[above + column];
            let value = upper + fraction[row] * (wide[below + column] - upper);
            lowest = min(lowest, value);
            highest = max(highest, value);
        }
        out[2 * ABSOLUTE_POS] = lowest;
        out[2 * ABSOLUTE_POS + 1] = highest;
    }
}

#[cube(launch_unchecked)]
fn ranges_kernel(partial: &[f32], out: &mut [f32], parts: usize) {
    if ABSOLUTE_POS < out.len() / 2 {
        let mut lowest = f32::max_value();
        let mut highest = f32::min_value();
        for part in 0..parts {
            let pair = 2 * (ABSOLUTE_POS * parts + part);
            lowest = min(lowest, partial[pair]);
            highest = max(highest, partial[pair + 1]);
        }
        out[2 * ABSOLUTE_POS] = lowest;
        out[2 * ABSOLUTE_POS + 1] = highest;
    }
}

#[cube(launch_unchecked)]
fn shares_kernel<N: Size>(
    wide: &[Vector<f32, N>],
    low: &[u32],
    fraction: &[f32],
    ranges: &[f32],
    out: &mut [Vector<f32, N>],
    rows: usize,
    vectors: usize,
    run: usize,
    least_range: f32,
) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < out.len() {
            let value = upsampled::<N>(wide, low, fraction, rows, vectors, position);
            out[position] = share::<N>(value, ranges, position / (low.len() * vectors), least_range);
        }
    }
}

#[cube(launch_unchecked)]
fn packed_kernel<N: Size>(
    wide: &[Vector<f32, N>],
    low: &[u32],
    fraction: &[f32],
    ranges: &[f32],
    out: &mut [u32],
    rows: usize,
    vectors: usize,
    all_vectors: usize,
    run: usize,
    least_range: f32,
    threshold: f32,
    #[comptime] lanes: usize,
    #[comptime] normalized: bool,
) {
    let in_a_word = comptime!(WORD / lanes);
    for k in 0..run {
        let word = ABSOLUTE_POS * run + k;
        if word < out.len() {
            let mut bits = 0u32;
            for part in 0..in_a_word {
                let position = word * in_a_word + part;
                if position < all_vectors {
                    let mut value = upsampled::<N>(wide, low, fraction, rows, vectors, position);
                    if comptime!(normalized) {
                        value = share::<N>(value, ranges, position / (low.len() * vectors), least_range);
                    }
                    let mut inside = 0u32;
                    #[unroll]
                    for lane in 0..lanes {
                        inside |= select(value.extract(lane) > threshold, comptime!(1u32 << lane), 0u32);
                    }
                    bits |= inside << u32::cast_from(part * lanes);
                }
            }
            out[word] = bits;
        }
    }
}
