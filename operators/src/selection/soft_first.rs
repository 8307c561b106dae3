//! Soft first: a sharp series is left out while a soft one of its study lies in the same frame of reference, as instances
//! come and go.
//!
//! [`sharp_series`](crate::intake::sharp_series) says the same of all instances at once, and is what this must equal.

use std::collections::{BTreeMap, BTreeSet};

use crate::intake::Candidate;
use crate::record::{InstanceUid, SeriesKey, SeriesUid, StudyUid};

/// The series of all studies that are left out.
#[derive(Clone, Debug, Default)]
pub struct SoftFirst {
    studies: BTreeMap<StudyUid, Study>,
}

/// A series that is taken from now on, with all its instances, or left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The series.
    pub key: SeriesKey,
    /// Whether it is taken.
    pub taken: bool,
}

/// A frame of reference.
type Place = Option<String>;

#[derive(Clone, Debug, Default)]
struct Study {
    instances: BTreeMap<(SeriesUid, InstanceUid), (Place, bool)>,
    /// In each place: instances of each series, and the sharp ones among them.
    places: BTreeMap<Place, BTreeMap<SeriesUid, (usize, usize)>>,
    left_out: BTreeSet<SeriesUid>,
}

impl SoftFirst {
    /// An instance came, for the first time or again. Gives the series that are taken or left out otherwise than before: the
    /// series of the instance is among them if it is new and left out.
    pub fn arrived(&mut self, candidate: &Candidate, instance: &InstanceUid) -> Vec<Switch> {
        let study = self.studies.entry(candidate.key.study.clone()).or_default();
        let name = (candidate.key.series.clone(), instance.clone());
        study.remove(&name);
        let seen = (candidate.frame_of_reference.clone(), candidate.sharp);
        let series = study.places.entry(seen.0.clone()).or_default();
        let (instances, sharp) = series.entry(name.0.clone()).or_default();
        (*instances, *sharp) = (*instances + 1, *sharp + usize::from(seen.1));
        study.instances.insert(name, seen);
        self.settle(&candidate.key.study)
    }

    /// An instance was taken back. Gives the series that are taken or left out otherwise than before.
    pub fn withdrawn(&mut self, key: &SeriesKey, instance: &InstanceUid) -> Vec<Switch> {
        if let Some(study) = self.studies.get_mut(&key.study) {
            study.remove(&(key.series.clone(), instance.clone()));
        }
        self.settle(&key.study)
    }

    /// Whether a series is left out now.
    #[must_use]
    pub fn leaves_out(&self, key: &SeriesKey) -> bool {
        self.studies.get(&key.study).is_some_and(|study| study.left_out.contains(&key.series))
    }

    /// Forgets a study that is done with. What comes of it later is a study of its own.
    pub fn forget(&mut self, study: &StudyUid) {
        self.studies.remove(study);
    }

    /// What changes, once counts have changed.
    fn settle(&mut self, uid: &StudyUid) -> Vec<Switch> {
        let Some(study) = self.studies.get_mut(uid) else { return Vec::new() };
        let now = study.sharp_beside_soft();
        let before = std::mem::replace(&mut study.left_out, now);
        let switches = before.symmetric_difference(&study.left_out).map(|series| Switch {
            key: SeriesKey { study: uid.clone(), series: series.clone() },
            taken: before.contains(series),
        });
        let switches = switches.collect();
        if study.instances.is_empty() {
            self.studies.remove(uid);
        }
        switches
    }
}

impl Study {
    fn remove(&mut self, name: &(SeriesUid, InstanceUid)) {
        let Some((place, sharp)) = self.instances.remove(name) else { return };
        let Some(series) = self.places.get_mut(&place) else { return };
        if let Some(counts) = series.get_mut(&name.0) {
            *counts = (counts.0.saturating_sub(1), counts.1.saturating_sub(usize::from(sharp)));
            if counts.0 == 0 {
                series.remove(&name.0);
            }
        }
        if series.is_empty() {
            self.places.remove(&place);
        }
    }

    fn sharp_beside_soft(&self) -> BTreeSet<SeriesUid> {
        let has_soft = |series: &&BTreeMap<_, (usize, usize)>| series.values().any(|(_, sharp)| *sharp == 0);
        let beside_soft = self.places.values().filter(has_soft).flatten();
        beside_soft.filter(|(_, (_, sharp))| *sharp > 0).map(|(series, _)| series.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::intake::sharp_series;

    fn key(study: u8, series: u8) -> SeriesKey {
        let study = StudyUid::new(&format!("1.{study}")).expect("a UID");
        SeriesKey { study, series: SeriesUid::new(&format!("2.{series}")).expect("a UID") }
    }

    fn uid(number: u8) -> InstanceUid {
        InstanceUid::new(&format!("3.{number}")).expect("a UID")
    }

    fn candidate(key: SeriesKey, place: u8, sharp: bool) -> Candidate {
        Candidate { key, frame_of_reference: Some(format!("4.{place}")), sharp }
    }

    #[test]
    fn a_sharp_series_goes_when_a_soft_one_comes_and_is_back_when_that_one_goes() {
        let mut first = SoftFirst::default();
        let (bone, soft) = (key(1, 1), key(1, 2));
        assert!(first.arrived(&candidate(bone.clone(), 1, true), &uid(1)).is_empty());
        let switch = |taken| vec![Switch { key: bone.clone(), taken }];
        assert_eq!(first.arrived(&candidate(soft.clone(), 1, false), &uid(2)), switch(false));
        assert!(first.leaves_out(&bone) && !first.leaves_out(&soft));
        assert!(first.arrived(&candidate(soft.clone(), 1, false), &uid(2)).is_empty(), "the same again");
        assert_eq!(first.withdrawn(&soft, &uid(2)), switch(true));
        assert!(first.withdrawn(&bone, &uid(1)).is_empty() && first.studies.is_empty(), "nothing is left");
    }

    proptest! {
        /// What is left out is what a look at all present instances leaves out, and the switches tell how it came to be.
        #[test]
        fn it_leaves_out_what_a_batch_leaves_out(
            steps in prop::collection::vec((0_u8..2, 0_u8..3, 0_u8..4, 0_u8..2, any::<bool>(), 0_u8..4), 0..60)
        ) {
            let mut first = SoftFirst::default();
            let mut present: BTreeMap<(SeriesKey, InstanceUid), Candidate> = BTreeMap::new();
            let mut told: BTreeSet<SeriesKey> = BTreeSet::new();
            for (study, series, instance, place, sharp, kind) in steps {
                let (key, instance) = (key(study, series), uid(instance));
                let switches = if kind == 0 {
                    present.remove(&(key.clone(), instance.clone()));
                    first.withdrawn(&key, &instance)
                } else {
                    let candidate = candidate(key.clone(), place, sharp);
                    present.insert((key, instance.clone()), candidate.clone());
                    first.arrived(&candidate, &instance)
                };
                for Switch { key, taken } in switches {
                    let changes = if taken { told.remove(&key) } else { told.insert(key) };
                    prop_assert!(changes, "told twice");
                }
                let batch = sharp_series(present.values().cloned());
                prop_assert_eq!(&told, &batch);
                prop_assert!(present.values().all(|c| first.leaves_out(&c.key) == batch.contains(&c.key)));
            }
        }
    }
}
