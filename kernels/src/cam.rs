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
//! region. The upsampled map is never stored unless it is the result: one pass finds its range, one uses it.
//!
//! A sum that is NaN counts as no activation, an infinite one as the largest finite number. Given maps count as zero
//! where they are not finite; differences between their values must be finite.
//!
//! Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, equation 2; Selvaraju et
//! al., Grad-CAM, ICCV 2017, section 3.1, for the equality.

use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::device::Client;
use crate::error::KernelError;
use crate::launch::{check, download, finite, singly, spread, upload, upload_finite};
use crate::resize::{Linear, bilinear};

const KERNEL: &str = "cam";

/// Ranges below this are noise: the map is constant.
const LEAST_RANGE: f32 = 1e-6;

/// The definition of [`activation`].
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

/// The definition of [`normalized`].
#[must_use]
pub fn normalized_reference(maps: &[f32], shape: [usize; 3], size: [usize; 2]) -> Vec<f32> {
    let [slices, rows, columns] = shape;
    let mut result = Vec::with_capacity(slices * size[0] * size[1]);
    for slice in 0..slices {
        let map = &maps[slice * rows * columns..][..rows * columns];
        let map: Vec<f32> = map.iter().map(|value| finite(*value)).collect();
        let upsampled = bilinear(&map, [rows, columns], size);
        let lowest = upsampled.iter().copied().fold(f32::MAX, f32::min);
        let range = upsampled.iter().copied().fold(f32::MIN, f32::max) - lowest;
        let share = |value: f32| if range < LEAST_RANGE { 0.0 } else { (value - lowest) / range };
        result.extend(upsampled.into_iter().map(share));
    }
    result
}

/// The definition of [`region`].
#[must_use]
pub fn region_reference(maps: &[f32], shape: [usize; 3], size: [usize; 2], threshold: f32) -> Vec<u8> {
    normalized_reference(maps, shape, size).into_iter().map(|share| u8::from(share > threshold)).collect()
}

/// The definition of [`cam`].
#[must_use]
pub fn reference(features: &[f32], shape: [usize; 4], weights: &[f32], size: [usize; 2], threshold: f32) -> Vec<u8> {
    let maps = activation_reference(features, shape, weights);
    region_reference(&maps, [shape[0], shape[2], shape[3]], size, threshold)
}

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
    let [slices, channels, rows, columns] = shape;
    check_features(features, shape, weights)?;
    if slices * rows * columns == 0 || channels == 0 {
        return Ok(vec![0.0; slices * rows * columns]);
    }
    let maps = activation_on(client, &upload(client, features), shape, &upload(client, weights))?;
    download(client, KERNEL, maps)
}

/// Upsamples maps bilinearly to `size` and spreads each over `[0, 1]`.
///
/// # Errors
///
/// Returns [`KernelError`] if `maps` has not the length of `shape`, if the result is too large for one launch, or if
/// the device fails.
pub fn normalized(client: &Client, maps: &[f32], shape: [usize; 3], size: [usize; 2]) -> Result<Vec<f32>, KernelError> {
    check(KERNEL, "maps", maps.len(), shape.iter().product())?;
    if maps.is_empty() || size[0] * size[1] == 0 {
        return Ok(Vec::new());
    }
    let maps = Maps::new(client, upload_finite(client, maps), shape, size);
    let shares = shares_on(client, &maps)?;
    download(client, KERNEL, shares)
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
    size: [usize; 2],
    threshold: f32,
) -> Result<Vec<u8>, KernelError> {
    check(KERNEL, "maps", maps.len(), shape.iter().product())?;
    if maps.is_empty() || size[0] * size[1] == 0 {
        return Ok(Vec::new());
    }
    let maps = Maps::new(client, upload_finite(client, maps), shape, size);
    let region = region_on(client, &maps, threshold)?;
    download(client, KERNEL, region)
}

/// From features to regions: [`activation`], then [`region`], the maps left on the device.
///
/// # Errors
///
/// As [`activation`] and [`region`].
pub fn cam(
    client: &Client,
    features: &[f32],
    shape: [usize; 4],
    weights: &[f32],
    size: [usize; 2],
    threshold: f32,
) -> Result<Vec<u8>, KernelError> {
    let [slices, channels, rows, columns] = shape;
    check_features(features, shape, weights)?;
    if slices * rows * columns == 0 || size[0] * size[1] == 0 {
        return Ok(Vec::new());
    }
    if channels == 0 {
        // Without features every map is constant.
        return Ok(vec![0; slices * size[0] * size[1]]);
    }
    let maps = activation_on(client, &upload(client, features), shape, &upload(client, weights))?;
    let region = region_on(client, &Maps::new(client, maps, [slices, rows, columns], size), threshold)?;
    download(client, KERNEL, region)
}

