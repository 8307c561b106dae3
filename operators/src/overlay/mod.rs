//! The overlay: a contact sheet of a series, for people to see at a glance what was found and where.
//!
//! At most 20 slices as tiles of 256 x 256, brain window (0 to 80 HU), the segmentation outlined in red and the
//! pseudo-mask in cyan, each tile with the number of its slice, its probability and a bar as long as that. Nothing that
//! names a patient is drawn or stored. The same slices give the same bytes. Not for diagnosis: a contact sheet has a
//! quarter of the pixels.

mod canvas;
mod font;
mod tile;

use self::canvas::{Canvas, Color, OUTLINE_PSEUDO_MASK, OUTLINE_SEGMENTATION};
use crate::record::{Mask, Plane};

/// The most tiles of a sheet.
const TILES: usize = 20;
/// Of these, at most so many by what was found; the others are spread evenly.
const TILES_BY_AREA: usize = 12;
/// Height and width of a tile, pixels.
const TILE: usize = 256;
const GUTTER: usize = 4;
const MARGIN: usize = 12;
const HEADING: usize = 22;
const TEXT: Color = [201, 209, 217];
const FAINT: Color = [110, 118, 129];

/// A slice to show.
#[derive(Clone, Copy, Debug)]
pub struct OverlaySlice<'a> {
    /// The pixels.
    pub plane: &'a Plane,
    /// Distance between rows, then between columns, millimeters.
    pub spacing_mm: [f64; 2],
    /// The segmenter's answer, `[rows, columns]` of the plane.
    pub mask: Option<&'a Mask>,
    /// The refined class activation map, `[rows, columns]` of the plane.
    pub pseudo_mask: Option<&'a Mask>,
    /// The probability of hemorrhage, 0 to 1.
    pub probability: f32,
}

impl OverlaySlice<'_> {
    fn area(&self) -> usize {
        let count = |mask: Option<&Mask>| mask.map_or(0, Mask::count);
        count(self.mask).max(count(self.pseudo_mask))
    }
}

