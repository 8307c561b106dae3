//! The definition: what the loops of the host and the kernels must equal.

use super::Filter;
use crate::resize::{covered, position, share};
use crate::units::{Rescale, Stored, Window};

/// The definition of [`window`](super::window), and of [`batch`](super::batch) for each slice. Sums are in `f64`, rounded
/// once.
#[must_use]
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a sum in f64 is rounded once")]
pub fn reference(
    stored: Stored<'_>,
    shape: [usize; 2],
    rescale: Rescale,
    windows: &[Window],
    size: [usize; 2],
    filter: Filter,
) -> Vec<f32> {
    if stored.is_empty() {
        return Vec::new();
    }
    let mut result = Vec::with_capacity(windows.len() * size[0] * size[1]);
    for window in windows {
        let intensity = |y: usize, x: usize| window.intensity(rescale.hu(stored.at(y * shape[1] + x)));
        for row in 0..size[0] {
            for column in 0..size[1] {
                let mut sum = 0.0_f64;
                for (y, down) in seen(filter, row, shape[0], size[0]) {
                    for (x, across) in seen(filter, column, shape[1], size[1]) {
                        sum += f64::from(intensity(y, x)) * f64::from(down) * f64::from(across);
                    }
                }
                result.push((sum as f32).min(1.0));
            }
        }
    }
    result
}

/// The inputs that output `index` of an axis sees, and their weights.
fn seen(filter: Filter, index: usize, from: usize, to: usize) -> Vec<(usize, f32)> {
    match filter {
        Filter::Area => {
            let (first, end) = covered(index, from, to);
            (first..end).map(|pixel| (pixel, share(index, pixel, from, to))).collect()
        }
        Filter::Bilinear => {
            let (low, fraction) = position(index, from, to, 0.0);
            vec![(low, 1.0 - fraction), ((low + 1).min(from - 1), fraction)]
        }
    }
}
