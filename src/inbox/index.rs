//! What the inbox keeps: where each content lies, and which instances are acknowledged.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::Context;
use operators::record::{Digest, InstanceUid, StudyUid};

use super::segment::{self, Found, Place};
use super::{Identity, Record};

/// What is kept, by content and by instance: about 250 bytes for each.
#[derive(Debug, Default)]
pub struct Index {
    payloads: HashMap<Digest, Place>,
    /// The newest content of each instance, and its class, by the digest of the UID.
    instances: HashMap<Digest, (Digest, Digest)>,
    /// Instances of each study, by the digest of its UID.
    studies: HashMap<Digest, usize>,
}

fn name(uid: &str) -> Digest {
    Digest::of(uid.as_bytes())
}

impl Index {
    /// Where a content lies.
    #[must_use]
    pub fn place(&self, content: &Digest) -> Option<Place> {
        self.payloads.get(content).copied()
    }

    /// The content that an instance was last acknowledged with.
    #[must_use]
    pub fn content(&self, instance: &InstanceUid) -> Option<Digest> {
        self.instances.get(&name(instance.as_str())).map(|(content, _)| *content)
    }

    /// Whether an instance of this class is acknowledged; `None` if no instance of this UID is.
    #[must_use]
    pub fn is_of_class(&self, instance: &str, class: &str) -> Option<bool> {
        self.instances.get(&name(instance)).map(|(_, kept)| *kept == name(class))
    }

    /// Instances of a study that are acknowledged.
    #[must_use]
    pub fn instances_of(&self, study: &StudyUid) -> usize {
        self.studies.get(&name(study.as_str())).copied().unwrap_or_default()
    }

    /// Contents.
    #[must_use]
    pub fn payloads(&self) -> usize {
        self.payloads.len()
    }

    pub(super) fn note_payload(&mut self, content: Digest, place: Place) {
        self.payloads.entry(content).or_insert(place);
    }

    pub(super) fn note_instance(&mut self, identity: &Identity, content: Digest) {
        let newest = (content, name(&identity.class));
        if self.instances.insert(name(identity.instance.as_str()), newest).is_none() {
            *self.studies.entry(name(identity.key.study.as_str())).or_default() += 1;
        }
    }

    /// Notes a record that was found in a segment.
    pub(super) fn note(&mut self, segment: u64, found: &Found) {
        let Record::Received(received) = &found.record else { return };
        let (at, bytes) = found.payload;
        if bytes > 0 {
            self.note_payload(received.content, Place { segment, at, bytes });
        }
        self.note_instance(&received.identity, received.content);
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
            let path = segment::path(folder, first);
            let named = || format!("the inbox {}", path.display());
            let file = File::open(&path).with_context(named)?;
            segment::scan(&file, false, |found| index.note(first, &found)).with_context(named)?;
        }
        Ok(Self { folder: folder.to_owned(), index: Arc::new(RwLock::new(index)) })
    }

    /// The index as it is now.
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The records, each with its position, in order; those that were appended since may be missing.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read.
    pub fn records(&self) -> anyhow::Result<Vec<(u64, Record)>> {
        let mut records = Vec::new();
        for first in segment::list(&self.folder)? {
            let path = segment::path(&self.folder, first);
            let named = || format!("the inbox {}", path.display());
            let file = File::open(&path).with_context(named)?;
            let mut position = first;
            let note = |found: Found| {
                records.push((position, found.record));
                position += 1;
            };
            segment::scan(&file, false, note).with_context(named)?;
        }
        Ok(records)
    }

    pub(super) fn change(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content of this name, if the inbox keeps it.
    ///
    /// # Errors
    ///
    /// Returns an error that names the segment that cannot be read or is broken.
    pub fn payload(&self, content: &Digest) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(place) = self.index().place(content) else { return Ok(None) };
        let path = segment::path(&self.folder, place.segment);
        let read = || segment::payload(&File::open(&path)?, (place.at, place.bytes), content);
        read().map(Some).with_context(|| format!("the inbox {}", path.display()))
    }
}
