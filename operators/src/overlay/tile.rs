//! One tile: a slice in the brain window at the sheet's scale, with outlines, number and probability.

use super::canvas::{Canvas, Color, OUTLINE_PSEUDO_MASK, OUTLINE_SEGMENTATION};
use super::{OverlayError, OverlaySlice, TEXT, TILE, font};
use crate::record::Mask;

/// The brain window: HU that are black and white.
const WINDOW_HU: [i32; 2] = [0, 80];
/// A probability from here on stands out.
const LIKELY_PERCENT: usize = 50;
const LIKELY: Color = [255, 176, 32];
const UNLIKELY: Color = [139, 148, 158];
/// Outline of the first of two masks, and of both.
const FIRST: Color = [74, 222, 128];
const BOTH: Color = [250, 204, 21];
const TRACK: Color = [33, 38, 45];
const BAR: usize = 4;
const INSET: usize = 7;

/// Draws the pixels of a slice with its upper left corner at `[row, column]`; gives where those of the view begin.
fn ground(canvas: &mut Canvas, [top, left]: [usize; 2], view: &View, slice: &OverlaySlice<'_>) -> [usize; 2] {
    canvas.fill([top, left], [TILE; 2], [0; 3]);
    let [above, beside] = [(TILE - view.rows) / 2 + top, (TILE - view.columns) / 2 + left];
    let greys = view.greys(slice);
    for row in 0..view.rows {
        for column in 0..view.columns {
            canvas.put([above + row, beside + column], [greys[row * view.columns + column]; 3]);
        }
    }
    [above, beside]
}

/// Draws a slice with the outlines of both masks, in colors that tell which goes where.
pub(super) fn compared(canvas: &mut Canvas, slice: &OverlaySlice<'_>) -> Result<(), OverlayError> {
    let view = View::new(slice)?;
    let [above, beside] = ground(canvas, [0, 0], &view, slice);
    let outline = |mask: Option<&Mask>| mask.map(|mask| view.outline(mask)).unwrap_or_default();
    let (first, second) = (outline(slice.pseudo_mask), outline(slice.mask));
    first.iter().for_each(|[row, column]| canvas.put([above + row, beside + column], FIRST));
    let also: std::collections::BTreeSet<&[usize; 2]> = first.iter().collect();
    for place @ [row, column] in &second {
        canvas.put([above + row, beside + column], if also.contains(place) { BOTH } else { OUTLINE_SEGMENTATION });
    }
    Ok(())
}

/// Draws a slice with its upper left corner at `[row, column]`.
pub(super) fn draw(
    canvas: &mut Canvas,
    [top, left]: [usize; 2],
    number: usize,
    slice: &OverlaySlice<'_>,
) -> Result<(), OverlayError> {
    let view = View::new(slice)?;
    let [above, beside] = ground(canvas, [top, left], &view, slice);
    for (mask, color) in [(slice.pseudo_mask, OUTLINE_PSEUDO_MASK), (slice.mask, OUTLINE_SEGMENTATION)] {
        for [row, column] in mask.map(|mask| view.outline(mask)).unwrap_or_default() {
            canvas.put([above + row, beside + column], color);
        }
    }
    let percent = percent(slice.probability);
    let color = if percent >= LIKELY_PERCENT { LIKELY } else { UNLIKELY };
    let told = format!("{percent}%");
    canvas.text([top + INSET, left + INSET], &number.to_string(), TEXT);
    canvas.text([top + INSET, left + TILE - INSET - font::width(&told)], &told, color);
    canvas.fill([top + TILE - BAR, left], [BAR, TILE], TRACK);
    canvas.fill([top + TILE - BAR, left], [BAR, TILE * percent / 100], color);
    Ok(())
}

/// Whole percent, 0 if there is no number.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` from float to integer saturates, and turns what is no number into 0"
)]
fn percent(probability: f32) -> usize {
    ((probability.clamp(0.0, 1.0) * 100.0).round() as usize).min(100)
}

/// A slice's matrix at the scale of the tile, pixels made square.
struct View {
    rows: usize,
    columns: usize,
    matrix: [usize; 2],
}

