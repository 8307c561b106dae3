//! The Euclidean distance transform of a mask, exact and in time linear in its elements.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `mask` | `[rows, columns]` or `[depth, rows, columns]`, row major | not 0 is inside |
//! | result | the same | mm |
//!
//! Distances lie between the centres of pixels. These functions run on the host.
//!
//! Source: Felzenszwalb and Huttenlocher, Distance Transforms of Sampled Functions, Theory of Computing 8:415-428,
//! 2012, algorithm 1, along one axis after the other. Along the first axis the mask has no heights yet, and steps are
//! counted, for all of a plane at once. Which parabola is the lowest at a place is found without a branch for each.

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
    debug_assert_eq!(mask.len(), shape[0] * shape[1], "the length and the shape");
    if mask.is_empty() {
        return Vec::new();
    }
    let mut envelope = Envelope::new(shape[1], spacing_mm[1]);
    let mut line = vec![0.0; shape[1]];
    let mut distances = widest(steps, (mask, shape[1]));
    for row in distances.chunks_exact_mut(shape[1]) {
        widest(finish, (row, spacing_mm[0], &mut envelope, &mut line));
    }
    distances
}

/// Makes distances in mm of a row of steps along the first axis; `line` is room for their squares.
#[inline(always)]
fn finish((row, spacing_mm, envelope, line): (&mut [f32], f64, &mut Envelope, &mut [f64])) {
    line.iter_mut().zip(&*row).for_each(|(square, steps)| *square = first_square(*steps, spacing_mm));
    Envelope::lower((envelope, line));
    row.iter_mut().zip(line).for_each(|(distance, square)| *distance = square.sqrt() as f32);
}

/// The same in a volume `[depth, rows, columns]`, `spacing_mm` in the same order.
#[must_use]
pub fn volume_distance_mm(mask: &[u8], shape: [usize; 3], spacing_mm: [f64; 3]) -> Vec<f64> {
    debug_assert_eq!(mask.len(), shape.iter().product::<usize>(), "the length and the shape");
    if mask.is_empty() {
        return Vec::new();
    }
    let steps = widest(steps, (mask, shape[1] * shape[2]));
    let mut squares: Vec<f64> = steps.iter().map(|steps| first_square(*steps, spacing_mm[0])).collect();
    let mut envelope = Envelope::new(shape[1], spacing_mm[1]);
    let mut line = vec![0.0; shape[1]];
    for plane in squares.chunks_exact_mut(shape[1] * shape[2]) {
        for column in 0..shape[2] {
            line.iter_mut().zip(plane[column..].iter().step_by(shape[2])).for_each(|(to, from)| *to = *from);
            widest(Envelope::lower, (&mut envelope, &mut line[..]));
            plane[column..].iter_mut().step_by(shape[2]).zip(&line).for_each(|(to, from)| *to = *from);
        }
    }
    let mut envelope = Envelope::new(shape[2], spacing_mm[2]);
    for line in squares.chunks_exact_mut(shape[2]) {
        widest(Envelope::lower, (&mut envelope, line));
    }
    squares.into_iter().map(f64::sqrt).collect()
}

/// [`distance_mm`] by its definition: the least over all rows of a column, then over all columns of a row.
#[must_use]
pub fn reference(mask: &[u8], shape: [usize; 2], spacing_mm: [f64; 2]) -> Vec<f32> {
    let [rows, columns] = shape;
    let square = |a: usize, b: usize, spacing_mm: f64| (a.abs_diff(b) as f64 * spacing_mm).powi(2);
    let along_column = |row: usize, column: usize| {
        let inside = (0..rows).filter(|other| mask[other * columns + column] != 0);
        inside.map(|other| square(row, other, spacing_mm[0])).fold(f64::INFINITY, f64::min)
    };
    let mut distances = Vec::with_capacity(mask.len());
    for row in 0..rows {
        let squares: Vec<f64> = (0..columns).map(|column| along_column(row, column)).collect();
        let least = |column: usize| {
            let places = squares.iter().enumerate();
            places.map(|(other, down)| down + square(column, other, spacing_mm[1])).fold(f64::INFINITY, f64::min)
        };
        distances.extend((0..columns).map(|column| least(column).sqrt() as f32));
    }
    distances
}

/// Bytes that [`distance_mm`] moves: the fewest, and steps that are written, passed over twice and read.
#[must_use]
pub const fn bytes(elements: usize) -> usize {
    floor_bytes(elements, size_of::<f32>()) + 24 * elements
}

/// Bytes that [`volume_distance_mm`] moves: the same, and squares that are written, passed over twice and read.
#[must_use]
pub const fn volume_bytes(elements: usize) -> usize {
    floor_bytes(elements, size_of::<f64>()) + (24 + 48) * elements
}

/// The fewest bytes that the problem moves: each element of the mask once, each distance of so many bytes once.
#[must_use]
pub const fn floor_bytes(elements: usize, distance: usize) -> usize {
    elements * (1 + distance)
}

