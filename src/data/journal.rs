//! The journal: the log as the parts of a running node share it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use operators::record::{Change, Digest, Outcome, Role, SeriesKey, Tick};
use operators::report::Latency;

use super::DataFolder;
use super::log::{Entry, Event, Log, Published};
use super::rewrite::Rewritten;
use crate::book::{Book, Followed, Kept};
use crate::collector::Current;
use crate::files::Files;
use crate::result_tree::json;

/// A log that the way in and the way out write to.
#[derive(Clone)]
pub struct Journal {
    written: Arc<Mutex<Written>>,
    /// Whether a version waits for the disk before it is shown.
    synced: bool,
    /// What was published before, until the graph has come to it again.
    published: HashMap<(SeriesKey, Role, u64), Published>,
}

/// The log, and what it has come to.
struct Written {
    log: Log,
    book: Book,
}

impl Journal {
    /// A journal that goes on where `entries` end, which stand behind what the book says.
    /// With `synced`, the disk has a version, and all before it, before [`Journal::note`] returns.
    ///
    /// # Errors
    ///
    /// Returns an error if the book is broken.
    pub(crate) fn new(log: Log, mut book: Book, entries: &[Entry], synced: bool) -> anyhow::Result<Self> {
        entries.iter().try_for_each(|entry| book.apply(entry))?;
        let published = entries.iter().filter_map(|entry| match &entry.event {
            Event::Published(published) => Some(published.clone()),
            Event::Changed { .. } | Event::Used { .. } | Event::Forgotten { .. } => None,
        });
        let published =
            published.map(|published| ((published.key.clone(), published.role, published.version), published));
        Ok(Self { written: Arc::new(Mutex::new(Written { log, book })), synced, published: published.collect() })
    }

    /// Writes what happens at a tick, before it does.
    ///
    /// # Errors
    ///
    /// Returns an error that names the log if it cannot be written.
    pub fn write(&self, tick: Tick, events: Vec<Event>) -> anyhow::Result<()> {
        let unix_ms = now_ms();
        let entries: Vec<Entry> = events.into_iter().map(|event| Entry { tick, unix_ms, event }).collect();
        let Written { log, book } = &mut *self.lock();
        log.append(&entries)?;
        entries.iter().try_for_each(|entry| book.apply(entry))
    }

    /// What must come back before `change` if its series was let go; `None` if the change changes nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the book is broken.
    pub(crate) fn comeback(&self, key: &SeriesKey, change: &Change) -> anyhow::Result<Option<Vec<Kept>>> {
        Ok(self.lock().book.series(key)?.comeback(change))
    }

    /// How far the inbox was followed.
    #[must_use]
    pub fn followed(&self) -> Followed {
        self.lock().book.followed.clone()
    }

