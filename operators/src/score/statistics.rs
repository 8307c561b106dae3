//! What a difference is worth: paired tests, corrections for many of them, intervals, agreement of two measurements.
//!
//! All functions are deterministic: draws come from a seed.

use std::num::NonZeroUsize;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// A paired two-sided test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wilcoxon {
    /// Pairs that differ.
    pub pairs: usize,
    /// The lesser sum of ranks of one sign.
    pub statistic: f64,
    /// The probability of a statistic as low or lower if no difference is more likely than its opposite.
    pub p: f64,
}

/// Pairs up to which the distribution is counted out, if no two differences are as large.
const EXACT: usize = 25;

/// Wilcoxon's signed-rank test of paired values. Pairs without a difference are dropped, ties share their rank; exact up to
/// 25 pairs without ties, else by the normal approximation with tie correction and without continuity correction. `None`
/// if no pair differs.
///
/// Source: Wilcoxon 1945; Pratt 1959 for what is dropped.
#[must_use]
pub fn wilcoxon(pairs: &[(f64, f64)]) -> Option<Wilcoxon> {
    let mut differences: Vec<f64> = pairs.iter().map(|(a, b)| a - b).filter(|difference| *difference != 0.0).collect();
    differences.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let n = differences.len();
    let (mut positive, mut negative, mut ties) = (0.0, 0.0, 0.0);
    let mut first = 0;
    while first < n {
        let size =
            differences[first..].iter().take_while(|d| d.abs().total_cmp(&differences[first].abs()).is_eq()).count();
        // The mean of the ranks first + 1 ..= first + size.
        let rank = count(first) + (count(size) + 1.0) / 2.0;
        for difference in &differences[first..first + size] {
            *(if *difference > 0.0 { &mut positive } else { &mut negative }) += rank;
        }
        ties += count(size).powi(3) - count(size);
        first += size;
    }
    if n == 0 {
        return None;
    }
    let statistic = f64::min(positive, negative);
    let p = if n <= EXACT && ties == 0.0 {
        exact(n, statistic)
    } else {
        let n = count(n);
        let variance = n * (n + 1.0) * (2.0 * n + 1.0) / 24.0 - ties / 48.0;
        let z = (statistic - n * (n + 1.0) / 4.0) / variance.sqrt();
        libm::erfc(z.abs() / std::f64::consts::SQRT_2)
    };
    Some(Wilcoxon { pairs: n, statistic, p: p.min(1.0) })
}

/// Twice the share of all signs of ranks `1..=n` whose positive ranks sum to `statistic` at most.
fn exact(n: usize, statistic: f64) -> f64 {
    let most = n * (n + 1) / 2;
    let mut ways = vec![0.0; most + 1];
    ways[0] = 1.0;
    for rank in 1..=n {
        for sum in (rank..=most).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    let low: f64 = ways.iter().enumerate().filter(|(sum, _)| count(*sum) <= statistic).map(|(_, ways)| ways).sum();
    2.0 * low / ways.iter().sum::<f64>()
}

/// Holm's correction: the p of each of several tests as if it were the only one. The order of `p` stays.
///
/// Source: Holm 1979.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut least = 0.0_f64;
    for (place, test) in order.into_iter().enumerate() {
        least = least.max((p[test] * count(p.len() - place)).min(1.0));
        corrected[test] = least;
    }
    corrected
}

/// The interval that holds a statistic of resampled cases with a probability of 95 %: percentiles 2.5 and 97.5 of `draws`
/// resamplings of the cases with replacement. Draws for which the statistic has no value are left out; `None` if all are.
///
/// Source: Efron 1979.
#[must_use]
pub fn bootstrap<T: Clone>(
    cases: &[T],
    statistic: impl Fn(&[T]) -> Option<f64>,
    draws: usize,
    seed: u64,
) -> Option<[f64; 2]> {
    let len = NonZeroUsize::new(cases.len())?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut values: Vec<f64> = (0..draws)
        .filter_map(|_| {
            let drawn: Vec<T> = (0..len.get()).map(|_| cases[below(&mut random, len)].clone()).collect();
            statistic(&drawn)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    Some([percentile(&values, 2.5)?, percentile(&values, 97.5)?])
}

/// A whole number below `len`, each as likely to within 2^-32.
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "the high half of a product of 64 bits")]
fn below(random: &mut ChaCha8Rng, len: NonZeroUsize) -> usize {
    ((u128::from(random.next_u64()) * len.get() as u128) >> 64) as usize
}

/// The value below which `percent` % of sorted values lie, between two of them by line. `None` without values.
#[must_use]
#[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let place = count(sorted.len().checked_sub(1)?) * percent / 100.0;
    let low = sorted.get(place.floor() as usize)?;
    let high = sorted.get(place.ceil() as usize)?;
    Some(low + (high - low) * place.fract())
}

/// How two measurements of the same things agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// The intraclass correlation ICC(2,1): two-way random effects, absolute agreement, one measurement. `None` where
    /// nothing varies.
    pub icc: Option<f64>,
    /// The mean of first less second.
    pub bias: f64,
    /// Bias less and plus 1.96 standard deviations of the differences: 95 % of them lie between.
    pub limits: [f64; 2],
}