fn check_features(features: &[f32], shape: [usize; 4], weights: &[f32]) -> Result<(), KernelError> {
    check(KERNEL, "features", features.len(), shape.iter().product())?;
    check(KERNEL, "weights", weights.len(), shape[1])
}

/// Maps on the device, and how they are upsampled.
struct Maps {
    maps: Handle,
    shape: [usize; 3],
    size: [usize; 2],
    rows: [Handle; 2],
    columns: [Handle; 2],
}

impl Maps {
    /// `maps` of a shape and a size without zeros.
    fn new(client: &Client, maps: Handle, shape: [usize; 3], size: [usize; 2]) -> Self {
        let axis = |from, to| {
            let axis = Linear::new(from, to);
            [upload(client, &axis.low), upload(client, &axis.fraction)]
        };
        Self { maps, shape, size, rows: axis(shape[1], size[0]), columns: axis(shape[2], size[1]) }
    }

    fn upsampled_len(&self) -> usize {
        self.shape[0] * self.size[0] * self.size[1]
    }

    /// The arguments of a kernel that upsamples: the maps, then both axes.
    fn arguments(&self) -> [BufferArg; 5] {
        let [low, fraction] = &self.rows;
        let [left, across] = &self.columns;
        // SAFETY: `new` uploaded one element for each row and column of `size`; the maps have `shape`.
        unsafe {
            [
                BufferArg::from_raw_parts(self.maps.clone(), self.shape.iter().product()),
                BufferArg::from_raw_parts(low.clone(), self.size[0]),
                BufferArg::from_raw_parts(fraction.clone(), self.size[0]),
                BufferArg::from_raw_parts(left.clone(), self.size[1]),
                BufferArg::from_raw_parts(across.clone(), self.size[1]),
            ]
        }
    }
}

/// Maps of features and weights without zeros in `shape`, on the device.
fn activation_on(
    client: &Client,
    features: &Handle,
    shape: [usize; 4],
    weights: &Handle,
) -> Result<Handle, KernelError> {
    let [slices, channels, rows, columns] = shape;
    let cells = rows * columns;
    let lanes = client.io_optimized_vector_sizes(size_of::<f32>()).find(|lanes| cells % lanes == 0).unwrap_or(1);
    if slices * channels * cells > u32::MAX as usize {
        return Err(KernelError::TooLarge { kernel: KERNEL, len: slices * channels * cells });
    }
    let vectors = slices * cells / lanes;
    let spread = spread(client, KERNEL, vectors)?;
    let output = client.empty(slices * cells * size_of::<f32>());
    // SAFETY: the kernel compares each position with the length of `out`, which is `slices` times the vectors of a
    // map; `features` has as many for each channel, and `weights` one element.
    unsafe {
        activation_kernel::launch_unchecked(
            client,
            spread.cubes,
            spread.units,
            lanes,
            BufferArg::from_raw_parts(features.clone(), vectors * channels),
            BufferArg::from_raw_parts(weights.clone(), channels),
            BufferArg::from_raw_parts(output.clone(), vectors),
            cells / lanes,
            spread.run,
        );
    }
    Ok(output)
}

