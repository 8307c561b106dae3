//! Connected components of masks: of a plane by four or eight neighbors, of a volume by twenty-six.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `mask` | `[rows, columns]` or `[depth, rows, columns]`, row major | not 0 is inside |
//! | `labels` | the same | 0 outside, then the components in raster order of their first elements |
//! | `sizes` | `[components]` | elements |
//!
//! Runs along rows are joined in a union-find forest, then written as labels; these functions run on the host.
//!
//! Source: Wu, Otoo, Suzuki, Optimizing two-pass connected-component labeling algorithms, Pattern Analysis and
//! Applications 12:117-135, 2009; He, Chao, Suzuki, A run-based two-scan labeling algorithm, IEEE Transactions on Image
//! Processing 17:749-756, 2008.

use std::ops::Range;

use crate::bits::{WORD, word};

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
    let reach = match connectivity {
        Connectivity::Four => 0,
        Connectivity::Eight => 1,
    };
    label(mask, [1, shape[0], shape[1]], reach)
}

/// The components of a volume `[depth, rows, columns]`, where elements that share a side, an edge or a corner are
/// neighbors; `mask` has as many elements as the shape.
#[must_use]
pub fn components3(mask: &[u8], shape: [usize; 3]) -> Components {
    label(mask, shape, 1)
}

/// Bytes that labeling moves, and the fewest: each element of the mask once, each label once. The runs of the mask, eight
/// bytes each and four for its tree, are not counted.
#[must_use]
pub const fn bytes(elements: usize) -> usize {
    5 * elements
}

/// Labels a volume whose rows touch those beside them, where their runs are at most `reach` columns apart.
fn label(mask: &[u8], [depth, rows, columns]: [usize; 3], reach: u32) -> Components {
    debug_assert_eq!(mask.len(), depth * rows * columns, "the length and the shape");
    let mut labels = vec![0; mask.len()];
    if mask.is_empty() {
        return Components { labels, sizes: Vec::new() };
    }
    let Runs { edges, rows: ends } = Runs::of(mask, columns);
    let runs = edges.as_chunks().0;
    // A forest over the runs; each parent is not above its child.
    let mut parents: Vec<u32> = (0..runs.len() as u32).collect();
    let row = |z: usize, y: usize| ends[z * rows + y]..ends[z * rows + y + 1];
    for (z, y) in (0..depth).flat_map(|z| (0..rows).map(move |y| (z, y))) {
        let before = y.checked_sub(1).map(|y| row(z, y));
        let below = z.checked_sub(1).map(|z| (y.saturating_sub(1)..rows.min(y + 2)).map(move |y| row(z, y)));
        for other in before.into_iter().chain(below.into_iter().flatten()) {
            join_rows(runs, &mut parents, row(z, y), other, reach);
        }
    }
    // Runs are in raster order, and the root of a tree is its first.
    let mut finals = vec![0_u32; runs.len()];
    let mut sizes = Vec::new();
    for (run, [start, end]) in runs.iter().enumerate() {
        let parent = parents[run] as usize;
        if parent == run {
            sizes.push(0);
            finals[run] = sizes.len() as u32;
        } else {
            // That of an earlier run, which has its label.
            finals[run] = finals[parent];
        }
        sizes[finals[run] as usize - 1] += (end - start) as usize;
    }
    for (row, labels) in labels.chunks_exact_mut(columns).enumerate() {
        for run in ends[row]..ends[row + 1] {
            let [start, end] = runs[run];
            labels[start as usize..end as usize].fill(finals[run]);
        }
    }
    Components { labels, sizes }
}

/// The runs of a mask along its rows.
struct Runs {
    /// The first column of each run and the one after its last, in turns.
    edges: Vec<u32>,
    /// The runs before each row, and before what follows the last.
    rows: Vec<usize>,
}

impl Runs {
    /// Those of a mask that is not empty.
    fn of(mask: &[u8], columns: usize) -> Self {
        let (mut edges, mut rows) = (Vec::new(), vec![0]);
        for row in mask.chunks_exact(columns) {
            let mut before = 0;
            for (index, elements) in row.chunks(WORD).enumerate() {
                let word = word(elements);
                // Bits that differ from the one before.
                let mut turns = word ^ (word << 1 | before);
                before = word >> (WORD - 1);
                while turns != 0 {
                    edges.push((index * WORD) as u32 + turns.trailing_zeros());
                    turns &= turns - 1;
                }
            }
            if edges.len() % 2 == 1 {
                edges.push(columns as u32);
            }
            rows.push(edges.len() / 2);
        }
        Self { edges, rows }
    }
}

/// Joins the runs of a row with those of another that touch them.
fn join_rows(runs: &[[u32; 2]], parents: &mut [u32], own: Range<usize>, other: Range<usize>, reach: u32) {
    let others = &runs[other.clone()];
    let mut first = 0;
    for run in own {
        let [start, end] = runs[run];
        while others.get(first).is_some_and(|[_, end]| end + reach <= start) {
            first += 1;
        }
        // The last that touches may reach the next run as well.
        let mut next = first;
        while others.get(next).is_some_and(|[start, _]| *start < end + reach) {
            join(parents, run as u32, (other.start + next) as u32);
            next += 1;
        }
        first = next.saturating_sub(1).max(first);
    }
}

/// The root of a run's tree; paths to it are halved.
fn root(parents: &mut [u32], mut run: u32) -> u32 {
    while parents[run as usize] != run {
        let grandparent = parents[parents[run as usize] as usize];
        parents[run as usize] = grandparent;
        run = grandparent;
    }
    run
}

/// Joins two trees under the least run of both.
fn join(parents: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b) as usize] = a.min(b);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn volume(depth: Range<usize>) -> impl Strategy<Value = (Vec<u8>, [usize; 3])> {
        (depth, 1_usize..18, prop_oneof![4 => 1_usize..18, 1 => 62_usize..67], 0.1_f64..0.9).prop_flat_map(
            |(depth, rows, columns, density)| {
                let element = prop::bool::weighted(density).prop_map(|inside| if inside { 7 } else { 0 });
                (vec(element, depth * rows * columns), Just([depth, rows, columns]))
            },
        )
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
