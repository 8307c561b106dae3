//! Made-up inputs: the same for each run, and for each peer that is measured beside.

use kernels::fuse::{FuseConfig, Place, Term, terms};

/// Stored values of HU 0.
pub(super) const INTERCEPT_HU: f32 = -1024.0;

/// A head of sorts: a bright ring around noise, `[size, size]`, in stored values.
pub(super) fn head(size: usize) -> Vec<i16> {
    // Twice the distance from the center, squared, in units of pixels.
    let limit = |thousandths: usize| (size * thousandths / 500).pow(2);
    let (brain, skull) = (limit(400), limit(450));
    let value = |index: usize| {
        let [y, x] = [index / size, index % size].map(|place| (2 * place + 1).abs_diff(size));
        let noise = i16::try_from(index * 7919 % 61).unwrap_or_default() - 30;
        match y * y + x * x {
            near if near < brain => 1024 + 35 + noise,
            near if near < skull => 1024 + 900 + noise,
            _ => 24 + noise.abs(),
        }
    };
    (0..size * size).map(value).collect()
}

/// Numbers in `[0, 1)`.
#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "below 1009")]
pub(super) fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|index| (index * 7919 % 1009) as f32 / 1009.0).collect()
}

/// A mask of speckles, two in five elements inside.
pub(super) fn speckles(len: usize) -> Vec<u8> {
    (0..len).map(|element| u8::from(element * 7919 % 1009 < 400)).collect()
}

/// Where a head is bright.
pub(super) fn bright(size: usize) -> Vec<u8> {
    head(size).into_iter().map(|value| u8::from(value > 1324)).collect()
}

/// The terms that fuse a series of slices, 5 mm apart, with two neighbors on each side.
pub(super) fn neighbors(slices: usize) -> Vec<Vec<Term>> {
    let places: Vec<Place> = (0..slices)
        .map(|slice| Place {
            along_um: i64::try_from(slice).unwrap_or_default() * 5000,
            offset: [0.0; 2],
            computed: true,
        })
        .collect();
    (0..slices).map(|target| terms(&places, target, FuseConfig { max_gap_mm: 12.0, reach: 2 })).collect()
}

/// One slice's array, once for each of `batch` slices.
pub(super) fn repeated<T: Clone>(slice: &[T], batch: usize) -> Vec<T> {
    std::iter::repeat_n(slice, batch).flatten().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_air_skull_and_brain_and_a_mask_both_sides() {
        let head = head(64);
        let brain = head[64 * 32 + 32];
        assert!((1029..=1089).contains(&brain), "{brain}");
        assert!(head[0] < 100 && head.iter().any(|value| *value > 1800));
        let bright = bright(64);
        assert!(bright.contains(&1) && bright.contains(&0));
        assert_eq!(neighbors(8).iter().map(Vec::len).collect::<Vec<_>>(), [3, 4, 5, 5, 5, 5, 4, 3]);
    }
}
