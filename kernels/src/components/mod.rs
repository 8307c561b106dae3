//! Connected components of masks: of a plane by four or eight neighbors, of a volume by twenty-six.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `mask` | `[rows, columns]` or `[depth, rows, columns]`, row major | not 0 is inside |
//! | `labels` | the same | 0 outside, then the components in raster order of their first elements |
//! | `sizes` | `[components]` | elements |
//!
//! Runs of packed bits are joined in a union-find forest, then written as labels. Where corners touch they are runs of two
//! rows of two planes at once. These functions run on the host.
//!
//! Source: Wu, Otoo, Suzuki, Optimizing two-pass connected-component labeling algorithms, Pattern Analysis and
//! Applications 12:117-135, 2009; He, Chao, Suzuki, A run-based two-scan labeling algorithm, IEEE Transactions on Image
//! Processing 17:749-756, 2008; Grana, Borghesani, Cucchiara, Optimized block-based connected components labeling with
//! decision trees, IEEE Transactions on Image Processing 19:1596-1609, 2010, for elements taken together.

mod forest;
mod reference;
mod strips;

pub use reference::{components_reference, components3_reference};
use strips::{Extent, Strips};

use crate::wide::widest;

/// Which pixels of a plane are neighbors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connectivity {
    /// Those that share a side.
    Four,
    /// Those that share a side or a corner.
    Eight,
}

/// The components of a mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Components {
    /// For each element 0, or the label of its component, from 1.
    pub labels: Vec<u32>,
    /// The elements of each component: of label 1, of label 2, and so on.
    pub sizes: Vec<usize>,
}

/// The components of a plane `[rows, columns]`; `mask` has `shape[0] * shape[1]` elements.
///
/// # Examples
///
/// ```
/// use kernels::components::{Connectivity, components};
///
/// let found = components(&[1, 1, 0, 1], [1, 4], Connectivity::Four);
/// assert_eq!((found.labels, found.sizes), (vec![1, 1, 0, 2], vec![2, 1]));
/// ```
#[must_use]
pub fn components(mask: &[u8], shape: [usize; 2], connectivity: Connectivity) -> Components {
    label(mask, [1, shape[0], shape[1]], connectivity == Connectivity::Eight)
}

/// The components of a volume `[depth, rows, columns]`, where elements that share a side, an edge or a corner are
/// neighbors; `mask` has as many elements as the shape.
#[must_use]
pub fn components3(mask: &[u8], shape: [usize; 3]) -> Components {
    label(mask, shape, true)
}

/// Bytes that labeling moves: the mask twice, the labels once, and the labels of runs for each plane there and back, of two
/// rows at once. Packed bits and runs, an eighth of the mask and less, stay in a cache.
#[must_use]
pub const fn bytes(elements: usize) -> usize {
    floor_bytes(elements) + 5 * elements
}

/// The fewest bytes that the problem moves: each element of the mask once, each label once.
#[must_use]
pub const fn floor_bytes(elements: usize) -> usize {
    5 * elements
}

/// Labels a volume, by corners or by sides alone; by sides it must be a plane.
fn label(mask: &[u8], shape: [usize; 3], corners: bool) -> Components {
    debug_assert_eq!(mask.len(), shape.iter().product::<usize>(), "the length and the shape");
    if mask.is_empty() {
        return Components { labels: Vec::new(), sizes: Vec::new() };
    }
    widest(labeled, (mask, shape, corners))
}

#[inline(always)]
fn labeled((mask, shape, corners): (&[u8], [usize; 3], bool)) -> Components {
    let strips = Strips::of(mask, shape, corners);
    let (mut of_runs, count) = strips.joined().numbered();
    // Trees come in the order of strips, labels in that of first elements.
    let mut found: Vec<(usize, Extent)> = strips.extents(&of_runs, count).into_iter().enumerate().collect();
    found.sort_unstable_by_key(|(_, extent)| extent.first);
    let mut labels = vec![0; count];
    (1..).zip(&found).for_each(|(label, (tree, _))| labels[*tree] = label);
    of_runs.iter_mut().for_each(|run| *run = labels[*run as usize]);
    let sizes = found.into_iter().map(|(_, extent)| extent.size).collect();
    Components { labels: strips.labels(mask, &of_runs), sizes }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use std::ops::Range;

    use super::*;

    fn volume(depth: Range<usize>) -> impl Strategy<Value = (Vec<u8>, [usize; 3])> {
        (depth, 1_usize..18, prop_oneof![4 => 1_usize..18, 1 => 62_usize..67], 0.1_f64..0.9).prop_flat_map(
            |(depth, rows, columns, density)| {
                let element = prop::bool::weighted(density).prop_map(|inside| if inside { 7 } else { 0 });
                (vec(element, depth * rows * columns), Just([depth, rows, columns]))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_plane_equals_its_reference((mask, shape) in volume(1..2)) {
            let plane = [shape[1], shape[2]];
            for by in [Connectivity::Four, Connectivity::Eight] {
                prop_assert_eq!(components(&mask, plane, by), components_reference(&mask, plane, by));
            }
        }

        #[test]
        fn a_volume_equals_its_reference((mask, shape) in volume(1..6)) {
            prop_assert_eq!(components3(&mask, shape), components3_reference(&mask, shape));
        }
    }

    #[test]
    fn a_spiral_is_one_component() {
        let mask = [
            1, 1, 1, 1, 1, //
            0, 0, 0, 0, 1, //
            1, 1, 1, 0, 1, //
            1, 0, 0, 0, 1, //
            1, 1, 1, 1, 1,
        ];
        assert_eq!(components(&mask, [5, 5], Connectivity::Four).sizes, [17]);
    }

    #[test]
    fn a_corner_joins_eight_neighbors_and_not_four() {
        let mask = [1, 0, 0, 1];
        assert_eq!(components(&mask, [2, 2], Connectivity::Four).labels, [1, 0, 0, 2]);
        assert_eq!(components(&mask, [2, 2], Connectivity::Eight).labels, [1, 0, 0, 1]);
        assert_eq!(components3(&[1, 0, 0, 0, 0, 0, 0, 1], [2, 2, 2]).sizes, [2]);
    }

    #[test]
    fn nothing_has_no_component() {
        assert_eq!(components(&[], [0, 4], Connectivity::Eight), Components { labels: vec![], sizes: vec![] });
        assert!(components3(&[0; 8], [2, 2, 2]).sizes.is_empty());
    }
}
