//! Which series the graph holds: those that changed last. The others were let go, and one that changes again comes back
//! whole before, from what the log says of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use operators::record::{Change, Digest, InstanceUid, SeriesKey, Tick};

use crate::data::Event;

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

/// What brings a series back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// The arrival of an instance that is present.
    pub(crate) arrival: Change,
    /// The name of its payload.
    pub(crate) payload: String,
}

/// What must come back before `change` for a series of which `history` is all that happened; `None` if the change changes
/// nothing.
pub(crate) fn comeback<'a>(history: impl IntoIterator<Item = &'a Event>, change: &Change) -> Option<Vec<Kept>> {
    let (mut present, mut signs) = (BTreeMap::<&InstanceUid, Kept>::new(), BTreeSet::new());
    for event in history {
        let Event::Changed { change: before, payload, .. } = event else { continue };
        match before {
            Change::Arrived { instance, .. } => {
                let payload = payload.clone().unwrap_or_default();
                present.insert(instance, Kept { arrival: before.clone(), payload });
            }
            Change::Withdrawn { instance, .. } => drop(present.remove(instance)),
            Change::Signed { sign, .. } => drop(signs.insert(*sign)),
            Change::Released { .. } | Change::Returned { .. } | Change::Refused(_) => {}
        }
    }
    let changes = match change {
        Change::Arrived { instance, .. } => present.get(instance).is_none_or(|kept| kept.arrival != *change),
        Change::Withdrawn { instance, .. } => present.contains_key(instance),
        Change::Signed { sign, .. } => !signs.contains(sign),
        Change::Released { .. } | Change::Returned { .. } | Change::Refused(_) => false,
    };
    changes.then(|| present.into_values().collect())
}

#[cfg(test)]
mod tests {
    use operators::record::{SeriesUid, Sign, StudyUid};
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

    fn event(change: Change) -> Event {
        Event::Changed { change, payload: Some("kept.dcm".to_owned()), stat: false, from: None }
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

    #[test]
    fn all_that_is_present_comes_back_and_only_for_what_changes_something() {
        let history = [change(0, 3), change(0, 4), change(0, 0), change(0, 2)].map(event);
        let back = |change: &Change| {
            let kept = comeback(&history, change)?;
            Some(kept.into_iter().map(|kept| kept.arrival).collect::<Vec<_>>())
        };
        let all = vec![change(0, 3), change(0, 4)];
        assert_eq!(back(&change(0, 5)), Some(all.clone()), "a new instance");
        let uid = InstanceUid::new("1.2.4").expect("a UID");
        assert_eq!(back(&Change::Withdrawn { key: key(0), instance: uid }), Some(all.clone()));
        assert_eq!(back(&Change::Signed { key: key(0), sign: Sign::Requested }), Some(all));
        for nothing in [change(0, 3), change(0, 1), change(0, 0), change(0, 2)] {
            assert_eq!(back(&nothing), None, "{nothing:?}");
        }
    }
}