/// The lowest and highest value of each upsampled map, `[slices, 2]`, on the device.
fn ranges_on(client: &Client, maps: &Maps) -> Result<Handle, KernelError> {
    let slices = maps.shape[0];
    let pixels = maps.size[0] * maps.size[1];
    // A GPU's units step together, so that neighbors load neighbors; a processor's take one stretch each.
    let (parts, start, step) = match client.properties().hardware.num_cpu_cores {
        Some(cores) => {
            let parts = (cores as usize).clamp(1, pixels);
            (parts, pixels.div_ceil(parts), 1)
        }
        None => (pixels.min(256), 1, pixels.min(256)),
    };
    let partial = client.empty(slices * parts * 2 * size_of::<f32>());
    let each = singly(client, KERNEL, slices * parts)?;
    let [map, low, fraction, left, across] = maps.arguments();
    // SAFETY: the kernel compares each position with the number of parts and each pixel with those of the size; the
    // tables of the axes stay below the last row and column of a map.
    unsafe {
        parts_kernel::launch_unchecked(
            client,
            each.cubes,
            each.units,
            map,
            low,
            fraction,
            left,
            across,
            BufferArg::from_raw_parts(partial.clone(), slices * parts * 2),
            maps.shape[1],
            maps.shape[2],
            parts,
            start,
            step,
            pixels.div_ceil(parts),
        );
    }
    let ranges = client.empty(slices * 2 * size_of::<f32>());
    let each = singly(client, KERNEL, slices)?;
    // SAFETY: the kernel compares each position with the number of slices, each of which has `parts` pairs.
    unsafe {
        ranges_kernel::launch_unchecked(
            client,
            each.cubes,
            each.units,
            BufferArg::from_raw_parts(partial, slices * parts * 2),
            BufferArg::from_raw_parts(ranges.clone(), slices * 2),
            parts,
        );
    }
    Ok(ranges)
}

/// The normalized maps, on the device.
fn shares_on(client: &Client, maps: &Maps) -> Result<Handle, KernelError> {
    let len = maps.upsampled_len();
    let spread = spread(client, KERNEL, len)?;
    let ranges = ranges_on(client, maps)?;
    let output = client.empty(len * size_of::<f32>());
    let [map, low, fraction, left, across] = maps.arguments();
    // SAFETY: the kernel compares each position with the length of `out`, one element for each pixel of a slice.
    unsafe {
        shares_kernel::launch_unchecked(
            client,
            spread.cubes,
            spread.units,
            map,
            low,
            fraction,
            left,
            across,
            BufferArg::from_raw_parts(ranges, maps.shape[0] * 2),
            BufferArg::from_raw_parts(output.clone(), len),
            maps.shape[1],
            maps.shape[2],
            spread.run,
            LEAST_RANGE,
        );
    }
    Ok(output)
}

/// The regions of the normalized maps, on the device.
fn region_on(client: &Client, maps: &Maps, threshold: f32) -> Result<Handle, KernelError> {
    let len = maps.upsampled_len();
    let spread = spread(client, KERNEL, len)?;
    let ranges = ranges_on(client, maps)?;
    let output = client.empty(len);
    let [map, low, fraction, left, across] = maps.arguments();
    // SAFETY: as in `shares_on`.
    unsafe {
        region_kernel::launch_unchecked(
            client,
            spread.cubes,
            spread.units,
            map,
            low,
            fraction,
            left,
            across,
            BufferArg::from_raw_parts(ranges, maps.shape[0] * 2),
            BufferArg::from_raw_parts(output.clone(), len),
            maps.shape[1],
            maps.shape[2],
            spread.run,
            LEAST_RANGE,
            threshold,
        );
    }
    Ok(output)
}

#[cube(launch_unchecked)]
fn activation_kernel<N: Size>(
    features: &[Vector<f32, N>],
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
                sum += features[first + channel * cells] * Vector::new(weights[channel]);
            }
            let zero = Vector::<f32, N>::new(0.0f32);
            let most = Vector::<f32, N>::max_value();
            // False for NaN.
            out[position] = select_many(sum.greater_than(&zero), min(sum, most), zero);
        }
    }
}

/// The value of an upsampled map at a pixel.
#[cube]
fn upsampled(
    maps: &[f32],
    low: &[u32],
    fraction: &[f32],
    left: &[u32],
    across: &[f32],
    rows: usize,
    columns: usize,
    slice: usize,
    pixel: usize,
) -> f32 {
    let row = pixel / left.len();
    let column = pixel % left.len();
    let top = low[row] as usize;
    let above = (slice * rows + top) * columns;
    let below = (slice * rows + min(top + 1, rows - 1)) * columns;
    let start = left[column] as usize;
    let end = min(start + 1, columns - 1);
    let upper = maps[above + start] + across[column] * (maps[above + end] - maps[above + start]);
    let lower = maps[below + start] + across[column] * (maps[below + end] - maps[below + start]);
    upper + fraction[row] * (lower - upper)
}

/// The share of the range `[lowest, highest]` that lies below a value.
#[cube]
fn share(value: f32, lowest: f32, highest: f32, least_range: f32) -> f32 {
    let range = highest - lowest;
    // A fused multiply and add may leave the range by one rounding.
    select(range < least_range, 0.0f32, clamp((value - lowest) / range, 0.0f32, 1.0f32))
}

