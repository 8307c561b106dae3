//! The book: what the log has come to, series by series. It is folded from the log's entries, and can be kept and read
//! instead of them.
//!
//! A node asks it what brings a series back, and starts from one that was kept. A series that nothing changes is held as the
//! bytes that it is kept as: some 300 bytes for each instance.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use operators::codec;
use operators::record::{Change, Digest, InstanceUid, Outcome, Role, SeriesKey, Sign, Tick};
use serde::{Deserialize, Serialize};

use crate::data::{Entry, Event, MethodEntry, Published};

const VERSION: u8 = 2;

/// What brings an instance back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The arrival of an instance that is present.
    pub(crate) arrival: Change,
    /// The name of its payload.
    pub(crate) payload: String,
}

/// The newest result of a series in a role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Result {
    pub(crate) version: u64,
    /// What made it; `None` if it says withdrawn.
    pub(crate) method: Option<Digest>,
    /// Seconds from the first slice to the first result.
    pub(crate) first_seconds: f64,
    /// What the views know of it; `None` if it says withdrawn.
    pub(crate) outcome: Option<Outcome>,
}

/// What is known of a series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) present: BTreeMap<InstanceUid, Kept>,
    pub(crate) signs: BTreeSet<Sign>,
    pub(crate) results: BTreeMap<Role, Result>,
    /// Whether the graph let it go.
    pub(crate) away: bool,
}

impl Series {
    /// What must come back before `change` if the series was let go; `None` if the change changes nothing.
    pub(crate) fn comeback(&self, change: &Change) -> Option<Vec<Kept>> {
        let changes = match change {
            Change::Arrived { instance, .. } => self.present.get(instance).is_none_or(|kept| kept.arrival != *change),
            Change::Withdrawn { instance, .. } => self.present.contains_key(instance),
            Change::Signed { sign, .. } => !self.signs.contains(sign),
            Change::Released { .. }
            | Change::Returned { .. }
            | Change::Remembered { .. }
            | Change::Forgotten { .. }
            | Change::Refused(_) => false,
        };
        changes.then(|| self.present.values().cloned().collect())
    }

    fn change(&mut self, change: &Change, payload: Option<&str>) {
        // What changes nothing brings nothing back.
        let stays = self.away && self.comeback(change).is_none();
        self.away = stays || matches!(change, Change::Released { .. });
        match change {
            Change::Arrived { instance, .. } => {
                let payload = payload.unwrap_or_default().to_owned();
                self.present.insert(instance.clone(), Kept { arrival: change.clone(), payload });
            }
            Change::Withdrawn { instance, .. } => drop(self.present.remove(instance)),
            Change::Signed { sign, .. } => drop(self.signs.insert(*sign)),
            Change::Released { .. }
            | Change::Returned { .. }
            | Change::Remembered { .. }
            | Change::Forgotten { .. }
            | Change::Refused(_) => {}
        }
    }

    fn publish(&mut self, published: &Published) {
        let withdrawn = published.status == operators::completeness::Status::Withdrawn;
        let result = Result {
            version: published.version,
            method: Some(published.method).filter(|_| !withdrawn),
            first_seconds: published.latency().first,
            outcome: published.outcome.clone(),
        };
        self.results.insert(published.role, result);
    }
}

/// How far the log has followed the inbox.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    /// The last record that a change followed from, if any did.
    pub position: Option<u64>,
    /// The changes that followed from it. There may have been more to come.
    pub changes: Vec<Change>,
}

/// A series, open or as the bytes that it is kept as.
#[derive(Clone, Debug)]
enum Page {
    Open(Box<Series>),
    Closed(Box<[u8]>),
}

/// A series, and when an instance of it came or was withdrawn last: milliseconds since 1970.
#[derive(Clone, Debug)]
struct Leaf {
    touched_ms: i64,
    page: Page,
}

/// What the log has come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    series: BTreeMap<SeriesKey, Leaf>,
    pub(crate) used: BTreeMap<Role, MethodEntry>,
    pub(crate) followed: Followed,
    /// The studies that were forgotten and that the inbox may still hold something of, each by the digest of its UID with
    /// the position before which nothing of it is kept.
    pub(crate) forgotten: BTreeMap<Digest, u64>,
    /// The tick behind the last entry.
    pub(crate) next: Tick,
    /// Entries that were folded.
    pub(crate) entries: u64,
}

/// What a kept book says before its series.
#[derive(Serialize, Deserialize)]
struct Preface {
    used: BTreeMap<Role, MethodEntry>,
    followed: Followed,
    forgotten: BTreeMap<Digest, u64>,
    next: Tick,
    entries: u64,
    series: u64,
}

