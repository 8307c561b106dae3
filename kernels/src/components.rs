//! Connected components of masks: of a plane by four or eight neighbors, of a volume by twenty-six.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `mask` | `[rows, columns]` or `[depth, rows, columns]`, row major | not 0 is inside |
//! | `labels` | the same | 0 outside, then the components in raster order of their first elements |
//! | `sizes` | `[components]` | elements |
//!
//! Two passes with a union-find forest; these functions run on the host.
//!
//! Source: Wu, Otoo, Suzuki, Optimizing two-pass connected-component labeling algorithms, Pattern Analysis and
//! Applications 12:117-135, 2009.

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
    let volume = [1, shape[0], shape[1]];
    match connectivity {
        Connectivity::Four => label(mask, volume, &[[0, 0, -1], [0, -1, 0]]),
        Connectivity::Eight => label(mask, volume, &[[0, 0, -1], [0, -1, -1], [0, -1, 0], [0, -1, 1]]),
    }
}

/// The components of a volume `[depth, rows, columns]`, where elements that share a side, an edge or a corner are
/// neighbors; `mask` has as many elements as the shape.
#[must_use]
pub fn components3(mask: &[u8], shape: [usize; 3]) -> Components {
    let around = || (-1..=1).flat_map(|y| (-1..=1).map(move |x| [y, x]));
    let below = around().map(|[y, x]| [-1, y, x]);
    let before = around().filter(|yx| *yx < [0, 0]).map(|[y, x]| [0, y, x]);
    let earlier: Vec<[isize; 3]> = below.chain(before).collect();
    label(mask, shape, &earlier)
}

/// Labels a volume whose elements are neighbors of those `earlier` ones in raster order.
fn label(mask: &[u8], shape: [usize; 3], earlier: &[[isize; 3]]) -> Components {
    debug_assert_eq!(mask.len(), shape.iter().product::<usize>(), "the length and the shape");
    let [_, rows, columns] = shape;
    // Provisional labels from 1, and a forest over them; each parent is not above its child.
    let mut labels = vec![0_u32; mask.len()];
    let mut parents = vec![0_u32];
    for index in (0..mask.len()).filter(|index| mask[*index] != 0) {
        let place = [index / (rows * columns), index / columns % rows, index % columns];
        let mut own = 0;
        for offset in earlier {
            let Some(neighbor) = shifted(place, *offset, shape) else { continue };
            let theirs = labels[neighbor];
            if theirs != 0 {
                own = if own == 0 { root(&mut parents, theirs) } else { join(&mut parents, own, theirs) };
            }
        }
        if own == 0 {
            own = parents.len() as u32;
            parents.push(own);
        }
        labels[index] = own;
    }
    // Raster order of first elements: roots are the least of their trees, but two trees may have joined late.
    let mut finals = vec![0_u32; parents.len()];
    let mut sizes = Vec::new();
    for label in labels.iter_mut().filter(|label| **label != 0) {
        let root = root(&mut parents, *label) as usize;
        if finals[root] == 0 {
            sizes.push(0);
            finals[root] = sizes.len() as u32;
        }
        *label = finals[root];
        sizes[*label as usize - 1] += 1;
    }
    Components { labels, sizes }
}

/// The index of the element at an offset, if there is one.
fn shifted(place: [usize; 3], offset: [isize; 3], [depth, rows, columns]: [usize; 3]) -> Option<usize> {
    let z = place[0].checked_add_signed(offset[0]).filter(|z| *z < depth)?;
    let y = place[1].checked_add_signed(offset[1]).filter(|y| *y < rows)?;
    let x = place[2].checked_add_signed(offset[2]).filter(|x| *x < columns)?;
    Some((z * rows + y) * columns + x)
}

/// The root of a label's tree; paths to it are halved.
fn root(parents: &mut [u32], mut label: u32) -> u32 {
    while parents[label as usize] != label {
        let grandparent = parents[parents[label as usize] as usize];
        parents[label as usize] = grandparent;
        label = grandparent;
    }
    label
}

/// Joins two trees and returns their root, the least label of both.
fn join(parents: &mut [u32], a: u32, b: u32) -> u32 {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b) as usize] = a.min(b);
    a.min(b)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn volume(depth: std::ops::Range<usize>) -> impl Strategy<Value = (Vec<u8>, [usize; 3])> {
        (depth, 1_usize..18, 1_usize..18, 0.1_f64..0.9).prop_flat_map(|(depth, rows, columns, density)| {
            let element = prop::bool::weighted(density).prop_map(|inside| if inside { 7 } else { 0 });
            (vec(element, depth * rows * columns), Just([depth, rows, columns]))
        })
    }

    /// Floods each component from its first element.
    fn flooded(mask: &[u8], shape: [usize; 3], near: impl Fn([usize; 3]) -> bool) -> Components {
        let place = |index: usize| [index / (shape[1] * shape[2]), index / shape[2] % shape[1], index % shape[2]];
        let mut labels = vec![0; mask.len()];
        let mut sizes = Vec::new();
        for first in 0..mask.len() {
            if mask[first] == 0 || labels[first] != 0 {
                continue;
            }
            sizes.push(0);
            let mut open = vec![first];
            labels[first] = sizes.len() as u32;
            while let Some(index) = open.pop() {
                sizes[labels[first] as usize - 1] += 1;
                for other in 0..mask.len() {
                    let apart = [0, 1, 2].map(|axis| place(index)[axis].abs_diff(place(other)[axis]));
                    if mask[other] != 0 && labels[other] == 0 && near(apart) {
                        labels[other] = labels[first];
                        open.push(other);
                    }
                }
            }
        }
        Components { labels, sizes }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn equals_a_flood_of_the_plane((mask, shape) in volume(1..2)) {
            let plane = [shape[1], shape[2]];
            let four = flooded(&mask, shape, |apart| apart.iter().sum::<usize>() <= 1);
            prop_assert_eq!(components(&mask, plane, Connectivity::Four), four);
            let eight = flooded(&mask, shape, |apart| apart.iter().all(|distance| *distance <= 1));
            prop_assert_eq!(components(&mask, plane, Connectivity::Eight), eight);
        }

        #[test]
        fn equals_a_flood_of_the_volume((mask, shape) in volume(1..5)) {
            let expected = flooded(&mask, shape, |apart| apart.iter().all(|distance| *distance <= 1));
            prop_assert_eq!(components3(&mask, shape), expected);
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
