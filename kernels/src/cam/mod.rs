//! Class activation maps: class weights over features, then upsampling, normalization and threshold.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `features` | `[slices, channels, rows, columns]` | activation of the encoder |
//! | `weights` | `[channels]` | logit per mean activation |
//! | [`activation`] | `[slices, rows, columns]` | activation, not negative |
//! | [`normalized`] | `[slices, rows, columns]` of the size asked for | share of the slice's range, in `[0, 1]` |
//! | [`region`], [`cam`] | the same | 1 where the share exceeds the threshold, else 0 |
//!
//! A map is `ReLU(sum_k w_k A_k)`. With global average pooling and a linear layer the gradient of the logit is
//! `w_k / (rows * columns)` everywhere, so that Grad-CAM is the same map up to a factor, which normalization removes.
//! The range is that of the *upsampled* map, of each slice for itself; a slice whose range is below 1e-6 has an empty
//! region. The upsampled map is never stored unless it is the result: maps are widened to the columns asked for, which
//! is a small array, and two passes interpolate between its rows, whole vectors at a time: one finds the range, one
//! uses it.
//!
//! A sum that is NaN counts as no activation, an infinite one as the largest finite number. Given maps count as zero
//! where they are not finite; differences between their values must be finite.
//!
//! On a processor the host's own loops are faster than the runtime's, whose memory everything would be copied to: functions
//! that take slices use them there. Those of [`on_device`] use the kernels everywhere.
//!
//! Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, equation 2; Selvaraju et
//! al., Grad-CAM, ICCV 2017, section 3.1, for the equality.

mod host;
mod reference;
mod upsample;
mod weigh;

use crate::array::Array;
use crate::device::Client;
use crate::error::KernelError;
use crate::launch::{check, on_processor};
use crate::pack::Bits;
use crate::resize::Grid;

pub use reference::{above_reference, activation_reference, normalized_reference, reference, region_reference};

pub use weigh::Feature;

const KERNEL: &str = "cam";

/// Ranges below this are noise: the map is constant.
const LEAST_RANGE: f32 = 1e-6;

/// Weighs the features of slices to one map each, negative sums cut to zero.
///
/// # Errors
///
/// Returns [`KernelError`] if an array has not the length of its shape, if the features are too many for one launch,
/// or if the device fails.
pub fn activation(
    client: &Client,
    features: &[f32],
    shape: [usize; 4],
    weights: &[f32],
) -> Result<Vec<f32>, KernelError> {
    check_features(features.len(), shape, weights.len())?;
    if on_processor(client) {
        return Ok(host::activation(features, shape, weights));
    }
    on_device::activation(&Array::upload(client, features), shape, &Array::upload(client, weights))?.download()
}

/// Upsamples maps bilinearly to a [`Grid`] and spreads each over `[0, 1]`.
///
/// # Errors
///
/// Returns [`KernelError`] if `maps` has not the length of `shape`, if the result is too large for one launch, or if
/// the device fails.
pub fn normalized(
    client: &Client,
    maps: &[f32],
    shape: [usize; 3],
    to: impl Into<Grid>,
) -> Result<Vec<f32>, KernelError> {
    check_maps(maps.len(), shape)?;
    if on_processor(client) {
        return Ok(host::normalized(maps, shape, to.into()));
    }
    on_device::normalized(&Array::upload(client, maps), shape, to)?.download()
}

/// The cells of the normalized maps above `threshold`, as 1; all others are 0.
///
/// # Errors
///
/// As [`normalized`].
pub fn region(
    client: &Client,
    maps: &[f32],
    shape: [usize; 3],
    to: impl Into<Grid>,
    threshold: f32,
) -> Result<Vec<u8>, KernelError> {
    let grid = to.into();
    cut(
        client,
        maps,
        shape,
        |maps| host::region(maps, shape, grid, threshold),
        |maps| on_device::packed_region(maps, shape, grid, threshold),
    )
}

/// From features to regions: [`activation`], then [`region`], the maps left on the device.
///
/// # Errors
///
/// As [`activation`] and [`region`].
///
/// # Examples
///
/// ```
/// use kernels::{Device, cam};
///
/// let client = Device::Cpu.client()?;
/// // One slice of two channels; the second speaks against a bleed.
/// let features = [0.0, 1.0, 2.0, 9.0, 0.0, 0.0, 0.0, 8.0];
/// let region = cam::cam(&client, &features, [1, 2, 2, 2], &[1.0, -1.0], [2, 2], 0.7)?;
/// assert_eq!(region, [0, 0, 1, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cam(
    client: &Client,
    features: &[f32],
    shape: [usize; 4],
    weights: &[f32],
    to: impl Into<Grid>,
    threshold: f32,
) -> Result<Vec<u8>, KernelError> {
    check_features(features.len(), shape, weights.len())?;
    if on_processor(client) {
        let maps = activation(client, features, shape, weights)?;
        return region(client, &maps, [shape[0], shape[2], shape[3]], to, threshold);
    }
    let (features, weights) = (Array::upload(client, features), Array::upload(client, weights));
    on_device::cam(&features, shape, &weights, to, threshold)?.unpacked()
}

