//! What the inbox keeps: where each content lies, and which instances are acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::Context;
use operators::record::{Digest, InstanceUid, StudyUid};

use super::segment::{self, Found, Place};
use super::{Identity, Received, Record};

/// A content.
#[derive(Clone, Copy, Debug)]
struct Content {
    place: Place,
    /// The study that it is of, by the digest of its UID: a content says itself who it is.
    study: Digest,
    /// The last record that names it.
    last: u64,
}

/// An instance.
#[derive(Clone, Copy, Debug)]
struct Instance {
    /// The content that it was last acknowledged with.
    content: Digest,
    class: Digest,
    study: Digest,
    /// The last record of it.
    last: u64,
}

/// A study.
#[derive(Clone, Debug, Default)]
struct Study {
    instances: usize,
    /// The segments that may hold records of it.
    segments: BTreeSet<u64>,
    /// When something of it came last: milliseconds since 1970.
    touched_ms: i64,
}

/// What is kept, by content, instance and study: about 350 bytes for each instance. Instances, classes and studies are named
/// by the digests of their UIDs.
#[derive(Debug, Default)]
pub struct Index {
    payloads: HashMap<Digest, Content>,
    instances: HashMap<Digest, Instance>,
    studies: HashMap<Digest, Study>,
    /// Segments that something is to go from.
    to_shed: BTreeSet<u64>,
    /// What is to go from them: studies, each with the position before which all of it does.
    going: BTreeMap<Digest, u64>,
}

fn name(uid: &str) -> Digest {
    Digest::of(uid.as_bytes())
}

impl Index {
    /// Where a content lies.
    #[must_use]
    pub fn place(&self, content: &Digest) -> Option<Place> {
        self.payloads.get(content).map(|content| content.place)
    }

    /// The content that an instance was last acknowledged with.
    #[must_use]
    pub fn content(&self, instance: &InstanceUid) -> Option<Digest> {
        self.instances.get(&instance.digest()).map(|instance| instance.content)
    }

    /// Whether an instance of this class is acknowledged; `None` if no instance of this UID is.
    #[must_use]
    pub fn is_of_class(&self, instance: &str, class: &str) -> Option<bool> {
        self.instances.get(&name(instance)).map(|instance| instance.class == name(class))
    }

    /// Instances of a study that are acknowledged.
    #[must_use]
    pub fn instances_of(&self, study: &StudyUid) -> usize {
        self.studies.get(&study.digest()).map(|study| study.instances).unwrap_or_default()
    }

    /// Contents.
    #[must_use]
    pub fn payloads(&self) -> usize {
        self.payloads.len()
    }

    /// The studies by the digests of their UIDs, each with when something of it came last: milliseconds since 1970.
    pub(crate) fn touched(&self) -> impl Iterator<Item = (Digest, i64)> {
        self.studies.iter().map(|(name, study)| (*name, study.touched_ms))
    }

    /// Notes that the record at a position names a content, if it is there. From then on it stays for that record's sake.
    pub(super) fn hold(&mut self, content: &Digest, position: u64) -> bool {
        let held = self.payloads.get_mut(content);
        held.map(|held| held.last = held.last.max(position)).is_some()
    }

    pub(super) fn note_payload(&mut self, content: Digest, study: &StudyUid, place: Place, position: u64) {
        let new = Content { place, study: study.digest(), last: position };
        self.payloads.entry(content).or_insert(new);
    }

    pub(super) fn note_instance(&mut self, received: &Received, segment: u64, position: u64) {
        let Identity { key, instance, class } = &received.identity;
        let study = key.study.digest();
        let newest = Instance { content: received.content, class: name(class), study, last: position };
        let is_new = self.instances.insert(instance.digest(), newest).is_none();
        let study = self.studies.entry(study).or_default();
        study.instances += usize::from(is_new);
        study.segments.insert(segment);
        study.touched_ms = study.touched_ms.max(received.unix_ms);
    }

    /// Notes a record that was found in a segment.
    pub(super) fn note(&mut self, segment: u64, position: u64, found: &Found) {
        let (at, bytes) = found.payload;
        let place = Place { segment, at, bytes };
        match &found.record {
            Record::Received(received) => {
                let study = &received.identity.key.study;
                if bytes > 0 {
                    self.note_payload(received.content, study, place, position);
                }
                self.hold(&received.content, position);
                if let Some(content) = self.payloads.get_mut(&received.content) {
                    content.study = study.digest();
                }
                self.note_instance(received, segment, position);
            }
            // The record that it stays for says of which study it is: none has the name of the content.
            Record::Gone(Some(content)) if bytes > 0 => {
                let nobody = Content { place, study: *content, last: position };
                self.payloads.entry(*content).or_insert(nobody);
            }
            Record::Ended(_) | Record::Gone(_) => {}
        }
    }

    /// Lets go of the contents that no record names, once all records are noted: who named them last was forgotten, and that
    /// was stopped before it came to them.
    pub(super) fn let_go(&mut self) {
        let to_shed = &mut self.to_shed;
        self.payloads.retain(|name, content| {
            let named = content.study != *name;
            if !named {
                to_shed.insert(content.place.segment);
            }
            named
        });
    }

