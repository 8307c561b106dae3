//! Completeness: what is known about whether a series has all its slices. A status on a result, never a gate before it.
//!
//! Everything is measured along the slice normal, mm. A step is judged against the typical step of its own block, so that
//! two blocks with different thickness in one series are no gap; a gap is counted, never filled.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::geometry::{cut, parallel, step_mm};
use crate::record::{Sign, Slice};

/// Where the result of a series stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// More slices may come.
    Preliminary,
    /// A sign says that all slices were sent.
    Final,
    /// No slice is left.
    Withdrawn,
}

impl Status {
    /// The fixed word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Preliminary => "preliminary",
            Self::Final => "final",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What the places of the slices say about completeness.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Completeness {
    /// Slices present.
    pub slices: usize,
    /// Slices that the sender announced, if it did.
    pub expected: Option<usize>,
    /// The length along the normal that the slices cover, each as thick as the typical step around it, mm.
    pub coverage_mm: f64,
    /// Where slices are missing between slices, from the lowest.
    pub gaps: Vec<Gap>,
    /// What else is unusual, each kind once.
    pub issues: Vec<Issue>,
}

/// A step between neighbors that is too wide.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Position of the slice below it, mm along the normal.
    pub after_mm: f64,
    /// The step, mm.
    pub width_mm: f64,
    /// Slices that would fill it at the typical step. 0 if the series itself is as sparse.
    pub missing: usize,
}

/// Something unusual about the geometry of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Issue {
    /// A step between slices is too wide: see [`Completeness::gaps`].
    Gap {
        /// How many there are.
        gaps: usize,
    },
    /// Slices lie at the place of another, to a micrometer.
    DuplicatePosition {
        /// How many.
        slices: usize,
    },
    /// A step is so narrow that slabs overlap.
    Overlap {
        /// The narrowest such step, mm.
        step_mm: f64,
    },
    /// The planes are sheared against their normal, as a tilted gantry leaves them.
    Tilt {
        /// The angle between the normal and the way from slice to slice, degrees.
        degrees: f64,
    },
    /// Slices state different thicknesses.
    MixedThickness {
        /// The least, mm.
        least_mm: f64,
        /// The greatest, mm.
        greatest_mm: f64,
    },
    /// Slices have different orientations.
    MixedOrientation,
    /// Slices have different pixel spacings or matrices.
    MixedSpacing,
    /// Slices state no thickness.
    NoThickness {
        /// How many.
        slices: usize,
    },
}

impl Issue {
    /// The fixed word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Gap { .. } => "gap",
            Self::DuplicatePosition { .. } => "duplicate_position",
            Self::Overlap { .. } => "overlap",
            Self::Tilt { .. } => "tilt",
            Self::MixedThickness { .. } => "mixed_thickness",
            Self::MixedOrientation => "mixed_orientation",
            Self::MixedSpacing => "mixed_spacing",
            Self::NoThickness { .. } => "no_thickness",
        }
    }
}

/// Judges the sorted `slices` of a series by what says that it is complete.
///
/// It is final if it has slices and an announced number of instances is present, a wanted length is covered without a gap, or
/// somebody says that all was sent; then even where fewer came than were announced, which the result says.
#[must_use]
pub fn judge(slices: &[Slice], signs: impl Iterator<Item = Sign>, max_gap_mm: f64) -> (Completeness, Status) {
    let signs: Vec<Sign> = signs.collect();
    let announced = signs.iter().filter_map(|sign| match sign {
        Sign::Expected { instances } => usize::try_from(*instances).ok(),
        Sign::AssociationEnded | Sign::Quiet | Sign::Requested | Sign::Coverage { .. } => None,
    });
    let completeness = completeness(slices, announced.max(), max_gap_mm);
    let instances = || slices.iter().map(|slice| &slice.instance).collect::<BTreeSet<_>>().len();
    let complete = |sign: &Sign| match sign {
        Sign::AssociationEnded | Sign::Quiet | Sign::Requested => true,
        Sign::Expected { .. } => completeness.expected.is_some_and(|expected| instances() >= expected),
        Sign::Coverage { um } => completeness.gaps.is_empty() && completeness.coverage_mm * 1e3 >= length(*um),
    };
    let status = match (slices.is_empty(), signs.iter().any(complete)) {
        (true, _) => Status::Withdrawn,
        (false, true) => Status::Final,
        (false, false) => Status::Preliminary,
    };
    (completeness, status)
}