/// The same for arrays on a device, by array: nothing is transferred and nothing is waited for.
pub mod on_device {
    use super::{Array, Bits, Grid, KernelError};

    pub use super::upsample::{normalized, packed_above, packed_region};
    use super::weigh::Feature;
    pub use super::weigh::activation;

    /// From features to regions: [`activation`], then [`packed_region`].
    ///
    /// # Errors
    ///
    /// As [`activation`] and [`packed_region`].
    pub fn cam<F: Feature>(
        features: &Array<F>,
        shape: [usize; 4],
        weights: &Array<f32>,
        to: impl Into<Grid>,
        threshold: f32,
    ) -> Result<Bits, KernelError> {
        let [slices, _, rows, columns] = shape;
        let maps = activation(features, shape, weights)?;
        packed_region(&maps, [slices, rows, columns], to, threshold)
    }
}

/// What of upsampled maps is above `threshold`, as they are: 1 there, else 0, `[slices, rows, columns]` of `size`.
///
/// A GPU sends one bit a cell; on a processor the host upsamples.
///
/// # Errors
///
/// As [`normalized`].
///
/// # Examples
///
/// ```
/// use kernels::{Device, cam};
///
/// let client = Device::Cpu.client()?;
/// assert_eq!(cam::above(&client, &[-1.0, 2.0], [1, 1, 2], [1, 4], 0.0)?, [0, 0, 1, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn above(
    client: &Client,
    maps: &[f32],
    shape: [usize; 3],
    size: [usize; 2],
    threshold: f32,
) -> Result<Vec<u8>, KernelError> {
    cut(
        client,
        maps,
        shape,
        |maps| host::above(maps, shape, size, threshold),
        |maps| on_device::packed_above(maps, shape, size, threshold),
    )
}

/// The mask of maps of a shape, by the host where the device is a processor.
fn cut(
    client: &Client,
    maps: &[f32],
    shape: [usize; 3],
    by_host: impl Fn(&[f32]) -> Vec<u8>,
    by_device: impl Fn(&Array<f32>) -> Result<Bits, KernelError>,
) -> Result<Vec<u8>, KernelError> {
    check_maps(maps.len(), shape)?;
    if on_processor(client) {
        return Ok(by_host(maps));
    }
    by_device(&Array::upload(client, maps))?.unpacked()
}

/// Bytes that [`on_device::activation`] moves, of features of `element` bytes: each feature and weight once, the maps
/// once. The same are the fewest.
#[must_use]
pub const fn activation_bytes([slices, channels, rows, columns]: [usize; 4], element: usize) -> usize {
    slices * rows * columns * (channels * element + 4) + 4 * channels
}

/// Bytes that upsampling moves, to cells of `bits` bits: the maps, the widened maps there and back, the ranges, the axes,
/// the cells. Rows of widened maps that several cells read are counted once; a cache serves the rest.
#[must_use]
pub const fn upsampled_bytes([slices, rows, columns]: [usize; 3], size: [usize; 2], bits: usize) -> usize {
    let wide = 4 * slices * rows * size[1];
    let ends = 8 * (rows + 1) * slices * 2;
    upsampled_floor_bytes([slices, rows, columns], size, bits) + 2 * wide + ends + 8 * (size[0] + size[1])
}

/// The fewest bytes that upsampling moves: maps read once, cells of `bits` bits written once.
#[must_use]
pub const fn upsampled_floor_bytes([slices, rows, columns]: [usize; 3], size: [usize; 2], bits: usize) -> usize {
    4 * slices * rows * columns + (slices * size[0] * size[1] * bits).div_ceil(8)
}

fn check_features(features: usize, shape: [usize; 4], weights: usize) -> Result<(), KernelError> {
    check(KERNEL, "features", features, shape.iter().product())?;
    check(KERNEL, "weights", weights, shape[1])
}