    /// Forgets what came of studies before a position each, and gives the segments that may hold something of it, until
    /// they have [`Index::shed`] it.
    pub(super) fn forget(&mut self, studies: &BTreeMap<Digest, u64>) -> BTreeSet<u64> {
        let goes = |study: &Digest, last: u64| studies.get(study).is_some_and(|before| last < *before);
        let to_shed = &mut self.to_shed;
        self.payloads.retain(|_, content| {
            let goes = goes(&content.study, content.last);
            if goes {
                to_shed.insert(content.place.segment);
            }
            !goes
        });
        let mut left: HashMap<Digest, usize> = HashMap::new();
        self.instances.retain(|_, instance| {
            let goes = goes(&instance.study, instance.last);
            if !goes && studies.contains_key(&instance.study) {
                *left.entry(instance.study).or_default() += 1;
            }
            !goes
        });
        for (study, before) in studies {
            let Some(known) = self.studies.get_mut(study) else { continue };
            known.instances = left.get(study).copied().unwrap_or_default();
            // One that begins behind holds nothing that goes.
            to_shed.extend(known.segments.iter().copied().filter(|first| first < before));
            if known.instances == 0 {
                self.studies.remove(study);
            }
        }
        if !self.to_shed.is_empty() {
            self.going.extend(studies);
        }
        self.to_shed.clone()
    }

    /// Notes that nothing more is to go from a segment.
    pub(super) fn shed(&mut self, segment: u64) {
        self.to_shed.remove(&segment);
        if self.to_shed.is_empty() {
            self.going.clear();
        }
    }

    /// Whether the record at a position is still there and forgotten all the same.
    pub(crate) fn is_going(&self, position: u64, record: &Record) -> bool {
        let study = record.received().map(|received| received.identity.key.study.digest());
        study.and_then(|study| self.going.get(&study)).is_some_and(|before| position < *before)
    }

    /// Moves the contents of a segment that was written anew.
    pub(super) fn moved(&mut self, places: impl IntoIterator<Item = (Digest, Place)>) {
        for (content, place) in places {
            if let Some(content) = self.payloads.get_mut(&content) {
                content.place = place;
            }
        }
    }
}

/// The index of the inbox in a folder, shared by who writes it and who reads payloads.
#[derive(Clone, Debug)]
pub struct Kept {
    folder: PathBuf,
    index: Arc<RwLock<Index>>,
}

impl Kept {
    /// Reads what an inbox keeps, which may be in use by another process. Nothing if there is no inbox.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut index = Index::default();
        for first in segment::list(folder)? {
            each(folder, first, |position, found| index.note(first, position, &found))?;
        }
        index.let_go();
        Ok(Self { folder: folder.to_owned(), index: Arc::new(RwLock::new(index)) })
    }

    /// The index as it is now.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records that were not forgotten, each with its position, in order; those that were appended since may be missing.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read.
    pub fn records(&self) -> anyhow::Result<Vec<(u64, Record)>> {
        let mut records = Vec::new();
        for first in segment::list(&self.folder)? {
            each(&self.folder, first, |position, found| records.push((position, found.record)))?;
        }
        let index = self.index();
        records.retain(|(position, record)| !index.is_going(*position, record));
        Ok(records)
    }

    pub(super) fn change(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The content of this name, if the inbox keeps it.
    ///
    /// # Errors
    ///
    /// Returns an error that names the segment that cannot be read or is broken.
    pub fn payload(&self, content: &Digest) -> anyhow::Result<Option<Vec<u8>>> {
        let read = self.read_payload(content);
        if read.is_ok() {
            return read;
        }
        // The node of another process may have written the segment anew since.
        let again = Self::read(&self.folder)?.read_payload(content)?;
        if again.is_some() { Ok(again) } else { read }
    }

    fn read_payload(&self, content: &Digest) -> anyhow::Result<Option<Vec<u8>>> {
        // Opened under the lock, so that the place is one of this file.
        let index = self.index();
        let Some(place) = index.place(content) else { return Ok(None) };
        let path = segment::path(&self.folder, place.segment);
        let named = || format!("the inbox {}", path.display());
        let file = File::open(&path).with_context(named)?;
        drop(index);
        segment::payload(&file, (place.at, place.bytes), content).map(Some).with_context(named)
    }
}

/// Shows each record of a segment with its position. One that has left since is shown as an empty one.
fn each(folder: &Path, first: u64, mut see: impl FnMut(u64, Found)) -> anyhow::Result<()> {
    let path = segment::path(folder, first);
    let mut position = first;
    let see = |found: Found| {
        see(position, found);
        position += 1;
    };
    let scan = || -> io::Result<u64> { segment::scan(&File::open(&path)?, false, see) };
    match scan() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        scanned => scanned.map(drop).with_context(|| format!("the inbox {}", path.display())),
    }
}
