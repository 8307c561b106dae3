//! Morphology of plane masks by structuring elements that are symmetric: erode, dilate, open, close.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `mask` | `[rows, columns]`, row major | not 0 is inside |
//! | result | `[rows, columns]` | 1 or 0 |
//!
//! What lies outside of the plane is unknown and changes nothing: it neither dilates into the plane nor erodes it. So
//! eroding is dilating the complement, opening is contained in the mask, closing contains it, and both are idempotent,
//! at the border too. Whoever wants background outside pads the mask.
//!
//! Masks are packed to bits, rows of the element move whole planes of them: `O(rows of the element * pixels / 64)`. These
//! functions run on the host.
//!
//! Source: Serra, Image Analysis and Mathematical Morphology, 1982, chapter II.

mod plane;

use plane::Plane;

/// A set of offsets that is symmetric and convex along rows: for each row from the centre outwards the half width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructuringElement {
    /// Half widths in pixels; the row at the centre comes first, those above and below it follow, none of them wider.
    half_widths: Vec<usize>,
}

impl StructuringElement {
    /// Whether the pixel at this distance from the centre belongs to the element.
    #[must_use]
    pub fn contains(&self, rows: usize, columns: usize) -> bool {
        self.half_widths.get(rows).is_some_and(|half_width| columns <= *half_width)
    }
}

/// The pixels whose centres lie within `radius_mm` of the centre; `spacing_mm` lies between rows, then columns.
///
/// A radius that is negative or no number gives the centre alone, and so does a spacing that is not positive.
#[must_use]
#[allow(clippy::cast_sign_loss, reason = "square roots of positive numbers")]
pub fn disk_mm(radius_mm: f64, spacing_mm: [f64; 2]) -> StructuringElement {
    let mut half_widths = vec![0];
    if radius_mm.is_finite() && radius_mm > 0.0 && spacing_mm.iter().all(|mm| mm.is_finite() && *mm > 0.0) {
        // Pixels at the radius exactly belong to the disk whatever the rounding.
        let reach = radius_mm * (1.0 + 1e-9);
        let half_width = |rows: usize| {
            let down_mm = rows as f64 * spacing_mm[0];
            (down_mm <= reach).then(|| ((reach * reach - down_mm * down_mm).sqrt() / spacing_mm[1]) as usize)
        };
        half_widths = (0..).map_while(half_width).collect();
    }
    StructuringElement { half_widths }
}

/// A square of `2 * radius + 1` pixels a side.
#[must_use]
pub fn square(radius: usize) -> StructuringElement {
    StructuringElement { half_widths: vec![radius; radius + 1] }
}

/// The pixels that an element centred on some pixel of the mask covers.
#[must_use]
pub fn dilate(mask: &[u8], shape: [usize; 2], element: &StructuringElement) -> Vec<u8> {
    unpacked(packed(mask, shape).map(|plane| element.dilate(plane)))
}

/// The pixels whose element lies within the mask.
#[must_use]
pub fn erode(mask: &[u8], shape: [usize; 2], element: &StructuringElement) -> Vec<u8> {
    unpacked(packed(mask, shape).map(|plane| element.erode(plane)))
}

/// Erodes, then dilates: what is smaller than the element goes.
///
/// # Examples
///
/// ```
/// use kernels::morphology::{open, square};
///
/// let mask = [1, 0, 0, 1, 1, 1];
/// assert_eq!(open(&mask, [1, 6], &square(1)), [0, 0, 0, 1, 1, 1]);
/// ```
#[must_use]
pub fn open(mask: &[u8], shape: [usize; 2], element: &StructuringElement) -> Vec<u8> {
    unpacked(packed(mask, shape).map(|plane| element.dilate(element.erode(plane))))
}

/// Dilates, then erodes: gaps smaller than the element fill.
#[must_use]
pub fn close(mask: &[u8], shape: [usize; 2], element: &StructuringElement) -> Vec<u8> {
    unpacked(packed(mask, shape).map(|plane| element.erode(element.dilate(plane))))
}

/// [`dilate`] by its definition: the pixels around which the element meets the mask.
#[must_use]
pub fn dilate_reference(mask: &[u8], [rows, columns]: [usize; 2], element: &StructuringElement) -> Vec<u8> {
    let near = |place: usize, reach: usize, len: usize| place.saturating_sub(reach)..len.min(place + reach + 1);
    let meets = |row: usize, column: usize| {
        near(row, element.half_widths.len() - 1, rows).any(|other| {
            let half_width = element.half_widths[row.abs_diff(other)];
            near(column, half_width, columns).any(|column| mask[other * columns + column] != 0)
        })
    };
    (0..mask.len()).map(|pixel| u8::from(meets(pixel / columns, pixel % columns))).collect()
}

/// [`close`] by its definition: what is outside of the dilated mask is dilated, and what is outside of that remains.
#[must_use]
pub fn close_reference(mask: &[u8], shape: [usize; 2], element: &StructuringElement) -> Vec<u8> {
    let outside = |mask: Vec<u8>| mask.into_iter().map(|pixel| u8::from(pixel == 0)).collect::<Vec<u8>>();
    outside(dilate_reference(&outside(dilate_reference(mask, shape, element)), shape, element))
}

