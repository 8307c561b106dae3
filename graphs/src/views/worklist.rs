//! The worklist: one entry for each study, by its worst series, the most urgent first.
//!
//! No operator sees all studies: an entry's own order is the worklist's, and whoever holds the entries in it has the
//! list. A changed outcome costs a reduction of its own study.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use operators::completeness::Status;
use operators::measure::Priority;
use operators::plumbing::Collection;
use operators::record::{Outcome, Role, SeriesKey};
use serde::{Deserialize, Serialize};

/// A study on the worklist, by its worst series. In the order of its fields: priority, then the higher probability, then
/// the larger volume, then the UIDs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorklistEntry {
    /// How soon a reader should look.
    pub priority: Priority,
    /// The probability of hemorrhage, parts per million.
    pub probability_ppm: Reverse<u32>,
    /// The volume of the segmenter's masks, microliters.
    pub volume_ul: Reverse<u64>,
    /// The study, and its worst series.
    pub key: SeriesKey,
    /// Where the result stands.
    pub status: Status,
    /// Counts the results of the series.
    pub version: u64,
}

impl WorklistEntry {
    /// The entry that a study would have if this were its worst series.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        Self {
            priority: outcome.priority,
            probability_ppm: Reverse(outcome.probability_ppm),
            volume_ul: Reverse(outcome.volume_ul),
            key: outcome.key.clone(),
            status: outcome.status,
            version: outcome.version,
        }
    }
}

/// The definition: what [`worklist`] must equal.
#[must_use]
pub fn reference(outcomes: &[Outcome]) -> BTreeSet<WorklistEntry> {
    let active = || outcomes.iter().filter(|outcome| outcome.role == Role::Active);
    let worst = |study| active().filter(|other| other.key.study == study).map(WorklistEntry::of).min();
    active().filter_map(|outcome| worst(outcome.key.study.clone())).collect()
}

/// Maintains the worklist of the active outcomes.
#[must_use]
pub fn worklist<'scope>(outcomes: Collection<'scope, Outcome>) -> Collection<'scope, WorklistEntry> {
    outcomes
        .filter(|outcome| outcome.role == Role::Active)
        .map(|outcome| (outcome.key.study.clone(), WorklistEntry::of(&outcome)))
        .reduce_named("Worklist", |_study, series, worst| {
            // They come in order.
            worst.extend(series.first().map(|(entry, _)| ((*entry).clone(), 1)));
        })
        .map(|(_study, entry)| entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::law;

    #[test]
    fn the_most_urgent_comes_first() {
        let study = |name, priority, probability_ppm, volume_ul| {
            WorklistEntry::of(&Outcome {
                priority,
                probability_ppm,
                volume_ul,
                ..law::outcome(name, "1", Role::Active)
            })
        };
        let entries = [
            study("5", Priority::Stat, 900_000, 10),
            study("1", Priority::High, 990_000, 900),
            study("4", Priority::High, 500_000, 30),
            study("2", Priority::High, 500_000, 20),
            study("3", Priority::High, 500_000, 20),
            study("0", Priority::Routine, 1_000_000, 9000),
        ];
        assert!(entries.is_sorted());
        let json = serde_json::to_value(&entries[0]).expect("plain data");
        assert_eq!((&json["priority"], &json["probability_ppm"]), (&"stat".into(), &900_000.into()));
    }

    #[test]
    fn is_its_reference_at_every_tick() {
        law::holds(worklist, reference);
    }

    #[test]
    fn a_change_touches_the_entry_of_its_study_only() {
        let many: Vec<Outcome> = (0..200).map(|study| law::outcome(&study.to_string(), "1", Role::Active)).collect();
        let after = Outcome { probability_ppm: 999_999, ..many[7].clone() };
        let ticks =
            vec![many.iter().cloned().map(|outcome| (outcome, 1)).collect(), vec![(many[7].clone(), -1), (after, 1)]];
        let updates = law::updates(ticks, 1, worklist);
        let changed: Vec<_> = updates.iter().filter(|(_, tick, _)| *tick == 1).collect();
        assert_eq!(changed.len(), 2, "{changed:?}");
        assert!(changed.iter().all(|(entry, _, _)| entry.key.study == many[7].key.study));
    }
}
