//! Growth: how the volume changes from study to study of a patient.
//!
//! A study counts with its worst active series, as on the worklist, among those that know their patient and time. A
//! changed outcome costs a reduction of its own patient.

use std::collections::{BTreeMap, BTreeSet};

use operators::plumbing::Collection;
use operators::record::{Digest, Outcome, Role, SeriesKey, StudyUid};
use serde::{Deserialize, Serialize};

use super::hex;
use super::worklist::WorklistEntry;

/// Two consecutive studies of a patient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Growth {
    /// The patient, hashed.
    #[serde(with = "hex")]
    pub patient: Digest,
    /// The earlier study, and its worst series.
    pub from: SeriesKey,
    /// The later study, and its worst series.
    pub to: SeriesKey,
    /// When the earlier one was acquired, seconds since 1970.
    pub from_s: i64,
    /// From the one to the other, seconds.
    pub seconds: i64,
    /// The volume before, microliters.
    pub before_ul: u64,
    /// The volume after, microliters.
    pub after_ul: u64,
}

impl Growth {
    /// From the one study to the other, hours.
    #[must_use]
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "lifetimes in seconds stay below 2^53")]
    pub fn hours(&self) -> f64 {
        self.seconds as f64 / 3600.0
    }

    /// The volume gained, mL; negative if it shrank.
    #[must_use]
    #[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "volumes in microliters stay below 2^53")]
    pub fn gained_ml(&self) -> f64 {
        (self.after_ul as f64 - self.before_ul as f64) / 1e3
    }

    fn between(patient: Digest, [from, to]: [(i64, &WorklistEntry); 2]) -> Self {
        Self {
            patient,
            from: from.1.key.clone(),
            to: to.1.key.clone(),
            from_s: from.0,
            seconds: to.0.saturating_sub(from.0),
            before_ul: from.1.volume_ul.0,
            after_ul: to.1.volume_ul.0,
        }
    }
}

/// The patient and the time of an active outcome that knows both.
fn visit(outcome: &Outcome) -> Option<(Digest, i64)> {
    (outcome.role == Role::Active).then_some(outcome.patient?).zip(outcome.acquired_s)
}

/// The definition: what [`growth`] must equal.
#[must_use]
pub fn reference(outcomes: &[Outcome]) -> BTreeSet<Growth> {
    let entries: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| visit(outcome).map(|(patient, time)| (patient, WorklistEntry::of(outcome), time)))
        .collect();
    let same_study = |a: &(Digest, WorklistEntry, i64), b: &(Digest, WorklistEntry, i64)| {
        a.0 == b.0 && a.1.key.study == b.1.key.study
    };
    let worst: Vec<_> = entries
        .iter()
        .filter(|entry| {
            !entries.iter().any(|other| same_study(entry, other) && (&other.1, other.2) < (&entry.1, entry.2))
        })
        .collect();
    let place = |entry: &(Digest, WorklistEntry, i64)| (entry.2, entry.1.key.study.clone());
    let mut growths = BTreeSet::new();
    for from in &worst {
        let later = worst.iter().filter(|to| to.0 == from.0 && place(to) > place(from));
        if let Some(to) = later.min_by_key(|to| place(to)) {
            growths.insert(Growth::between(from.0, [(from.2, &from.1), (to.2, &to.1)]));
        }
    }
    growths
}

/// Maintains the growth between consecutive studies.
#[must_use]
pub fn growth<'scope>(outcomes: Collection<'scope, Outcome>) -> Collection<'scope, Growth> {
    outcomes
        .flat_map(|outcome| visit(&outcome).map(|(patient, time)| (patient, (WorklistEntry::of(&outcome), time))))
        .reduce_named("Growth", |patient, series, growths| {
            let mut worst: BTreeMap<&StudyUid, &(WorklistEntry, i64)> = BTreeMap::new();
            for (entry, _) in series {
                // They come in order: the worst of a study first.
                worst.entry(&entry.0.key.study).or_insert(entry);
            }
            let mut studies: Vec<(i64, &StudyUid, &WorklistEntry)> =
                worst.into_iter().map(|(study, (entry, time))| (*time, study, entry)).collect();
            studies.sort_unstable_by_key(|(time, study, _)| (*time, *study));
            let pairs = studies.iter().zip(studies.iter().skip(1));
            growths.extend(pairs.map(|(from, to)| (Growth::between(*patient, [(from.0, from.2), (to.0, to.2)]), 1)));
        })
        .map(|(_patient, growth)| growth)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::law;

    #[test]
    fn is_its_reference_at_every_tick() {
        law::holds(growth, reference);
    }

    #[test]
    fn a_study_in_between_splits_a_growth() {
        let study = |name, acquired_s, volume_ul| Outcome {
            acquired_s: Some(acquired_s),
            volume_ul,
            patient: Some(Digest::of(b"patient")),
            ..law::outcome(name, "1", Role::Active)
        };
        let (first, second, third) = (study("1", 0, 2000), study("2", 5400, 500), study("3", 7200, 3000));
        let seen =
            law::states(vec![vec![(first, 1), (third, 1)], vec![(second.clone(), 1)], vec![(second, -1)]], 1, growth);
        let rows = |tick: usize| seen[tick].rows().map(|row| (row.hours(), row.gained_ml())).collect::<Vec<_>>();
        assert_eq!(rows(0), [(2.0, 1.0)]);
        assert_eq!(rows(1), [(1.5, -1.5), (0.5, 2.5)]);
        assert_eq!(rows(2), rows(0));
    }
}
