//! Arithmetic of measurements, and what the system says of this process.

use std::fs;

use serde::Serialize;

/// Where measurements of one thing lie. Quantiles are measurements (nearest rank), not interpolated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) count: usize,
    pub(super) p10: f64,
    pub(super) median: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
}

impl Spread {
    /// The spread of these measurements; zeros if there is none.
    pub(super) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let quantile = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).copied().unwrap_or_default()
        };
        let [p10, median, p90, p99] = [10, 50, 90, 99].map(quantile);
        Self { count: sorted.len(), p10, median, p90, p99 }
    }
}

/// The slope of the straight line with the least squares through points; 0 for fewer than two places.
pub(super) fn slope(points: &[(f64, f64)]) -> f64 {
    let count = float(points.len()).max(1.0);
    let (mean_x, mean_y) =
        (points.iter().map(|(x, _)| x).sum::<f64>() / count, points.iter().map(|(_, y)| y).sum::<f64>() / count);
    let above: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let below: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if below > 0.0 { above / below } else { 0.0 }
}

/// A count as a number to reckon with.
#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts stay below 2^53")]
pub(super) fn float(count: usize) -> f64 {
    count as f64
}

/// One number by another; 0 if there is nothing to divide by.
pub(super) fn ratio(above: f64, below: f64) -> f64 {
    if below > 0.0 { above / below } else { 0.0 }
}

/// Processor time of all living threads of this process, seconds; 0 where the system does not say.
pub(super) fn cpu_seconds() -> f64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let line = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Resident memory of this process, MiB; 0 where the system does not say.
pub(super) fn resident_mib() -> f64 {
    memory_mib("VmRSS:")
}

/// The most resident memory of this process since [`forget_peak`], MiB; 0 where the system does not say.
pub(super) fn peak_mib() -> f64 {
    memory_mib("VmHWM:")
}

/// Lets [`peak_mib`] begin anew, where the system can.
pub(super) fn forget_peak() {
    // Without it the peak is that of the whole run, which is no less.
    fs::write("/proc/self/clear_refs", "5").ok();
}

fn memory_mib(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_are_measurements() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let Spread { count, p10, median, p90, p99 } = Spread::of(&values);
        assert_eq!((count, [p10, median, p90, p99]), (100, [10.0, 50.0, 90.0, 99.0]));
        assert_eq!(Spread::of(&[7.0]), Spread { count: 1, p10: 7.0, median: 7.0, p90: 7.0, p99: 7.0 });
        assert_eq!(Spread::of(&[]), Spread::default());
    }

    #[test]
    fn a_process_has_memory_and_has_worked() {
        assert!(resident_mib() > 1.0 && cpu_seconds() > 0.0);
    }

    proptest! {
        #[test]
        fn the_slope_of_a_line_is_its_own(a in -9.0..9.0_f64, b in -9.0..9.0_f64, count in 2_u8..40) {
            let line: Vec<(f64, f64)> = (0..count).map(f64::from).map(|x| (x, a * x + b)).collect();
            prop_assert!((slope(&line) - a).abs() < 1e-9);
        }
    }
}
