//! The histogram of HU inside a region: the input of k-means.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `stored` | `[pixels]`; on a device two in a word ([`Pixels`]) | stored value |
//! | `region` | `[pixels]`; on a device packed ([`Bits`]) | not 0 where a pixel counts |
//! | result | `[bins]` | pixels; bin `b` counts `lower_hu + b` HU |
//!
//! HU are rounded to integers, halves away from zero. What lies below the first bin counts in it, what lies above the
//! last in that. Counts are exact and the same on every device and in any order: the bounds of the bins are found on
//! the host as stored values, so that the device compares integers and never rounds. (A fused multiply and add could
//! move a HU that lies at a half.)
//!
//! Source: DICOM PS3.3 C.11.1 (rescale).
#![allow(clippy::collapsible_if, reason = "on a device the right side of `&&` may be read although the left is false")]

mod host;

use cubecl::prelude::*;

use crate::array::Array;
use crate::device::Client;
use crate::error::KernelError;
use crate::launch::{check, on_processor, spread};
use crate::pack::Bits;
use crate::units::{Rescale, Stored};

const KERNEL: &str = "histogram";

/// The definition: what [`histogram`] must equal.
#[must_use]
pub fn reference(stored: Stored<'_>, rescale: Rescale, region: &[u8], lower_hu: i32, bins: usize) -> Vec<u32> {
    let mut counts = vec![0; bins];
    for (pixel, inside) in region.iter().enumerate() {
        if *inside != 0 && bins > 0 {
            counts[bin(rescale.hu(stored.at(pixel)), lower_hu, bins)] += 1;
        }
    }
    counts
}

/// The bin of a HU value, of at least one.
fn bin(hu: f32, lower_hu: i32, bins: usize) -> usize {
    let above = (hu.round() as i64).saturating_sub(i64::from(lower_hu));
    usize::try_from(above).unwrap_or(0).min(bins - 1)
}

/// Counts the HU of the pixels in `region`.
///
/// # Errors
///
/// Returns [`KernelError`] if `region` has not the length of `stored`, if the pixels or bins are too many for one
/// launch, or if the device fails.
///
/// # Examples
///
/// ```
/// use kernels::units::{Rescale, Stored};
/// use kernels::{Device, histogram};
///
/// let client = Device::Cpu.client()?;
/// let stored = Stored::Signed(&[-50, 10, 11, 11, 900]);
/// let counts = histogram::histogram(&client, stored, Rescale::IDENTITY, &[1, 1, 1, 0, 1], 10, 3)?;
/// assert_eq!(counts, [2, 1, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn histogram(
    client: &Client,
    stored: Stored<'_>,
    rescale: Rescale,
    region: &[u8],
    lower_hu: i32,
    bins: usize,
) -> Result<Vec<u32>, KernelError> {
    check(KERNEL, "region", region.len(), stored.len())?;
    if stored.is_empty() || bins == 0 {
        return Ok(vec![0; bins]);
    }
    if on_processor(client) {
        // Counting is too little work to bring the pixels to the runtime.
        return Ok(host::histogram(stored, rescale, region, lower_hu, bins));
    }
    let (pixels, inside) = (Pixels::upload(client, stored)?, Bits::upload(client, region));
    on_device(&pixels, rescale, &inside, lower_hu, bins)?.download()
}

/// Stored values on a device, two in a word, the first in the lower half: not every device has memory of 16-bit elements.
#[derive(Clone, Debug)]
pub struct Pixels {
    words: Array<u32>,
    signed: bool,
    len: usize,
}

impl Pixels {
    /// Copies stored values to the device.
    ///
    /// # Errors
    ///
    /// Returns [`KernelError::Length`] if the device gives less memory than it was asked for.
    pub fn upload(client: &Client, stored: Stored<'_>) -> Result<Self, KernelError> {
        let (handle, signed) = match stored {
            Stored::Signed(values) => (Array::upload(client, values).handle().clone(), true),
            Stored::Unsigned(values) => (Array::upload(client, values).handle().clone(), false),
        };
        Ok(Self { words: Array::from_handle(client, handle, stored.len().div_ceil(2))?, signed, len: stored.len() })
    }

