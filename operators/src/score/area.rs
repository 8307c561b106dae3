//! Slices by the area of the hemorrhage in them: how small a bleed can be and still be found.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::auc;
use super::tally::Mean;

/// The largest areas of all classes but the last, mm²: of 0.5, 1.1 and 2.3 cm across.
const BOUNDS_MM2: [f64; 3] = [20.0, 100.0, 400.0];

/// Scores on slices whose hemorrhage is about as large.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Area {
    /// The largest area, mm²; `None` for what is larger than all bounds.
    pub up_to_mm2: Option<f64>,
    /// Slices with an area above the bound before and up to this one.
    pub slices: u64,
    /// Share of them at or above the gate.
    pub sensitivity: Option<f64>,
    /// Area under the ROC curve: they against all slices whose mask is empty.
    pub auc: Option<f64>,
    /// Mean over them of the Dice of the segmentation.
    pub dice: Option<f64>,
}

impl fmt::Display for Area {
    /// `up to 100 mm²`, or `more`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.up_to_mm2 {
            Some(bound) => write!(f, "up to {bound} mm²"),
            None => f.write_str("more"),
        }
    }
}

/// Sums toward [`Area`]s.
#[derive(Default)]
pub(super) struct Areas {
    classes: [Class; BOUNDS_MM2.len() + 1],
    negatives: Vec<f32>,
}

#[derive(Default)]
struct Class {
    probabilities: Vec<f32>,
    found: Mean,
    dice: Mean,
}

impl Areas {
    /// Adds a slice without a hemorrhage.
    pub(super) fn add_negative(&mut self, probability: f32) {
        self.negatives.push(probability);
    }

    /// Adds a slice with `mm2` of hemorrhage.
    pub(super) fn add(&mut self, mm2: f64, probability: f32, finding: bool, dice: f64) {
        let class = BOUNDS_MM2.iter().filter(|bound| mm2 > **bound).count();
        let class = &mut self.classes[class];
        class.probabilities.push(probability);
        class.found.add(f64::from(u8::from(finding)));
        class.dice.add(dice);
    }

    /// One for each class, from small to large; none where nobody drew a hemorrhage.
    pub(super) fn scores(&self) -> Vec<Area> {
        if self.classes.iter().all(|class| class.probabilities.is_empty()) {
            return Vec::new();
        }
        let bounds = BOUNDS_MM2.iter().copied().map(Some).chain([None]);
        bounds.zip(&self.classes).map(|(up_to_mm2, class)| class.scores(up_to_mm2, &self.negatives)).collect()
    }
}

impl Class {
    fn scores(&self, up_to_mm2: Option<f64>, negatives: &[f32]) -> Area {
        let scores = [&self.probabilities, negatives].concat();
        let labels = [vec![true; self.probabilities.len()], vec![false; negatives.len()]].concat();
        Area {
            up_to_mm2,
            slices: u64::from(self.found.count),
            sensitivity: self.found.value(),
            auc: auc::auc(&scores, &labels),
            dice: self.dice.value(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_counts_in_the_class_of_its_area_alone() {
        let mut areas = Areas::default();
        [0.1, 0.5].into_iter().for_each(|probability| areas.add_negative(probability));
        areas.add(20.0, 0.3, false, 0.0);
        areas.add(20.1, 0.6, true, 0.4);
        areas.add(100.0, 0.2, false, 0.2);
        areas.add(1e4, 0.9, true, 0.8);
        let scores = areas.scores();
        let class = |class: usize| {
            let Area { up_to_mm2, slices, sensitivity, auc, dice } = &scores[class];
            (*up_to_mm2, *slices, *sensitivity, *auc, dice.map(|dice| (dice * 1e6).round() / 1e6))
        };
        assert_eq!(class(0), (Some(20.0), 1, Some(0.0), Some(0.5), Some(0.0)));
        assert_eq!(class(1), (Some(100.0), 2, Some(0.5), Some(0.75), Some(0.3)));
        assert_eq!(class(2), (Some(400.0), 0, None, None, None));
        assert_eq!(class(3), (None, 1, Some(1.0), Some(1.0), Some(0.8)));
    }

    #[test]
    fn without_a_drawn_hemorrhage_there_is_nothing_to_tell() {
        let mut areas = Areas::default();
        areas.add_negative(0.4);
        assert_eq!(areas.scores(), Vec::new());
    }
}
