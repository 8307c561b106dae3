//! Resampling of a plane: where an output cell lies in the input, and how much of each input pixel it takes.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `values` | `[rows, columns]`, row major | any |
//! | result | `[rows, columns]` of the new size | the same |
//!
//! Pixels are areas: pixel `i` covers `[i, i + 1)` and has its centre at `i + 0.5`, so two grids of one plane share
//! their borders, not their first centres. The cells of an encoder's map do not lie in their centres: see [`Grid`].
//! Positions are computed in `f64` and rounded when they become weights. This module does not filter: [`bilinear`] to a
//! smaller size skips pixels.

use crate::wide::widest;

/// The cells that a map is brought to, and where its own cells lie among them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// The rows and columns asked for.
    pub size: [usize; 2],
    /// How far before the middle of its square a cell of the map lies, along the rows' axis, then the columns', in cells. For the map
    /// of an encoder it is not zero: see [`Grid::before_of_strides`].
    pub before: [f32; 2],
}

impl Grid {
    /// How far before the middle of its square a cell lies that stands for `step` pixels along an axis, in cells, if it
    /// lies in the middle of the first of them. There the window of an encoder has its middle whose convolutions and
    /// poolings of stride 2 have odd sides and are padded alike on all sides: that of output `i` is over input `2 i`.
    /// What the encoder has learned may look elsewhere in the window.
    #[must_use]
    pub fn before_of_strides(step: usize) -> f32 {
        0.5 - 0.5 / step.max(1) as f32
    }
}

impl From<[usize; 2]> for Grid {
    fn from(size: [usize; 2]) -> Self {
        Self { size, before: [0.0; 2] }
    }
}

/// One axis of a bilinear resampling: between which inputs each output lies.
pub(crate) struct Linear {
    /// The input at or before each output.
    pub(crate) low: Vec<u32>,
    /// How far each output lies on the way to the next input, in `[0, 1]`.
    pub(crate) fraction: Vec<f32>,
}

impl Linear {
    /// The axis from `from` inputs, at least one, to `to` outputs, the inputs lying so far before their middles.
    pub(crate) fn new(from: usize, to: usize, before: f32) -> Self {
        (0..to).map(|index| position(index, from, to, before)).map(|(low, fraction)| (low as u32, fraction)).collect()
    }

    /// The two axes from rows and columns to a grid.
    pub(crate) fn of_grid([rows, columns]: [usize; 2], Grid { size, before }: Grid) -> [Self; 2] {
        [Self::new(rows, size[0], before[0]), Self::new(columns, size[1], before[1])]
    }

    /// The first and the last output between each two inputs, in order: all others lie between two of these.
    pub(crate) fn ends(&self) -> Vec<u32> {
        let last = self.low.len().saturating_sub(1);
        let starts = |index: usize| index == 0 || self.low[index - 1] != self.low[index];
        let is_end = |index: usize| starts(index) || index == last || starts(index + 1);
        (0..self.low.len()).filter(|index| is_end(*index)).map(|index| index as u32).collect()
    }

    /// Some outputs of the axis.
    pub(crate) fn only(&self, outputs: &[u32]) -> Self {
        let kept = outputs.iter().map(|output| *output as usize);
        kept.map(|output| (self.low[output], self.fraction[output])).collect()
    }

    /// Rows of so many columns, at least one, resampled along this axis.
    pub(crate) fn widened(&self, values: &[f32], columns: usize) -> Vec<f32> {
        widest(widened, (self, values, columns))
    }
}

#[inline(always)]
fn widened((axis, values, columns): (&Linear, &[f32], usize)) -> Vec<f32> {
    // Outputs between the same two inputs at a time.
    let parts: Vec<&[u32]> = axis.low.chunk_by(|a, b| a == b).collect();
    let mut wide = Vec::with_capacity(values.len() / columns * axis.low.len());
    for row in values.chunks_exact(columns) {
        let mut done = 0;
        for outputs in &parts {
            let left = outputs[0] as usize;
            let (from, to) = (row[left], row[(left + 1).min(columns - 1)]);
            let fractions = &axis.fraction[done..][..outputs.len()];
            wide.extend(fractions.iter().map(|fraction| lerp(from, to, *fraction)));
            done += outputs.len();
        }
    }
    wide
}

impl FromIterator<(u32, f32)> for Linear {
    fn from_iter<I: IntoIterator<Item = (u32, f32)>>(outputs: I) -> Self {
        let (low, fraction) = outputs.into_iter().unzip();
        Self { low, fraction }
    }
}