    /// The number of pixels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no pixel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The least and the greatest stored value that there may be.
fn range(signed: bool) -> [i32; 2] {
    if signed { [i16::MIN.into(), i16::MAX.into()] } else { [0, u16::MAX.into()] }
}

/// Counts the HU of the pixels in `region` on their device; does not wait for it.
///
/// # Errors
///
/// As [`histogram`], but for what fails on the device: that is told where the result is waited for.
pub fn on_device(
    stored: &Pixels,
    rescale: Rescale,
    region: &Bits,
    lower_hu: i32,
    bins: usize,
) -> Result<Array<u32>, KernelError> {
    check(KERNEL, "region", region.len(), stored.len())?;
    let client = stored.words.client();
    let counts = Array::upload(client, &vec![0_u32; bins]);
    if stored.is_empty() || bins == 0 {
        return Ok(counts);
    }
    let bounds = Bounds::new(range(stored.signed), rescale, lower_hu, bins);
    let spread = spread(client, KERNEL, stored.words.len().max(bins))?;
    // SAFETY: the kernel compares its position with the length of `words`; `region` has a word for sixteen of them, or
    // for the last fewer. The search stays below the length of `least`, and ends below the number of bins because the last bound is above all.
    unsafe {
        histogram_kernel::launch_unchecked(
            client,
            spread.cubes,
            spread.units,
            stored.words.argument(),
            region.words().argument(),
            Array::upload(client, &bounds.least).argument(),
            counts.argument(),
            bounds.sign,
            if stored.signed { 65_536 } else { 0 },
            bins.ilog2() + 1,
            spread.run,
        );
    }
    Ok(counts)
}

/// Bytes that one call moves: stored values and a bit of the region each once, the bounds, and the counts there and back.
/// The same are the fewest; counting them in memory is done in a cache.
#[must_use]
pub const fn bytes(pixels: usize, bins: usize) -> usize {
    2 * pixels + pixels.div_ceil(8) + 12 * bins
}

/// The bounds of bins in stored values.
struct Bounds {
    /// The sign of the slope: stored values times it rise with their HU.
    sign: i32,
    /// The least signed stored value of each bin from the second on, then a value above all.
    least: Vec<i32>,
}

impl Bounds {
    /// Those of stored values in `[low, high]`.
    fn new([low, high]: [i32; 2], rescale: Rescale, lower_hu: i32, bins: usize) -> Self {
        let sign = if rescale.slope() < 0.0 { -1 } else { 1 };
        let (low, high) = if sign < 0 { (-high, -low) } else { (low, high) };
        let bin_of = |signed: i32| bin(rescale.hu((signed * sign) as f32), lower_hu, bins);
        let first_of = |bin: usize| {
            // The bin rises with the value: the products, sums and roundings of floats are monotone.
            let (mut below, mut found) = (low, high + 1);
            while below < found {
                let middle = below + (found - below) / 2;
                if bin_of(middle) >= bin { found = middle } else { below = middle + 1 }
            }
            if found > high { i32::MAX } else { found }
        };
        Self { sign, least: (1..bins).map(first_of).chain([i32::MAX]).collect() }
    }

