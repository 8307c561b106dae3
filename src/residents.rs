//! Which series the graph holds: those that changed last. The others were let go, and one that changes again comes back
//! whole before, from what the log says of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use operators::record::{Change, Digest, SeriesKey, Tick};

/// The series that the graph holds, in the order of their last changes, and those that it let go.
#[derive(Debug, Default)]
pub(crate) struct Residents {
    by_change: BTreeMap<Tick, SeriesKey>,
    changed: HashMap<SeriesKey, Tick>,
    away: HashSet<Digest>,
}

impl Residents {
    /// Notes that a change of its own tick entered the graph.
    pub(crate) fn note(&mut self, change: &Change, tick: Tick) {
        let Some(key) = change.key() else { return };
        if let Some(before) = self.changed.remove(key) {
            self.by_change.remove(&before);
        }
        if matches!(change, Change::Released { .. }) {
            self.away.insert(key.digest());
        } else {
            self.away.remove(&key.digest());
            self.by_change.insert(tick, key.clone());
            self.changed.insert(key.clone(), tick);
        }
    }

    /// Notes a series that the graph holds since a tick that it shares with others.
    pub(crate) fn hold(&mut self, key: &SeriesKey, tick: Tick) {
        // Those that share a tick are ordered by their keys: one of them stands for the tick.
        let free = (0..=tick).rev().find(|tick| !self.by_change.contains_key(tick));
        if let Some(tick) = free {
            self.by_change.insert(tick, key.clone());
            self.changed.insert(key.clone(), tick);
        }
    }

    /// Notes that a series is forgotten.
    pub(crate) fn forget(&mut self, key: &SeriesKey) {
        self.away.remove(&key.digest());
        if let Some(tick) = self.changed.remove(key) {
            self.by_change.remove(&tick);
        }
    }

    /// Notes a series that the graph does not hold.
    pub(crate) fn leave(&mut self, key: &SeriesKey) {
        self.away.insert(key.digest());
    }

    /// The series that the graph holds, those first that changed longest ago.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SeriesKey> {
        self.by_change.values()
    }

    /// Whether the series was let go.
    pub(crate) fn is_away(&self, key: &SeriesKey) -> bool {
        self.away.contains(&key.digest())
    }

    /// The series that changed longest ago, if there are more than `most`.
    pub(crate) fn excess(&self, most: usize) -> Option<&SeriesKey> {
        self.by_change.values().next().filter(|_| self.by_change.len() > most)
    }
}

#[cfg(test)]
mod tests {
    use operators::record::{InstanceUid, SeriesUid, Sign, StudyUid};
    use proptest::prelude::*;

    use super::*;

    fn key(series: u8) -> SeriesKey {
        let uid = format!("1.{series}");
        SeriesKey { study: StudyUid::new(&uid).expect("a UID"), series: SeriesUid::new(&uid).expect("a UID") }
    }

    fn change(series: u8, kind: u8) -> Change {
        let (key, instance) = (key(series), InstanceUid::new(&format!("1.2.{kind}")).expect("a UID"));
        match kind {
            0 => Change::Signed { key, sign: Sign::Quiet },
            1 => Change::Withdrawn { key, instance },
            2 => Change::Released { key },
            _ => Change::Arrived { key, instance, slices: Vec::new() },
        }
    }

    proptest! {
        #[test]
        fn a_series_is_away_from_its_release_to_its_next_change(changes in prop::collection::vec((0_u8..4, 0_u8..4), 0..30)) {
            let mut residents = Residents::default();
            for ((series, kind), tick) in changes.iter().zip(0..) {
                residents.note(&change(*series, *kind), tick);
            }
            let mut here = Vec::new();
            for series in 0..4 {
                let last = changes.iter().rposition(|(other, _)| *other == series);
                prop_assert_eq!(residents.is_away(&key(series)), last.is_some_and(|last| changes[last].1 == 2));
                here.extend(last.filter(|last| changes[*last].1 != 2).map(|last| (last, series)));
            }
            let longest_ago = here.iter().min().map(|(_, series)| key(*series));
            for most in 0..5 {
                let excess = longest_ago.as_ref().filter(|_| here.len() > most);
                prop_assert_eq!(residents.excess(most), excess);
            }
        }
    }
}
