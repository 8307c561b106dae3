//! Geometry of a series: runs of slices without a gap, and the slab that each slice stands for.
//!
//! Slices come sorted (their order is the position along the slice normal, micrometers). Lengths out are millimeters along
//! the normal. A run ends where the step to the next slice is too wide or the planes are not alike; nothing is ever
//! interpolated, fused or measured across such a place.
//!
//! Source: DICOM PS3.3 C.7.6.2 (Image Plane); distances along the normal, because the table moves further than that by
//! 1 / cos(tilt) under gantry tilt. It does not judge gaps: [`crate::completeness`] does.

use std::ops::Range;

use crate::record::{Geometry, Slice};

/// The runs of a series, in order: ranges that cover `slices`, cut where the step along the normal exceeds `max_gap_mm`
/// or where neighbors are not alike ([`Geometry::alike`]).
#[must_use]
pub fn runs(slices: &[Slice], max_gap_mm: f64) -> Vec<Range<usize>> {
    cut(slices, |below, above| step_mm(below, above) > max_gap_mm || !below.geometry.alike(&above.geometry))
}

/// The thickness, mm, of the slab that each slice stands for.
///
/// Within a run, slabs meet in the middle between neighbors, and the outermost slab is as thick as the gap to its only
/// neighbor. A run at a single place has its nominal thickness, or none if that is not stated. Slices at the same place
/// share its slab equally, so that the slabs of a run always add up to what the run covers.
#[must_use]
pub fn slabs_mm(slices: &[Slice], max_gap_mm: f64) -> Vec<f64> {
    runs(slices, max_gap_mm).into_iter().flat_map(|run| run_slabs_mm(&slices[run])).collect()
}

fn run_slabs_mm(run: &[Slice]) -> Vec<f64> {
    let places = cut(run, |below, above| below.along_um != above.along_um);
    let at = |place: &Range<usize>| &run[place.start];
    let gaps: Vec<f64> = places.windows(2).map(|pair| step_mm(at(&pair[0]), at(&pair[1]))).collect();
    let (Some(first), Some(last)) = (gaps.first(), gaps.last()) else {
        let nominal = run.first().and_then(|slice| slice.geometry.thickness_mm()).unwrap_or(0.0);
        return shared(nominal, run.len()).collect();
    };
    let below = std::iter::once(first).chain(&gaps);
    let above = gaps.iter().chain(std::iter::once(last));
    let slabs = below.zip(above).map(|(below, above)| (below + above) / 2.0);
    places.iter().zip(slabs).flat_map(|(place, slab)| shared(slab, place.len())).collect()
}

fn shared(slab_mm: f64, slices: usize) -> impl Iterator<Item = f64> {
    std::iter::repeat_n(slab_mm / count(slices), slices)
}

/// Ranges that cover `slices`, cut between neighbors that `ends` says.
pub(crate) fn cut(slices: &[Slice], ends: impl Fn(&Slice, &Slice) -> bool) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for (next, pair) in (1..).zip(slices.windows(2)) {
        if ends(&pair[0], &pair[1]) {
            ranges.push(start..next);
            start = next;
        }
    }
    if start < slices.len() {
        ranges.push(start..slices.len());
    }
    ranges
}

/// Whether both planes have the same normal and in-plane directions, within 10^-4.
pub(crate) fn parallel(a: &Geometry, b: &Geometry) -> bool {
    a.orientation_nano.iter().zip(b.orientation_nano).all(|(a, b)| (a - b).abs() < 100_000)
}

/// The way along the normal from `below` to `above`, mm.
#[allow(clippy::as_conversions, reason = "positions stay below 2^53 micrometers by construction")]
pub(crate) fn step_mm(below: &Slice, above: &Slice) -> f64 {
    above.along_um.saturating_sub(below.along_um) as f64 / 1e3
}

