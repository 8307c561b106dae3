//! The weighted sum of features, vectors of cells at a time.
//!
//! Two kernels give the same: one where each unit sums a vector of cells over all channels, for processors, and one where
//! the units of a cube share the channels and a tree adds their sums. A map has too few cells to fill a GPU otherwise.

use cubecl::prelude::*;

use super::KERNEL;
use crate::array::Array;
use crate::error::KernelError;
use crate::launch::{check_element, lanes, on_processor, spread};

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
    check_element::<F>(features.client(), KERNEL)?;
    let [slices, channels, rows, columns] = shape;
    let cells = slices * rows * columns;
    if cells == 0 || channels == 0 {
        return Ok(Array::upload(features.client(), &vec![0.0; cells]));
    }
    if features.len() > u32::MAX as usize {
        return Err(KernelError::TooLarge { kernel: KERNEL, len: features.len() });
    }
    if on_processor(features.client()) {
        whole(features, shape, weights)
    } else {
        shared(features, shape, weights, [ABREAST, SHARERS])
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
    [abreast, sharers]: [usize; 2],
) -> Result<Array<f32>, KernelError> {
    let (client, cells) = (features.client(), rows * columns);
    let lanes = lanes(client, size_of::<f32>(), cells);
    let vectors = slices * cells / lanes;
    // A power of two, so that the tree halves evenly.
    let sharers = channels.next_power_of_two().min(sharers);
    let cubes = vectors.div_ceil(abreast);
    let units = CubeDim::new_2d(abreast as u32, sharers as u32);
    let cubes = cubecl::calculate_cube_count_elemwise(client, cubes * units.num_elems() as usize, units);
    let output = Array::empty(client, slices * cells);
    // SAFETY: the kernel compares each vector with the length of `out`, which is `slices` times the vectors of a map;
    // `features` has as many for each channel, and `weights` one element. A cube has `abreast * sharers` units.
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
            abreast,
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
    #[comptime] abreast: usize,
    #[comptime] sharers: usize,
) {
    let mut sums = Shared::<[Vector<f32, N>]>::new_slice(comptime!(abreast * sharers));
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
    if sharer == 0 && position < out.len() {
        out[position] = rectified::<N>(sums[unit]);
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::cam::activation_reference;
    use crate::compare::{assert_close, client, has};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4))]

        #[test]
        fn both_kernels_equal_the_reference(
            slices in 1_usize..4,
            channels in prop_oneof![Just(1_usize), Just(4), Just(33), 1_usize..70],
            map in [1_usize..7, 1_usize..5],
            seed in vec(-10.0_f32..10.0, 97),
            weights in vec(-10.0_f32..10.0, 61),
        ) {
            let client = client();
            let shape = [slices, channels, map[0], map[1]];
            let halves: Vec<f16> = seed.iter().map(|value| f16::from_f32(*value)).cycle().take(shape.iter().product()).collect();
            let features: Vec<f32> = halves.iter().map(|half| half.to_f32()).collect();
            let weights: Vec<f32> = weights.iter().copied().cycle().take(channels).collect();
            let expected = activation_reference(&features, shape, &weights);
            let (features, halves) = (Array::upload(&client, &features), Array::upload(&client, &halves));
            let weights = Array::upload(&client, &weights);
            let of = |maps: Result<Array<f32>, KernelError>| maps.and_then(|maps| maps.download()).expect("maps");
            // Small cubes: the CPU runtime makes a thread of each unit where they wait for each other.
            // Sums of up to 70 products of 100 each, in another order where units share the channels.
            let tolerance = 70.0 * 100.0 * f32::EPSILON * 4.0;
            let planes = [slices, map[0], map[1]];
            assert_close(planes, &of(whole(&features, shape, &weights)), &expected, tolerance);
            assert_close(planes, &of(shared(&features, shape, &weights, [2, 4])), &expected, tolerance);
            if has::<f16>("both_kernels_equal_the_reference, in halves") {
                assert_close(planes, &of(whole(&halves, shape, &weights)), &expected, tolerance);
                assert_close(planes, &of(shared(&halves, shape, &weights, [4, 2])), &expected, tolerance);
            }
        }
    }

    #[test]
    fn features_may_be_brain_floats() {
        let client = client();
        let features: Vec<bf16> = [1.5, -2.0, 0.25, 8.0].map(bf16::from_f32).to_vec();
        let features = Array::upload(&client, &features);
        let maps = activation(&features, [1, 2, 1, 2], &Array::upload(&client, &[2.0, 1.0]));
        if has::<bf16>("features_may_be_brain_floats") {
            let maps = maps.and_then(|maps| maps.download()).expect("maps");
            assert_close([1, 1, 2], &maps, &[3.25, 4.0], 0.0);
        } else {
            assert_eq!(maps.err(), Some(KernelError::Element { kernel: "cam", element: "bf16" }));
        }
    }
}
