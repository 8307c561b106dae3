//! Arms against each other on the same patients: paired tests, corrected for their number, and intervals by drawing patients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::statistics::{bootstrap, holm, wilcoxon};
use super::{CaseScore, Mean};

/// Draws of patients for an interval.
const DRAWS: usize = 10_000;

/// Two arms on one score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The first arm.
    pub first: String,
    /// The second.
    pub second: String,
    /// What is compared, by patients.
    pub score: String,
    /// Patients who have it in both.
    pub patients: usize,
    /// The means of both.
    pub means: [f64; 2],
    /// First less second, mean over patients.
    pub difference: f64,
    /// Its interval of 95 %, by drawing patients.
    pub interval: Option<[f64; 2]>,
    /// Wilcoxon's signed-rank test, two-sided; `None` where no patient differs.
    pub p: Option<f64>,
    /// The same, corrected by Holm for all comparisons of a report.
    pub p_corrected: Option<f64>,
}

/// What patients score: mean over their slices that show a hemorrhage.
#[must_use]
pub fn dice_by_patient(cases: &[CaseScore], mask: &str) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<&str, (f64, u32)> = BTreeMap::new();
    for case in cases {
        if let Some((dice, slices)) = case.masks.get(mask).and_then(|mask| Some((mask.dice?, mask.slices))) {
            let sum = sums.entry(&case.patient).or_default();
            *sum = (sum.0 + dice * f64::from(slices), sum.1 + slices);
        }
    }
    sums.into_iter().map(|(patient, (sum, slices))| (patient.to_owned(), sum / f64::from(slices.max(1)))).collect()
}

/// What patients score: mean over their volumes that show a hemorrhage.
#[must_use]
pub fn volume_dice_by_patient(cases: &[CaseScore], mask: &str) -> BTreeMap<String, f64> {
    let mut means: BTreeMap<&str, Mean> = BTreeMap::new();
    for case in cases {
        if let Some(dice) = case.masks.get(mask).and_then(|mask| mask.volume_dice) {
            means.entry(&case.patient).or_default().add(dice);
        }
    }
    means.into_iter().filter_map(|(patient, mean)| Some((patient.to_owned(), mean.value()?))).collect()
}

/// An arm: its name, its cases, and the mask that speaks for it.
#[derive(Clone, Copy, Debug)]
pub struct Contender<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its scores.
    pub cases: &'a [CaseScore],
    /// One of [`super::MASKS`].
    pub mask: &'a str,
}

/// The scores of patients, of the masks of a name.
type ByPatient = fn(&[CaseScore], &str) -> BTreeMap<String, f64>;

/// Every pair of arms, on both scores, over the patients that both have.
#[must_use]
pub fn compare(arms: &[Contender<'_>]) -> Vec<Comparison> {
    let scores: [(&str, ByPatient); 2] =
        [("Dice per slice", dice_by_patient), ("Dice per volume", volume_dice_by_patient)];
    let mut found = Vec::new();
    for (place, first) in arms.iter().enumerate() {
        for second in arms.iter().skip(place + 1) {
            for (score, of) in scores {
                let (a, b) = (of(first.cases, first.mask), of(second.cases, second.mask));
                let pairs: Vec<(f64, f64)> = a.iter().filter_map(|(patient, a)| Some((*a, *b.get(patient)?))).collect();
                found.extend(comparison([first.name, second.name], score, &pairs));
            }
        }
    }
    let tested: Vec<f64> = found.iter().filter_map(|comparison| comparison.p).collect();
    let mut corrected = holm(&tested).into_iter();
    for comparison in found.iter_mut().filter(|comparison| comparison.p.is_some()) {
        comparison.p_corrected = corrected.next();
    }
    found
}

fn comparison([first, second]: [&str; 2], score: &str, pairs: &[(f64, f64)]) -> Option<Comparison> {
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let mut mean = Mean::default();
        pairs.iter().for_each(|pair| mean.add(of(pair)));
        mean.value()
    };
    let means = [mean(&|pair| pair.0)?, mean(&|pair| pair.1)?];
    let difference = |pairs: &[(f64, f64)]| {
        let mut mean = Mean::default();
        pairs.iter().for_each(|(a, b)| mean.add(a - b));
        mean.value()
    };
    Some(Comparison {
        first: first.to_owned(),
        second: second.to_owned(),
        score: score.to_owned(),
        patients: pairs.len(),
        means,
        difference: difference(pairs)?,
        interval: bootstrap(pairs, difference, DRAWS, 0),
        p: wilcoxon(pairs).map(|test| test.p),
        p_corrected: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::CaseMask;
    use super::*;

    fn case(patient: &str, slices: u32, dice: f64) -> CaseScore {
        let mask = CaseMask { slices, dice: Some(dice), volume_dice: Some(dice / 2.0), ..CaseMask::default() };
        let masks = BTreeMap::from([("union".to_owned(), mask)]);
        CaseScore { patient: patient.to_owned(), masks, ..CaseScore::default() }
    }

    #[test]
    fn patients_are_means_of_their_slices_and_of_their_volumes() {
        let cases = [case("p", 3, 0.8), case("p", 1, 0.4), case("q", 2, 0.5), CaseScore::default()];
        let dice = dice_by_patient(&cases, "union");
        assert!(dice.len() == 2 && (dice["p"] - 0.7).abs() < 1e-12 && (dice["q"] - 0.5).abs() < 1e-12);
        assert!((volume_dice_by_patient(&cases, "union")["p"] - 0.3).abs() < 1e-12);
        assert!(dice_by_patient(&cases, "segmentation").is_empty());
    }

    #[test]
    fn a_better_arm_is_told_from_a_worse_one_and_none_from_itself() {
        let arm = |shift: f64| -> Vec<CaseScore> {
            (0..12).map(|n| case(&format!("{n}"), 2, 0.3 + 0.01 * f64::from(n * n) * shift.max(0.1) + shift)).collect()
        };
        let (good, bad) = (arm(0.4), arm(0.0));
        let contender = |name, cases| Contender { name, cases, mask: "union" };
        let arms = [contender("good", &good), contender("bad", &bad), contender("again", &bad[..11])];
        let found = compare(&arms);
        assert_eq!(found.len(), 6);
        let [first, .., last] = &found[..] else { panic!("comparisons") };
        assert!(first.patients == 12 && first.difference > 0.4 && first.interval.is_some_and(|[low, _]| low > 0.3));
        // 12 pairs of one sign: 2 of 2^12 ways; four tests.
        assert!(first.p.is_some_and(|p| (p - 2.0 / 4096.0).abs() < 1e-9), "{first:?}");
        assert!(first.p_corrected.is_some_and(|p| (p - 8.0 / 4096.0).abs() < 1e-9), "{first:?}");
        assert_eq!((last.patients, last.p, last.p_corrected), (11, None, None));
        assert_eq!((last.difference, last.interval), (0.0, Some([0.0, 0.0])));
    }
}
