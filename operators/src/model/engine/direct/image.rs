//! Where the numbers of an image lie: channels last, a border of zeros around it.
//!
//! A pixel takes `pitch` numbers. Images that a convolution writes have a pitch in multiples of [`BLOCK`], so that whole
//! vectors can be stored; channels that are only there for that are zero. Concatenated images leave such a gap between
//! their parts, hence `runs`.

use std::ops::Range;

/// Channels that are stored at once, at the widest.
pub(super) const BLOCK: usize = 16;

/// The layout of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Pixels of zeros on each side.
    pub(super) border: usize,
    /// Numbers from a pixel to the next.
    pub(super) pitch: usize,
    /// Where in a pixel the channels lie, in their order.
    pub(super) runs: Vec<Range<usize>>,
}

impl Layout {
    /// An image that comes from outside: no gaps.
    pub(super) fn dense(size: usize, channels: usize, border: usize) -> Self {
        let all: Range<usize> = 0..channels;
        Self { rows: size, columns: size, border, pitch: channels, runs: vec![all] }
    }

    /// An image that convolutions write: channels of each of the parts, one behind the other.
    pub(super) fn blocks(rows: usize, columns: usize, parts: &[usize]) -> Self {
        let mut runs: Vec<Range<usize>> = Vec::with_capacity(parts.len());
        let mut pitch = 0;
        for &channels in parts {
            match runs.last_mut() {
                Some(last) if last.end == pitch => last.end += channels,
                _ => runs.push(pitch..pitch + channels),
            }
            pitch += channels.next_multiple_of(BLOCK);
        }
        Self { rows, columns, border: 1, pitch, runs }
    }

    /// Numbers from a row to the next.
    pub(super) fn row(&self) -> usize {
        (self.columns + 2 * self.border) * self.pitch
    }

    /// Numbers of the whole image with its border.
    pub(super) fn len(&self) -> usize {
        (self.rows + 2 * self.border) * self.row()
    }

    /// Where a pixel begins. Positions of the border count from -`border`, given as `from the border`.
    pub(super) fn at(&self, row_with_border: usize, column_with_border: usize) -> usize {
        row_with_border * self.row() + column_with_border * self.pitch
    }

    /// Channels.
    pub(super) fn channels(&self) -> usize {
        self.runs.iter().map(Range::len).sum()
    }

    /// Writes `[channels, rows, columns]` into an image of this layout.
    pub(super) fn fill(&self, planes: &[f32], image: &mut [f32]) {
        let pixels = self.rows * self.columns;
        for (plane, channel) in planes.chunks(pixels).zip(self.runs.iter().cloned().flatten()) {
            for (row, values) in plane.chunks(self.columns).enumerate() {
                let start = self.at(row + self.border, self.border) + channel;
                for (pixel, &value) in image[start..].iter_mut().step_by(self.pitch).zip(values) {
                    *pixel = value;
                }
            }
        }
    }

    /// Reads `[channels, rows, columns]` from an image of this layout.
    pub(super) fn planes(&self, image: &[f32]) -> Vec<f32> {
        let mut planes = vec![0.0; self.channels() * self.rows * self.columns];
        self.read(image, &mut planes);
        planes
    }

    /// The same, into an array.
    pub(super) fn read(&self, image: &[f32], planes: &mut [f32]) {
        let pixels = self.rows * self.columns;
        for (plane, channel) in planes.chunks_mut(pixels).zip(self.runs.iter().cloned().flatten()) {
            for (row, values) in plane.chunks_mut(self.columns).enumerate() {
                let start = self.at(row + self.border, self.border) + channel;
                for (value, pixel) in values.iter_mut().zip(image[start..].iter().step_by(self.pitch)) {
                    *value = *pixel;
                }
            }
        }
    }
}
