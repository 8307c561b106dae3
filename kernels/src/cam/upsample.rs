//! Maps at another size, and their ranges: columns first, then rows, whole vectors at a time.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::{KERNEL, LEAST_RANGE};
use crate::device::Client;
use crate::error::KernelError;
use crate::launch::{lanes, singly, spread, upload};
use crate::resize::Linear;

/// Maps on the device, widened to the columns asked for, and how their rows are upsampled.
pub(super) struct Maps {
    /// `[slices, rows, columns of the size]`.
    wide: Handle,
    shape: [usize; 3],
    size: [usize; 2],
    low: Handle,
    fraction: Handle,
    /// Columns in a vector.
    lanes: usize,
}

impl Maps {
    /// Widens `maps` of a shape and to a size without zeros.
    pub(super) fn new(
        client: &Client,
        maps: &Handle,
        shape: [usize; 3],
        size: [usize; 2],
    ) -> Result<Self, KernelError> {
        let [slices, rows, columns] = shape;
        let len = slices * rows * size[1];
        let spread = spread(client, KERNEL, len)?;
        let (down, across) = (Linear::new(rows, size[0]), Linear::new(columns, size[1]));
        let wide = client.empty(len * size_of::<f32>());
        // SAFETY: the kernel compares its position with the length of `out`, of which each row has as many elements as
        // the tables of the axis; those stay below the last column of a map.
        unsafe {
            widen_kernel::launch_unchecked(
                client,
                spread.cubes,
                spread.units,
                BufferArg::from_raw_parts(maps.clone(), slices * rows * columns),
                BufferArg::from_raw_parts(upload(client, &across.low), size[1]),
                BufferArg::from_raw_parts(upload(client, &across.fraction), size[1]),
                BufferArg::from_raw_parts(wide.clone(), len),
                columns,
                spread.run,
            );
        }
        let (low, fraction) = (upload(client, &down.low), upload(client, &down.fraction));
        Ok(Self { wide, shape, size, low, fraction, lanes: lanes(client, size[1]) })
    }

    /// Vectors of all upsampled maps.
    fn vectors(&self) -> usize {
        self.shape[0] * self.size[0] * self.size[1] / self.lanes
    }

    /// The arguments of a kernel that interpolates between rows: the widened maps, then the axis.
    fn arguments(&self) -> [BufferArg; 3] {
        // SAFETY: `new` made as many elements.
        unsafe {
            [
                BufferArg::from_raw_parts(self.wide.clone(), self.shape[0] * self.shape[1] * self.size[1] / self.lanes),
                BufferArg::from_raw_parts(self.low.clone(), self.size[0]),
                BufferArg::from_raw_parts(self.fraction.clone(), self.size[0]),
            ]
        }
    }
}

/// The lowest and highest value of each upsampled map, `[slices, 2]`, on the device.
fn ranges_on(client: &Client, maps: &Maps) -> Result<Handle, KernelError> {
    let slices = maps.shape[0];
    let vectors = maps.vectors() / slices;
    // A GPU's units step together, so that neighbors load neighbors; a processor's take one stretch each.
    let (parts, start, step) = match client.properties().hardware.num_cpu_cores {
        Some(cores) => {
            let parts = (cores as usize).clamp(1, vectors);
            (parts, vectors.div_ceil(parts), 1)
        }
        None => (vectors.min(256), 1, vectors.min(256)),
    };
    let partial = client.empty(slices * parts * 2 * maps.lanes * size_of::<f32>());
    let each = singly(client, KERNEL, slices * parts)?;
    let [wide, low, fraction] = maps.arguments();
    // SAFETY: the kernel compares each position with the number of parts and each vector with those of a slice; the
    // table of the axis stays below the last row of a map.
    unsafe {
        parts_kernel::launch_unchecked(
            client,
            each.cubes,
            each.units,
            maps.lanes,
            wide,
            low,
            fraction,
            BufferArg::from_raw_parts(partial.clone(), slices * parts * 2),
            maps.shape[1],
            maps.size[1] / maps.lanes,
            parts,
            start,
            step,
            vectors.div_ceil(parts),
        );
    }
    let ranges = client.empty(slices * 2 * size_of::<f32>());
    let each = singly(client, KERNEL, slices)?;
    // SAFETY: the kernel compares each position with the number of slices, each of which has `parts` pairs of vectors.
    unsafe {
        ranges_kernel::launch_unchecked(
            client,
            each.cubes,
            each.units,
            BufferArg::from_raw_parts(partial, slices * parts * 2 * maps.lanes),
            BufferArg::from_raw_parts(ranges.clone(), slices * 2),
            parts,
            maps.lanes,
        );
    }
    Ok(ranges)
}

/// The normalized maps, on the device.
pub(super) fn shares_on(client: &Client, maps: &Maps) -> Result<Handle, KernelError> {
    let spread = spread(client, KERNEL, maps.vectors())?;
    let ranges = ranges_on(client, maps)?;
    let output = client.empty(maps.vectors() * maps.lanes * size_of::<f32>());
    let [wide, low, fraction] = maps.arguments();
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
            BufferArg::from_raw_parts(ranges, maps.shape[0] * 2),
            BufferArg::from_raw_parts(output.clone(), maps.vectors()),
            maps.shape[1],
            maps.size[1] / maps.lanes,
            spread.run,
            LEAST_RANGE,
        );
    }
    Ok(output)
}

