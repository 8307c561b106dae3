//! The Euclidean distance transform of a mask, exact and in time linear in its elements.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `mask` | `[rows, columns]` or `[depth, rows, columns]`, row major | not 0 is inside |
//! | result | the same | mm |
//!
//! Distances lie between the centres of pixels. This function runs on the host.
//!
//! Source: Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions, Theory of Computing 8:415-428,
//! 2012, algorithm 1, along one axis after the other. Along the first axis the mask has no heights yet, and steps are
//! counted, for all of a plane at once.

use crate::wide::widest;

/// The distance of each pixel to the next pixel of the mask: 0 inside, infinite if the mask is empty.
///
/// `spacing_mm` lies between rows, then between columns, and is positive. `mask` has `shape[0] * shape[1]` elements.
///
/// # Examples
///
/// ```
/// assert_eq!(kernels::distance::distance_mm(&[0, 1, 0, 0], [1, 4], [5.0, 0.5]), [0.5, 0.0, 0.5, 1.0]);
/// ```
#[must_use]
pub fn distance_mm(mask: &[u8], shape: [usize; 2], spacing_mm: [f64; 2]) -> Vec<f32> {
    widest(roots, &squares(mask, shape, spacing_mm))
}

/// The same in a volume `[depth, rows, columns]`, `spacing_mm` in the same order.
#[must_use]
pub fn volume_distance_mm(mask: &[u8], shape: [usize; 3], spacing_mm: [f64; 3]) -> Vec<f64> {
    squares(mask, shape, spacing_mm).into_iter().map(f64::sqrt).collect()
}

#[inline(always)]
fn roots(squares: &[f64]) -> Vec<f32> {
    squares.iter().map(|square| square.sqrt() as f32).collect()
}

/// Bytes that one call over so many axes moves: the fewest, and the squares of the distances there and back for each axis.
#[must_use]
pub const fn bytes(elements: usize, axes: usize, distance: usize) -> usize {
    floor_bytes(elements, distance) + 16 * axes * elements
}

/// The fewest bytes that the problem moves: each element of the mask once, each distance of so many bytes once.
#[must_use]
pub const fn floor_bytes(elements: usize, distance: usize) -> usize {
    elements * (1 + distance)
}

/// Squares of distances: along the first axis by counting, then a lower envelope along each axis after the other.
fn squares<const AXES: usize>(mask: &[u8], shape: [usize; AXES], spacing_mm: [f64; AXES]) -> Vec<f64> {
    debug_assert_eq!(mask.len(), shape.iter().product::<usize>(), "the length and the shape");
    if mask.is_empty() {
        return Vec::new();
    }
    let mut squares = widest(along_first, (mask, mask.len() / shape[0], spacing_mm[0]));
    for (axis, (len, spacing_mm)) in shape.iter().zip(spacing_mm).enumerate().skip(1) {
        let mut envelope = Envelope::new(*len, spacing_mm);
        let step: usize = shape[axis + 1..].iter().product();
        if step == 1 {
            squares.chunks_exact_mut(*len).for_each(|line| envelope.lower(line));
            continue;
        }
        let mut line = vec![0.0; *len];
        for lines in squares.chunks_exact_mut(len * step) {
            for start in 0..step {
                line.iter_mut().zip(lines[start..].iter().step_by(step)).for_each(|(to, from)| *to = *from);
                envelope.lower(&mut line);
                lines[start..].iter_mut().step_by(step).zip(&line).for_each(|(to, from)| *to = *from);
            }
        }
    }
    squares
}

/// The squares of the distances along the first axis, whose places are `plane` elements each.
#[inline(always)]
fn along_first((mask, plane, spacing_mm): (&[u8], usize, f64)) -> Vec<f64> {
    let mut steps: Vec<f64> = mask.iter().map(|element| if *element != 0 { 0.0 } else { f64::INFINITY }).collect();
    let places = steps.len() / plane;
    for place in 1..places {
        let (before, after) = steps.split_at_mut(place * plane);
        near(&mut after[..plane], &before[(place - 1) * plane..]);
    }
    for place in (1..places).rev() {
        let (before, after) = steps.split_at_mut(place * plane);
        near(&mut before[(place - 1) * plane..], &after[..plane]);
    }
    steps.iter_mut().for_each(|steps| *steps *= *steps * spacing_mm * spacing_mm);
    steps
}

/// One step more than a neighbor at most.
#[inline(always)]
fn near(steps: &mut [f64], neighbor: &[f64]) {
    for (steps, neighbor) in steps.iter_mut().zip(neighbor) {
        let further = neighbor + 1.0;
        *steps = if further < *steps { further } else { *steps };
    }
}

/// The parabolas that are lowest somewhere on a line, and what finds them.
struct Envelope {
    spacing_mm: f64,
    /// For each number of steps between two vertices: what their difference at place 0 is multiplied by for the place,
    /// in steps, where they meet.
    inverse: Vec<f64>,
    lowest: Vec<Parabola>,
}

#[derive(Clone, Copy)]
struct Parabola {
    vertex: usize,
    /// The square at the vertex.
    height: f64,
    /// The height of the parabola at place 0.
    start: f64,
    /// Where, in steps, it begins to be the lowest.
    begin: f64,
}