/// A step this many times the typical one is a gap; one this many times narrower is an overlap.
const NOTICEABLE: f64 = 1.5;
/// A tilt below this, degrees, is rounding of positions and cosines.
const LEAST_TILT: f64 = 0.5;
/// Steps on each side of a slice that decide what is typical around it.
const AROUND: usize = 3;

/// Judges the sorted `slices`. Steps wider than `max_gap_mm`, which end runs, are gaps even in a sparse series.
#[must_use]
pub fn completeness(slices: &[Slice], expected: Option<usize>, max_gap_mm: f64) -> Completeness {
    let mut coverage_mm = 0.0;
    let mut gaps = Vec::new();
    let mut narrowest: Option<f64> = None;
    let mut tilt = 0.0_f64;
    for stack in cut(slices, |below, above| !parallel(&below.geometry, &above.geometry)) {
        let stack = &slices[stack];
        let typical = typical_steps(stack);
        coverage_mm += covered(stack, &typical);
        tilt = tilt.max(shear_degrees(stack));
        for (pair, around) in stack.windows(2).zip(typical.windows(2)) {
            let step = step_mm(&pair[0], &pair[1]);
            let (usual, least) = (around[0].max(around[1]), around[0].min(around[1]));
            if step > usual * NOTICEABLE || step > max_gap_mm {
                gaps.push(Gap { after_mm: along_mm(&pair[0]), width_mm: step, missing: missing(step, usual) });
            } else if step > 0.0 && step < least / NOTICEABLE {
                narrowest = Some(narrowest.map_or(step, |narrowest| narrowest.min(step)));
            }
        }
    }
    let mut issues = Vec::new();
    issues.extend((!gaps.is_empty()).then_some(Issue::Gap { gaps: gaps.len() }));
    issues.extend(duplicates(slices));
    issues.extend(narrowest.map(|step_mm| Issue::Overlap { step_mm }));
    issues.extend((tilt >= LEAST_TILT).then_some(Issue::Tilt { degrees: (tilt * 100.0).round() / 100.0 }));
    issues.extend(mixtures(slices));
    Completeness { slices: slices.len(), expected, coverage_mm, gaps, issues }
}

/// The typical step around each slice: the (lower) median of the next steps on both sides between slices of its own
/// thickness; without one, its nominal thickness.
fn typical_steps(stack: &[Slice]) -> Vec<f64> {
    let places = cut(stack, |below, above| below.along_um != above.along_um);
    let firsts: Vec<&Slice> = places.iter().map(|place| &stack[place.start]).collect();
    let typical = |index: usize| {
        let own = firsts[index].geometry.thickness_um;
        let near = &firsts[index.saturating_sub(AROUND)..(index + AROUND + 1).min(firsts.len())];
        let alike = near.windows(2).filter(|pair| pair.iter().all(|slice| slice.geometry.thickness_um == own));
        let mut steps: Vec<f64> = alike.map(|pair| step_mm(pair[0], pair[1])).collect();
        steps.sort_unstable_by(f64::total_cmp);
        let median = steps.get(steps.len().saturating_sub(1) / 2).copied();
        median.or(firsts[index].geometry.thickness_mm()).unwrap_or(0.0)
    };
    (0..).zip(&places).flat_map(|(index, place)| std::iter::repeat_n(typical(index), place.len())).collect()
}

/// The length of the union of slabs, mm.
fn covered(stack: &[Slice], typical: &[f64]) -> f64 {
    let mut end = f64::NEG_INFINITY;
    let mut length = 0.0;
    for (slice, thick) in stack.iter().zip(typical) {
        let (from, to) = (along_mm(slice) - thick / 2.0, along_mm(slice) + thick / 2.0);
        length += (to - from.max(end)).max(0.0);
        end = end.max(to);
    }
    length
}

/// The angle between the normal and the way from the first to the last plane, degrees.
fn shear_degrees(stack: &[Slice]) -> f64 {
    let (Some(first), Some(last)) = (stack.first(), stack.last()) else { return 0.0 };
    let [down, along] = last.geometry.in_plane_offset_mm(&first.geometry);
    let up = step_mm(first, last);
    if up > 0.0 { down.hypot(along).atan2(up).to_degrees() } else { 0.0 }
}

fn duplicates(slices: &[Slice]) -> Option<Issue> {
    let places =
        cut(slices, |below, above| below.along_um != above.along_um || !parallel(&below.geometry, &above.geometry));
    let more = slices.len() - places.len();
    (more > 0).then_some(Issue::DuplicatePosition { slices: more })
}

