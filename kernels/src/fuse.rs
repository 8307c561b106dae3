//! Fusion of the activation maps of neighboring slices, weighted by their true distances.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `maps` | `[maps, rows, columns]`, row major | activation |
//! | `targets` | for each target the [`Term`]s of its sum | |
//! | result | `[targets, rows, columns]` | activation |
//!
//! `out_i = sum_j w_ij map_j / sum_j w_ij` with `w_ij = max(0, 1 - |z_i - z_j| / max_gap)`. A slice that is missing is
//! left out, and the weights of the others grow; a slice that is there but was not computed counts as a map of zeros.
//! An offset undoes the shear of a tilted gantry: `out(r, c)` reads its map at `(r - offset[0], c - offset[1])`, between
//! cells bilinearly, beyond the edge from the edge. Values that are not finite count as zero.
//!
//! This module does not find runs of slices: all places of one call belong to one.

mod host;

use cubecl::prelude::*;

use crate::array::Array;
use crate::device::Client;
use crate::error::KernelError;
use crate::launch::{check, finite, finite_on, on_processor, spread};
use crate::resize::lerp;

const KERNEL: &str = "fuse";

/// Where a slice's map lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Position along the normal of the slices, micrometres.
    pub along_um: i64,
    /// Where this map's cell (0, 0) lies relative to the target's: rows, columns, in cells of the map. Offsets from any
    /// common origin do as well, since only differences count.
    pub offset: [f32; 2],
    /// Whether the map was computed; if not, it counts as zeros.
    pub computed: bool,
}

/// How far fusion reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FuseConfig {
    /// The distance at which a neighbor loses all weight, and the step that no fusion crosses, millimetres.
    pub max_gap_mm: f64,
    /// Neighbors on each side at most; 0 is no fusion.
    pub reach: usize,
}

/// One map's part in a fused map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// The index of the map.
    pub map: usize,
    /// Its weight, normalized.
    pub weight: f32,
    /// Where its cell (0, 0) lies relative to the target's: rows, columns, in cells.
    pub offset: [f32; 2],
}

/// The maps that are fused into the one of `target`, its own first, then by distance, the lower first.
///
/// `places` are in order along the normal, those of one run; the result is empty if `target` is none of them. Weights
/// sum to the share of the weight that was computed: to 1 if all maps were.
#[must_use]
pub fn terms(places: &[Place], target: usize, config: FuseConfig) -> Vec<Term> {
    let Some(own) = places.get(target) else { return Vec::new() };
    let distance_um = |index: usize| places[index].along_um.abs_diff(own.along_um);
    let step_mm = |low: usize| millimeters(places[low].along_um.abs_diff(places[low + 1].along_um));
    let below =
        (target.saturating_sub(config.reach)..target).rev().take_while(|low| step_mm(*low) <= config.max_gap_mm);
    let above = (target + 1..places.len().min(target.saturating_add(config.reach).saturating_add(1)))
        .take_while(|high| step_mm(high - 1) <= config.max_gap_mm);
    let mut neighbors: Vec<usize> = below.chain(above).collect();
    neighbors.sort_by_key(|index| (distance_um(*index), *index));

    let weight = |index: usize| 1.0 - millimeters(distance_um(index)) / config.max_gap_mm;
    let weighted: Vec<(usize, f64)> = std::iter::once((target, 1.0))
        .chain(neighbors.into_iter().map(|index| (index, weight(index))))
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    let total: f64 = weighted.iter().map(|(_, weight)| weight).sum();
    weighted
        .into_iter()
        .filter(|(index, _)| places[*index].computed)
        .map(|(map, weight)| {
            let offset = [0, 1].map(|axis| places[map].offset[axis] - own.offset[axis]);
            Term { map, weight: (weight / total) as f32, offset }
        })
        .collect()
}

fn millimeters(micrometers: u64) -> f64 {
    micrometers as f64 / 1000.0
}

