//! Prevalence: series, positives, volume and slices by scanner model and hour.
//!
//! The sums are the difference of the collection itself, so that an update costs an addition, however many series a
//! scanner has seen in the hour.

use std::collections::BTreeSet;
use std::sync::Arc;

use differential_dataflow::operators::CountTotal;
use operators::plumbing::Collection;
use operators::record::{Outcome, Role};
use serde::{Deserialize, Serialize};

use super::whole;

/// What a scanner model has sent in an hour, as its active results have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Prevalence {
    /// Manufacturer's Model Name, or `unknown`.
    pub scanner: Arc<str>,
    /// The hour of acquisition, hours since 1970 by the scanner's own clock; `None` for series without a time.
    pub hour: Option<i64>,
    /// Series.
    pub series: u64,
    /// Those that are positive.
    pub positive: u64,
    /// The volume of all segmenter's masks, microliters.
    pub volume_ul: u64,
    /// Slices.
    pub slices: u64,
}

impl Prevalence {
    /// The mean volume of a series, mL; `None` without series.
    #[must_use]
    pub fn mean_volume_ml(&self) -> Option<f64> {
        super::ratio(self.volume_ul, 1000 * self.series)
    }

    /// The share of series that are positive; `None` without series.
    #[must_use]
    pub fn positive_share(&self) -> Option<f64> {
        super::ratio(self.positive, self.series)
    }
}

/// Hours since 1970.
fn hour(outcome: &Outcome) -> Option<i64> {
    outcome.acquired_s.map(|seconds| seconds.div_euclid(3600))
}

/// The definition: what [`prevalence`] must equal.
#[must_use]
pub fn reference(outcomes: &[Outcome]) -> BTreeSet<Prevalence> {
    let active = || outcomes.iter().filter(|outcome| outcome.role == Role::Active);
    let group = |of: &Outcome| {
        let (scanner, hour_of) = (Arc::clone(&of.scanner), hour(of));
        let empty = Prevalence { scanner, hour: hour_of, series: 0, positive: 0, volume_ul: 0, slices: 0 };
        let alike = active().filter(|other| other.scanner == of.scanner && hour(other) == hour_of);
        alike.fold(empty, |sums, outcome| Prevalence {
            series: sums.series + 1,
            positive: sums.positive + u64::from(outcome.positive),
            volume_ul: sums.volume_ul + outcome.volume_ul,
            slices: sums.slices + u64::from(outcome.slices),
            ..sums
        })
    };
    active().map(group).collect()
}

/// Maintains the sums of the active outcomes. Series, positives, volume and slices are the parts of the difference.
#[must_use]
pub fn prevalence<'scope>(outcomes: Collection<'scope, Outcome>) -> Collection<'scope, Prevalence> {
    outcomes
        .filter(|outcome| outcome.role == Role::Active)
        .explode(|outcome| {
            let volume_ul = isize::try_from(outcome.volume_ul).unwrap_or(isize::MAX);
            let slices = isize::try_from(outcome.slices).unwrap_or(isize::MAX);
            let hour = hour(&outcome);
            Some(((outcome.scanner, hour), (1_isize, isize::from(outcome.positive), volume_ul, slices)))
        })
        .count_total()
        .map(|((scanner, hour), (series, positive, volume_ul, slices))| {
            let [series, positive, volume_ul, slices] = [series, positive, volume_ul, slices].map(whole);
            Prevalence { scanner, hour, series, positive, volume_ul, slices }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::law;

    #[test]
    fn is_its_reference_at_every_tick() {
        law::holds(prevalence, reference);
    }

    #[test]
    fn an_hour_begins_at_its_first_second_also_before_1970() {
        let at = |seconds| hour(&Outcome { acquired_s: Some(seconds), ..law::outcome("1", "1", Role::Active) });
        assert_eq!([-1, 0, 3599, 3600].map(at), [Some(-1), Some(0), Some(0), Some(1)]);
    }

    #[test]
    fn the_mean_is_over_all_series() {
        let row = Prevalence { scanner: "a".into(), hour: None, series: 4, positive: 1, volume_ul: 6000, slices: 1 };
        assert_eq!((row.mean_volume_ml(), row.positive_share()), (Some(1.5), Some(0.25)));
    }
}