fn mixtures(slices: &[Slice]) -> Vec<Issue> {
    let mut issues = Vec::new();
    let thickness = || slices.iter().filter_map(|slice| slice.geometry.thickness_mm());
    let (least_mm, greatest_mm) = (thickness().fold(f64::INFINITY, f64::min), thickness().fold(0.0, f64::max));
    if least_mm < greatest_mm {
        issues.push(Issue::MixedThickness { least_mm, greatest_mm });
    }
    let geometries = || slices.windows(2).map(|pair| (&pair[0].geometry, &pair[1].geometry));
    if geometries().any(|(a, b)| !parallel(a, b)) {
        issues.push(Issue::MixedOrientation);
    }
    if geometries().any(|(a, b)| parallel(a, b) && !a.alike(b)) {
        issues.push(Issue::MixedSpacing);
    }
    let stated = thickness().count();
    if stated < slices.len() {
        issues.push(Issue::NoThickness { slices: slices.len() - stated });
    }
    issues
}

#[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn missing(step_mm: f64, usual_mm: f64) -> usize {
    if usual_mm > 0.0 { (step_mm / usual_mm - 0.5) as usize } else { 0 }
}

fn along_mm(slice: &Slice) -> f64 {
    length(slice.along_um) / 1e3
}

#[allow(clippy::as_conversions, reason = "lengths stay below 2^53 micrometers by construction")]
fn length(um: i64) -> f64 {
    um as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::tests::{axial, placed, stack};
    use crate::sample;

    fn words(found: &Completeness) -> Vec<&'static str> {
        found.issues.iter().map(|issue| issue.word()).collect()
    }

    fn judge(slices: &[Slice]) -> Completeness {
        completeness(slices, None, 12.0)
    }

    #[test]
    fn a_plain_series_covers_its_slabs_and_has_no_issue() {
        let found = completeness(&stack((0..30).map(|index| f64::from(index) * 5.0)), Some(32), 12.0);
        assert_eq!((found.slices, found.expected, words(&found)), (30, Some(32), vec![]));
        assert!((found.coverage_mm - 150.0).abs() < 1e-9, "{} mm", found.coverage_mm);
    }

    #[test]
    fn missing_slices_are_counted_and_not_covered() {
        let found = judge(&stack([0.0, 5.0, 10.0, 20.0, 25.0, 30.0, 55.0, 60.0]));
        let missing: Vec<usize> = found.gaps.iter().map(|gap| gap.missing).collect();
        assert_eq!((missing, words(&found)), (vec![1, 4], vec!["gap"]));
        assert!((found.gaps[0].after_mm - 10.0).abs() < 1e-9 && (found.gaps[0].width_mm - 10.0).abs() < 1e-9);
        assert!((found.coverage_mm - 40.0).abs() < 1e-9, "{} mm", found.coverage_mm);
    }

    #[test]
    fn a_step_of_one_and_a_half_is_no_gap_and_one_beyond_the_largest_is() {
        assert_eq!(words(&judge(&stack([0.0, 4.0, 8.0, 14.0]))), [""; 0]);
        assert_eq!(words(&judge(&stack([0.0, 4.0, 8.0, 14.001]))), ["gap"]);
        let sparse = judge(&stack([0.0, 15.0, 30.0]));
        assert_eq!(sparse.gaps.iter().map(|gap| gap.missing).collect::<Vec<_>>(), [0, 0], "as sparse as it was made");
    }

    #[test]
    fn two_blocks_of_different_steps_are_no_gap() {
        let places =
            || (0..10).map(|index| f64::from(index) * 2.5).chain((1..8).map(|index| 22.5 + f64::from(index) * 5.0));
        let unstated: Vec<Slice> = places().map(|z_mm| axial(z_mm, None)).collect();
        assert_eq!(words(&judge(&unstated)), ["no_thickness"]);
        let stated: Vec<Slice> =
            (0..).zip(places()).map(|(i, z)| axial(z, Some(if i < 10 { 2.5 } else { 5.0 }))).collect();
        assert_eq!(words(&judge(&stated)), ["mixed_thickness"]);
    }

    #[test]
    fn duplicates_mixtures_and_tilt_have_their_words() {
        let plain = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        assert_eq!(words(&judge(&stack([0.0, 5.0, 5.0, 10.0]))), ["duplicate_position"]);
        let finer = placed([0.0, 0.0, 5.0], plain, 0.4, Some(5.0));
        assert_eq!(words(&judge(&[axial(0.0, Some(5.0)), finer])), ["mixed_spacing"]);
        let (sin, cos) = 20_f64.to_radians().sin_cos();
        let tilted = |z_mm| placed([0.0, 0.0, z_mm], [1.0, 0.0, 0.0, 0.0, cos, -sin], 0.5, Some(5.0));
        assert_eq!(words(&judge(&[axial(0.0, Some(5.0)), tilted(5.0)])), ["mixed_orientation"]);
        assert_eq!(judge(&[tilted(0.0), tilted(5.0)]).issues, [Issue::Tilt { degrees: 20.0 }]);
    }

    #[test]
    fn no_slices_and_one_slice_have_no_gap() {
        assert_eq!(judge(&[]), Completeness::default());
        assert!((judge(&stack([7.0])).coverage_mm - 5.0).abs() < 1e-9, "a lone slice covers its nominal thickness");
    }

    #[test]
    fn issues_are_written_with_their_word() {
        let json = serde_json::to_string(&Issue::Tilt { degrees: 18.5 }).expect("plain data");
        assert_eq!(json, r#"{"kind":"tilt","degrees":18.5}"#);
        for issue in [Issue::MixedSpacing, Issue::NoThickness { slices: 1 }, Issue::DuplicatePosition { slices: 2 }] {
            let json = serde_json::to_value(issue).expect("plain data");
            assert_eq!(json["kind"], issue.word());
        }
    }

    #[test]
    fn a_tilted_series_of_two_overlapping_blocks_has_no_gap() {
        let test = "a_tilted_series_of_two_overlapping_blocks_has_no_gap";
        let Some(folder) = sample::folder(test, "dicom/ge_head_tilt_irregular") else { return };
        let slices: Vec<Slice> = sample::series(&folder).into_iter().map(|sample| sample.slice).collect();
        let found = judge(&slices);
        assert_eq!((found.slices, found.gaps.len()), (28, 0));
        assert_eq!(words(&found), ["overlap", "tilt", "mixed_thickness"]);
        let [Issue::Overlap { step_mm }, Issue::Tilt { degrees }, thickness] = &found.issues[..] else {
            panic!("{:?}", found.issues)
        };
        assert!((step_mm - 1.08).abs() < 0.01 && (degrees - 18.5).abs() < 0.1, "{step_mm} mm, {degrees} degrees");
        assert_eq!(*thickness, Issue::MixedThickness { least_mm: 4.0, greatest_mm: 7.0 });
        // 14 slabs of 4 mm and 14 of 7 mm, less what they share where the blocks meet.
        assert!((found.coverage_mm - (56.0 + 98.0 - (5.5 - 1.08))).abs() < 0.2, "{} mm", found.coverage_mm);
    }

    #[test]
    fn real_headers_with_a_missing_slice_and_with_tilt_have_their_words() {
        let test = "real_headers_with_a_missing_slice_and_with_tilt_have_their_words";
        let Some(root) = sample::folder(test, "dicom/geometry_headers_scrubbed_pixels") else { return };
        let of = |name: &str| -> Vec<Slice> {
            sample::series(&root.join(name)).into_iter().map(|sample| sample.slice).collect()
        };
        let missing = judge(&of("missing_slice_no_thickness"));
        assert_eq!(words(&missing), ["gap", "no_thickness"]);
        assert_eq!(missing.gaps.iter().map(|gap| gap.missing).collect::<Vec<_>>(), [1]);
        assert_eq!(words(&judge(&of("tilt_only_in_orientation"))), ["tilt", "no_thickness"]);
    }

    proptest! {
        #[test]
        fn one_slice_taken_out_of_the_middle_is_one_gap(count in 5..40_usize, at in 1..39_usize, step_um in 700..7000_i64) {
            let places = (0..count).map(|index| index as f64 * step_um as f64 / 1e3);
            let mut slices = stack(places);
            slices.remove(1 + at % (count - 2));
            let found = judge(&slices);
            prop_assert_eq!(found.gaps.len(), 1);
            prop_assert_eq!(found.gaps[0].missing, 1);
        }

        #[test]
        fn coverage_never_exceeds_the_extent(places in prop::collection::vec(0..200_000_i64, 2..40)) {
            let mut slices = stack(places.into_iter().map(|um| um as f64 / 1e3));
            slices.sort_unstable();
            let found = judge(&slices);
            let extent = step_mm(&slices[0], &slices[slices.len() - 1]);
            let thickest = typical_steps(&slices).into_iter().fold(0.0, f64::max);
            prop_assert!(found.coverage_mm <= extent + thickest + 1e-9);
        }
    }
}