    /// Entries of the log so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.lock().book.entries
    }

    /// Keeps what the log has come to, so that the next start reads only what comes behind it. Nothing must be under way.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be written.
    pub(crate) fn keep_book(&self, data: &DataFolder) -> anyhow::Result<()> {
        let (bytes, parts) = {
            let written = self.lock();
            // A snapshot must not know more than the log.
            written.log.sync()?;
            (written.log.bytes(), written.book.parts()?)
        };
        data.keep_book(bytes, &parts)
    }

    /// The studies that were forgotten and that the inbox may still hold something of.
    #[must_use]
    pub fn forgotten(&self) -> BTreeMap<Digest, u64> {
        self.lock().book.forgotten.clone()
    }

    /// Notes that the inbox holds nothing more of what was forgotten.
    pub(crate) fn shed(&self) {
        self.lock().book.forgotten.clear();
    }

    /// When something of each series came or was withdrawn last: milliseconds since 1970.
    pub(crate) fn touched(&self) -> Vec<(SeriesKey, i64)> {
        self.lock().book.touched().map(|(key, touched_ms)| (key.clone(), touched_ms)).collect()
    }

    /// Writes the log anew beside it, without what is forgotten at `tick`. `see` sees each entry that stays.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read or written. All is as it was.
    pub(crate) fn without(
        &self,
        tick: Tick,
        forgotten: &Forgotten,
        mut see: impl FnMut(&Entry),
        files: &Files,
    ) -> anyhow::Result<Forgetting> {
        let Written { log, book } = &*self.lock();
        let of = |key: &SeriesKey| forgotten.studies.contains_key(&key.study.digest());
        let keys: BTreeSet<SeriesKey> = book.keys().filter(|key| of(key)).cloned().collect();
        let mut followed = book.followed.clone();
        followed.changes.retain(|change| change.key().is_none_or(|key| !of(key)));
        let mut studies = book.forgotten.clone();
        studies.extend(&forgotten.studies);
        let event = Event::Forgotten { studies: studies.clone().into_iter().collect(), followed };
        let last = Entry { tick, unix_ms: now_ms(), event };
        let keep = |entry: &Entry| {
            let keep = match &entry.event {
                Event::Changed { change, .. } => match change.key() {
                    Some(key) => !of(key),
                    None => entry.unix_ms >= forgotten.refused_before_ms,
                },
                Event::Published(published) => !of(&published.key),
                Event::Used { .. } => true,
                Event::Forgotten { .. } => false,
            };
            if keep {
                see(entry);
            }
            keep
        };
        let rewritten = log.rewritten(keep, &last, files)?;
        Ok(Forgetting { tick, rewritten, keys, studies })
    }

    /// Lets a log without what is forgotten take the place of the log. Gives the series that are forgotten, and how many
    /// bytes that takes off the disk.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be replaced. It is not known then whether it was.
    pub(crate) fn forget(
        &self,
        forgetting: Forgetting,
        data: &DataFolder,
        files: &Files,
    ) -> anyhow::Result<(BTreeSet<SeriesKey>, u64)> {
        let Forgetting { tick, rewritten, keys, studies } = forgetting;
        let Written { log, book } = &mut *self.lock();
        // It names a byte of the log that was.
        data.drop_book(files)?;
        let entries = rewritten.entries;
        let freed = log.become_rewritten(rewritten, files)?;
        book.forget(&keys);
        (book.entries, book.forgotten) = (entries, studies);
        book.next = book.next.max(tick + 1);
        Ok((keys, freed))
    }

    /// Forgets the versions of series that a replay has not come to.
    pub(crate) fn forget_published(&mut self, keys: &BTreeSet<SeriesKey>) {
        self.published.retain(|(key, _, _), _| !keys.contains(key));
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a version with its outcome, unless it was published before; then gives the latency that it was published with.
    ///
    /// # Errors
    ///
    /// Returns an error that names the log if it cannot be written.
    pub fn note(&mut self, current: &Current, outcome: Option<Outcome>) -> anyhow::Result<Option<Latency>> {
        let publication = &current.publication;
        let before = (publication.key.clone(), publication.role, publication.version);
        if let Some(published) = self.published.remove(&before) {
            let latency = published.latency();
            let again = Current { publication: publication.clone(), latency };
            if published_as(&again)? != published.result {
                tracing::warn!("version {} of a result came out otherwise than it was published", published.version);
            }
            return Ok(Some(latency));
        }
        let report = current.report();
        let published = Published {
            key: publication.key.clone(),
            role: publication.role,
            method: publication.method.digest,
            version: publication.version,
            status: publication.status,
            slices: u32::try_from(publication.slices.len()).unwrap_or(u32::MAX),
            probability: report.probability,
            volume_ml: report.volume_ml.segmentation,
            latency_seconds: [current.latency.first, current.latency.last],
            result: published_as(current)?,
            outcome,
        };
        self.write(publication.tick, vec![Event::Published(published)])?;
        if self.synced {
            self.lock().log.sync()?;
        }
        Ok(None)
    }
}

/// What is to be forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forgotten {
    /// Studies by the digest of their UIDs, each with the position of the inbox before which nothing of it is kept.
    pub(crate) studies: BTreeMap<Digest, u64>,
    /// Refusals that were told before go as well: milliseconds since 1970.
    pub(crate) refused_before_ms: i64,
}

/// A log without what is forgotten, ready to take the place of the log.
pub(crate) struct Forgetting {
    tick: Tick,
    rewritten: Rewritten,
    keys: BTreeSet<SeriesKey>,
    studies: BTreeMap<Digest, u64>,
}

/// The clock of the machine: milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The digest of the bytes of `result.json`.
///
/// # Errors
///
/// Returns the serializer's error if a number cannot be written.
pub fn published_as(current: &Current) -> anyhow::Result<Digest> {
    Ok(Digest::of(&json(&current.report())?))
}