fn check_maps(maps: usize, shape: [usize; 3]) -> Result<(), KernelError> {
    check(KERNEL, "maps", maps, shape.iter().product())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::compare::{assert_close, client};

    fn size() -> impl Strategy<Value = usize> {
        prop_oneof![Just(1_usize), Just(2), Just(7), Just(8), Just(16), 1_usize..24]
    }

    fn large() -> impl Strategy<Value = usize> {
        prop_oneof![Just(1_usize), Just(31), Just(64), Just(256), Just(257), 1_usize..80]
    }

    fn value() -> impl Strategy<Value = f32> {
        prop_oneof![
            12 => -10.0_f32..10.0,
            1 => Just(f32::NAN),
            1 => Just(f32::INFINITY),
            1 => Just(f32::NEG_INFINITY),
        ]
    }

    fn filled(seed: &[f32], len: usize) -> Vec<f32> {
        seed.iter().copied().cycle().take(len).collect()
    }

    const TOLERANCE: f32 = 1e-4;

    /// Cells that differ where the share is not within rounding of the threshold.
    fn misplaced(actual: &[u8], shares: &[f32], threshold: f32, tolerance: f32) -> usize {
        let wrong =
            |(cell, share): (&u8, &f32)| (share - threshold).abs() > tolerance && *cell != u8::from(*share > threshold);
        actual.iter().zip(shares).filter(|pair| wrong(*pair)).count()
    }

    /// Upsampled values, not finite ones as zero.
    fn above_values(maps: &[f32], [_, rows, columns]: [usize; 3], to: impl Into<Grid>) -> Vec<f32> {
        let grid = to.into();
        let finite: Vec<f32> = maps.iter().map(|value| if value.is_finite() { *value } else { 0.0 }).collect();
        finite.chunks(rows * columns).flat_map(|map| crate::resize::bilinear(map, [rows, columns], grid)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn equals_its_references(
            slices in 1_usize..4,
            channels in prop_oneof![Just(1_usize), Just(13), 1_usize..70],
            map in [size(), size()],
            (to, before) in ([large(), large()], [-1.5_f32..1.5, -1.5_f32..1.5]),
            seed in vec(value(), 97),
            weights in vec(value(), 61),
            threshold in 0.1_f32..0.9,
        ) {
            let client = client();
            let shape = [slices, channels, map[0], map[1]];
            let features = filled(&seed, shape.iter().product());
            let weights = filled(&weights, channels);
            let (device, device_weights) = (Array::upload(&client, &features), Array::upload(&client, &weights));
            let maps = activation(&client, &features, shape, &weights).expect("maps");
            let by_kernel = on_device::activation(&device, shape, &device_weights).expect("maps").download().expect("maps");
            let expected = activation_reference(&features, shape, &weights);
            let planes = [slices, map[0], map[1]];
            // Sums of up to 70 products of 100 each, in the same order; products may be fused. Infinite sums are equal.
            assert_close(planes, &maps, &expected, 70.0 * 100.0 * f32::EPSILON * 4.0);
            assert_close(planes, &by_kernel, &expected, 70.0 * 100.0 * f32::EPSILON * 4.0);

            // Differences of finite maps are finite.
            let bounded: Vec<f32> = seed.iter().map(|v| if v.is_nan() { *v } else { v.clamp(-1e4, 1e4) }).collect();
            let maps = filled(&bounded, planes.iter().product());
            let device = Array::upload(&client, &maps);
            let grid = Grid { size: to, before };
            let expected = normalized_reference(&maps, planes, grid);
            // Roundings of interpolated values over the range, which may be small where rows of large values are skipped.
            let range = |values: &[f32]| {
                let [low, high] = [f32::min, f32::max].map(|of| values.iter().copied().reduce(of).unwrap_or(0.0));
                high - low
            };
            let largest = maps.iter().filter(|value| value.is_finite()).fold(0.0, |most, value| value.abs().max(most));
            let least = above_values(&maps, planes, grid).chunks(to[0] * to[1]).map(range).filter(|range| *range > 0.0).fold(f32::MAX, f32::min);
            let tolerance = TOLERANCE + 8.0 * f32::EPSILON * largest / least;
            let by_kernel = on_device::normalized(&device, planes, grid).expect("shares").download().expect("shares");
            for shares in [normalized(&client, &maps, planes, grid).expect("shares"), by_kernel] {
                assert_close([slices, to[0], to[1]], &shares, &expected, tolerance);
                prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
            }
            let by_kernel = on_device::packed_region(&device, planes, grid, threshold).expect("bits").unpacked().expect("a region");
            for cells in [region(&client, &maps, planes, grid, threshold).expect("a region"), by_kernel] {
                prop_assert_eq!(misplaced(&cells, &expected, threshold, tolerance), 0);
            }

            let lifted: Vec<f32> = maps.iter().map(|value| value / 1e4 - threshold).collect();
            let values = above_values(&lifted, planes, to);
            let by_kernel = on_device::packed_above(&Array::upload(&client, &lifted), planes, to, 0.0).expect("bits");
            for cells in [above(&client, &lifted, planes, to, 0.0).expect("cells"), by_kernel.unpacked().expect("cells")] {
                prop_assert_eq!(misplaced(&cells, &values, 0.0, TOLERANCE), 0);
                prop_assert_eq!(cells.len(), above_reference(&lifted, planes, to, 0.0).len());
            }
        }

        #[test]
        fn the_chain_is_its_parts(seed in vec(-10.0_f32..10.0, 97), to in [large(), large()], threshold in 0.1_f32..0.9) {
            let client = client();
            let shape = [2, 24, 8, 8];
            let features = filled(&seed, shape.iter().product());
            let weights = filled(&seed[3..], 24);
            let whole = cam(&client, &features, shape, &weights, to, threshold).expect("a region");
            let maps = activation(&client, &features, shape, &weights).expect("maps");
            prop_assert_eq!(&whole, &region(&client, &maps, [2, 8, 8], to, threshold).expect("a region"));
            let expected = normalized_reference(&activation_reference(&features, shape, &weights), [2, 8, 8], to);
            prop_assert_eq!(misplaced(&whole, &expected, threshold, TOLERANCE), 0);

            let (features, weights) = (Array::upload(&client, &features), Array::upload(&client, &weights));
            let whole = on_device::cam(&features, shape, &weights, to, threshold).expect("bits").unpacked();
            let maps = on_device::activation(&features, shape, &weights).expect("maps");
            prop_assert_eq!(whole, on_device::packed_region(&maps, [2, 8, 8], to, threshold).expect("bits").unpacked());
        }

        #[test]
        fn scales_with_its_weights_and_keeps_its_region(
            seed in vec(-10.0_f32..10.0, 97),
            weights in vec(-1.0_f32..1.0, 24),
            power in -3_i32..12,
        ) {
            let client = client();
            let shape = [2, 24, 6, 7];
            let features = filled(&seed, shape.iter().product());
            // Powers of two scale without rounding.
            let factor = 2.0_f32.powi(power);
            let scaled: Vec<f32> = weights.iter().map(|weight| weight * factor).collect();
            let maps = activation(&client, &features, shape, &weights).expect("maps");
            let twice: Vec<f32> = maps.iter().map(|value| value * factor).collect();
            prop_assert_eq!(activation(&client, &features, shape, &scaled).expect("maps"), twice);
            let region = |weights: &[f32]| cam(&client, &features, shape, weights, [40, 41], 0.7).expect("a region");
            let region_of_scaled = region(&scaled);
            prop_assert_eq!(region(&weights), region_of_scaled);
        }

        #[test]
        fn a_constant_map_has_an_empty_region(value in value(), to in [large(), large()]) {
            let maps = vec![value; 2 * 5 * 7];
            let cells = region(&client(), &maps, [2, 5, 7], to, 0.0).expect("a region");
            prop_assert_eq!(cells, vec![0; 2 * to[0] * to[1]]);
        }
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "the law is equality")]
    fn nan_is_no_activation() {
        let features = [f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY];
        let maps = activation(&client(), &features, [1, 1, 2, 2], &[1.0]).expect("maps");
        assert_eq!(maps, [0.0, 1.0, f32::MAX, 0.0]);
        let maps = activation(&client(), &[1.0; 4], [1, 1, 2, 2], &[f32::NAN]).expect("maps");
        assert_eq!(maps, [0.0; 4]);
    }

    #[test]
    fn each_slice_is_normalized_for_itself() {
        let maps = [0.0, 1.0, 10.0, 30.0];
        let shares = normalized(&client(), &maps, [2, 1, 2], [1, 2]).expect("shares");
        assert_close([2, 1, 2], &shares, &[0.0, 1.0, 0.0, 1.0], 0.0);
    }

    #[test]
    fn refuses_lengths_that_are_not_the_shape() {
        let client = client();
        assert!(activation(&client, &[0.0; 7], [1, 2, 2, 2], &[0.0; 2]).is_err());
        assert!(activation(&client, &[0.0; 8], [1, 2, 2, 2], &[0.0; 3]).is_err());
        assert!(normalized(&client, &[0.0; 3], [1, 2, 2], [4, 4]).is_err());
        assert!(region(&client, &[0.0; 5], [1, 2, 2], [4, 4], 0.5).is_err());
        assert!(cam(&client, &[0.0; 7], [1, 2, 2, 2], &[0.0; 2], [4, 4], 0.5).is_err());
    }

    #[test]
    fn nothing_gives_nothing() {
        let client = client();
        assert!(activation(&client, &[], [0, 2, 2, 2], &[0.0; 2]).expect("maps").is_empty());
        assert_close([1, 2, 2], &activation(&client, &[], [1, 0, 2, 2], &[]).expect("maps"), &[0.0; 4], 0.0);
        assert!(normalized(&client, &[0.0; 4], [1, 2, 2], [0, 4]).expect("shares").is_empty());
        assert_eq!(cam(&client, &[], [1, 0, 2, 2], &[], [2, 1], 0.5).expect("a region"), [0, 0]);
    }
}