impl Envelope {
    fn new(len: usize, spacing_mm: f64) -> Self {
        let inverse = (0..len).map(|steps| 1.0 / (2.0 * spacing_mm * spacing_mm * steps as f64)).collect();
        Self { spacing_mm, inverse, lowest: Vec::with_capacity(len) }
    }

    /// Replaces the heights of a line by the least of `height + distance^2` over all of its points.
    fn lower(&mut self, line: &mut [f64]) {
        self.lowest.clear();
        for (vertex, height) in line.iter().copied().enumerate().filter(|(_, height)| height.is_finite()) {
            let place_mm = vertex as f64 * self.spacing_mm;
            let start = height + place_mm * place_mm;
            let begin = loop {
                let Some(last) = self.lowest.last() else { break f64::NEG_INFINITY };
                let meet = (start - last.start) * self.inverse[vertex - last.vertex];
                if meet > last.begin {
                    break meet;
                }
                self.lowest.pop();
            };
            self.lowest.push(Parabola { vertex, height, start, begin });
        }
        let mut ends = self.lowest.iter().skip(1).map(|parabola| parabola.begin);
        let mut done = 0;
        for parabola in &self.lowest {
            let end = ends.next().map_or(line.len(), |begin| first_from(begin).min(line.len()));
            let end = end.max(done);
            for (place, square) in (done..).zip(&mut line[done..end]) {
                let distance_mm = place.abs_diff(parabola.vertex) as f64 * self.spacing_mm;
                *square = parabola.height + distance_mm * distance_mm;
            }
            done = end;
        }
    }
}

/// The first place that is not before a point of a line.
#[allow(clippy::cast_sign_loss, reason = "points before the line become its start")]
fn first_from(point: f64) -> usize {
    let whole = point as usize;
    whole + usize::from(point > whole as f64)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::morphology::{dilate, disk_mm};

    fn plane() -> impl Strategy<Value = (Vec<u8>, [usize; 2])> {
        (1_usize..20, 1_usize..20, 0.0_f64..0.4).prop_flat_map(|(rows, columns, density)| {
            (vec(prop::bool::weighted(density).prop_map(u8::from), rows * columns), Just([rows, columns]))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn is_the_least_distance((mask, shape) in plane(), spacing in [0.2_f64..3.0, 0.2_f64..3.0]) {
            let least = |pixel: usize| {
                let distance = |other: usize| {
                    let down = (pixel / shape[1]).abs_diff(other / shape[1]) as f64 * spacing[0];
                    let across = (pixel % shape[1]).abs_diff(other % shape[1]) as f64 * spacing[1];
                    down.hypot(across)
                };
                (0..mask.len()).filter(|other| mask[*other] != 0).map(distance).fold(f64::INFINITY, f64::min)
            };
            for (pixel, distance) in distance_mm(&mask, shape, spacing).into_iter().enumerate() {
                let expected = least(pixel) as f32;
                let nowhere = distance.is_infinite() && expected.is_infinite();
                prop_assert!(nowhere || (distance - expected).abs() < 1e-4, "{distance} for {expected}");
            }
        }

        #[test]
        fn a_volume_has_the_least_distance_too(
            shape in [1_usize..6, 1_usize..6, 1_usize..6],
            inside in vec(0_usize..125, 0..6),
            spacing in [0.2_f64..6.0, 0.2_f64..3.0, 0.2_f64..3.0],
        ) {
            let len = shape.iter().product::<usize>();
            let mut mask = vec![0; len];
            inside.iter().for_each(|place| mask[place % len] = 1);
            let place = |index: usize| [index / (shape[1] * shape[2]), index / shape[2] % shape[1], index % shape[2]];
            for (index, distance) in volume_distance_mm(&mask, shape, spacing).into_iter().enumerate() {
                let to = |other: usize| {
                    let steps = (0..3).map(|axis| place(index)[axis].abs_diff(place(other)[axis]) as f64 * spacing[axis]);
                    steps.map(|step| step * step).sum::<f64>().sqrt()
                };
                let least = (0..len).filter(|other| mask[*other] != 0).map(to).fold(f64::INFINITY, f64::min);
                let nowhere = distance.is_infinite() && least.is_infinite();
                prop_assert!(nowhere || (distance - least).abs() < 1e-9, "{distance} for {least}");
            }
        }

        #[test]
        fn a_dilation_is_what_lies_within_its_radius((mask, shape) in plane(), radius in 0.0_f64..6.0) {
            let near = distance_mm(&mask, shape, [0.7, 1.1]).into_iter().map(|mm| u8::from(f64::from(mm) <= radius));
            prop_assert_eq!(dilate(&mask, shape, &disk_mm(radius, [0.7, 1.1])), near.collect::<Vec<u8>>());
        }
    }

    #[test]
    fn nothing_is_infinitely_far() {
        assert!(distance_mm(&[0; 6], [2, 3], [1.0, 1.0]).iter().all(|mm| mm.is_infinite()));
        assert!(distance_mm(&[], [0, 3], [1.0, 1.0]).is_empty() && distance_mm(&[], [3, 0], [1.0, 1.0]).is_empty());
    }
}
