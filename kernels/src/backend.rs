//! The fused back end: features to packed regions, in one chain that never leaves the device.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `features` | `[slices, channels, rows, columns]` | activation of the encoder |
//! | `weights` | `[channels]` | logit per mean activation |
//! | `targets` | for each target the [`Term`]s of its fused map | |
//! | result | `[targets, rows, columns]` of the size asked for | 1 where the share exceeds the threshold, packed |
//!
//! Class activation maps ([`cam`]), fused across z ([`fuse`]), upsampled, spread over `[0, 1]`, cut at a threshold and
//! packed ([`Bits`]): what a thirty-second of the upsampled maps would take is all that is written, and all that comes
//! back. Between the launches lie maps of a few hundred cells and their widened rows, which a cache holds.
//!
//! Sources: those of the parts.

use crate::array::Array;
use crate::cam::{self, Feature};
use crate::device::Client;
use crate::error::KernelError;
use crate::fuse::{self, Term};
use crate::launch::{check, on_processor};
use crate::pack::Bits;
use crate::resize::Grid;

/// The definition: what [`on_device`] must equal, unpacked.
#[must_use]
pub fn reference(
    features: &[f32],
    shape: [usize; 4],
    weights: &[f32],
    targets: &[Vec<Term>],
    to: impl Into<Grid>,
    threshold: f32,
) -> Vec<u8> {
    let [slices, _, rows, columns] = shape;
    let maps = cam::activation_reference(features, shape, weights);
    let fused = fuse::reference(&maps, [slices, rows, columns], targets);
    cam::region_reference(&fused, [targets.len(), rows, columns], to, threshold)
}

/// From features to packed regions on their device; does not wait for it.
///
/// # Errors
///
/// As [`cam::activation`], [`fuse::fuse`] and [`cam::region`], but for what fails on the device: that is told where the
/// result is waited for.
pub fn on_device<F: Feature>(
    features: &Array<F>,
    shape: [usize; 4],
    weights: &Array<f32>,
    targets: &[Vec<Term>],
    to: impl Into<Grid>,
    threshold: f32,
) -> Result<Bits, KernelError> {
    let [slices, _, rows, columns] = shape;
    let maps = cam::on_device::activation(features, shape, weights)?;
    from_maps(&maps, [slices, rows, columns], targets, to, threshold)
}

/// The part from activation maps `[slices, rows, columns]` on; does not wait for the device.
///
/// # Errors
///
/// As [`on_device`].
pub fn from_maps(
    maps: &Array<f32>,
    shape: [usize; 3],
    targets: &[Vec<Term>],
    to: impl Into<Grid>,
    threshold: f32,
) -> Result<Bits, KernelError> {
    let fused = fuse::on_device(maps, shape, targets)?;
    cam::on_device::packed_region(&fused, [targets.len(), shape[1], shape[2]], to, threshold)
}

/// The regions of fused maps: for each target 1 where the share of its fused map exceeds `threshold`, else 0,
/// `[targets, rows, columns]` of the [`Grid`]. One bit a cell comes back from a GPU; a processor does not pack what it would
/// unpack.
///
/// # Errors
///
/// As [`on_device`].
///
/// # Examples
///
/// ```
/// use kernels::fuse::Term;
/// use kernels::{Device, backend};
///
/// let client = Device::Cpu.client()?;
/// let alone = |map| vec![Term { map, weight: 1.0, offset: [0.0; 2] }];
/// let regions = backend::regions(&client, &[0.0, 1.0, 5.0, 2.0], [2, 1, 2], &[alone(1), alone(0)], [1, 2], 0.7)?;
/// assert_eq!(regions, [1, 0, 0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn regions(
    client: &Client,
    maps: &[f32],
    shape: [usize; 3],
    targets: &[Vec<Term>],
    to: impl Into<Grid>,
    threshold: f32,
) -> Result<Vec<u8>, KernelError> {
    check("backend", "maps", maps.len(), shape.iter().product())?;
    if on_processor(client) {
        let fused = fuse::fuse(client, maps, shape, targets)?;
        return cam::region(client, &fused, [targets.len(), shape[1], shape[2]], to, threshold);
    }
    from_maps(&Array::upload(client, maps), shape, targets, to, threshold)?.unpacked()
}

/// Bytes that [`on_device`] moves, of features of `element` bytes: those of its parts.
#[must_use]
pub const fn bytes(shape: [usize; 4], element: usize, targets: usize, terms: usize, size: [usize; 2]) -> usize {
    let [slices, _, rows, columns] = shape;
    cam::activation_bytes(shape, element)
        + fuse::bytes([slices, rows, columns], targets, terms)
        + cam::upsampled_bytes([targets, rows, columns], size, 1)
}

