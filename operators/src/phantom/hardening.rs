//! Hardening of the beam: bone takes the soft part of a beam first, and brain beside much bone looks too bright, or too dark
//! between two bones.

use super::shape::{Point, ramp};
use super::stream::Stream;

/// What differs between scans.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hardening {
    /// What it adds at the inner table, HU.
    rim_hu: f32,
    /// Over what distance from the bone that falls to 1/e, mm.
    rim_mm: f32,
    /// What it adds where a slice shows the skull twice as thick as it is, HU.
    oblique_hu: f32,
}

impl Hardening {
    /// Draws from the stream of the skull, and from streams of its own.
    pub(super) fn draw(skull: &mut Stream, stream: impl Fn(&str) -> Stream) -> Self {
        Self {
            rim_hu: skull.range(4.0, 30.0),
            rim_mm: stream("hardening").range(4.5, 9.0),
            oblique_hu: stream("oblique").range(0.0, 45.0),
        }
    }

    /// What it adds at a point of the head frame, HU: `cavity` is the signed distance to the inner table, mm; `thickness` is that
    /// of the skull in the slice, by its own; `uneven` is what wanders where the skull is open below, HU.
    ///
    /// The rim under the skull is bright, brighter below the vertex, where the beam crosses the skull obliquely and the middle is
    /// lifted as well; the band between the petrous bones is dark.
    pub(super) fn shade(&self, [x, y, z]: Point, cavity: f32, thickness: f32, uneven: f32) -> f32 {
        let closed = ramp(-32.0, -14.0, z);
        let rim = libm::expf(cavity.min(0.0) / self.rim_mm);
        let band = ramp(38.0, 26.0, x.abs()) * ramp(16.0, 4.0, (y - 14.0).abs()) * ramp(12.0, 3.0, (z + 36.0).abs());
        self.rim_hu * (rim * (0.35 + 0.65 * closed) - band)
            + self.oblique_hu * (thickness - 1.0) * (0.15 + 0.85 * rim)
            + (1.0 - closed) * uneven
    }
}