/// Where the centre of output `index` lies between inputs that lie `before` their middles, in inputs; the edges clamped.
#[allow(clippy::cast_sign_loss, reason = "not negative")]
pub(crate) fn position(index: usize, from: usize, to: usize, before: f32) -> (usize, f32) {
    let place = (((2 * index + 1) * from) as f64 / (2 * to) as f64 - 0.5 + f64::from(before)).max(0.0);
    let low = place as usize;
    if low + 1 < from { (low, (place - low as f64) as f32) } else { (from - 1, 0.0) }
}

/// Resamples a plane bilinearly, edges clamped: with half-pixel centres if `to` is a size. Empty if either size is.
///
/// `values` has `from[0] * from[1]` elements. A value that is not finite spreads to the cells that touch it.
///
/// # Examples
///
/// ```
/// assert_eq!(kernels::resize::bilinear(&[0.0, 1.0], [1, 2], [1, 4]), [0.0, 0.25, 0.75, 1.0]);
/// ```
#[must_use]
pub fn bilinear(values: &[f32], from: [usize; 2], to: impl Into<Grid>) -> Vec<f32> {
    let grid = to.into();
    debug_assert_eq!(values.len(), from[0] * from[1], "the length and the shape");
    if values.is_empty() {
        return Vec::new();
    }
    let ([down, across], [rows, columns]) = (Linear::of_grid(from, grid), grid.size);
    let wide = across.widened(values, from[1]);
    let row = |row: usize| &wide[row.min(from[0] - 1) * columns..][..columns];
    let mut result = Vec::with_capacity(rows * columns);
    for (low, fraction) in down.low.iter().zip(&down.fraction) {
        let rows = row(*low as usize).iter().zip(row(*low as usize + 1));
        result.extend(rows.map(|(above, below)| lerp(*above, *below, *fraction)));
    }
    result
}

/// Bytes that [`bilinear`] moves, and the fewest: each value once, each cell once. The rows at the new columns between, which
/// are read twice for each row of cells that lies between them, stay in a cache.
#[must_use]
pub const fn bytes(from: [usize; 2], to: [usize; 2]) -> usize {
    4 * (from[0] * from[1] + to[0] * to[1])
}

/// A value on the way from `a` to `b`; exactly `a` where they are equal.
#[inline]
pub(crate) fn lerp(a: f32, b: f32, fraction: f32) -> f32 {
    a + fraction * (b - a)
}

/// One axis of an area average: which inputs each output covers, and by how much.
pub(crate) struct Areas {
    /// Inputs that an output covers at most.
    pub(crate) taps: usize,
    /// The first of `taps` inputs of each output.
    pub(crate) first: Vec<u32>,
    /// The weight of each of them, `[outputs, taps]`; some are zero.
    pub(crate) weights: Vec<f32>,
}

impl Areas {
    /// The axis from `from` inputs, at least one, to `to` outputs.
    pub(crate) fn new(from: usize, to: usize) -> Self {
        let taps = (0..to).map(|index| covered(index, from, to)).map(|(first, end)| end - first).max().unwrap_or(0);
        let first: Vec<usize> = (0..to).map(|index| covered(index, from, to).0.min(from - taps)).collect();
        let weight = |index: usize, tap: usize| share(index, first[index] + tap, from, to);
        let weights = (0..to).flat_map(|index| (0..taps).map(move |tap| (index, tap)));
        Self {
            taps,
            weights: weights.map(|(index, tap)| weight(index, tap)).collect(),
            first: first.iter().map(|pixel| *pixel as u32).collect(),
        }
    }
}

/// The inputs that output `index` touches, the second bound excluded.
pub(crate) fn covered(index: usize, from: usize, to: usize) -> (usize, usize) {
    (index * from / to, ((index + 1) * from).div_ceil(to))
}