/// Why there is no sheet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OverlayError {
    /// There is no slice.
    #[error("a contact sheet needs a slice")]
    Empty,
    /// A plane or a mask has not as many values as its matrix.
    #[error("{what} of a slice has {values} values, its matrix is {rows} x {columns}")]
    Matrix {
        /// The plane or the mask.
        what: &'static str,
        /// Its values.
        values: usize,
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// The image cannot be written.
    #[error("the image cannot be written")]
    Png(#[from] png::EncodingError),
}

/// Draws the slices, given in z order, and returns the bytes of a PNG file.
///
/// # Errors
///
/// Returns [`OverlayError`] if there is no slice, or a slice's values do not fill its matrix.
pub fn contact_sheet(slices: &[OverlaySlice<'_>]) -> Result<Vec<u8>, OverlayError> {
    if slices.is_empty() {
        return Err(OverlayError::Empty);
    }
    let areas: Vec<usize> = slices.iter().map(OverlaySlice::area).collect();
    let shown = choose(&areas);
    let [rows, columns] = grid(shown.len());
    let side = |tiles: usize| 2 * MARGIN + tiles * TILE + (tiles - 1) * GUTTER;
    let mut canvas = Canvas::new(side(rows) + HEADING, side(columns));
    heading(&mut canvas);
    for (at, index) in shown.into_iter().enumerate() {
        let top = MARGIN + HEADING + at / columns * (TILE + GUTTER);
        let left = MARGIN + at % columns * (TILE + GUTTER);
        tile::draw(&mut canvas, [top, left], index + 1, &slices[index])?;
    }
    Ok(canvas.png()?)
}

/// Draws one slice with the outlines of two masks, `[rows, columns]` of the plane, not 0 inside: the first green, the second
/// red, yellow where both go. Gives the bytes of a PNG file of 256 x 256.
///
/// # Errors
///
/// As [`contact_sheet`].
pub fn compared(plane: &Plane, spacing_mm: [f64; 2], first: &[u8], second: &[u8]) -> Result<Vec<u8>, OverlayError> {
    let [first, second] = [first, second].map(|mask| Mask { voxels: mask.to_vec() });
    let slice = OverlaySlice { plane, spacing_mm, mask: Some(&second), pseudo_mask: Some(&first), probability: 0.0 };
    let mut canvas = Canvas::new(TILE, TILE);
    tile::compared(&mut canvas, &slice)?;
    Ok(canvas.png()?)
}

/// What the colors mean.
fn heading(canvas: &mut Canvas) {
    let mut left = MARGIN;
    for (color, name) in [(OUTLINE_SEGMENTATION, "SEGMENTATION"), (OUTLINE_PSEUDO_MASK, "PSEUDO-MASK")] {
        canvas.fill([MARGIN + 4, left], [3, 14], color);
        canvas.text([MARGIN, left + 20], name, TEXT);
        left += 20 + font::width(name) + 18;
    }
    let window = "WINDOW 0-80 HU";
    let right = canvas.columns().saturating_sub(MARGIN + font::width(window));
    if right > left {
        canvas.text([MARGIN, right], window, FAINT);
    }
}

/// Which slices to show, ascending: all if there is room, else those with the largest areas and others spread evenly.
fn choose(areas: &[usize]) -> Vec<usize> {
    if areas.len() <= TILES {
        return (0..areas.len()).collect();
    }
    let mut by_area: Vec<usize> = (0..areas.len()).filter(|index| areas[*index] > 0).collect();
    by_area.sort_by_key(|index| (std::cmp::Reverse(areas[*index]), *index));
    by_area.truncate(TILES_BY_AREA);
    let others: Vec<usize> = (0..areas.len()).filter(|index| !by_area.contains(index)).collect();
    let room = TILES - by_area.len();
    let mut shown = by_area;
    shown.extend((0..room).map(|at| others[(2 * at + 1) * others.len() / (2 * room)]));
    shown.sort_unstable();
    shown
}

/// `[rows, columns]` of a sheet about 5 : 4 that holds so many tiles.
fn grid(tiles: usize) -> [usize; 2] {
    let columns = (1..=tiles).find(|columns| 4 * columns * columns >= 5 * tiles).unwrap_or(1);
    [tiles.div_ceil(columns), columns]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kernels::units::Rescale;
    use proptest::prelude::*;

    use super::*;
    use crate::record::StoredValues;

    fn plane(rows: usize, columns: usize, hu: i16) -> Plane {
        let values: Arc<[i16]> = vec![hu; rows * columns].into();
        Plane { rows, columns, values: StoredValues::Signed(values), rescale: Rescale::IDENTITY }
    }

    fn shown<'a>(plane: &'a Plane, mask: Option<&'a Mask>) -> OverlaySlice<'a> {
        OverlaySlice { plane, spacing_mm: [0.5; 2], mask, pseudo_mask: None, probability: 0.5 }
    }

    fn pixels(file: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().expect("a PNG file");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits")];
        let info = reader.next_frame(&mut pixels).expect("an image");
        (info.width, info.height, pixels)
    }

    fn count(pixels: &[u8], color: Color) -> usize {
        pixels.chunks(3).filter(|pixel| **pixel == color).count()
    }

    #[test]
    fn a_disk_is_outlined_and_not_filled() {
        let plane = plane(512, 512, 40);
        let inside = |at: usize| u8::from((at / 512).abs_diff(200).pow(2) + (at % 512).abs_diff(300).pow(2) < 60 * 60);
        let mask = Mask { voxels: (0..512 * 512).map(inside).collect() };
        let (_, _, without) = pixels(&contact_sheet(&[shown(&plane, None)]).expect("a sheet"));
        let (width, height, with) = pixels(&contact_sheet(&[shown(&plane, Some(&mask))]).expect("a sheet"));
        assert_eq!((width, height), (280, 302));
        let drawn = count(&with, OUTLINE_SEGMENTATION) - count(&without, OUTLINE_SEGMENTATION);
        assert!((150..=230).contains(&drawn), "the circumference of a circle of radius 30 is 188 pixels, not {drawn}");
    }

    #[test]
    fn one_voxel_is_visible() {
        let plane = plane(512, 512, 40);
        let mut mask = Mask { voxels: vec![0; 512 * 512] };
        mask.voxels[100 * 512 + 101] = 1;
        let sheet =
            |mask| count(&pixels(&contact_sheet(&[shown(&plane, mask)]).expect("a sheet")).2, OUTLINE_SEGMENTATION);
        assert_eq!(sheet(Some(&mask)), sheet(None) + 1);
    }

    #[test]
    fn refuses_what_does_not_fill_its_matrix() {
        assert!(matches!(contact_sheet(&[]), Err(OverlayError::Empty)));
        let plane = plane(4, 4, 0);
        let mask = Mask { voxels: vec![0; 15] };
        let result = contact_sheet(&[shown(&plane, Some(&mask))]);
        assert!(matches!(result, Err(OverlayError::Matrix { values: 15, rows: 4, columns: 4, .. })));
        let broken = Plane { rows: 5, ..plane };
        let result = contact_sheet(&[shown(&broken, None)]);
        assert!(matches!(result, Err(OverlayError::Matrix { values: 16, rows: 5, columns: 4, .. })));
    }

    #[test]
    fn the_sheet_is_wider_than_high() {
        assert_eq!([1, 2, 6, 12, 20].map(grid), [[1, 1], [1, 2], [2, 3], [3, 4], [4, 5]]);
    }

    #[test]
    fn a_long_series_shows_what_was_found_and_the_rest_evenly() {
        let mut areas = vec![0; 100];
        (40..60).for_each(|index| areas[index] = index);
        let shown = choose(&areas);
        assert!((48..60).all(|index| shown.contains(&index)), "{shown:?}");
        assert!(shown.iter().any(|index| *index < 15) && shown.iter().any(|index| *index > 85), "{shown:?}");
    }

    proptest! {
        #[test]
        fn every_choice_is_ascending_and_as_large_as_it_can_be(areas in prop::collection::vec(0..5_usize, 1..70)) {
            let shown = choose(&areas);
            prop_assert_eq!(shown.len(), areas.len().min(TILES));
            prop_assert!(shown.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", shown);
            prop_assert!(shown.iter().all(|index| *index < areas.len()));
        }

        #[test]
        fn any_matrix_and_spacing_is_drawn_twice_alike(
            [rows, columns] in prop::array::uniform2(1..40_usize),
            spacing_mm in prop::array::uniform2(0.1_f64..5.0),
            probability in prop::num::f32::ANY,
        ) {
            let plane = plane(rows, columns, 30);
            let mask = Mask { voxels: vec![1; rows * columns] };
            let slice = OverlaySlice { spacing_mm, probability, pseudo_mask: Some(&mask), ..shown(&plane, None) };
            let sheet = contact_sheet(&[slice]).expect("a sheet");
            prop_assert_eq!(&sheet, &contact_sheet(&[slice]).expect("a sheet"));
            prop_assert!(count(&pixels(&sheet).2, OUTLINE_PSEUDO_MASK) > 4 * 40, "the outline of the matrix");
        }
    }
}
