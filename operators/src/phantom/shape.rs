//! Shapes as signed distances, mm: negative inside. Distances of ellipsoids and cones are first-order estimates.

/// A point or a vector, mm: to the left, to the back, upward.
pub(super) type Point = [f32; 3];

/// `a - b`.
#[inline]
pub(super) fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// The inner product.
#[inline]
pub(super) fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The Euclidean length.
#[inline]
pub(super) fn length(a: Point) -> f32 {
    dot(a, a).sqrt()
}

/// An ellipsoid about the origin with these half axes.
#[inline]
pub(super) fn ellipsoid(p: Point, axes: Point) -> f32 {
    let scaled = [p[0] / axes[0], p[1] / axes[1], p[2] / axes[2]];
    let twice = [scaled[0] / axes[0], scaled[1] / axes[1], scaled[2] / axes[2]];
    let (near, far) = (length(scaled), length(twice));
    if far < 1e-6 { -axes[0].min(axes[1]).min(axes[2]) } else { near * (near - 1.0) / far }
}

/// A segment from `a` to `b`, as thick as the radii say at its ends.
#[inline]
pub(super) fn segment(p: Point, a: Point, b: Point, radii: [f32; 2]) -> f32 {
    let (ap, ab) = (minus(p, a), minus(b, a));
    let along = (dot(ap, ab) / dot(ab, ab)).clamp(0.0, 1.0);
    let off = [ap[0] - ab[0] * along, ap[1] - ab[1] * along, ap[2] - ab[2] * along];
    length(off) - (radii[0] + (radii[1] - radii[0]) * along)
}

/// The union of two shapes, rounded where they meet within `round` mm.
#[inline]
pub(super) fn join(a: f32, b: f32, round: f32) -> f32 {
    let overlap = (round - (a - b).abs()).max(0.0);
    a.min(b) - overlap * overlap * 0.25 / round
}

/// The intersection of two shapes, rounded where they meet within `round` mm.
#[inline]
pub(super) fn meet(a: f32, b: f32, round: f32) -> f32 {
    -join(-a, -b, round)
}

/// 0 at `from`, 1 at `to` (which may be lower), smooth between.
#[inline]
pub(super) fn ramp(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// How much of a pixel of this width lies inside a shape at signed distance `d` from its center.
#[inline]
pub(super) fn cover(d: f32, width: f32) -> f32 {
    (0.5 - d / width).clamp(0.0, 1.0)
}

/// A direction of length one, or the upward one for a vector without length.
pub(super) fn unit(p: Point) -> Point {
    let size = dot(p, p).sqrt();
    if size < 1e-6 { [0.0, 0.0, 1.0] } else { [p[0] / size, p[1] / size, p[2] / size] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sphere_is_an_ellipsoid_and_a_segment() {
        for p in [[9.0, 0.0, 0.0], [3.0, -4.0, 0.5], [0.1, 0.2, 0.3]] {
            let exact = length(p) - 5.0;
            assert!((ellipsoid(p, [5.0; 3]) - exact).abs() < 1e-3);
            assert!((segment(p, [0.0; 3], [1e-4, 0.0, 0.0], [5.0, 5.0]) - exact).abs() < 1e-3);
        }
    }

    #[test]
    fn a_rounded_union_contains_both_and_a_rounded_intersection_is_in_both() {
        for (a, b) in [(1.0, 1.2), (-3.0, 5.0), (0.0, 0.0)] {
            assert!(join(a, b, 2.0) <= f32::min(a, b) && meet(a, b, 2.0) >= f32::max(a, b));
        }
    }
}
