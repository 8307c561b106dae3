//! An RGB image to draw on.

use std::io::Cursor;

use super::font;

/// Red, green, blue.
pub(super) type Color = [u8; 3];

/// Outline of the segmentation.
pub(super) const OUTLINE_SEGMENTATION: Color = [255, 77, 77];
/// Outline of the pseudo-mask.
pub(super) const OUTLINE_PSEUDO_MASK: Color = [64, 208, 232];
const BACKGROUND: Color = [13, 17, 23];
const SHADOW: Color = [0, 0, 0];

/// The image; places are `[row, column]`, and what lies outside is not drawn.
pub(super) struct Canvas {
    rows: usize,
    columns: usize,
    pixels: Vec<Color>,
}

impl Canvas {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        Self { rows, columns, pixels: vec![BACKGROUND; rows * columns] }
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn put(&mut self, [row, column]: [usize; 2], color: Color) {
        if row < self.rows && column < self.columns {
            self.pixels[row * self.columns + column] = color;
        }
    }

    /// A filled rectangle of `[rows, columns]`.
    pub(super) fn fill(&mut self, [top, left]: [usize; 2], [rows, columns]: [usize; 2], color: Color) {
        for row in top..top + rows {
            for column in left..left + columns {
                self.put([row, column], color);
            }
        }
    }

    /// Text in the built-in font, with a dark rim so that it can be read on any ground.
    pub(super) fn text(&mut self, [top, left]: [usize; 2], text: &str, color: Color) {
        for [row, column] in font::dots(text) {
            self.fill([(top + row).saturating_sub(1), (left + column).saturating_sub(1)], [font::DOT + 2; 2], SHADOW);
        }
        for [row, column] in font::dots(text) {
            self.fill([top + row, left + column], [font::DOT; 2], color);
        }
    }

    /// The image as a PNG file.
    pub(super) fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let limits = |_| png::EncodingError::LimitsExceeded;
        let (width, height) = (u32::try_from(self.columns).map_err(limits)?, u32::try_from(self.rows).map_err(limits)?);
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(Cursor::new(&mut file), width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        writer.finish()?;
        Ok(file)
    }
}