/// The fewest bytes that the problem moves: features and weights read once, a bit a cell written once.
#[must_use]
pub const fn floor_bytes(shape: [usize; 4], element: usize, targets: usize, size: [usize; 2]) -> usize {
    let [slices, channels, rows, columns] = shape;
    slices * channels * rows * columns * element + 4 * channels + (targets * size[0] * size[1]).div_ceil(8)
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::bits::pack;
    use crate::compare::{client, has};
    use crate::fuse::{FuseConfig, Place, terms};

    fn size() -> impl Strategy<Value = usize> {
        prop_oneof![Just(1_usize), Just(31), Just(32), Just(64), Just(257), 1_usize..80]
    }

    fn targets(slices: usize, steps: &[i64]) -> Vec<Vec<Term>> {
        let places: Vec<Place> = (0..slices)
            .map(|slice| Place {
                along_um: steps.iter().cycle().take(slice).sum(),
                offset: [0.2 * slice as f32, 0.0],
                computed: true,
            })
            .collect();
        let config = FuseConfig { max_gap_mm: 12.0, reach: 2 };
        (0..slices).map(|target| terms(&places, target, config)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn equals_the_composition_of_the_references(
            slices in 1_usize..5,
            channels in prop_oneof![Just(1_usize), Just(24), 1_usize..70],
            map in [1_usize..18, 1_usize..18],
            (to, before) in ([size(), size()], [-1.5_f32..1.5, -1.5_f32..1.5]),
            seed in vec(-10.0_f32..10.0, 97),
            weights in vec(-1.0_f32..1.0, 61),
            steps in vec(0_i64..9000, 1..5),
            threshold in 0.1_f32..0.9,
        ) {
            let client = client();
            let shape = [slices, channels, map[0], map[1]];
            let filled = |seed: &[f32], len: usize| -> Vec<f32> { seed.iter().copied().cycle().take(len).collect() };
            let features = filled(&seed, shape.iter().product());
            let weights = filled(&weights, channels);
            let (targets, grid) = (targets(slices, &steps), Grid { size: to, before });
            let maps = cam::activation_reference(&features, shape, &weights);
            let fused = fuse::reference(&maps, [slices, map[0], map[1]], &targets);
            let shares = cam::normalized_reference(&fused, [slices, map[0], map[1]], grid);
            let (device, device_weights) = (Array::upload(&client, &features), Array::upload(&client, &weights));
            let bits = on_device(&device, shape, &device_weights, &targets, grid, threshold).expect("bits");
            let cells = bits.unpacked().expect("regions");
            prop_assert_eq!(cells.len(), shares.len());
            let expected = reference(&features, shape, &weights, &targets, grid, threshold);
            for (index, (cell, share)) in cells.iter().zip(&shares).enumerate() {
                // Ranges of a map may be as small as the rounding of its sums, and shares are then of no meaning.
                let own = &fused[index / (to[0] * to[1]) * map[0] * map[1]..][..map[0] * map[1]];
                let range = own.iter().copied().fold(f32::MIN, f32::max) - own.iter().copied().fold(f32::MAX, f32::min);
                let certain = (share - threshold).abs() > 1e-3 && (range > 0.1 || range == 0.0);
                prop_assert!(!certain || *cell == expected[index], "cell {}: {} for a share of {}", index, cell, share);
            }
            prop_assert_eq!(bits.download().expect("bytes"), pack(&cells));

            // Part by part it is the same to the bit.
            let maps = cam::on_device::activation(&device, shape, &device_weights).expect("maps");
            let fused = fuse::on_device(&maps, [slices, map[0], map[1]], &targets).expect("fused maps");
            let region = cam::on_device::packed_region(&fused, [slices, map[0], map[1]], grid, threshold).expect("bits");
            prop_assert_eq!(&cells, &region.unpacked().expect("a region"));

            // So it is on the host from maps on.
            let maps = cam::activation(&client, &features, shape, &weights).expect("maps");
            let fused = fuse::fuse(&client, &maps, [slices, map[0], map[1]], &targets).expect("fused maps");
            let region = cam::region(&client, &fused, [slices, map[0], map[1]], grid, threshold).expect("a region");
            let regions = regions(&client, &maps, [slices, map[0], map[1]], &targets, grid, threshold).expect("regions");
            prop_assert_eq!(region, regions);
        }

        #[test]
        fn features_in_halves_give_the_regions_of_their_values(seed in vec(-10.0_f32..10.0, 97), to in [size(), size()]) {
            if !has::<f16>("features_in_halves_give_the_regions_of_their_values") {
                return Ok(());
            }
            let client = client();
            let shape = [2, 24, 8, 8];
            let halves: Vec<f16> = seed.iter().map(|value| f16::from_f32(*value)).cycle().take(shape.iter().product()).collect();
            let singles: Vec<f32> = halves.iter().map(|half| half.to_f32()).collect();
            let weights = Array::upload(&client, &seed[..24]);
            let targets = targets(2, &[5000]);
            let packed = |bits: Result<Bits, KernelError>| bits.and_then(|bits| bits.download()).expect("bytes");
            let of_halves = packed(on_device(&Array::upload(&client, &halves), shape, &weights, &targets, to, 0.7));
            prop_assert_eq!(of_halves, packed(on_device(&Array::upload(&client, &singles), shape, &weights, &targets, to, 0.7)));
        }
    }

    #[test]
    fn moves_few_bytes_more_than_it_must() {
        // A series of 32 slices of ResNet-18 at 512 x 512.
        let (shape, size) = ([32, 512, 16, 16], [512, 512]);
        let (moved, least) = (bytes(shape, 4, 32, 160, size), floor_bytes(shape, 4, 32, size));
        assert!(moved * 100 <= least * 115, "{moved} bytes for {least}");
    }

    #[test]
    fn nothing_gives_nothing() {
        let client = client();
        let none = on_device(
            &Array::<f32>::upload(&client, &[]),
            [0, 2, 2, 2],
            &Array::upload(&client, &[0.0; 2]),
            &[],
            [4, 4],
            0.5,
        );
        assert!(none.expect("bits").download().expect("bytes").is_empty());
        assert!(regions(&client, &[0.0; 3], [1, 2, 2], &[], [2, 2], 0.5).is_err());
    }
}
