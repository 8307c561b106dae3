//! Instances: which slices of a series are present.
//!
//! In: [`Change`]s. Out: `(series, slice)`, one for each frame of each instance that is present. The same instance again
//! changes nothing; the same identity with other content replaces; a withdrawal takes back; a release, as of a series
//! that is forgotten, takes all of it.

use std::collections::BTreeMap;

use differential_dataflow::{AsCollection, Hashable};

use crate::dicom::Pixels;
use crate::plumbing::{self, Collection};
use crate::record::{Change, InstanceUid, SeriesKey, Slice, Tick};
use crate::store::Shelf;

/// The instances present, by series.
#[derive(Clone, Debug, Default)]
pub struct Present(BTreeMap<SeriesKey, BTreeMap<InstanceUid, Vec<Slice>>>);

impl Present {
    /// Applies a change and returns what it does to the slices: 1 for a slice that comes, -1 for one that goes.
    pub fn apply(&mut self, change: Change) -> Vec<((SeriesKey, Slice), isize)> {
        let (key, instance, slices) = match change {
            Change::Arrived { key, instance, slices } => (key, instance, slices),
            Change::Withdrawn { key, instance } => (key, instance, Vec::new()),
            Change::Released { key } | Change::Forgotten { key } => return self.release(&key),
            Change::Signed { .. } | Change::Refused(_) | Change::Returned { .. } | Change::Remembered { .. } => {
                return Vec::new();
            }
        };
        let series = self.0.entry(key.clone()).or_default();
        let before = if slices.is_empty() {
            series.remove(&instance).unwrap_or_default()
        } else {
            series.insert(instance, slices.clone()).unwrap_or_default()
        };
        if series.is_empty() {
            self.0.remove(&key);
        }
        let gone = before.iter().filter(|slice| !slices.contains(slice)).map(|slice| (slice, -1));
        let come = slices.iter().filter(|slice| !before.contains(slice)).map(|slice| (slice, 1));
        gone.chain(come).map(|(slice, diff)| ((key.clone(), slice.clone()), diff)).collect()
    }

    fn release(&mut self, key: &SeriesKey) -> Vec<((SeriesKey, Slice), isize)> {
        let slices = self.0.remove(key).into_iter().flat_map(BTreeMap::into_values).flatten();
        slices.map(|slice| ((key.clone(), slice), -1)).collect()
    }
}

/// Hands the pixels of a change from their sender to the slices that are present: each slice holds its own.
fn hand_over(pixels: &Shelf<Pixels>, sent: &[Slice], applied: &[((SeriesKey, Slice), isize)], tick: Tick) {
    for ((_, slice), diff) in applied {
        pixels.hold(slice.digest, *diff, tick);
    }
    for slice in sent {
        pixels.hold(slice.digest, -1, tick);
    }
}

fn route(change: &Change) -> u64 {
    change.key().map_or(0, Hashable::hashed)
}

/// Extension trait for collections of changes.
pub trait Instances<'scope> {
    /// Maintains the slices present. Brings each change to the worker of its series and applies it once its tick is
    /// complete; holds the identities present, and their `pixels`. The sender of an arrival holds its pixels once, until
    /// it is applied.
    fn instances(self, pixels: Shelf<Pixels>) -> Collection<'scope, (SeriesKey, Slice)>;
}

impl<'scope> Instances<'scope> for Collection<'scope, Change> {
    fn instances(self, pixels: Shelf<Pixels>) -> Collection<'scope, (SeriesKey, Slice)> {
        let mut present = Present::default();
        plumbing::settle(self, "Instances", route, move |tick, mut changes| {
            changes.sort();
            let mut updates = Vec::new();
            for (change, _) in changes {
                let sent = change.slices().to_vec();
                let applied = present.apply(change);
                hand_over(&pixels, &sent, &applied, tick);
                updates.extend(applied.into_iter().map(|(slice, diff)| (slice, tick, diff)));
            }
            updates
        })
        .as_collection()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Digest, Geometry, SeriesUid, StudyUid};

    fn key() -> SeriesKey {
        SeriesKey { study: StudyUid::new("1").expect("a UID"), series: SeriesUid::new("1.1").expect("a UID") }
    }

    fn arrival(instance: &str, content: &[u8]) -> Change {
        let instance = InstanceUid::new(instance).expect("a UID");
        let plane = Geometry::new([0.0; 3], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.5; 2], [4, 4], None).expect("a plane");
        let slices = vec![Slice::new(instance.clone(), 1, Digest::of(content), plane)];
        Change::Arrived { key: key(), instance, slices }
    }

    fn diffs(changes: impl IntoIterator<Item = Change>) -> Vec<Vec<isize>> {
        let mut present = Present::default();
        changes.into_iter().map(|change| present.apply(change).into_iter().map(|(_, diff)| diff).collect()).collect()
    }

    #[test]
    fn the_same_instance_twice_changes_nothing_and_other_content_replaces() {
        let changes = [arrival("a", b"1"), arrival("a", b"1"), arrival("a", b"2"), arrival("b", b"1")];
        assert_eq!(diffs(changes), [vec![1], vec![], vec![-1, 1], vec![1]]);
    }

    #[test]
    fn a_withdrawal_takes_back_and_leaves_nothing() {
        let withdrawal = || Change::Withdrawn { key: key(), instance: InstanceUid::new("a").expect("a UID") };
        let mut present = Present::default();
        present.apply(arrival("a", b"1"));
        assert_eq!(present.apply(withdrawal()).len(), 1);
        assert_eq!(present.apply(withdrawal()).len(), 0, "nothing is there to withdraw");
        assert!(present.0.is_empty());
    }
}