/// Bytes that one step moves, and the fewest: the mask once, the result once. The packed bits between, an eighth of either,
/// stay in a cache. [`open`] and [`close`] are one step: only bits are between their halves.
#[must_use]
pub const fn bytes(pixels: usize) -> usize {
    2 * pixels
}

/// The plane of a mask, or none if it is empty.
fn packed(mask: &[u8], [rows, columns]: [usize; 2]) -> Option<Plane> {
    debug_assert_eq!(mask.len(), rows * columns, "the length and the shape");
    (!mask.is_empty()).then(|| Plane::pack(mask, columns))
}

/// The pixels of a plane, of none if there is none.
fn unpacked(plane: Option<Plane>) -> Vec<u8> {
    plane.map_or_else(Vec::new, |plane| plane.unpack())
}

impl StructuringElement {
    fn dilate(&self, plane: Plane) -> Plane {
        plane.reached(&self.half_widths)
    }

    fn erode(&self, plane: Plane) -> Plane {
        plane.complement().reached(&self.half_widths).complement()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn element() -> impl Strategy<Value = StructuringElement> {
        prop_oneof![
            (0_usize..5).prop_map(square),
            (0.0_f64..5.0, 0.3_f64..2.0, 0.3_f64..2.0).prop_map(|(radius, row, column)| disk_mm(radius, [row, column])),
            Just(disk_mm(40.0, [1.0, 1.0])),
        ]
    }

    fn plane() -> impl Strategy<Value = (Vec<u8>, [usize; 2])> {
        (1_usize..20, prop_oneof![3 => 1_usize..20, 1 => 60_usize..70, 1 => Just(200)], 0.0_f64..1.0).prop_flat_map(
            |(rows, columns, density)| {
                let pixel = prop::bool::weighted(density).prop_map(|inside| if inside { 3 } else { 0 });
                (vec(pixel, rows * columns), Just([rows, columns]))
            },
        )
    }

    fn binary(mask: &[u8]) -> Vec<u8> {
        mask.iter().map(|pixel| u8::from(*pixel != 0)).collect()
    }

    fn complement(mask: &[u8]) -> Vec<u8> {
        mask.iter().map(|pixel| u8::from(*pixel == 0)).collect()
    }

    fn contains(large: &[u8], small: &[u8]) -> bool {
        large.iter().zip(small).all(|(large, small)| *small == 0 || *large != 0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn equals_its_reference((mask, shape) in plane(), element in element()) {
            prop_assert_eq!(dilate(&mask, shape, &element), dilate_reference(&mask, shape, &element));
            prop_assert_eq!(close(&mask, shape, &element), close_reference(&mask, shape, &element));
        }

        #[test]
        fn eroding_is_dilating_the_complement((mask, shape) in plane(), element in element()) {
            let eroded = erode(&mask, shape, &element);
            prop_assert_eq!(complement(&eroded), dilate(&complement(&mask), shape, &element));
        }

        #[test]
        fn grows_and_shrinks((mask, shape) in plane(), element in element()) {
            prop_assert!(contains(&dilate(&mask, shape, &element), &mask));
            prop_assert!(contains(&mask, &erode(&mask, shape, &element)));
            prop_assert!(contains(&mask, &open(&mask, shape, &element)));
            prop_assert!(contains(&close(&mask, shape, &element), &mask));
        }

        #[test]
        fn opening_and_closing_twice_is_once((mask, shape) in plane(), element in element()) {
            let opened = open(&mask, shape, &element);
            prop_assert_eq!(&open(&opened, shape, &element), &opened);
            let closed = close(&mask, shape, &element);
            prop_assert_eq!(&close(&closed, shape, &element), &closed);
        }

        #[test]
        fn the_centre_alone_changes_nothing((mask, shape) in plane()) {
            for element in [square(0), disk_mm(0.0, [1.0; 2]), disk_mm(f64::NAN, [1.0; 2]), disk_mm(1.0, [0.0, 1.0])] {
                prop_assert_eq!(dilate(&mask, shape, &element), binary(&mask));
                prop_assert_eq!(erode(&mask, shape, &element), binary(&mask));
            }
        }
    }

    #[test]
    fn a_disk_is_measured_in_millimeters() {
        let disk = disk_mm(1.5, [0.5, 0.3]);
        assert!(disk.contains(3, 0) && !disk.contains(4, 0) && disk.contains(0, 5) && !disk.contains(0, 6));
        // 0.9 mm and 1.2 mm make 1.5 mm.
        assert!(disk_mm(1.5, [0.9, 1.2]).contains(1, 1) && !disk_mm(1.499, [0.9, 1.2]).contains(1, 1));
    }

    #[test]
    fn an_empty_plane_stays_empty() {
        assert!(dilate(&[], [0, 5], &square(1)).is_empty() && erode(&[], [5, 0], &square(1)).is_empty());
    }
}
