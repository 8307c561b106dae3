//! The weighted sum of features, vectors of cells at a time.
//!
//! Two kernels give the same: one where each unit sums a vector of cells over all channels, for processors, and one where
//! the units of a cube share the channels and a tree adds their sums. A map has too few cells to fill a GPU otherwise.

use cubecl::prelude::*;

use super::KERNEL;
use crate::array::Array;
use crate::error::KernelError;
use crate::launch::{lanes, spread};

/// An element that features have: `f32`, `f16` or `bf16`. Sums are `f32`.
pub trait Feature: Float + CubeElement {}

impl Feature for f32 {}
impl Feature for half::f16 {}
impl Feature for half::bf16 {}

/// Vectors of a row of features that neighboring units of a cube read, at most: 128 bytes of `f32`.
const ABREAST: usize = 8;
/// Units of a cube that share the channels of a vector, at most.
const SHARERS: usize = 32;

/// Weighs features to maps: [`super::activation`] without transfers. Does not wait for the device.
///
/// # Errors
///
/// As [`super::activation`], but for what fails on the device: that is told where the result is waited for.
pub fn activation<F: Feature>(
    features: &Array<F>,
    shape: [usize; 4],
    weights: &Array<f32>,
) -> Result<Array<f32>, KernelError> {
    super::check_features(features.len(), shape, weights.len())?;
    let [slices, channels, rows, columns] = shape;
    let cells = slices * rows * columns;
    if cells == 0 || channels == 0 {
        return Ok(Array::upload(features.client(), &vec![0.0; cells]));
    }
    if features.len() > u32::MAX as usize {
        return Err(KernelError::TooLarge { kernel: KERNEL, len: features.len() });
    }
    match features.client().properties().hardware.num_cpu_cores {
        Some(_) => whole(features, shape, weights),
        None => shared(features, shape, weights),
    }
}

/// One unit for each vector of cells.
fn whole<F: Feature>(
    features: &Array<F>,
    [slices, channels, rows, columns]: [usize; 4],
    weights: &Array<f32>,
) -> Result<Array<f32>, KernelError> {
    let (client, cells) = (features.client(), rows * columns);
    let lanes = lanes(client, size_of::<f32>(), cells);
    let vectors = slices * cells / lanes;
    let spread = spread(client, KERNEL, vectors)?;
    let output = Array::empty(client, slices * cells);
    // SAFETY: the kernel compares each position with the length of `out`, which is `slices` times the vectors of a
    // map; `features` has as many for each channel, and `weights` one element.
    unsafe {
        whole_kernel::launch_unchecked::<F>(
            client,
            spread.cubes,
            spread.units,
            lanes,
            features.vectors(vectors * channels),
            weights.argument(),
            output.vectors(vectors),
            cells / lanes,
            spread.run,
        );
    }
    Ok(output)
}

/// A cube for every few vectors of cells, whose units share the channels.
fn shared<F: Feature>(
    features: &Array<F>,
    [slices, channels, rows, columns]: [usize; 4],
    weights: &Array<f32>,
) -> Result<Array<f32>, KernelError> {
    let (client, cells) = (features.client(), rows * columns);
    let lanes = lanes(client, size_of::<f32>(), cells);
    let vectors = slices * cells / lanes;
    // A power of two, so that the tree halves evenly, and no more units than a cube has; on a processor, which runs each
    // unit as a thread, a tree of one level.
    let room = (client.properties().hardware.max_units_per_cube as usize / ABREAST).max(2);
    let sharers = channels.next_power_of_two().min(SHARERS).min(1 << room.ilog2());
    let cubes = vectors.div_ceil(ABREAST);
    let units = CubeDim::new_2d(ABREAST as u32, sharers as u32);
    let cubes = cubecl::calculate_cube_count_elemwise(client, cubes * units.num_elems() as usize, units);
    let output = Array::empty(client, slices * cells);
    // SAFETY: the kernel compares each vector with the length of `out`, which is `slices` times the vectors of a map;
    // `features` has as many for each channel, and `weights` one element. A cube has `ABREAST * sharers` units.
    unsafe {
        shared_kernel::launch_unchecked::<F>(
            client,
            cubes,
            units,
            lanes,
            features.vectors(vectors * channels),
            weights.argument(),
            output.vectors(vectors),
            cells / lanes,
            sharers,
        );
    }
    Ok(output)
}

/// A sum as an activation: not negative, not NaN, finite.
#[cube]
fn rectified<N: Size>(sum: Vector<f32, N>) -> Vector<f32, N> {
    let zero = Vector::<f32, N>::new(0.0f32);
    let most = Vector::<f32, N>::max_value();
    // False for NaN.
    select_many(sum.greater_than(&zero), min(sum, most), zero)
}

#[cube(launch_unchecked)]
fn whole_kernel<F: Float, N: Size>(
    features: &[Vector<F, N>],
    weights: &[f32],
    out: &mut [Vector<f32, N>],
    cells: usize,
    run: usize,
) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < out.len() {
            let first = position / cells * cells * weights.len() + position % cells;
            let mut sum = Vector::<f32, N>::new(0.0f32);
            for channel in 0..weights.len() {
                let feature = Vector::<f32, N>::cast_from(features[first + channel * cells]);
                sum += feature * Vector::new(weights[channel]);
            }
            out[position] = rectified::<N>(sum);
        }
    }
}

#[cube(launch_unchecked)]
fn shared_kernel<F: Float, N: Size>(
    features: &[Vector<F, N>],
    weights: &[f32],
    out: &mut [Vector<f32, N>],
    cells: usize,
    #[comptime] sharers: usize,
) {
    let mut sums = Shared::<[Vector<f32, N>]>::new_slice(comptime!(ABREAST * sharers));
    let abreast = comptime!(ABREAST);
    let sharer = UNIT_POS_Y as usize;
    let unit = UNIT_POS as usize;
    let position = CUBE_POS * abreast + UNIT_POS_X as usize;
    let mut sum = Vector::<f32, N>::new(0.0f32);
    if position < out.len() {
        let first = position / cells * cells * weights.len() + position % cells;
        let most = weights.len().div_ceil(sharers);
        for k in 0..most {
            let channel = k * sharers + sharer;
            if channel < weights.len() {
                let feature = Vector::<f32, N>::cast_from(features[first + channel * cells]);
                sum += feature * Vector::new(weights[channel]);
            }
        }
    }
    sums[unit] = sum;
    sync_cube();
    #[unroll]
    for halving in 0..comptime!(sharers.ilog2() as usize) {
        let half = comptime!(sharers >> (halving + 1));
        if sharer < half {
            let other = sums[unit + half * abreast];
            let own = sums[unit];
            sums[unit] = own + other;
        }
        sync_cube();
    }
    if sharer == 0 {
        if position < out.len() {
            out[position] = rectified::<N>(sums[unit]);
        }
    }
}