impl View {
    fn new(slice: &OverlaySlice<'_>) -> Result<Self, OverlayError> {
        let matrix @ [rows, columns] = [slice.plane.rows, slice.plane.columns];
        let values = [
            ("the plane", Some(slice.plane.stored().len())),
            ("the mask", slice.mask.map(|mask| mask.voxels.len())),
            ("the pseudo-mask", slice.pseudo_mask.map(|mask| mask.voxels.len())),
        ];
        for (what, values) in values {
            if let Some(values) = values.filter(|values| *values != rows * columns || *values == 0) {
                return Err(OverlayError::Matrix { what, values, rows, columns });
            }
        }
        let [height, width] = [extent(rows, slice.spacing_mm[0]), extent(columns, slice.spacing_mm[1])];
        let longest = height.max(width);
        Ok(Self { rows: scaled(height, longest), columns: scaled(width, longest), matrix })
    }

    /// The rows and columns of the matrix that a pixel of the view covers; at least one of each.
    fn covered(&self, [row, column]: [usize; 2]) -> impl Iterator<Item = usize> {
        let [rows, columns] = self.matrix;
        let range = |at: usize, of: usize, len: usize| at * len / of..((at + 1) * len).div_ceil(of);
        let across = range(column, self.columns, columns);
        range(row, self.rows, rows).flat_map(move |row| across.clone().map(move |column| row * columns + column))
    }

    /// The mean of the windowed values that each pixel covers.
    fn greys(&self, slice: &OverlaySlice<'_>) -> Vec<u8> {
        let [black, white] = WINDOW_HU;
        let hu = slice.plane.hu();
        let grey = |at: usize| (i32::from(hu[at]).clamp(black, white) - black) * 255 / (white - black);
        self.pixels()
            .map(|pixel| {
                let (sum, count) = self.covered(pixel).fold((0, 0), |(sum, count), at| (sum + grey(at), count + 1));
                u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX)
            })
            .collect()
    }

    /// The pixels just inside the border of a mask. A pixel is inside if it covers a voxel that is: what was found never
    /// vanishes by scaling down.
    fn outline(&self, mask: &Mask) -> Vec<[usize; 2]> {
        let inside: Vec<bool> = self.pixels().map(|pixel| self.covered(pixel).any(|at| mask.voxels[at] != 0)).collect();
        let at = |row: usize, column: usize| inside[row * self.columns + column];
        self.pixels()
            .filter(|[row, column]| {
                let (row, column) = (*row, *column);
                let border = row == 0 || column == 0 || row + 1 == self.rows || column + 1 == self.columns;
                at(row, column)
                    && (border
                        || !(at(row - 1, column) && at(row + 1, column) && at(row, column - 1) && at(row, column + 1)))
            })
            .collect()
    }

    fn pixels(&self) -> impl Iterator<Item = [usize; 2]> + use<> {
        let columns = self.columns;
        (0..self.rows).flat_map(move |row| (0..columns).map(move |column| [row, column]))
    }
}

#[allow(clippy::as_conversions, reason = "a matrix is far below 2^53")]
fn extent(len: usize, spacing_mm: f64) -> f64 {
    len as f64 * spacing_mm
}

/// How many of a tile's pixels an extent takes if the longest takes all.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` from float to integer saturates, and the result is bounded"
)]
fn scaled(extent: f64, longest: f64) -> usize {
    ((extent / longest * f64::from(u16::try_from(TILE).unwrap_or(u16::MAX))).round() as usize).clamp(1, TILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_bounded() {
        assert_eq!([-1.0, 0.0, 0.004, 0.5, 0.996, 2.0, f32::NAN].map(percent), [0, 0, 0, 50, 100, 100, 0]);
    }

    #[test]
    fn a_view_covers_its_matrix_and_no_more() {
        for (rows, columns, matrix) in [(256, 128, [512, 300]), (256, 256, [40, 7]), (1, 256, [3, 5])] {
            let view = View { rows, columns, matrix };
            let mut seen = vec![false; matrix[0] * matrix[1]];
            view.pixels().flat_map(|pixel| view.covered(pixel).collect::<Vec<_>>()).for_each(|at| seen[at] = true);
            assert!(seen.into_iter().all(|seen| seen), "{matrix:?}");
        }
    }

    #[test]
    fn pixels_that_are_not_square_are_made_so() {
        assert_eq!((scaled(250.0, 250.0), scaled(125.0, 250.0), scaled(0.1, 250.0)), (256, 128, 1));
    }
}
