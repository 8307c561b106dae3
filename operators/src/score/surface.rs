//! How far two surfaces lie apart: surface Dice, Hausdorff distances, mean distances.
//!
//! A surface lies between voxels. Eight voxels around a corner of the grid make one element of it, a surfel, if some but
//! not all of them are inside; its area is that of the marching cubes between them, its place the corner. Distances go
//! from surfel to the nearest surfel, and every share and percentile counts areas, not surfels.
//!
//! | | shape | unit |
//! |---|---|---|
//! | masks | `[depth, rows, columns]`, not 0 is inside | |
//! | `spacing_mm` | the same order | mm |
//! | distances, tolerances | | mm |
//!
//! Source: Nikolov et al., arXiv 1809.04430 (surface Dice); its published implementation `surface-distance`, whose numbers
//! these are, is what the INSTANCE challenge scores by.

use std::sync::LazyLock;

use kernels::distance::volume_distance_mm;

/// The surfels of two masks: the distance of each to the other's surface, and its area. Sorted by distance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SurfaceDistances {
    /// From the surface of the truth to that of the prediction: mm, mm^2.
    pub from_truth: Vec<(f64, f64)>,
    /// From the surface of the prediction to that of the truth: mm, mm^2.
    pub from_prediction: Vec<(f64, f64)>,
}

impl SurfaceDistances {
    /// Measures both ways. Where a mask is empty, the other's surfels are infinitely far.
    ///
    /// `None` if a mask has not the size of `shape`.
    #[must_use]
    pub fn between(truth: &[u8], prediction: &[u8], shape: [usize; 3], spacing_mm: [f64; 3]) -> Option<Self> {
        let len: usize = shape.iter().product();
        if truth.len() != len || prediction.len() != len {
            return None;
        }
        let Some(crop) = Crop::around([truth, prediction], shape) else { return Some(Self::default()) };
        let areas = areas_mm2(spacing_mm);
        let [truth, prediction] = [truth, prediction].map(|mask| crop.codes(mask, shape));
        let away = |codes: &[u8]| {
            let surface: Vec<u8> = codes.iter().map(|code| u8::from(is_surface(*code))).collect();
            volume_distance_mm(&surface, crop.corners(), spacing_mm)
        };
        let from = |codes: &[u8], away: Vec<f64>| {
            let surfels = codes.iter().zip(away).filter(|(code, _)| is_surface(**code));
            let mut surfels: Vec<(f64, f64)> = surfels.map(|(code, mm)| (mm, areas[usize::from(*code)])).collect();
            surfels.sort_by(|(a, area), (b, other)| a.total_cmp(b).then(area.total_cmp(other)));
            surfels
        };
        let (to_truth, to_prediction) = (away(&truth), away(&prediction));
        Some(Self { from_truth: from(&truth, to_prediction), from_prediction: from(&prediction, to_truth) })
    }

    /// The share of both surfaces that lies within `tolerance_mm` of the other: the surface Dice. `None` if both are empty.
    #[must_use]
    pub fn dice_at(&self, tolerance_mm: f64) -> Option<f64> {
        let area = |within: f64| -> f64 {
            let sides = [&self.from_truth, &self.from_prediction];
            sides.map(|side| side.iter().filter(|(mm, _)| *mm <= within).map(|(_, mm2)| mm2).sum::<f64>()).iter().sum()
        };
        let all = area(f64::INFINITY);
        (all > 0.0).then(|| area(tolerance_mm) / all)
    }

    /// The greater of both distances that `percent` % of each surface stays within: the Hausdorff distance at 100. Infinite
    /// if a mask is empty.
    #[must_use]
    pub fn hausdorff_mm(&self, percent: f64) -> f64 {
        let reach = |surfels: &[(f64, f64)]| {
            let all: f64 = surfels.iter().map(|(_, mm2)| mm2).sum();
            let mut area = 0.0;
            let reached = surfels.iter().find(|(_, mm2)| {
                area += mm2;
                area / all >= percent / 100.0
            });
            reached.or(surfels.last()).map_or(f64::INFINITY, |(mm, _)| *mm)
        };
        reach(&self.from_truth).max(reach(&self.from_prediction))
    }

