//! How well scores tell two classes apart: area under the ROC curve, sensitivity and specificity at a gate, Youden's gate.
//!
//! The area is the probability that a positive scores above a negative, ties counted half (Mann and Whitney; Hanley and
//! McNeil 1982). Scores that are not numbers rank above all others, as `f32::total_cmp` orders them.

use serde::{Deserialize, Serialize};

/// Area under the ROC curve, in `[0, 1]`; `None` unless both classes occur. `scores` and `labels` go in pairs.
#[must_use]
pub fn auc(scores: &[f32], labels: &[bool]) -> Option<f64> {
    let groups = groups(scores, labels);
    let [positives, negatives] = totals(&groups);
    if positives == 0 || negatives == 0 {
        return None;
    }
    // Twice the number of pairs in which the positive scores higher; a tie counts one.
    let (mut below, mut twice) = (0_u128, 0_u128);
    for group in groups {
        let (yes, no) = (u128::from(group.positives), u128::from(group.negatives));
        twice += yes * (2 * below + no);
        below += no;
    }
    let pairs = u128::from(positives) * u128::from(negatives);
    #[allow(clippy::as_conversions, reason = "a ratio of counts: rounding them to 53 bits is the result's precision")]
    Some(twice as f64 / (2.0 * pairs as f64))
}

/// Decisions against the truth: what a gate did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Positives at or above the gate.
    pub true_positives: u64,
    /// Positives below it.
    pub false_negatives: u64,
    /// Negatives at or above it.
    pub false_positives: u64,
    /// Negatives below it.
    pub true_negatives: u64,
}