#[cube(launch_unchecked)]
fn parts_kernel(
    maps: &[f32],
    low: &[u32],
    fraction: &[f32],
    left: &[u32],
    across: &[f32],
    out: &mut [f32],
    rows: usize,
    columns: usize,
    parts: usize,
    start: usize,
    step: usize,
    pixels: usize,
) {
    if ABSOLUTE_POS < out.len() / 2 {
        let slice = ABSOLUTE_POS / parts;
        let part = ABSOLUTE_POS % parts;
        let mut lowest = f32::max_value();
        let mut highest = f32::min_value();
        for k in 0..pixels {
            let pixel = part * start + k * step;
            if pixel < low.len() * left.len() {
                let value = upsampled(maps, low, fraction, left, across, rows, columns, slice, pixel);
                lowest = min(lowest, value);
                highest = max(highest, value);
            }
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
fn shares_kernel(
    maps: &[f32],
    low: &[u32],
    fraction: &[f32],
    left: &[u32],
    across: &[f32],
    ranges: &[f32],
    out: &mut [f32],
    rows: usize,
    columns: usize,
    run: usize,
    least_range: f32,
) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < out.len() {
            let slice = position / (low.len() * left.len());
            let pixel = position % (low.len() * left.len());
            let value = upsampled(maps, low, fraction, left, across, rows, columns, slice, pixel);
            out[position] = share(value, ranges[2 * slice], ranges[2 * slice + 1], least_range);
        }
    }
}

#[cube(launch_unchecked)]
fn region_kernel(
    maps: &[f32],
    low: &[u32],
    fraction: &[f32],
    left: &[u32],
    across: &[f32],
    ranges: &[f32],
    out: &mut [u8],
    rows: usize,
    columns: usize,
    run: usize,
    least_range: f32,
    threshold: f32,
) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < out.len() {
            let slice = position / (low.len() * left.len());
            let pixel = position % (low.len() * left.len());
            let value = upsampled(maps, low, fraction, left, across, rows, columns, slice, pixel);
            let share = share(value, ranges[2 * slice], ranges[2 * slice + 1], least_range);
            out[position] = select(share > threshold, 1u8, 0u8);
        }
    }
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

    /// Cells that differ where the share is not within rounding of the threshold.
    fn misplaced(actual: &[u8], shares: &[f32], threshold: f32) -> usize {
        let wrong =
            |(cell, share): (&u8, &f32)| (share - threshold).abs() > 1e-4 && *cell != u8::from(*share > threshold);
        actual.iter().zip(shares).filter(|pair| wrong(*pair)).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn equals_its_references(
            slices in 1_usize..4,
            channels in prop_oneof![Just(1_usize), Just(13), 1_usize..70],
            map in [size(), size()],
            to in [large(), large()],
            seed in vec(value(), 97),
            weights in vec(value(), 61),
            threshold in 0.1_f32..0.9,
        ) {
            let client = client();
            let shape = [slices, channels, map[0], map[1]];
            let features = filled(&seed, shape.iter().product());
            let weights = filled(&weights, channels);
            let maps = activation(&client, &features, shape, &weights).expect("maps");
            let expected = activation_reference(&features, shape, &weights);
            let planes = [slices, map[0], map[1]];
            // Sums of up to 70 products of 100 each, in the same order; products may be fused. Infinite sums are equal.
            assert_close(planes, &maps, &expected, 70.0 * 100.0 * f32::EPSILON * 4.0);

            // Differences of finite maps are finite.
            let bounded: Vec<f32> = seed.iter().map(|v| if v.is_nan() { *v } else { v.clamp(-1e4, 1e4) }).collect();
            let maps = filled(&bounded, planes.iter().product());
            let shares = normalized(&client, &maps, planes, to).expect("shares");
            let expected = normalized_reference(&maps, planes, to);
            // One rounding of an interpolated value over the range; ranges here are 0 or far above rounding.
            assert_close([slices, to[0], to[1]], &shares, &expected, 1e-4);
            prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));

            let cells = region(&client, &maps, planes, to, threshold).expect("a region");
            prop_assert_eq!(misplaced(&cells, &expected, threshold), 0);
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
            prop_assert_eq!(misplaced(&whole, &expected, threshold), 0);
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
