//! What looks like a bleed or goes with one, and is drawn without regard to bleeds: swellings of the scalp, calcifications,
//! old infarcts. Places are those of the head frame of [`super::anatomy`].

use super::shape::{Point, dot, ramp, unit};
use super::stream::Stream;

/// A swelling of the scalp, as after a blow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Swelling {
    /// The direction from the middle of the head.
    toward: Point,
    /// How far it lifts the skin, mm.
    height_mm: f32,
    /// How far it reaches: the cosine of the angle at its edge.
    edge: f32,
}

impl Swelling {
    /// One head in four has one, with a bleed or without.
    pub(super) fn draw(stream: &mut Stream) -> Option<Self> {
        let toward = unit([stream.sign(), stream.range(-1.0, 1.0), stream.range(-0.2, 0.8)]);
        let (height_mm, edge) = (stream.range(3.0, 12.0), stream.range(0.72, 0.92));
        stream.chance(0.25).then_some(Self { toward, height_mm, edge })
    }

    /// How far the skin is lifted at a point of the head frame, mm.
    pub(super) fn at(&self, h: Point) -> f32 {
        self.height_mm * ramp(self.edge, 1.0, dot(unit(h), self.toward))
    }
}

/// Calcifications of plexus, pineal gland, falx and basal ganglia: middle and radius, mm.
pub(super) fn calcifications(stream: &mut Stream) -> Vec<(Point, f32)> {
    let mut found = Vec::new();
    if stream.chance(0.65) {
        for side in [-1.0, 1.0] {
            if stream.chance(0.85) {
                let center = [side * stream.range(19.0, 24.0), stream.range(30.0, 37.0), stream.range(11.0, 16.0)];
                found.push((center, stream.range(1.2, 3.6)));
            }
        }
    }
    if stream.chance(0.6) {
        found.push((
            [stream.range(-1.0, 1.0), stream.range(25.0, 28.0), stream.range(0.0, 4.0)],
            stream.range(1.2, 2.8),
        ));
    }
    if stream.chance(0.3) {
        for _ in 0..1 + stream.choice(&[1.0, 1.0, 1.0]) {
            found.push((
                [stream.range(-0.8, 0.8), stream.range(-78.0, -50.0), stream.range(25.0, 55.0)],
                stream.range(1.0, 2.6),
            ));
        }
    }
    if stream.chance(0.12) {
        for side in [-1.0, 1.0] {
            found.push((
                [side * stream.range(20.0, 24.0), stream.range(-6.0, 2.0), stream.range(0.0, 5.0)],
                stream.range(1.2, 3.0),
            ));
        }
    }
    found
}

/// Old infarcts: middle and half axes, mm.
pub(super) fn infarcts(stream: &mut Stream) -> Vec<(Point, Point)> {
    let mut found = Vec::new();
    if stream.chance(0.15) {
        let center = [stream.sign() * stream.range(36.0, 56.0), stream.range(-45.0, 55.0), stream.range(-5.0, 45.0)];
        found.push((center, [stream.range(8.0, 20.0), stream.range(8.0, 24.0), stream.range(8.0, 22.0)]));
    }
    if stream.chance(0.2) {
        for _ in 0..1 + stream.choice(&[2.0, 1.0]) {
            let center = [stream.sign() * stream.range(12.0, 28.0), stream.range(-22.0, 18.0), stream.range(0.0, 20.0)];
            found.push((center, [stream.range(2.0, 5.0), stream.range(2.0, 5.0), stream.range(2.0, 5.0)]));
        }
    }
    found
}