#[allow(clippy::as_conversions, reason = "a number of slices or voxels is far below 2^53")]
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Digest, InstanceUid};

    /// An axial slice at `z_mm`, 4 x 4 pixels of 0.5 mm.
    pub(crate) fn axial(z_mm: f64, thickness_mm: Option<f64>) -> Slice {
        placed([0.0, 0.0, z_mm], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], 0.5, thickness_mm)
    }

    /// A slice named by its place.
    pub(crate) fn placed(
        position_mm: [f64; 3],
        orientation: [f64; 6],
        pixel_mm: f64,
        thickness_mm: Option<f64>,
    ) -> Slice {
        let geometry =
            Geometry::new(position_mm, orientation, [pixel_mm; 2], [4, 4], thickness_mm).expect("a plain plane");
        let digest = Digest::of(format!("{geometry:?}").as_bytes());
        Slice::new(InstanceUid::new("1.2").expect("a UID"), 1, digest, geometry)
    }

    pub(crate) fn stack(places_mm: impl IntoIterator<Item = f64>) -> Vec<Slice> {
        places_mm.into_iter().map(|z_mm| axial(z_mm, Some(5.0))).collect()
    }

    /// The definition, slab by slab: distances to the places next below and next above in the run.
    fn slab_reference(run: &[Slice], index: usize) -> f64 {
        let own = run[index].along_um;
        let sharing = run.iter().filter(|slice| slice.along_um == own).count();
        let below = run.iter().map(|slice| slice.along_um).filter(|along| *along < own).max().map(|along| own - along);
        let above = run.iter().map(|slice| slice.along_um).filter(|along| *along > own).min().map(|along| along - own);
        let twice_um = match (below, above) {
            (Some(below), Some(above)) => below + above,
            (Some(only), None) | (None, Some(only)) => 2 * only,
            (None, None) => 2 * run[0].geometry.thickness_um.unwrap_or(0),
        };
        twice_um as f64 / 2e3 / sharing as f64
    }

    proptest! {
        #[test]
        fn runs_cover_the_series_and_slabs_follow_their_definition(
            steps in prop::collection::vec(prop_oneof![Just(0.0), 0.5..20.0_f64], 0..30),
            changes in prop::collection::vec(prop::bool::weighted(0.1), 30),
        ) {
            let mut z_mm = -30.0;
            let mut pixel_mm = 0.5;
            let mut slices = vec![axial(z_mm, Some(3.0))];
            for (step, change) in steps.into_iter().zip(changes) {
                z_mm += step;
                pixel_mm += if change { 0.1 } else { 0.0 };
                slices.push(placed([0.0, 0.0, z_mm], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], pixel_mm, Some(3.0)));
            }
            let runs = runs(&slices, 12.0);
            prop_assert_eq!(runs.first().map(|run| run.start), Some(0));
            prop_assert_eq!(runs.last().map(|run| run.end), Some(slices.len()));
            prop_assert!(runs.windows(2).all(|pair| pair[0].end == pair[1].start));
            let slabs = slabs_mm(&slices, 12.0);
            prop_assert_eq!(slabs.len(), slices.len());
            for run in runs {
                let expected = run.clone().map(|index| slab_reference(&slices[run.clone()], index - run.start));
                for (slab, expected) in slabs[run.clone()].iter().zip(expected) {
                    prop_assert!((slab - expected).abs() < 1e-9, "{slab} mm, expected {expected} mm");
                }
            }
        }
    }

    #[test]
    fn a_step_of_just_the_largest_gap_does_not_end_a_run() {
        assert_eq!(runs(&stack([0.0, 12.0, 24.001]), 12.0), [0..2, 2..3]);
        assert!(runs(&[], 12.0).is_empty(), "no slices, no runs");
    }

    #[test]
    fn another_matrix_spacing_or_orientation_ends_a_run() {
        let plain = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let (sin, cos) = 1_f64.to_radians().sin_cos();
        let finer = placed([0.0, 0.0, 5.0], plain, 0.4, None);
        let tilted = placed([0.0, 0.0, 10.0], [1.0, 0.0, 0.0, 0.0, cos, sin], 0.4, None);
        assert_eq!(runs(&[axial(0.0, None), finer, tilted], 12.0), [0..1, 1..2, 2..3]);
    }

    #[test]
    fn slabs_meet_in_the_middle_and_a_lone_slice_has_its_nominal_thickness() {
        assert_eq!(slabs_mm(&stack([0.0, 4.0, 10.0, 50.0]), 12.0), [4.0, 5.0, 6.0, 5.0]);
        assert_eq!(slabs_mm(&[axial(0.0, None)], 12.0), [0.0], "no thickness stated: no volume invented");
        assert_eq!(slabs_mm(&stack([0.0, 0.0, 4.0, 4.0]), 12.0), [2.0; 4], "slices at one place share its slab");
    }
}