    /// The mean distance of each surface from the other, by area: from the truth, from the prediction. `None` where there is
    /// no surface.
    #[must_use]
    pub fn mean_mm(&self) -> [Option<f64>; 2] {
        [&self.from_truth, &self.from_prediction].map(|surfels| {
            let all: f64 = surfels.iter().map(|(_, mm2)| mm2).sum();
            (all > 0.0).then(|| surfels.iter().map(|(mm, mm2)| mm * mm2).sum::<f64>() / all)
        })
    }
}

/// The box around two masks: nothing outside it has a surface.
struct Crop {
    first: [usize; 3],
    len: [usize; 3],
}

impl Crop {
    /// `None` if both masks are empty.
    fn around(masks: [&[u8]; 2], shape: [usize; 3]) -> Option<Self> {
        let [_, rows, columns] = shape;
        let (mut first, mut last) = ([usize::MAX; 3], [0; 3]);
        let inside = |index: &usize| masks.iter().any(|mask| mask[*index] != 0);
        for index in (0..masks[0].len()).filter(inside) {
            let place = [index / (rows * columns), index / columns % rows, index % columns];
            for axis in 0..3 {
                first[axis] = first[axis].min(place[axis]);
                last[axis] = last[axis].max(place[axis]);
            }
        }
        let len = |axis: usize| (last[axis] + 1).checked_sub(first[axis]);
        Some(Self { first, len: [len(0)?, len(1)?, len(2)?] })
    }

    /// Corners of the grid of voxels, along each axis.
    fn corners(&self) -> [usize; 3] {
        self.len.map(|len| len + 1)
    }

    /// Which of the eight voxels around each corner are inside: a bit each. Corner 0 lies before the first voxel.
    fn codes(&self, mask: &[u8], shape: [usize; 3]) -> Vec<u8> {
        let [depth, rows, columns] = self.corners();
        let mut codes = vec![0; depth * rows * columns];
        let [z0, y0, x0] = self.first;
        for z in 0..self.len[0] {
            for y in 0..self.len[1] {
                for x in 0..self.len[2] {
                    if mask[((z0 + z) * shape[1] + y0 + y) * shape[2] + x0 + x] == 0 {
                        continue;
                    }
                    for corner in 0..8_usize {
                        let [down, back, right] = [corner >> 2, corner >> 1 & 1, corner & 1];
                        codes[((z + down) * rows + y + back) * columns + x + right] |= 1 << corner;
                    }
                }
            }
        }
        codes
    }
}

/// Whether voxels on both sides meet at a corner.
fn is_surface(code: u8) -> bool {
    code != 0 && code != u8::MAX
}

/// Areas of the marching cubes between eight voxels, as pieces of planes: how many eighths of a voxel's face lie across an
/// axis (3), at 45 degrees along an axis (3), and across the diagonal, each projected on the faces that it cuts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pieces {
    across: [u8; 3],
    along: [u8; 3],
    diagonal: u8,
}

/// Pieces by code. A bit of a code is a corner of the cube of voxel centres, its bits the place along each axis.
static PIECES: LazyLock<Vec<Pieces>> = LazyLock::new(|| (0..=u8::MAX).map(pieces).collect());

/// What separates the corners of a code: each group of connected corners is cut off by itself, of the side with fewer.
fn pieces(code: u8) -> Pieces {
    let mut left = if code.count_ones() > 4 { !code } else { code };
    let mut pieces = Pieces::default();
    while left != 0 {
        let group = connected(left);
        left &= !group;
        cut_off(group, &mut pieces);
    }
    pieces
}