/// The agreement of pairs; `None` of fewer than two.
///
/// Source: Shrout and Fleiss 1979, case 2; Bland and Altman 1986.
#[must_use]
pub fn agreement(pairs: &[(f64, f64)]) -> Option<Agreement> {
    let n = count(pairs.len());
    if pairs.len() < 2 {
        return None;
    }
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>() / n;
    let [first, second] = [mean(&|pair| pair.0), mean(&|pair| pair.1)];
    let all = (first + second) / 2.0;
    let square = |value: f64| value * value;
    // Mean squares between things, between measurements, and of what is left.
    let things = 2.0 * pairs.iter().map(|(a, b)| square((a + b) / 2.0 - all)).sum::<f64>() / (n - 1.0);
    let measurements = n * (square(first - all) + square(second - all));
    let total: f64 = pairs.iter().map(|(a, b)| square(a - all) + square(b - all)).sum();
    let left = (total - things * (n - 1.0) - measurements) / (n - 1.0);
    let spread = things + left + 2.0 * (measurements - left) / n;
    let bias = first - second;
    let deviation = (pairs.iter().map(|(a, b)| square(a - b - bias)).sum::<f64>() / (n - 1.0)).sqrt();
    Some(Agreement {
        icc: (spread > 0.0).then(|| (things - left) / spread),
        bias,
        limits: [bias - 1.96 * deviation, bias + 1.96 * deviation],
    })
}

#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts stay below 2^53")]
fn count(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn signs_are_counted_out(differences in vec(-9.0_f64..9.0, 1..9)) {
            let pairs: Vec<(f64, f64)> = differences.iter().map(|d| (*d, 0.0)).collect();
            let test = wilcoxon(&pairs).expect("differences");
            // Every way to give the ranks signs, one by one.
            let n = pairs.len();
            let sums = (0..1_u32 << n).map(|signs| (0..n).filter(|rank| signs >> rank & 1 == 1).map(|rank| count(rank) + 1.0).sum::<f64>());
            let low = sums.filter(|sum| *sum <= test.statistic).count();
            let expected = (2.0 * count(low) / f64::from(1_u32 << n)).min(1.0);
            prop_assert!((test.p - expected).abs() < 1e-12, "{} for {expected}", test.p);
        }

        #[test]
        fn a_test_is_blind_to_which_is_first(pairs in vec((0.0_f64..5.0, 0.0_f64..5.0), 1..60)) {
            let swapped: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (*b, *a)).collect();
            prop_assert_eq!(wilcoxon(&pairs), wilcoxon(&swapped));
        }

        #[test]
        fn holm_is_between_itself_and_bonferroni_and_keeps_the_order(p in vec(0.0_f64..1.0, 1..9)) {
            let corrected = holm(&p);
            for (one, (raw, corrected_one)) in p.iter().zip(&corrected).enumerate() {
                prop_assert!(raw <= corrected_one && *corrected_one <= (raw * count(p.len())).min(1.0) + 1e-12);
                for (other, raw_other) in p.iter().enumerate() {
                    prop_assert!(raw > raw_other || corrected[one] <= corrected[other]);
                }
            }
        }

        #[test]
        fn an_interval_lies_within_the_values_and_repeats(values in vec(-5.0_f64..5.0, 1..30), seed: u64) {
            let mean = |drawn: &[f64]| Some(drawn.iter().sum::<f64>() / count(drawn.len()));
            let [low, high] = bootstrap(&values, mean, 200, seed).expect("values");
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
            prop_assert!(least - 1e-9 <= low && low <= high && high <= most + 1e-9);
            prop_assert_eq!(bootstrap(&values, mean, 200, seed), Some([low, high]));
        }

        #[test]
        fn what_agrees_wholly_has_an_icc_of_one(values in vec(-5.0_f64..5.0, 2..30)) {
            let pairs: Vec<(f64, f64)> = values.iter().map(|value| (*value, *value)).collect();
            let agreement = agreement(&pairs).expect("pairs");
            prop_assert!(agreement.icc.is_none_or(|icc| (icc - 1.0).abs() < 1e-9));
            prop_assert!(agreement.bias.abs() < 1e-12 && agreement.limits[0].abs() < 1e-9);
        }
    }

    #[test]
    fn a_shift_costs_agreement_but_not_spread() {
        let pairs: Vec<(f64, f64)> = (0..9).map(|value| (f64::from(value) + 2.0, f64::from(value))).collect();
        let agreement = agreement(&pairs).expect("pairs");
        assert_eq!((agreement.bias, agreement.limits), (2.0, [2.0, 2.0]));
        assert!(agreement.icc.is_some_and(|icc| icc < 0.9));
    }

    #[test]
    fn nothing_has_no_test_and_no_interval() {
        assert_eq!(wilcoxon(&[(1.0, 1.0)]), None);
        assert_eq!(agreement(&[(1.0, 2.0)]), None);
        assert_eq!(bootstrap(&[] as &[f64], |_| Some(0.0), 10, 0), None);
        assert_eq!(bootstrap(&[1.0], |_| None, 10, 0), None);
        assert_eq!(percentile(&[], 50.0), None);
    }
}
