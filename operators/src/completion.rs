//! Completion rules: which signs of completeness a node gives by itself, and when.
//!
//! The rules see what comes in and what the clock says, and answer with changes. Those are inputs of the graph like any
//! other and are logged, so that a replay needs no clock. Times are durations since any fixed instant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record::{Change, SeriesKey, Sign};

/// What a node takes as a sign that a series is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompletionRules {
    /// The end of the association that the series came over.
    pub association_end: bool,
    /// Nothing came for so long, seconds. 0: never.
    pub quiet_seconds: f64,
    /// The slices cover so much along their normal, without a gap, mm. 0: never.
    pub coverage_mm: f64,
}

impl Default for CompletionRules {
    fn default() -> Self {
        Self { association_end: true, quiet_seconds: 60.0, coverage_mm: 0.0 }
    }
}

/// Watches the series that come in.
#[derive(Clone, Debug, Default)]
pub struct Completion {
    rules: CompletionRules,
    /// When each series that was not yet quiet last had an arrival.
    last: BTreeMap<SeriesKey, Duration>,
    /// The same, in the order of time.
    silent_since: BTreeSet<(Duration, SeriesKey)>,
}

impl Completion {
    /// Watches by these rules.
    #[must_use]
    pub fn new(rules: CompletionRules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// An instance of a series came at `now`; `expected` instances were announced with it, if any were.
    pub fn arrived(&mut self, key: &SeriesKey, expected: Option<u32>, now: Duration) -> Vec<Change> {
        let before = self.last.insert(key.clone(), now);
        if let Some(before) = before {
            self.silent_since.remove(&(before, key.clone()));
        }
        self.silent_since.insert((now, key.clone()));
        let coverage = (before.is_none() && self.rules.coverage_mm > 0.0)
            .then(|| Sign::Coverage { um: micrometers(self.rules.coverage_mm) });
        let expected = expected.map(|instances| Sign::Expected { instances });
        expected.into_iter().chain(coverage).map(|sign| Change::Signed { key: key.clone(), sign }).collect()
    }

    /// Forgets series: nothing is told of them.
    pub fn forget(&mut self, goes: impl Fn(&SeriesKey) -> bool) {
        self.last.retain(|key, _| !goes(key));
        self.silent_since.retain(|(_, key)| !goes(key));
    }

    /// The association ended that these series came over.
    #[must_use]
    pub fn association_ended<'a>(&self, keys: impl IntoIterator<Item = &'a SeriesKey>) -> Vec<Change> {
        let signed = |key: &SeriesKey| Change::Signed { key: key.clone(), sign: Sign::AssociationEnded };
        keys.into_iter().filter(|_| self.rules.association_end).map(signed).collect()
    }

    /// It is `now`: the series that have become quiet, each told once for each silence.
    pub fn pass(&mut self, now: Duration) -> Vec<Change> {
        let Some(quiet) = self.quiet() else { return Vec::new() };
        let mut changes = Vec::new();
        while let Some((since, _)) = self.silent_since.first()
            && since.saturating_add(quiet) <= now
            && let Some((_, key)) = self.silent_since.pop_first()
        {
            self.last.remove(&key);
            changes.push(Change::Signed { key, sign: Sign::Quiet });
        }
        changes
    }

    /// When [`Self::pass`] has something to say next, if nothing comes in until then.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        Some(self.silent_since.first()?.0.saturating_add(self.quiet()?))
    }

    fn quiet(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.rules.quiet_seconds).ok().filter(|quiet| !quiet.is_zero())
    }
}

#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "`as` from float to integer saturates")]
fn micrometers(mm: f64) -> i64 {
    (mm * 1e3).round() as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{SeriesUid, StudyUid};

    fn key(number: u8) -> SeriesKey {
        let uid = format!("1.{number}");
        SeriesKey { study: StudyUid::new("1").expect("a UID"), series: SeriesUid::new(&uid).expect("a UID") }
    }

    fn watch(quiet_seconds: f64, coverage_mm: f64) -> Completion {
        Completion::new(CompletionRules { association_end: true, quiet_seconds, coverage_mm })
    }

    #[test]
    fn announced_numbers_and_coverage_become_signs_and_the_end_of_an_association_too() {
        let mut watch = watch(0.0, 140.0);
        let signs = |changes: Vec<Change>| -> Vec<Sign> {
            changes
                .into_iter()
                .filter_map(|c| if let Change::Signed { sign, .. } = c { Some(sign) } else { None })
                .collect()
        };
        let first = signs(watch.arrived(&key(1), Some(32), Duration::ZERO));
        assert_eq!(first, [Sign::Expected { instances: 32 }, Sign::Coverage { um: 140_000 }]);
        assert!(watch.arrived(&key(1), None, Duration::ZERO).is_empty(), "coverage is asked for once");
        assert_eq!(signs(watch.association_ended([&key(1)])), [Sign::AssociationEnded]);
        assert!(watch.pass(Duration::MAX).is_empty() && watch.due().is_none(), "no quiet time, no clock");
    }

    proptest! {
        /// What is told in the end: every silence of at least the quiet time, once.
        #[test]
        fn every_silence_is_told_once(mut arrivals in prop::collection::vec((0_u64..100, 0_u8..3), 0..30), quiet in 1_u64..20) {
            arrivals.sort_unstable();
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let mut watch = watch(quiet as f64, 0.0);
            let mut told = 0;
            for (now, number) in &arrivals {
                told += watch.pass(Duration::from_secs(*now)).len();
                watch.arrived(&key(*number), None, Duration::from_secs(*now));
            }
            told += watch.pass(Duration::from_secs(1000)).len();
            let mut silences = 0;
            for number in 0..3 {
                let times: Vec<u64> = arrivals.iter().filter(|(_, n)| *n == number).map(|(now, _)| *now).collect();
                silences += times.windows(2).filter(|pair| pair[1] - pair[0] >= quiet).count() + usize::from(!times.is_empty());
            }
            prop_assert_eq!(told, silences);
            prop_assert!(watch.due().is_none() && watch.pass(Duration::MAX).is_empty());
        }
    }
}