/// The regions of the normalized maps, on the device.
pub(super) fn region_on(client: &Client, maps: &Maps, threshold: f32) -> Result<Handle, KernelError> {
    let spread = spread(client, KERNEL, maps.vectors())?;
    let ranges = ranges_on(client, maps)?;
    let output = client.empty(maps.vectors() * maps.lanes);
    let [wide, low, fraction] = maps.arguments();
    // SAFETY: as in `shares_on`.
    unsafe {
        region_kernel::launch_unchecked(
            client,
            spread.cubes,
            spread.units,
            maps.lanes,
            wide,
            low,
            fraction,
            BufferArg::from_raw_parts(ranges, maps.shape[0] * 2),
            BufferArg::from_raw_parts(output.clone(), maps.vectors()),
            maps.shape[1],
            maps.size[1] / maps.lanes,
            spread.run,
            LEAST_RANGE,
            threshold,
        );
    }
    Ok(output)
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
            out[position] = maps[row + start] + across[column] * (maps[row + end] - maps[row + start]);
        }
    }
}

/// A vector of an upsampled map, `vectors` of which make a row.
#[cube]
fn upsampled<N: Size>(
    wide: &[Vector<f32, N>],
    low: &[u32],
    fraction: &[f32],
    rows: usize,
    vectors: usize,
    slice: usize,
    index: usize,
) -> Vector<f32, N> {
    let row = index / vectors;
    let column = index % vectors;
    let top = low[row] as usize;
    let upper = wide[(slice * rows + top) * vectors + column];
    let lower = wide[(slice * rows + min(top + 1, rows - 1)) * vectors + column];
    upper + Vector::new(fraction[row]) * (lower - upper)
}

/// The share of the range `[lowest, highest]` that lies below each value.
#[cube]
fn share<N: Size>(value: Vector<f32, N>, lowest: f32, highest: f32, least_range: f32) -> Vector<f32, N> {
    let range = highest - lowest;
    // A range of zero gives zeros without dividing by it.
    let divisor = select(range < least_range, 1.0f32, range);
    let least = select(range < least_range, highest, lowest);
    // A fused multiply and add may leave the range by one rounding.
    clamp((value - Vector::new(least)) / Vector::new(divisor), Vector::new(0.0f32), Vector::new(1.0f32))
}

#[cube(launch_unchecked)]
fn parts_kernel<N: Size>(
    wide: &[Vector<f32, N>],
    low: &[u32],
    fraction: &[f32],
    out: &mut [Vector<f32, N>],
    rows: usize,
    vectors: usize,
    parts: usize,
    start: usize,
    step: usize,
    most: usize,
) {
    if ABSOLUTE_POS < out.len() / 2 {
        let slice = ABSOLUTE_POS / parts;
        let part = ABSOLUTE_POS % parts;
        let mut lowest = Vector::<f32, N>::max_value();
        let mut highest = Vector::<f32, N>::min_value();
        for k in 0..most {
            let index = part * start + k * step;
            if index < low.len() * vectors {
                let value = upsampled::<N>(wide, low, fraction, rows, vectors, slice, index);
                lowest = min(lowest, value);
                highest = max(highest, value);
            }
        }
        out[2 * ABSOLUTE_POS] = lowest;
        out[2 * ABSOLUTE_POS + 1] = highest;
    }
}

#[cube(launch_unchecked)]
fn ranges_kernel(partial: &[f32], out: &mut [f32], parts: usize, lanes: usize) {
    if ABSOLUTE_POS < out.len() / 2 {
        let mut lowest = f32::max_value();
        let mut highest = f32::min_value();
        for part in 0..parts {
            let pair = 2 * lanes * (ABSOLUTE_POS * parts + part);
            for lane in 0..lanes {
                lowest = min(lowest, partial[pair + lane]);
                highest = max(highest, partial[pair + lanes + lane]);
            }
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
            let slice = position / (low.len() * vectors);
            let index = position % (low.len() * vectors);
            let value = upsampled::<N>(wide, low, fraction, rows, vectors, slice, index);
            out[position] = share::<N>(value, ranges[2 * slice], ranges[2 * slice + 1], least_range);
        }
    }
}

#[cube(launch_unchecked)]
fn region_kernel<N: Size>(
    wide: &[Vector<f32, N>],
    low: &[u32],
    fraction: &[f32],
    ranges: &[f32],
    out: &mut [Vector<u8, N>],
    rows: usize,
    vectors: usize,
    run: usize,
    least_range: f32,
    threshold: f32,
) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < out.len() {
            let slice = position / (low.len() * vectors);
            let index = position % (low.len() * vectors);
            let value = upsampled::<N>(wide, low, fraction, rows, vectors, slice, index);
            let share = share::<N>(value, ranges[2 * slice], ranges[2 * slice + 1], least_range);
            let inside = share.greater_than(&Vector::new(threshold));
            out[position] = select_many(inside, Vector::new(1u8), Vector::new(0u8));
        }
    }
}