impl Book {
    /// Adds what an entry of the log says.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes of a series are broken, which are this program's own.
    pub(crate) fn apply(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.next = self.next.max(entry.tick + 1);
        self.entries += 1;
        match &entry.event {
            Event::Changed { change, payload, from, .. } => {
                if let Some(from) = from {
                    if self.followed.position != Some(*from) {
                        self.followed = Followed { position: Some(*from), changes: Vec::new() };
                    }
                    self.followed.changes.push(change.clone());
                }
                let Some(key) = change.key() else { return Ok(()) };
                if matches!(change, Change::Arrived { .. } | Change::Withdrawn { .. }) {
                    self.leaf(key).touched_ms = entry.unix_ms;
                }
                self.open(key)?.change(change, payload.as_deref());
                if matches!(change, Change::Released { .. }) {
                    self.close(key)?;
                }
            }
            Event::Used { role, method } => match method {
                Some(method) => drop(self.used.insert(*role, method.clone())),
                None => drop(self.used.remove(role)),
            },
            Event::Published(published) => self.open(&published.key)?.publish(published),
            Event::Forgotten { studies, followed } => {
                self.forgotten.extend(studies.iter().copied());
                self.followed = followed.clone();
            }
        }
        Ok(())
    }

    /// Forgets series, and what followed from the inbox of them.
    pub(crate) fn forget(&mut self, keys: &BTreeSet<SeriesKey>) {
        self.series.retain(|key, _| !keys.contains(key));
        self.followed.changes.retain(|change| change.key().is_none_or(|key| !keys.contains(key)));
    }

    /// The series, each with when something of it came or was withdrawn last: milliseconds since 1970.
    pub(crate) fn touched(&self) -> impl Iterator<Item = (&SeriesKey, i64)> {
        self.series.iter().map(|(key, leaf)| (key, leaf.touched_ms))
    }

    fn leaf(&mut self, key: &SeriesKey) -> &mut Leaf {
        let new = || Leaf { touched_ms: 0, page: Page::Open(Box::default()) };
        self.series.entry(key.clone()).or_insert_with(new)
    }

    fn open(&mut self, key: &SeriesKey) -> anyhow::Result<&mut Series> {
        let page = &mut self.leaf(key).page;
        if let Page::Closed(bytes) = page {
            *page = Page::Open(Box::new(codec::decode(VERSION, bytes).context("a series of the book")?));
        }
        match page {
            Page::Open(series) => Ok(series),
            Page::Closed(_) => anyhow::bail!("a series of the book is closed"),
        }
    }

    fn close(&mut self, key: &SeriesKey) -> anyhow::Result<()> {
        if let Some(Leaf { page, .. }) = self.series.get_mut(key)
            && let Page::Open(series) = page
        {
            *page = Page::Closed(codec::encode(VERSION, &**series)?.into_boxed_slice());
        }
        Ok(())
    }

    /// The series that the graph holds.
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes of a series are broken.
    pub(crate) fn residents(&self) -> anyhow::Result<Vec<SeriesKey>> {
        let mut residents = Vec::new();
        for key in self.series.keys() {
            if !self.series(key)?.away {
                residents.push(key.clone());
            }
        }
        Ok(residents)
    }

    /// What is known of a series.
    ///
    /// # Errors
    ///
    /// Returns an error if its bytes are broken.
    pub(crate) fn series(&self, key: &SeriesKey) -> anyhow::Result<Series> {
        Ok(match self.series.get(key).map(|leaf| &leaf.page) {
            None => Series::default(),
            Some(Page::Open(series)) => (**series).clone(),
            Some(Page::Closed(bytes)) => codec::decode(VERSION, bytes).context("a series of the book")?,
        })
    }