/// The corners that are connected by edges with the first one of `corners`.
fn connected(corners: u8) -> u8 {
    let mut group = 1 << corners.trailing_zeros();
    loop {
        let beside = (0..8).filter(|corner| (0..3).any(|axis| group >> (corner ^ 1 << axis) & 1 == 1));
        let grown = beside.fold(group, |group, corner| group | 1 << corner & corners);
        if grown == group {
            return group;
        }
        group = grown;
    }
}

/// Adds the pieces that cut a connected group of at most four corners off.
fn cut_off(group: u8, pieces: &mut Pieces) {
    let has = |corner: u8| group >> corner & 1 == 1;
    // Axis 0 is that of the highest bit.
    let edges: Vec<(u8, usize)> = (0..8_u8)
        .flat_map(|corner| (0..3_usize).map(move |axis| (corner, axis)))
        .filter(|(corner, axis)| corner & 4 >> axis == 0 && has(*corner) && has(corner | 4 >> axis))
        .collect();
    let degree = |corner: u8| edges.iter().filter(|(from, axis)| *from == corner || from | 4 >> axis == corner).count();
    let unused = (0..3).find(|axis| edges.iter().all(|(_, used)| used != axis));
    match (group.count_ones(), edges.as_slice(), unused) {
        // A corner.
        (1, ..) => pieces.diagonal += 1,
        // An edge.
        (2, [(_, axis)], _) => pieces.along[*axis] += 4,
        // An angle in a face.
        (3, _, Some(axis)) => {
            pieces.across[axis] += 4;
            pieces.diagonal += 3;
        }
        // A face.
        (4, [_, _, _, _], Some(axis)) => pieces.across[axis] += 8,
        // A corner and all corners next to it, or a way along three edges.
        _ => match edges.iter().find(|(from, axis)| degree(*from) == 2 && degree(from | 4 >> axis) == 2) {
            Some((_, middle)) => {
                pieces.diagonal += 4;
                (0..3).filter(|axis| axis != middle).for_each(|axis| pieces.along[axis] += 2);
            }
            None => pieces.diagonal += 6,
        },
    }
}

