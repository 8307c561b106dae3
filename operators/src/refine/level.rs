//! Levelling: HU without noise and without the bright rim that the skull leaves.

use kernels::distance::distance_mm;

use super::RefineConfig;

/// The rim that beam hardening brightens, mm from the edge of the brain.
const RIM_MM: usize = 10;
/// Fewer pixels say nothing about the rim at their distance.
const LEAST_PIXELS: u32 = 50;

/// The HU that are clustered: smoothed and flattened as the configuration says.
pub(super) fn level(
    hu: &[i16],
    shape: [usize; 2],
    spacing_mm: [f64; 2],
    brain: &[u8],
    config: &RefineConfig,
) -> Vec<i16> {
    let mut level = if config.smooth { median_3x3(hu, shape) } else { hu.to_vec() };
    if config.flatten_rim_hu > 0.0 {
        flatten_rim(&mut level, shape, spacing_mm, brain, config);
    }
    level
}

/// The median of each 3 x 3 neighborhood. The outermost rows and columns stay as they are.
pub(super) fn median_3x3(hu: &[i16], [rows, columns]: [usize; 2]) -> Vec<i16> {
    let mut smooth = hu.to_vec();
    if rows < 3 || columns < 3 {
        return smooth;
    }
    let row = |index: usize| &hu[index * columns..(index + 1) * columns];
    let mut sorted = [vec![0; columns], vec![0; columns], vec![0; columns]];
    for index in 1..rows - 1 {
        let [low, middle, high] = &mut sorted;
        let near = row(index - 1).iter().zip(row(index)).zip(row(index + 1));
        for (((low, middle), high), ((a, b), c)) in low.iter_mut().zip(middle).zip(high).zip(near) {
            let (a, b) = (*a.min(b), *a.max(b));
            (*low, *middle, *high) = (a.min(*c), b.min(*c).max(a), b.max(*c));
        }
        let [low, middle, high] = &sorted;
        let out = &mut smooth[index * columns + 1..(index + 1) * columns - 1];
        let columns = low.windows(3).zip(middle.windows(3)).zip(high.windows(3));
        for (out, ((low, middle), high)) in out.iter_mut().zip(columns) {
            // The median of nine is that of the greatest low, the middle middle and the least high of the sorted columns.
            let low = low[0].max(low[1]).max(low[2]);
            let high = high[0].min(high[1]).min(high[2]);
            *out = median([low, median([middle[0], middle[1], middle[2]]), high]);
        }
    }
    smooth
}

fn median([a, b, c]: [i16; 3]) -> i16 {
    a.min(b).max(a.max(b).min(c))
}

/// Takes off the rim what its median, at each millimeter from the edge of the brain, lies above that of the inner brain.
/// A bleed at the skull covers less than half of the circumference and stays; a rim that is bright all around goes.
fn flatten_rim(hu: &mut [i16], shape: [usize; 2], spacing_mm: [f64; 2], brain: &[u8], config: &RefineConfig) {
    let outside: Vec<u8> = brain.iter().map(|pixel| 1 - pixel.min(&1)).collect();
    if !outside.contains(&1) {
        return;
    }
    let depth = distance_mm(&outside, shape, spacing_mm);
    let mut at: Vec<Counts> = (0..=RIM_MM).map(|_| Counts::new(config)).collect();
    for ((hu, depth), inside) in hu.iter().zip(&depth).zip(brain) {
        if *inside != 0 {
            at[ring(*depth)].add(*hu);
        }
    }
    let Some(inner) = at[RIM_MM].median() else { return };
    let excess = |counts: &Counts| match counts.median() {
        Some(median) if counts.total >= LEAST_PIXELS => {
            (median - inner - config.cortex_hu).clamp(0.0, config.flatten_rim_hu)
        }
        _ => 0.0,
    };
    let excess: Vec<i16> = at[..RIM_MM].iter().map(|counts| whole(excess(counts))).chain([0]).collect();
    for ((hu, depth), inside) in hu.iter_mut().zip(&depth).zip(brain) {
        if *inside != 0 {
            *hu = hu.saturating_sub(excess[ring(*depth)]);
        }
    }
}

#[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn ring(depth_mm: f32) -> usize {
    (depth_mm as usize).min(RIM_MM)
}

#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "`as` saturates")]
fn whole(hu: f64) -> i16 {
    hu.round() as i16
}

/// A histogram of HU, clipped to the configured range.
pub(super) struct Counts {
    lower: i16,
    upper: i16,
    /// How many pixels each HU has, from `lower`.
    pub(super) bins: Vec<u32>,
    total: u32,
}

impl Counts {
    pub(super) fn new(config: &RefineConfig) -> Self {
        let (lower, upper) = (config.lower_hu, config.upper_hu.max(config.lower_hu));
        let bins = (lower..=upper).map(|_| 0).collect();
        Self { lower, upper, bins, total: 0 }
    }

    pub(super) fn add(&mut self, hu: i16) {
        let above = hu.clamp(self.lower, self.upper).abs_diff(self.lower);
        self.bins[usize::from(above)] += 1;
        self.total += 1;
    }

    /// The (lower) median, HU.
    pub(super) fn median(&self) -> Option<f64> {
        let mut left = self.total.checked_sub(1)? / 2;
        for (hu, count) in (i32::from(self.lower)..).zip(&self.bins) {
            if left < *count {
                return Some(f64::from(hu));
            }
            left -= count;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_fast_median_is_the_median(
            (rows, columns, hu) in (1..9_usize, 1..9_usize).prop_flat_map(|(rows, columns)| {
                (Just(rows), Just(columns), prop::collection::vec(-1000..2000_i16, rows * columns))
            }),
        ) {
            let smooth = median_3x3(&hu, [rows, columns]);
            for row in 0..rows {
                for column in 0..columns {
                    let expected = if row == 0 || column == 0 || row + 1 == rows || column + 1 == columns {
                        hu[row * columns + column]
                    } else {
                        let mut near: Vec<i16> = (0..9)
                            .map(|index| hu[(row + index / 3 - 1) * columns + column + index % 3 - 1])
                            .collect();
                        near.sort_unstable();
                        near[4]
                    };
                    prop_assert_eq!(smooth[row * columns + column], expected, "at [{}, {}]", row, column);
                }
            }
        }

        #[test]
        fn counts_hold_every_pixel_and_their_median(hu in prop::collection::vec(-2000..3000_i16, 1..200)) {
            let config = RefineConfig::default();
            let mut counts = Counts::new(&config);
            for hu in &hu {
                counts.add(*hu);
            }
            let mut clipped: Vec<i16> = hu.iter().map(|hu| (*hu).clamp(config.lower_hu, config.upper_hu)).collect();
            clipped.sort_unstable();
            prop_assert_eq!(counts.median(), Some(f64::from(clipped[(clipped.len() - 1) / 2])));
            prop_assert_eq!(counts.bins.iter().sum::<u32>() as usize, hu.len());
        }
    }
}