/// The definition: what [`fuse`] must equal.
#[must_use]
pub fn reference(maps: &[f32], shape: [usize; 3], targets: &[Vec<Term>]) -> Vec<f32> {
    let [_, rows, columns] = shape;
    let mut result = Vec::with_capacity(targets.len() * rows * columns);
    for terms in targets {
        for row in 0..rows {
            for column in 0..columns {
                let mut sum = 0.0;
                for term in terms {
                    let map = &maps[term.map * rows * columns..][..rows * columns];
                    let (top, down) = between(row, term.offset[0], rows);
                    let (left, across) = between(column, term.offset[1], columns);
                    let at = |row: usize, column: usize| finite(map[row * columns + column]);
                    let right = (left + 1).min(columns - 1);
                    let bottom = (top + 1).min(rows - 1);
                    let upper = lerp(at(top, left), at(top, right), across);
                    let lower = lerp(at(bottom, left), at(bottom, right), across);
                    sum += term.weight * lerp(upper, lower, down);
                }
                result.push(sum);
            }
        }
    }
    result
}

/// The cell at or before `index - offset`, and how far it is to the next one; inside the map.
#[allow(clippy::cast_sign_loss, reason = "clamped to the cells of a map")]
fn between(index: usize, offset: f32, len: usize) -> (usize, f32) {
    let position = (index as f32 - offset).clamp(0.0, (len - 1) as f32);
    (position.floor() as usize, position - position.floor())
}

/// Fuses maps to one for each of `targets`.
///
/// # Errors
///
/// Returns [`KernelError`] if `maps` has not the length of `shape`, if a term names no map or has a weight or an offset
/// that is not finite, if the result is too large for one launch, or if the device fails.
///
/// # Examples
///
/// ```
/// use kernels::fuse::{FuseConfig, Place, terms};
/// use kernels::{Device, fuse};
///
/// let client = Device::Cpu.client()?;
/// let places = [0, 6000].map(|along_um| Place { along_um, offset: [0.0; 2], computed: true });
/// let own = terms(&places, 0, FuseConfig { max_gap_mm: 12.0, reach: 2 });
/// // Maps of one cell: the neighbor at half the gap has half the weight.
/// let fused = fuse::fuse(&client, &[3.0, 6.0], [2, 1, 1], &[own])?;
/// assert!((fused[0] - 4.0).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fuse(client: &Client, maps: &[f32], shape: [usize; 3], targets: &[Vec<Term>]) -> Result<Vec<f32>, KernelError> {
    check(KERNEL, "maps", maps.len(), shape.iter().product())?;
    check_terms(shape, targets)?;
    if on_processor(client) {
        return Ok(host::fuse(maps, shape, targets));
    }
    on_device(&Array::upload(client, maps), shape, targets)?.download()
}

fn check_terms([count, ..]: [usize; 3], targets: &[Vec<Term>]) -> Result<(), KernelError> {
    let means_nothing = |term: &Term| {
        term.map >= count || ![term.weight, term.offset[0], term.offset[1]].iter().all(|number| number.is_finite())
    };
    match targets.iter().flatten().position(means_nothing) {
        Some(index) => Err(KernelError::Meaningless { kernel: KERNEL, array: "terms", index }),
        None => Ok(()),
    }
}