impl Confusion {
    /// The decisions of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            true_positives: self.true_positives + other.true_positives,
            false_negatives: self.false_negatives + other.false_negatives,
            false_positives: self.false_positives + other.false_positives,
            true_negatives: self.true_negatives + other.true_negatives,
        }
    }

    /// Counts decisions: a score at or above `gate` is a finding.
    #[must_use]
    pub fn at(gate: f32, scores: &[f32], labels: &[bool]) -> Self {
        let mut counts = Self::default();
        for (score, label) in scores.iter().zip(labels) {
            let slot = match (*label, *score >= gate) {
                (true, true) => &mut counts.true_positives,
                (true, false) => &mut counts.false_negatives,
                (false, true) => &mut counts.false_positives,
                (false, false) => &mut counts.true_negatives,
            };
            *slot += 1;
        }
        counts
    }

    /// Share of the positives that were found; `None` without positives.
    #[must_use]
    pub fn sensitivity(&self) -> Option<f64> {
        share(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Share of the negatives that were left alone; `None` without negatives.
    #[must_use]
    pub fn specificity(&self) -> Option<f64> {
        share(self.true_negatives, self.true_negatives + self.false_positives)
    }
}

/// The ROC curve: from (0, 0) to (1, 1), false positive rate and sensitivity at each gate, the strictest first. Empty
/// unless both classes occur.
#[must_use]
pub fn roc(scores: &[f32], labels: &[bool]) -> Vec<[f64; 2]> {
    let groups = groups(scores, labels);
    let [positives, negatives] = totals(&groups);
    let (mut yes, mut no) = (0, 0);
    let mut curve = Vec::new();
    for group in groups.iter().rev() {
        let (Some(x), Some(y)) = (share(no, negatives), share(yes, positives)) else { return Vec::new() };
        curve.push([x, y]);
        yes += group.positives;
        no += group.negatives;
    }
    if !curve.is_empty() {
        curve.push([1.0, 1.0]);
    }
    curve
}

/// Youden's gate: the score at which sensitivity + specificity is greatest, the highest such score; `None` unless both
/// classes occur.
#[must_use]
pub fn youden(scores: &[f32], labels: &[bool]) -> Option<f32> {
    let groups = groups(scores, labels);
    let [positives, negatives] = totals(&groups);
    let (mut yes, mut no) = (0, 0);
    let mut best: Option<(f64, f32)> = None;
    for group in groups.iter().rev() {
        yes += group.positives;
        no += group.negatives;
        let index = share(yes, positives)? - share(no, negatives)?;
        if best.is_none_or(|(most, _)| index > most) {
            best = Some((index, group.score));
        }
    }
    best.map(|(_, score)| score)
}

/// The share of positives above the lowest gate at which at least `specificity` of the negatives are left alone; `None`
/// unless both classes occur.
#[must_use]
pub fn sensitivity_at(scores: &[f32], labels: &[bool], specificity: f64) -> Option<f64> {
    let groups = groups(scores, labels);
    let [positives, negatives] = totals(&groups);
    share(negatives, negatives)?;
    let (mut yes, mut no) = (0, 0);
    for group in groups.iter().rev() {
        if share(negatives - no - group.negatives, negatives)? < specificity {
            break;
        }
        yes += group.positives;
        no += group.negatives;
    }
    share(yes, positives)
}

/// An interval of 95 % for the area under the curve of scores that come in cases: cases are drawn, as many as there are, with
/// replacement (Efron 1979). `None` unless both classes occur.
#[must_use]
pub fn auc_interval(cases: &[(Vec<f32>, Vec<bool>)], draws: usize, seed: u64) -> Option<[f64; 2]> {
    let mut sorted: Vec<(f32, bool, usize)> = Vec::new();
    for (case, (scores, labels)) in cases.iter().enumerate() {
        sorted.extend(scores.iter().zip(labels).map(|(score, label)| (*score, *label, case)));
    }
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The area of drawn cases, without sorting again: each slice counts as often as its case was drawn.
    let area = |drawn: &[usize]| {
        let mut times = vec![0_u64; cases.len()];
        drawn.iter().for_each(|case| times[*case] += 1);
        let (mut below, mut yes, mut twice) = (0, 0, 0);
        for group in sorted.chunk_by(|a, b| a.0 >= b.0) {
            let count =
                |class: bool| group.iter().filter(|slice| slice.1 == class).map(|slice| times[slice.2]).sum::<u64>();
            let (positives, negatives) = (count(true), count(false));
            twice += positives * (2 * below + negatives);
            below += negatives;
            yes += positives;
        }
        share(twice, 2 * yes * below)
    };
    let cases: Vec<usize> = (0..cases.len()).collect();
    super::statistics::bootstrap(&cases, area, draws, seed)
}

/// Probabilities in ten bins of equal width: their sum, the positives and the count of each.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bin of ten")]
fn bins(probabilities: &[f32], labels: &[bool]) -> [(f64, u32, u32); 10] {
    let mut bins = [(0.0, 0_u32, 0_u32); 10];
    for (probability, label) in probabilities.iter().zip(labels) {
        let bin = &mut bins[((probability.clamp(0.0, 1.0) * 10.0) as usize).min(9)];
        bin.0 += f64::from(*probability);
        bin.1 += u32::from(*label);
        bin.2 += 1;
    }
    bins
}

/// How probabilities compare with what happened: the mean over probabilities of the distance between them and the share of
/// positives, in ten bins of equal width; `None` of nothing.
///
/// Source: Naeini et al. 2015 (expected calibration error).
#[must_use]
pub fn calibration_error(probabilities: &[f32], labels: &[bool]) -> Option<f64> {
    let bins = bins(probabilities, labels);
    let all: u32 = bins.iter().map(|bin| bin.2).sum();
    let off: f64 = bins.iter().map(|(sum, positives, _)| (sum - f64::from(*positives)).abs()).sum();
    (all > 0).then(|| off / f64::from(all))
}

/// Mean probability and share of positives of each of ten bins of equal width that is not empty.
#[must_use]
pub fn reliability(probabilities: &[f32], labels: &[bool]) -> Vec<[f64; 2]> {
    let bins = bins(probabilities, labels).into_iter().filter(|(_, _, count)| *count > 0);
    bins.map(|(sum, positives, count)| [sum / f64::from(count), f64::from(positives) / f64::from(count)]).collect()
}

/// `part / whole`, or `None` of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    #[allow(clippy::as_conversions, reason = "counts below 2^53")]
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// What shares one score.
struct Group {
    score: f32,
    positives: u64,
    negatives: u64,
}

/// Groups of equal scores, the lowest first.
fn groups(scores: &[f32], labels: &[bool]) -> Vec<Group> {
    let mut pairs: Vec<(f32, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut groups: Vec<Group> = Vec::new();
    for (score, label) in pairs {
        let (positives, negatives) = (u64::from(label), u64::from(!label));
        match groups.last_mut() {
            // 0 and -0 are one score.
            Some(group) if group.score >= score || group.score.total_cmp(&score).is_eq() => {
                group.positives += positives;
                group.negatives += negatives;
            }
            _ => groups.push(Group { score, positives, negatives }),
        }
    }
    groups
}

fn totals(groups: &[Group]) -> [u64; 2] {
    groups.iter().fold([0, 0], |[yes, no], group| [yes + group.positives, no + group.negatives])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: over all pairs.
    fn by_pairs(scores: &[f32], labels: &[bool]) -> Option<f64> {
        let of =
            |class: bool| scores.iter().zip(labels).filter(move |(_, label)| **label == class).map(|(score, _)| score);
        let (mut won, mut pairs) = (0.0, 0.0);
        for positive in of(true) {
            for negative in of(false) {
                pairs += 1.0;
                won += if positive > negative {
                    1.0
                } else if positive < negative {
                    0.0
                } else {
                    0.5
                };
            }
        }
        (pairs > 0.0).then(|| won / pairs)
    }

    /// Few distinct scores, so that ties are common.
    fn cases() -> impl Strategy<Value = (Vec<f32>, Vec<bool>)> {
        proptest::collection::vec(((-3_i8..4).prop_map(|n| f32::from(n) / 3.0), any::<bool>()), 0..40)
            .prop_map(|cases| cases.into_iter().unzip())
    }

    proptest! {
        #[test]
        fn the_area_is_its_definition((scores, labels) in cases()) {
            match (auc(&scores, &labels), by_pairs(&scores, &labels)) {
                (Some(fast), Some(slow)) => prop_assert!((fast - slow).abs() < 1e-12, "{fast} against {slow}"),
                (fast, slow) => prop_assert_eq!(fast, slow),
            }
        }

        #[test]
        fn turning_scores_around_turns_the_area_around((scores, labels) in cases()) {
            let turned: Vec<f32> = scores.iter().map(|score| -score).collect();
            if let (Some(area), Some(other)) = (auc(&scores, &labels), auc(&turned, &labels)) {
                prop_assert!((area + other - 1.0).abs() < 1e-12);
            }
        }

        #[test]
        fn the_curve_encloses_the_area((scores, labels) in cases()) {
            let curve = roc(&scores, &labels);
            let enclosed: f64 =
                curve.iter().zip(curve.iter().skip(1)).map(|(a, b)| (b[0] - a[0]) * (a[1] + b[1]) / 2.0).sum();
            if let Some(area) = auc(&scores, &labels) {
                prop_assert!((area - enclosed).abs() < 1e-12, "{area} against {enclosed}");
            } else {
                prop_assert!(curve.is_empty());
            }
        }

        #[test]
        fn no_gate_beats_youdens((scores, labels) in cases()) {
            let index = |gate| {
                let counts = Confusion::at(gate, &scores, &labels);
                Some(counts.sensitivity()? + counts.specificity()?)
            };
            if let Some(gate) = youden(&scores, &labels) {
                prop_assert!(scores.iter().all(|other| index(*other) <= index(gate).map(|best| best + 1e-12)));
            }
        }
    }

    proptest! {
        #[test]
        fn no_gate_finds_more_at_the_same_specificity((scores, labels) in cases(), specificity in 0.0_f64..=1.0) {
            let at = |gate: f32| Confusion::at(gate, &scores, &labels);
            let gates = scores.iter().copied().chain([f32::INFINITY]).map(at);
            let kept = gates.filter(|counts| counts.specificity().is_some_and(|share| share >= specificity));
            let most = kept.filter_map(|counts| counts.sensitivity()).fold(None, |most: Option<f64>, s| {
                Some(most.map_or(s, |most| most.max(s)))
            });
            prop_assert_eq!(sensitivity_at(&scores, &labels, specificity), most);
        }

        #[test]
        fn the_interval_of_cases_that_are_one_holds_the_area((scores, labels) in cases()) {
            let area = auc(&scores, &labels);
            let same = vec![(scores, labels); 3];
            match (auc_interval(&same, 20, 1), area) {
                (Some([low, high]), Some(area)) => prop_assert!((low - area).abs() < 1e-12 && (high - area).abs() < 1e-12),
                (interval, area) => prop_assert_eq!(interval.map(|_| ()), area.map(|_| ())),
            }
        }

        #[test]
        fn what_always_says_the_share_is_calibrated(positives in 0_usize..20, negatives in 0_usize..20) {
            prop_assume!(positives + negatives > 0);
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let share = positives as f32 / (positives + negatives) as f32;
            let labels = [vec![true; positives], vec![false; negatives]].concat();
            let error = calibration_error(&vec![share; labels.len()], &labels).expect("some");
            prop_assert!(error < 1e-6);
            let wrong: Vec<f32> = labels.iter().map(|label| f32::from(u8::from(!label))).collect();
            prop_assert_eq!(calibration_error(&wrong, &labels), Some(1.0));
        }
    }

    #[test]
    fn one_class_has_no_area() {
        assert_eq!(auc(&[0.1, 0.9], &[true, true]), None);
        assert_eq!(auc(&[], &[]), None);
        assert_eq!(Confusion::at(0.5, &[0.1], &[true]).specificity(), None);
    }

    #[test]
    fn a_score_at_the_gate_is_a_finding() {
        let counts = Confusion::at(0.5, &[0.5, 0.5, 0.4], &[true, false, true]);
        assert_eq!(counts, Confusion { true_positives: 1, false_negatives: 1, false_positives: 1, true_negatives: 0 });
    }
}