    /// The range of signed values, of stored ones in `[low, high]`, outside of which all count as its ends do.
    fn distinct(&self, [low, high]: [i32; 2]) -> [i32; 2] {
        let (low, high) = if self.sign < 0 { (-high, -low) } else { (low, high) };
        let first = self.least.first().map_or(low, |least| (*least).min(high + 1) - 1).max(low);
        let last = self.least.iter().rev().nth(1).map_or(first, |least| (*least).min(high)).max(first);
        [first, last]
    }
}

#[cube(launch_unchecked)]
fn histogram_kernel(
    words: &[u32],
    region: &[u32],
    least: &[i32],
    counts: &[Atomic<u32>],
    sign: i32,
    less: i32,
    halvings: u32,
    run: usize,
) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < words.len() {
            let word = words[position];
            // Two bits of the region; those beyond the last pixel are zero.
            let inside = region[position / 16] >> (u32::cast_from(position % 16) * 2u32);
            for half in 0..2u32 {
                if (inside >> half) & 1u32 != 0u32 {
                    let bits = i32::cast_from((word >> (half * 16u32)) & 0xffffu32);
                    // What has a sign bit is `less` less than it reads.
                    let value = (bits - select(bits >= 32_768i32, less, 0i32)) * sign;
                    // The number of bounds that are not above the value.
                    let mut bin = 0usize;
                    for halving in 0..halvings {
                        let next = bin + (1usize << ((halvings - 1 - halving) as usize));
                        if next <= least.len() {
                            if least[next - 1] <= value {
                                bin = next;
                            }
                        }
                    }
                    counts[bin].fetch_add(1u32);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::compare::client;

    fn value() -> impl Strategy<Value = i16> {
        prop_oneof![4 => -100_i16..300, 2 => any::<i16>(), 1 => Just(i16::MIN), 1 => Just(i16::MAX)]
    }

    fn slope() -> impl Strategy<Value = f32> {
        prop_oneof![Just(1.0_f32), Just(0.5), Just(-0.5), Just(-1.0), -4.0_f32..4.0, Just(1e-30), Just(-3e38)]
    }

    /// What the kernel counts, whatever the device.
    fn by_kernel(stored: Stored<'_>, rescale: Rescale, region: &[u8], lower_hu: i32, bins: usize) -> Vec<u32> {
        let client = client();
        let pixels = Pixels::upload(&client, stored).expect("pixels");
        let counts = on_device(&pixels, rescale, &Bits::upload(&client, region), lower_hu, bins);
        counts.and_then(|counts| counts.download()).expect("counts")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn equals_its_reference(
            len in prop_oneof![Just(1_usize), Just(251), Just(256), Just(257), 1_usize..5000],
            seed in vec((value(), 0_u8..3), 1..300),
            rescale in (slope(), prop_oneof![Just(0.0_f32), Just(-1024.0), -1000.0_f32..1000.0]),
            lower_hu in prop_oneof![Just(-10), Just(0), -2000..2000, Just(i32::MIN), Just(i32::MAX)],
            bins in prop_oneof![Just(1_usize), Just(2), Just(151), Just(256), 1_usize..300],
        ) {
            let rescale = Rescale::new(rescale.0, rescale.1);
            prop_assume!(rescale.is_some());
            let rescale = rescale.unwrap_or(Rescale::IDENTITY);
            let signed: Vec<i16> = seed.iter().map(|(value, _)| *value).cycle().take(len).collect();
            let unsigned: Vec<u16> = signed.iter().map(|value| value.cast_unsigned()).collect();
            let region: Vec<u8> = seed.iter().map(|(_, inside)| *inside).cycle().take(len).collect();
            for stored in [Stored::Signed(&signed), Stored::Unsigned(&unsigned)] {
                let counts = histogram(&client(), stored, rescale, &region, lower_hu, bins).expect("counts");
                prop_assert_eq!(&counts, &reference(stored, rescale, &region, lower_hu, bins));
                prop_assert_eq!(&counts, &by_kernel(stored, rescale, &region, lower_hu, bins));
                let inside = region.iter().filter(|inside| **inside != 0).count();
                prop_assert_eq!(counts.iter().map(|count| *count as usize).sum::<usize>(), inside);
            }
        }
    }

    #[test]
    fn halves_round_away_from_zero_and_the_ends_clip() {
        let values = [-3_i16, -1, 0, 1, 3, 5, 999, -999];
        let rescale = Rescale::new(0.5, 0.0).expect("a rescale");
        // HU -1.5, -0.5, 0, 0.5, 1.5, 2.5 and two beyond, over -2..=2.
        let counts = histogram(&client(), Stored::Signed(&values), rescale, &[1; 8], -2, 5).expect("counts");
        assert_eq!(counts, [2, 1, 1, 1, 3]);
        assert_eq!(by_kernel(Stored::Signed(&values), rescale, &[1; 8], -2, 5), counts);
    }

    #[test]
    fn refuses_a_region_of_another_length_and_counts_nothing_in_nothing() {
        let count = |values: &[i16], region: &[u8], bins| {
            histogram(&client(), Stored::Signed(values), Rescale::IDENTITY, region, -10, bins)
        };
        assert!(count(&[1, 2], &[1], 151).is_err());
        assert_eq!(count(&[], &[], 3), Ok(vec![0; 3]));
        assert_eq!(count(&[1], &[1], 0), Ok(vec![]));
    }
}