/// Fuses maps on their device; does not wait for it.
///
/// # Errors
///
/// As [`fuse`], but for what fails on the device: that is told where the result is waited for.
pub fn on_device(maps: &Array<f32>, shape: [usize; 3], targets: &[Vec<Term>]) -> Result<Array<f32>, KernelError> {
    let [count, rows, columns] = shape;
    check(KERNEL, "maps", maps.len(), count * rows * columns)?;
    check_terms(shape, targets)?;
    let client = maps.client();
    let len = targets.len() * rows * columns;
    if len == 0 || targets.iter().all(Vec::is_empty) {
        return Ok(Array::upload(client, &vec![0.0; len]));
    }
    let ends = targets.iter().scan(0, |end, terms| {
        *end += terms.len();
        Some(*end as u32)
    });
    let starts: Vec<u32> = std::iter::once(0).chain(ends).collect();
    let indices: Vec<u32> = targets.iter().flatten().map(|term| term.map as u32).collect();
    let numbers: Vec<f32> =
        targets.iter().flatten().flat_map(|term| [term.weight, term.offset[0], term.offset[1]]).collect();
    let spread = spread(client, KERNEL, len)?;
    let output = Array::empty(client, len);
    // SAFETY: the kernel compares its position with the length of `out`, which gives one target each; `starts` bounds
    // the terms of a target, whose maps were checked; positions are clamped to the cells of a map.
    unsafe {
        fuse_kernel::launch_unchecked(
            client,
            spread.cubes,
            spread.units,
            maps.argument(),
            Array::upload(client, &starts).argument(),
            Array::upload(client, &indices).argument(),
            Array::upload(client, &numbers).argument(),
            output.argument(),
            rows,
            columns,
            spread.run,
        );
    }
    Ok(output)
}

/// Bytes that one call moves: each map and each fused map once, the terms and their bounds.
///
/// A map is read again for each target that it is a term of; those reads are near one another and are served by a cache.
#[must_use]
pub const fn bytes([maps, rows, columns]: [usize; 3], targets: usize, terms: usize) -> usize {
    floor_bytes([maps, rows, columns], targets) + 4 * (targets + 1) + 16 * terms
}

/// The fewest bytes that the problem moves: maps read once, fused maps written once.
#[must_use]
pub const fn floor_bytes([maps, rows, columns]: [usize; 3], targets: usize) -> usize {
    4 * (maps + targets) * rows * columns
}

#[cube]
fn between_on(a: f32, b: f32, fraction: f32) -> f32 {
    a + fraction * (b - a)
}

