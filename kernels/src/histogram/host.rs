//! The host's own loops, for processors: stored values are cut to those that differ in their bin, then counted.

use super::Bounds;
use crate::units::{Rescale, Stored};
use crate::wide::widest;

/// Pixels that are cut before they are counted.
const BLOCK: usize = 2048;

/// Counters of a value: neighbors in a row of pixels are often equal, and one counter would wait for itself.
const LANES: usize = 8;

/// Counts of at least one pixel in at least one bin; `region` has the length of `stored`.
pub(super) fn histogram(stored: Stored<'_>, rescale: Rescale, region: &[u8], lower_hu: i32, bins: usize) -> Vec<u32> {
    let range = super::range(matches!(stored, Stored::Signed(_)));
    let bounds = Bounds::new(range, rescale, lower_hu, bins);
    let distinct = bounds.distinct(range);
    match stored {
        Stored::Signed(values) => counted(values, region, &bounds, distinct, bins),
        Stored::Unsigned(values) => counted(values, region, &bounds, distinct, bins),
    }
}

fn counted<I: Copy + Into<i32>>(
    values: &[I],
    region: &[u8],
    bounds: &Bounds,
    [lowest, highest]: [i32; 2],
    bins: usize,
) -> Vec<u32> {
    let mut counters = vec![[0_u32; LANES]; lowest.abs_diff(highest) as usize + 1];
    let mut cut = [0_u16; BLOCK];
    for (values, region) in values.chunks(BLOCK).zip(region.chunks(BLOCK)) {
        let cut = &mut cut[..values.len()];
        widest(cut_values, (values, bounds.sign, [lowest, highest], &mut *cut));
        count(cut, region, &mut counters);
    }
    let mut counts = vec![0; bins];
    let mut bin = 0;
    for (value, lanes) in (lowest..=highest).zip(&counters) {
        bin += bounds.least[bin..].iter().take_while(|least| **least <= value).count();
        counts[bin] += lanes.iter().sum::<u32>();
    }
    counts
}

/// How far values, times the sign, lie above the lowest one; as if they were in the range.
#[inline(always)]
#[allow(clippy::cast_sign_loss, reason = "not below the lowest")]
fn cut_values<I: Copy + Into<i32>>((values, sign, [lowest, highest], cut): (&[I], i32, [i32; 2], &mut [u16])) {
    for (cut, value) in cut.iter_mut().zip(values) {
        let signed: i32 = (*value).into() * sign;
        *cut = (signed.clamp(lowest, highest) - lowest) as u16;
    }
}

fn count(values: &[u16], region: &[u8], counters: &mut [[u32; LANES]]) {
    let (values, last_values) = values.as_chunks::<LANES>();
    let (region, last_region) = region.as_chunks::<LANES>();
    for (values, region) in values.iter().zip(region) {
        for lane in 0..LANES {
            counters[usize::from(values[lane])][lane] += u32::from(region[lane] != 0);
        }
    }
    for (value, inside) in last_values.iter().zip(last_region) {
        counters[usize::from(*value)][0] += u32::from(*inside != 0);
    }
}