/// The part of output `index` that lies in input `pixel`: in `[0, 1]`, and 1 over all pixels.
pub(crate) fn share(index: usize, pixel: usize, from: usize, to: usize) -> f32 {
    // In units of 1 / to of an input pixel, an output is `from` long and an input `to`.
    let start = (index * from).max(pixel * to);
    let end = ((index + 1) * from).min((pixel + 1) * to);
    (end.saturating_sub(start) as f64 / from as f64) as f32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size() -> impl Strategy<Value = usize> {
        prop_oneof![Just(1_usize), Just(2), Just(7), Just(16), Just(31), 1_usize..70]
    }

    proptest! {
        #[test]
        fn the_shares_of_an_output_are_one(from in size(), to in size()) {
            let axis = Areas::new(from, to);
            for (index, weights) in axis.weights.chunks(axis.taps).enumerate() {
                prop_assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                let (first, end) = covered(index, from, to);
                let direct: f32 = (first..end).map(|pixel| share(index, pixel, from, to)).sum();
                prop_assert!((direct - 1.0).abs() < 1e-5, "a pixel outside of {first}..{end} was missed");
                prop_assert!(axis.first[index] as usize + axis.taps <= from);
            }
        }

        #[test]
        fn every_input_is_used_alike(from in size(), to in size()) {
            for pixel in 0..from {
                let used: f32 = (0..to).map(|index| share(index, pixel, from, to)).sum();
                prop_assert!((used - to as f32 / from as f32).abs() < 1e-4 * to as f32);
            }
        }

        #[test]
        fn a_plane_stays_a_plane_inside(from in 2_usize..20, to in 1_usize..60) {
            // A ramp over positions is reproduced wherever no edge is clamped.
            let ramp: Vec<f32> = (0..from).map(|index| index as f32 + 0.5).collect();
            let scale = from as f32 / to as f32;
            for (index, value) in bilinear(&ramp, [1, from], [1, to]).into_iter().enumerate() {
                let position = ((index as f32 + 0.5) * scale).clamp(0.5, from as f32 - 0.5);
                prop_assert!((value - position).abs() < 1e-4, "{index}: {value} for {position}");
            }
        }

        #[test]
        fn a_cell_lies_at_the_first_pixel_of_its_step(values in proptest::collection::vec(-9.0_f32..9.0, 1..20), step in 1_usize..40) {
            let grid = Grid { size: [1, values.len() * step], before: [0.0, Grid::before_of_strides(step)] };
            let image = bilinear(&values, [1, values.len()], grid);
            for (first, value) in image.into_iter().step_by(step).zip(values) {
                prop_assert!((first - value).abs() < 1e-4, "{first} for {value}");
            }
        }

        #[test]
        fn cells_that_lie_a_whole_cell_before_are_those_after(values in proptest::collection::vec(-9.0_f32..9.0, 2..20), to in 1_usize..60) {
            let columns = values.len();
            let moved: Vec<f32> = values[1..].iter().chain(&values[columns - 1..]).copied().collect();
            let before = bilinear(&values, [1, columns], Grid { size: [1, to], before: [0.0, 1.0] });
            for (index, (before, moved)) in before.into_iter().zip(bilinear(&moved, [1, columns], [1, to])).enumerate() {
                // The first cell has left; what lay before it is clamped to the one after.
                let inside = (index as f32 + 0.5) * columns as f32 / to as f32 > 0.5;
                prop_assert!(!inside || (before - moved).abs() < 1e-4, "{index}: {before} for {moved}");
            }
        }

        #[test]
        fn resampling_commutes_with_transposing(rows in size(), columns in size(), to in [size(), size()]) {
            let value = |row: usize, column: usize| ((row * 31 + column * 17) % 23) as f32;
            let straight: Vec<f32> =
                (0..rows * columns).map(|index| value(index / columns, index % columns)).collect();
            let turned: Vec<f32> = (0..rows * columns).map(|index| value(index % rows, index / rows)).collect();
            let a = bilinear(&straight, [rows, columns], to);
            let b = bilinear(&turned, [columns, rows], [to[1], to[0]]);
            for row in 0..to[0] {
                for column in 0..to[1] {
                    prop_assert!((a[row * to[1] + column] - b[column * to[0] + row]).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "the law is equality")]
    fn an_equal_size_is_identity_and_a_constant_stays() {
        let values: Vec<f32> = (0..35).map(|index| (index * index) as f32 * 0.37).collect();
        assert_eq!(bilinear(&values, [5, 7], [5, 7]), values);
        assert_eq!(bilinear(&[0.1; 35], [5, 7], [64, 33]), vec![0.1; 64 * 33]);
        assert!(bilinear(&[], [0, 7], [4, 4]).is_empty() && bilinear(&values, [5, 7], [0, 4]).is_empty());
    }

    #[test]
    fn two_cells_of_a_step_become_four_as_computed_by_hand() {
        let grid = Grid { size: [1, 4], before: [0.0, Grid::before_of_strides(2)] };
        assert_eq!(bilinear(&[0.0, 1.0], [1, 2], grid), vec![0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn two_cells_become_four_as_computed_by_hand() {
        assert_eq!(bilinear(&[0.0, 1.0], [1, 2], [1, 4]), vec![0.0, 0.25, 0.75, 1.0]);
    }
}
