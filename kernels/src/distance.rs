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
//! 2012, algorithm 1, along one axis after the other.

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
    squares(mask, shape, spacing_mm).into_iter().map(|square| square.sqrt() as f32).collect()
}

/// The same in a volume `[depth, rows, columns]`, `spacing_mm` in the same order.
#[must_use]
pub fn volume_distance_mm(mask: &[u8], shape: [usize; 3], spacing_mm: [f64; 3]) -> Vec<f64> {
    squares(mask, shape, spacing_mm).into_iter().map(f64::sqrt).collect()
}

/// Squares of distances: a lower envelope along each axis after the other.
fn squares<const AXES: usize>(mask: &[u8], shape: [usize; AXES], spacing_mm: [f64; AXES]) -> Vec<f64> {
    debug_assert_eq!(mask.len(), shape.iter().product::<usize>(), "the length and the shape");
    let mut squares: Vec<f64> = mask.iter().map(|pixel| if *pixel != 0 { 0.0 } else { f64::INFINITY }).collect();
    for (axis, (len, spacing_mm)) in shape.iter().zip(spacing_mm).enumerate() {
        let step: usize = shape[axis + 1..].iter().product();
        let starts = (0..squares.len()).filter(|start| (start / step.max(1)).is_multiple_of(*len));
        for start in starts {
            let line: Vec<f64> = squares[start..].iter().step_by(step).take(*len).copied().collect();
            for (place, square) in lower_envelope(&line, spacing_mm).into_iter().enumerate() {
                squares[start + place * step] = square;
            }
        }
    }
    squares
}

/// For each point of a line the least of `height + distance^2` over all points.
fn lower_envelope(heights: &[f64], spacing: f64) -> Vec<f64> {
    // The parabolas that are lowest somewhere, each with the place where it begins to be.
    let mut lowest: Vec<(usize, f64)> = Vec::new();
    for (point, height) in heights.iter().enumerate().filter(|(_, height)| height.is_finite()) {
        let place = point as f64 * spacing;
        let begin = loop {
            let Some(&(last, begin)) = lowest.last() else { break f64::NEG_INFINITY };
            let other = last as f64 * spacing;
            let meet = ((height + place * place) - (heights[last] + other * other)) / (2.0 * (place - other));
            if meet > begin {
                break meet;
            }
            lowest.pop();
        };
        lowest.push((point, begin));
    }
    let mut current = 0;
    let square_at = |point: usize| {
        let place = point as f64 * spacing;
        while lowest.get(current + 1).is_some_and(|(_, begin)| *begin < place) {
            current += 1;
        }
        lowest.get(current).map_or(f64::INFINITY, |&(from, _)| {
            let distance = place - from as f64 * spacing;
            heights[from] + distance * distance
        })
    };
    (0..heights.len()).map(square_at).collect()
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