    /// All series, by their keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SeriesKey> {
        self.series.keys()
    }

    /// The book in parts, each no longer than the codec allows: what it says before its series, then each of them.
    ///
    /// # Errors
    ///
    /// Returns an error if a part has no form.
    pub(crate) fn parts(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let series = u64::try_from(self.series.len())?;
        let Self { used, followed, forgotten, next, entries, .. } = self.clone_preface();
        let mut parts = vec![codec::encode(VERSION, &Preface { used, followed, forgotten, next, entries, series })?];
        for (key, Leaf { touched_ms, page }) in &self.series {
            let bytes = match page {
                Page::Open(series) => codec::encode(VERSION, &**series)?.into_boxed_slice(),
                Page::Closed(bytes) => bytes.clone(),
            };
            parts.push(codec::encode(VERSION, &(key, touched_ms, bytes))?);
        }
        Ok(parts)
    }

    fn clone_preface(&self) -> Self {
        let Self { used, followed, forgotten, next, entries, .. } = self;
        let (used, followed, forgotten) = (used.clone(), followed.clone(), forgotten.clone());
        Self { series: BTreeMap::new(), used, followed, forgotten, next: *next, entries: *entries }
    }

    /// The book of these parts; every series is closed.
    ///
    /// # Errors
    ///
    /// Returns an error if they are not those of a book.
    pub(crate) fn of_parts<'a>(mut parts: impl Iterator<Item = &'a [u8]>) -> anyhow::Result<Self> {
        let preface = parts.next().context("a book without a beginning")?;
        let Preface { used, followed, forgotten, next, entries, series: count } = codec::decode(VERSION, preface)?;
        let mut series = BTreeMap::new();
        for part in parts {
            let (key, touched_ms, bytes): (SeriesKey, i64, Box<[u8]>) = codec::decode(VERSION, part)?;
            series.insert(key, Leaf { touched_ms, page: Page::Closed(bytes) });
        }
        anyhow::ensure!(u64::try_from(series.len())? == count, "a book that lacks series");
        Ok(Self { series, used, followed, forgotten, next, entries })
    }
}

#[cfg(test)]
mod tests {
    use operators::record::{SeriesUid, StudyUid};
    use proptest::prelude::*;

    use super::*;

    fn key(series: u8) -> SeriesKey {
        let uid = format!("1.{series}");
        SeriesKey { study: StudyUid::new(&uid).expect("a UID"), series: SeriesUid::new(&uid).expect("a UID") }
    }

    fn change(series: u8, kind: u8) -> Change {
        let instance = InstanceUid::new(&format!("1.2.{}", kind % 3)).expect("a UID");
        let key = key(series);
        match kind {
            0 => Change::Signed { key, sign: Sign::Quiet },
            1 | 2 => Change::Withdrawn { key, instance },
            3 => Change::Released { key },
            _ => Change::Arrived { key, instance, slices: Vec::new() },
        }
    }

    fn entries(changes: &[(u8, u8)]) -> Vec<Entry> {
        let entry = |(&(series, kind), tick): (&(u8, u8), Tick)| {
            let (payload, from) = (Some(format!("{kind}.dcm")), Some(tick / 2));
            Entry {
                tick,
                unix_ms: i64::try_from(1000 + tick).expect("small"),
                event: Event::Changed { change: change(series, kind), payload, stat: false, from },
            }
        };
        changes.iter().zip(0..).map(entry).collect()
    }

    fn told(book: &Book) -> (Vec<(SeriesKey, Series, i64)>, Followed, Tick, u64) {
        let told = |(key, touched_ms): (&SeriesKey, i64)| (key.clone(), book.series(key).expect("sound"), touched_ms);
        let series = book.touched().map(told).collect();
        (series, book.followed.clone(), book.next, book.entries)
    }

    proptest! {
        /// A book that was kept anywhere on the way says what one says that was not.
        #[test]
        fn a_book_may_be_kept_at_any_time(changes in prop::collection::vec((0_u8..3, 0_u8..8), 0..40), at in 0_usize..40) {
            let entries = entries(&changes);
            let (mut whole, mut kept) = (Book::default(), Book::default());
            entries.iter().try_for_each(|entry| whole.apply(entry)).expect("sound");
            let (before, after) = entries.split_at(at.min(entries.len()));
            before.iter().try_for_each(|entry| kept.apply(entry)).expect("sound");
            let parts = kept.parts().expect("a form");
            let mut kept = Book::of_parts(parts.iter().map(Vec::as_slice)).expect("a book");
            after.iter().try_for_each(|entry| kept.apply(entry)).expect("sound");
            prop_assert_eq!(told(&kept), told(&whole));
            if let Some(cut) = parts.len().checked_sub(2) {
                prop_assert!(Book::of_parts(parts[..=cut].iter().map(Vec::as_slice)).is_err());
            }
        }
    }

    #[test]
    fn all_that_is_present_comes_back_and_only_for_what_changes_something() {
        let mut book = Book::default();
        for entry in entries(&[(0, 4), (0, 5), (0, 0), (0, 3)]) {
            book.apply(&entry).expect("sound");
        }
        let series = book.series(&key(0)).expect("sound");
        let back = |change: &Change| Some(series.comeback(change)?.len());
        assert_eq!(back(&change(0, 6)), Some(2), "a new instance");
        assert_eq!(back(&change(0, 2)), Some(2), "one that is there is withdrawn");
        let sign = Change::Signed { key: key(0), sign: Sign::Requested };
        assert_eq!(back(&sign), Some(2));
        for nothing in [change(0, 4), change(0, 0), change(0, 3)] {
            assert_eq!(back(&nothing), None, "{nothing:?}");
        }
    }
}