#[cube(launch_unchecked)]
fn fuse_kernel(
    maps: &[f32],
    starts: &[u32],
    indices: &[u32],
    numbers: &[f32],
    out: &mut [f32],
    rows: usize,
    columns: usize,
    run: usize,
) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < out.len() {
            let target = position / (rows * columns);
            let cell = position % (rows * columns);
            let row = cell / columns;
            let column = cell % columns;
            let mut sum = 0.0f32;
            for term in starts[target]..starts[target + 1] {
                let term = term as usize;
                let map = indices[term] as usize * rows * columns;
                let down = numbers[3 * term + 1];
                let right = numbers[3 * term + 2];
                // The same for all cells of a target, and mostly true.
                if down == 0.0f32 && right == 0.0f32 {
                    sum += numbers[3 * term] * finite_on::<f32>(maps[map + cell]);
                } else {
                    let y = clamp(f32::cast_from(row) - down, 0.0f32, f32::cast_from(rows - 1));
                    let x = clamp(f32::cast_from(column) - right, 0.0f32, f32::cast_from(columns - 1));
                    let top = usize::cast_from(y.floor());
                    let left = usize::cast_from(x.floor());
                    let next = min(left + 1, columns - 1);
                    let above = map + top * columns;
                    let below = map + min(top + 1, rows - 1) * columns;
                    let across = x - x.floor();
                    let upper =
                        between_on(finite_on::<f32>(maps[above + left]), finite_on::<f32>(maps[above + next]), across);
                    let lower =
                        between_on(finite_on::<f32>(maps[below + left]), finite_on::<f32>(maps[below + next]), across);
                    sum += numbers[3 * term] * between_on(upper, lower, y - y.floor());
                }
            }
            out[position] = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::compare::{assert_close, client};

    const CONFIG: FuseConfig = FuseConfig { max_gap_mm: 12.0, reach: 2 };

    fn straight(along_um: i64) -> Place {
        Place { along_um, offset: [0.0; 2], computed: true }
    }

    fn weights(places: &[Place], target: usize) -> Vec<(usize, f32)> {
        terms(places, target, CONFIG).into_iter().map(|term| (term.map, term.weight)).collect()
    }

    fn size() -> impl Strategy<Value = usize> {
        prop_oneof![Just(1_usize), Just(2), Just(7), Just(8), Just(16), Just(257), 1_usize..32]
    }

    fn run() -> impl Strategy<Value = Vec<Place>> {
        let offset = || prop_oneof![2 => -3.0_f32..3.0, 1 => Just(0.0)];
        let place = (0_i64..15_000, [offset(), offset()], any::<bool>());
        vec(place, 1..12).prop_map(|steps| {
            let mut along_um = 0;
            steps
                .into_iter()
                .map(|(step, offset, computed)| {
                    along_um += step;
                    Place { along_um, offset, computed }
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn equals_its_reference(
            places in run(),
            reach in 0_usize..4,
            cells in [size(), size()],
            seed in vec(prop_oneof![9 => 0.0_f32..100.0, 1 => Just(f32::NAN), 1 => Just(f32::INFINITY)], 89),
        ) {
            let shape = [places.len(), cells[0], cells[1]];
            let maps: Vec<f32> = seed.iter().copied().cycle().take(shape.iter().product()).collect();
            let config = FuseConfig { reach, ..CONFIG };
            let targets: Vec<Vec<Term>> = (0..places.len()).map(|target| terms(&places, target, config)).collect();
            let by_kernel = on_device(&Array::upload(&client(), &maps), shape, &targets).expect("maps");
            let expected = reference(&maps, shape, &targets);
            for actual in [fuse(&client(), &maps, shape, &targets).expect("maps"), by_kernel.download().expect("maps")] {
                // A few roundings of values up to 100.
                assert_close(shape, &actual, &expected, 100.0 * f32::EPSILON * 16.0);
            }
        }

        #[test]
        fn equal_maps_stay_equal(mut places in run(), value in 0.0_f32..1e3, target in 0_usize..12) {
            places.iter_mut().for_each(|place| place.computed = true);
            let target = target % places.len();
            let maps = vec![value; places.len() * 15];
            let terms = terms(&places, target, CONFIG);
            prop_assert_eq!(terms[0].map, target);
            let fused = fuse(&client(), &maps, [places.len(), 3, 5], &[terms]).expect("maps");
            assert_close([1, 3, 5], &fused, &[value; 15], value * 1e-6);
        }

        #[test]
        fn what_lies_beyond_the_reach_has_no_influence(places in run(), target in 0_usize..12) {
            let target = target % places.len();
            let first = target.saturating_sub(CONFIG.reach);
            let near = &places[first..places.len().min(target + CONFIG.reach + 1)];
            let shift = |mut term: Term| {
                term.map += first;
                term
            };
            let alone: Vec<Term> = terms(near, target - first, CONFIG).into_iter().map(shift).collect();
            prop_assert_eq!(terms(&places, target, CONFIG), alone);
        }
    }

    #[test]
    fn a_missing_neighbor_is_left_out_and_one_not_computed_is_zeros() {
        let places = [straight(0), straight(6000), straight(12_000)];
        let close = |actual: Vec<(usize, f32)>, expected: &[(usize, f32)]| {
            assert_eq!(actual.len(), expected.len(), "{actual:?}");
            for (a, e) in actual.iter().zip(expected) {
                assert!(a.0 == e.0 && (a.1 - e.1).abs() < 1e-6, "{actual:?}");
            }
        };
        close(weights(&places, 1), &[(1, 0.5), (0, 0.25), (2, 0.25)]);
        close(weights(&places[..2], 1), &[(1, 2.0 / 3.0), (0, 1.0 / 3.0)]);
        let not_computed = [Place { computed: false, ..places[0] }, places[1], places[2]];
        close(weights(&not_computed, 1), &[(1, 0.5), (2, 0.25)]);
        let own_not_computed = [places[0], Place { computed: false, ..places[1] }];
        close(weights(&own_not_computed, 1), &[(0, 1.0 / 3.0)]);
    }

    #[test]
    fn one_missing_slice_is_bridged_and_two_are_not() {
        assert_eq!(weights(&[straight(0), straight(10_000)], 0).len(), 2);
        assert_eq!(weights(&[straight(0), straight(15_000)], 0), [(0, 1.0)]);
        // At the gap exactly the weight is zero; a step beyond it hides what is behind.
        assert_eq!(weights(&[straight(0), straight(12_000)], 0), [(0, 1.0)]);
        let narrow = FuseConfig { max_gap_mm: 5.0, reach: 2 };
        let split = [straight(0), straight(6000), straight(6001)];
        assert_eq!(terms(&split, 2, narrow).iter().map(|term| term.map).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn the_order_is_own_then_distance_then_position() {
        let places = [straight(0), straight(3000), straight(5000), straight(7000), straight(9000)];
        let order: Vec<usize> = terms(&places, 2, CONFIG).iter().map(|term| term.map).collect();
        assert_eq!(order, [2, 1, 3, 4, 0]);
        let twice = [straight(5000), straight(5000), straight(5000)];
        assert_eq!(terms(&twice, 1, CONFIG).iter().map(|term| term.map).collect::<Vec<_>>(), [1, 0, 2]);
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "the law is equality")]
    fn a_zero_offset_is_identity_and_a_whole_offset_moves_cells() {
        let map: Vec<f32> = (0..12).map(|index| index as f32 * 1.7).collect();
        let moved = |offset| {
            let term = Term { map: 0, weight: 1.0, offset };
            fuse(&client(), &map, [1, 3, 4], &[vec![term]]).expect("a map")
        };
        assert_eq!(moved([0.0, 0.0]), map);
        // The map lies one row down and two columns to the left: cell (1, 0) shows the map's (0, 2).
        let shifted = moved([1.0, -2.0]);
        assert_eq!(shifted[4], map[2]);
        assert_eq!(shifted[8..], [map[6], map[7], map[7], map[7]]);
    }

    #[test]
    fn a_tilted_stack_is_aligned() {
        // The same spot of the head, seen one row further down in each slice's own cells.
        let spot = |row: usize| (0..30).map(move |cell| if cell == row * 5 + 2 { 1.0 } else { 0.0 });
        let maps: Vec<f32> = [3, 2, 1].into_iter().flat_map(spot).collect();
        let places =
            [-1.0, 0.0, 1.0].map(|row| Place { along_um: (row * 4000.0) as i64, offset: [row, 0.0], computed: true });
        let fused = fuse(&client(), &maps, [3, 6, 5], &[terms(&places, 1, CONFIG)]).expect("a map");
        assert_close([1, 6, 5], &fused, &spot(2).collect::<Vec<f32>>(), 1e-6);
    }

    #[test]
    fn refuses_terms_without_meaning() {
        let term = Term { map: 0, weight: 1.0, offset: [0.0; 2] };
        let bad =
            [Term { map: 1, ..term }, Term { weight: f32::NAN, ..term }, Term { offset: [0.0, f32::INFINITY], ..term }];
        for bad in bad {
            let error = fuse(&client(), &[0.0; 4], [1, 2, 2], &[vec![term, bad]]);
            assert_eq!(error, Err(KernelError::Meaningless { kernel: "fuse", array: "terms", index: 1 }));
        }
        assert!(fuse(&client(), &[0.0; 3], [1, 2, 2], &[vec![term]]).is_err());
        assert_close([1, 2, 2], &fuse(&client(), &[1.0; 4], [1, 2, 2], &[vec![]]).expect("a map"), &[0.0; 4], 0.0);
    }
}