/// The area of each code, mm^2.
fn areas_mm2(spacing_mm: [f64; 3]) -> Vec<f64> {
    let [depth, row, column] = spacing_mm;
    // Areas of a voxel's faces, by the axis that they lie across.
    let faces = [row * column, depth * column, depth * row];
    let eighths = |count: u8| f64::from(count) / 8.0;
    let norm = |parts: [f64; 3]| parts.iter().map(|part| part * part).sum::<f64>().sqrt();
    let along = |axis: usize| {
        let mut parts = faces;
        parts[axis] = 0.0;
        norm(parts)
    };
    let area = |pieces: &Pieces| {
        let axes =
            (0..3).map(|axis| eighths(pieces.across[axis]) * faces[axis] + eighths(pieces.along[axis]) * along(axis));
        axes.sum::<f64>() + eighths(pieces.diagonal) * norm(faces)
    };
    PIECES.iter().map(area).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SHAPE: [usize; 3] = [4, 6, 5];
    const SPACING: [f64; 3] = [5.0, 0.42, 0.6];

    fn mask() -> impl Strategy<Value = Vec<u8>> {
        vec(prop::bool::weighted(0.2).prop_map(u8::from), SHAPE.iter().product::<usize>())
    }

    fn between(truth: &[u8], prediction: &[u8]) -> SurfaceDistances {
        SurfaceDistances::between(truth, prediction, SHAPE, SPACING).expect("masks of one size")
    }

    /// A box of voxels, from a place to before another.
    fn cuboid(from: [usize; 3], to: [usize; 3]) -> Vec<u8> {
        let [depth, rows, columns] = SHAPE;
        let places = (0..depth * rows * columns).map(|i| [i / (rows * columns), i / columns % rows, i % columns]);
        places.map(|place| u8::from((0..3).all(|axis| (from[axis]..to[axis]).contains(&place[axis])))).collect()
    }

    proptest! {
        #[test]
        fn swapping_the_masks_swaps_the_ways((a, b) in (mask(), mask())) {
            let (there, back) = (between(&a, &b), between(&b, &a));
            prop_assert_eq!(&there.from_truth, &back.from_prediction);
            prop_assert_eq!(there.dice_at(0.42), back.dice_at(0.42));
            prop_assert_eq!(there.hausdorff_mm(95.0).to_bits(), back.hausdorff_mm(95.0).to_bits());
        }

        #[test]
        fn a_surface_is_no_way_from_itself(a in mask()) {
            let same = between(&a, &a);
            let some = a.contains(&1);
            prop_assert_eq!(same.dice_at(0.0), some.then_some(1.0));
            let expected = if some { 0.0_f64 } else { f64::INFINITY };
            prop_assert_eq!(same.hausdorff_mm(100.0).to_bits(), expected.to_bits());
        }

        #[test]
        fn measures_are_monotone((a, b) in (mask(), mask()), low in 0.0_f64..6.0, more in 0.0_f64..6.0) {
            let distances = between(&a, &b);
            prop_assert!(distances.dice_at(low) <= distances.dice_at(low + more));
            prop_assert!(distances.hausdorff_mm(low * 10.0) <= distances.hausdorff_mm((low + more) * 10.0));
            let [there, back] = distances.mean_mm();
            prop_assert!(there.unwrap_or(0.0).max(back.unwrap_or(0.0)) <= distances.hausdorff_mm(100.0));
        }
    }

    #[test]
    fn a_box_has_the_area_of_its_faces_with_cut_edges() {
        let block = cuboid([1, 1, 1], [3, 4, 4]);
        let area: f64 = between(&block, &block).from_truth.iter().map(|(_, mm2)| mm2).sum();
        // Voxel centres: 1, 2, 2 steps; faces between centres, half a voxel away, edges at 45 degrees, corners.
        let [d, r, c] = SPACING;
        let [nd, nr, nc] = [1.0, 2.0, 2.0];
        let faces = 2.0 * (nd * nr * d * r + nd * nc * d * c + nr * nc * r * c);
        let slope = |a: f64, b: f64| 0.5 * (a * a + b * b).sqrt();
        let edges = 4.0 * (nd * d * slope(r, c) + nr * r * slope(d, c) + nc * c * slope(d, r));
        let corners = (d * d * r * r + d * d * c * c + r * r * c * c).sqrt();
        assert!((area - faces - edges - corners).abs() < 1e-9, "{area}");
    }

    #[test]
    fn a_shift_by_a_voxel_is_its_width() {
        let (block, shifted) = (cuboid([1, 1, 1], [3, 4, 3]), cuboid([1, 1, 2], [3, 4, 4]));
        let distances = between(&block, &shifted);
        assert!((distances.hausdorff_mm(100.0) - 0.6).abs() < 1e-12);
        assert_eq!(distances.dice_at(0.6 + 1e-9), Some(1.0));
        assert!(distances.dice_at(0.42).is_some_and(|dice| dice < 1.0));
    }

    #[test]
    fn an_empty_mask_is_infinitely_far_and_another_size_refused() {
        let (block, nothing) = (cuboid([1, 1, 1], [3, 4, 3]), cuboid([0; 3], [0; 3]));
        assert!(between(&block, &nothing).hausdorff_mm(95.0).is_infinite());
        assert_eq!(between(&block, &nothing).dice_at(100.0), Some(0.0));
        assert_eq!(between(&nothing, &nothing).dice_at(1.0), None);
        assert_eq!(SurfaceDistances::between(&block, &nothing[1..], SHAPE, SPACING), None);
    }

    #[test]
    fn both_sides_of_a_surface_see_one_area() {
        for code in 0..=u8::MAX {
            if code.count_ones() != 4 {
                assert_eq!(pieces(code), pieces(!code), "{code:08b}");
            }
        }
    }
}