/// The steps along the first axis, whose places are `plane` elements each, to the next element of the mask; infinite if there
/// is none. They are whole numbers, and exact for an axis of less than 2^24 places.
#[inline(always)]
fn steps((mask, plane): (&[u8], usize)) -> Vec<f32> {
    let mut steps: Vec<f32> = mask.iter().map(|element| if *element != 0 { 0.0 } else { f32::INFINITY }).collect();
    let places = steps.len() / plane;
    for place in 1..places {
        let (before, after) = steps.split_at_mut(place * plane);
        near(&mut after[..plane], &before[(place - 1) * plane..]);
    }
    for place in (1..places).rev() {
        let (before, after) = steps.split_at_mut(place * plane);
        near(&mut before[(place - 1) * plane..], &after[..plane]);
    }
    steps
}

/// One step more than a neighbor at most.
#[inline(always)]
fn near(steps: &mut [f32], neighbor: &[f32]) {
    for (steps, neighbor) in steps.iter_mut().zip(neighbor) {
        let further = neighbor + 1.0;
        *steps = if further < *steps { further } else { *steps };
    }
}

/// The square of so many steps.
#[inline(always)]
fn first_square(steps: f32, spacing_mm: f64) -> f64 {
    let distance_mm = f64::from(steps) * spacing_mm;
    distance_mm * distance_mm
}

/// The parabolas that are lowest somewhere on a line, and what finds them.
struct Envelope {
    spacing_mm: f64,
    /// The square of each place.
    squares: Vec<f64>,
    /// For each number of steps between two vertices: what their difference at place 0 is multiplied by for the place,
    /// in steps, where they meet.
    inverse: Vec<f64>,
    /// In order, and room for one at each place.
    lowest: Vec<Parabola>,
    /// For each place the parabola that begins there to be the lowest, or 0.
    begun: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Parabola {
    vertex: u32,
    /// The square at the vertex.
    height: f64,
    /// The height of the parabola at place 0.
    start: f64,
    /// Where, in steps, it begins to be the lowest.
    begin: f64,
}

impl Envelope {
    fn new(len: usize, spacing_mm: f64) -> Self {
        let square = |steps: usize| (steps as f64 * spacing_mm) * (steps as f64 * spacing_mm);
        Self {
            spacing_mm,
            squares: (0..len).map(square).collect(),
            inverse: (0..len).map(|steps| 0.5 / (spacing_mm * spacing_mm * steps as f64)).collect(),
            lowest: vec![Parabola::default(); len],
            begun: vec![0; len],
        }
    }

    /// Replaces the heights of a line by the least of `height + distance^2` over all of its points.
    #[inline(always)]
    #[allow(clippy::cast_sign_loss, reason = "a parabola of the lowest begins at the first place or behind it")]
    fn lower((own, line): (&mut Self, &mut [f64])) {
        let count = own.find(line);
        if count == 0 {
            return;
        }
        // Parabolas begin between places, several perhaps between the same two: the last of them counts.
        own.begun.fill(0);
        for (index, parabola) in own.lowest[..count].iter().enumerate().skip(1) {
            let Some(begun) = own.begun.get_mut((parabola.begin + 1.0) as u32 as usize) else { break };
            *begun = index as u32;
        }
        let mut lowest = 0;
        for ((place, square), begun) in (0_i32..).zip(line).zip(&own.begun) {
            lowest = lowest.max(*begun);
            let parabola = &own.lowest[lowest as usize];
            let distance_mm = f64::from(place - parabola.vertex as i32) * own.spacing_mm;
            *square = parabola.height + distance_mm * distance_mm;
        }
    }

    /// Finds the lowest parabolas of a line: how many there are.
    #[inline(always)]
    fn find(&mut self, line: &[f64]) -> usize {
        let mut count = 0;
        for (vertex, (height, square)) in (0_u32..).zip(line.iter().zip(&self.squares)) {
            if height.is_infinite() {
                continue;
            }
            let start = height + square;
            let mut begin = f64::NEG_INFINITY;
            while count > 0 {
                let last = &self.lowest[count - 1];
                let meet = (start - last.start) * self.inverse[(vertex - last.vertex) as usize];
                if meet > last.begin {
                    begin = meet;
                    break;
                }
                count -= 1;
            }
            self.lowest[count] = Parabola { vertex, height: *height, start, begin };
            count += 1;
        }
        count
    }
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
        fn equals_its_reference((mask, shape) in plane(), spacing in [0.2_f64..3.0, 0.2_f64..3.0]) {
            let expected = reference(&mask, shape, spacing);
            for (distance, expected) in distance_mm(&mask, shape, spacing).into_iter().zip(expected) {
                let nowhere = distance.is_infinite() && expected.is_infinite();
                prop_assert!(nowhere || (distance - expected).abs() <= 1e-6 * expected, "{distance} for {expected}");
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
