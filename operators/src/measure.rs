//! Measurements of a series: volume, probability, priority.
//!
//! Source of the volume: voxels times the area of a pixel times the slab that the slice stands for
//! ([`crate::geometry::slabs_mm`]), so that unequal steps, overlaps and gaps need no special case. Nothing is measured in
//! a hole.

use serde::{Deserialize, Serialize};

use crate::geometry;
use crate::record::Slice;

/// The volume, mL, of `voxels[i]` voxels in each of the sorted `slices[i]`. A step wider than `max_gap_mm` holds none.
#[must_use]
pub fn volume_ml(slices: &[Slice], voxels: &[usize], max_gap_mm: f64) -> f64 {
    let slabs = geometry::slabs_mm(slices, max_gap_mm);
    let parts = slices.iter().zip(voxels).zip(slabs);
    parts.map(|((slice, voxels), slab)| geometry::count(*voxels) * slice.geometry.pixel_area_mm2() * slab).sum::<f64>()
        / 1e3
}

/// The probability of a series: the mean of its three highest slice probabilities, or of all if there are fewer; 0 without
/// a slice. One slice alone cannot call a series, three neighbors can.
#[must_use]
pub fn series_probability(slices: &[f32]) -> f32 {
    let mut highest = slices.to_vec();
    highest.sort_unstable_by(|a, b| b.total_cmp(a));
    highest.truncate(3);
    let (sum, count) =
        highest.iter().fold((0.0, 0.0_f32), |(sum, count), probability| (sum + probability, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

/// How soon a person should look. The most urgent comes first in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// At once.
    Stat,
    /// Before the others.
    High,
    /// In turn.
    Routine,
}

impl Priority {
    /// The fixed word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::High => "high",
            Self::Routine => "routine",
        }
    }
}

/// At or above it, a positive series is so beyond doubt, whatever the size of the bleed.
pub const CERTAIN: f32 = 0.9;
/// A bleed of this volume, mL, is urgent.
pub const URGENT_ML: f64 = 1.0;

/// Whether a series of this probability is positive by its model's gate. What is one model's usual probability of a healthy head is
/// another's of a bleed: only the gate tells them apart.
#[must_use]
pub fn is_positive(probability: f32, gate: f32) -> bool {
    probability >= gate
}

/// The priority of a series by its probability, its model's gate and the volume of its masks.
///
/// | priority | when |
/// |---|---|
/// | stat | positive, and either >= 1 mL or a probability >= 0.9 |
/// | high | either positive or >= 1 mL |
/// | routine | neither |
#[must_use]
pub fn priority(probability: f32, gate: f32, volume_ml: f64) -> Priority {
    let (positive, large) = (is_positive(probability, gate), volume_ml >= URGENT_ML);
    if positive && (large || probability >= CERTAIN) {
        Priority::Stat
    } else if positive || large {
        Priority::High
    } else {
        Priority::Routine
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::tests::{axial, placed, stack};

    #[test]
    fn a_box_has_its_volume_whatever_the_steps_and_the_tilt() {
        // 16 pixels of 0.5 mm are 4 mm2; slabs of 4, 4.5, 5 mm stand for the three slices.
        let volume = volume_ml(&stack([0.0, 4.0, 9.0]), &[16, 16, 16], 12.0);
        assert!((volume - 4.0 * 13.5 / 1e3).abs() < 1e-12, "{volume} mL");
        let (sin, cos) = 20_f64.to_radians().sin_cos();
        let tilted = |z_mm| placed([0.0, 0.0, z_mm], [1.0, 0.0, 0.0, 0.0, cos, -sin], 0.5, Some(5.0));
        let volume = volume_ml(&[tilted(0.0), tilted(5.0)], &[16, 16], 12.0);
        assert!(
            (volume - 2.0 * 4.0 * 5.0 * cos / 1e3).abs() < 1e-4,
            "the table went 5 mm, the planes less: {volume} mL"
        );
    }

    #[test]
    fn a_hole_has_no_volume() {
        let volume = volume_ml(&stack([0.0, 5.0, 100.0, 105.0]), &[0, 16, 16, 0], 12.0);
        assert!((volume - 2.0 * 4.0 * 5.0 / 1e3).abs() < 1e-12, "{volume} mL");
        assert!(volume_ml(&[axial(0.0, None)], &[16], 12.0).abs() < 1e-12, "no thickness, no volume");
    }

    #[test]
    fn the_three_highest_slices_decide() {
        assert!((series_probability(&[0.1, 0.9, 0.2, 0.7, 0.8]) - 0.8).abs() < 1e-6);
        assert!((series_probability(&[0.2, 0.4]) - 0.3).abs() < 1e-6);
        assert!(series_probability(&[]).abs() < 1e-6);
    }

    #[test]
    fn priorities_change_at_their_bounds() {
        for (gate, below) in [(0.25, 0.24), (0.5, 0.49), (0.75, 0.74)] {
            assert_eq!(priority(0.9, gate, 0.0), Priority::Stat);
            assert_eq!(priority(gate, gate, 1.0), Priority::Stat);
            assert_eq!(priority(gate, gate, 0.99), Priority::High);
            assert_eq!(priority(below, gate, 1.0), Priority::High, "no bleed that was drawn is left for later");
            assert_eq!(priority(below, gate, 0.99), Priority::Routine);
        }
        assert_eq!(priority(0.94, 0.95, 0.0), Priority::Routine);
        assert!(Priority::Stat < Priority::Routine, "the most urgent comes first");
        assert_eq!(
            serde_json::to_string(&Priority::Stat).expect("plain data"),
            format!("\"{}\"", Priority::Stat.word())
        );
    }

    proptest! {
        #[test]
        fn the_order_of_slices_does_not_change_the_probability(mut slices in prop::collection::vec(0.0..1.0_f32, 0..20)) {
            let before = series_probability(&slices);
            slices.reverse();
            prop_assert!((before - series_probability(&slices)).abs() < 1e-7);
        }

        #[test]
        fn a_slice_more_never_lowers_the_volume(cuts in prop::collection::vec(1..100_u32, 1..10), extra in 0..100_usize) {
            let places: Vec<f64> = cuts.iter().scan(0.0, |z, step| { *z += f64::from(*step) / 10.0; Some(*z) }).collect();
            let slices = stack(places);
            let mut voxels = vec![3; slices.len()];
            let before = volume_ml(&slices, &voxels, 12.0);
            voxels[0] += extra;
            prop_assert!(volume_ml(&slices, &voxels, 12.0) >= before);
        }
    }
}
