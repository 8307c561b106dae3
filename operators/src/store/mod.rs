//! What is too large or too imprecise to flow: blocks by the digest that names them, in memory and on disk.
//!
//! A record in a collection says which block it needs; the block stands on a [`Shelf`] as long as some record holds its
//! name. Holding follows the collection's own differences: an insertion adds a holder, a retraction takes one away, and
//! what nobody has held since before the frontier is removed by [`Store::compact`].
//!
//! A [`Store`] is the shelves of all kinds under one limit of memory. Over the limit, it lets go of the blocks used least
//! recently, once they are on disk. A store that was opened ([`Store::open`]) writes every block, behind, so that a
//! process that starts again finds what an earlier one has computed. When the disk fails, blocks stay in memory.

mod blocks;
mod core;
mod disk;
mod ledger;
mod medium;
mod shelf;
#[cfg(test)]
mod tests;
mod writer;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::{fmt, io, thread};

use self::core::{Access, Backing, Core};
use self::disk::{Disk, Names};
use self::ledger::{Form, Ledger, Value};
use self::writer::Job;
use crate::record::Tick;

pub use self::shelf::{Shelf, Want};

/// What a shelf holds.
pub trait Block: Send + Sync + Sized + 'static {
    /// Names the kind, and the version of its form on disk.
    const KIND: &'static str;

    /// Bytes that it takes in memory.
    fn bytes(&self) -> usize;

    /// Its form on disk; `None` if it must stay in memory.
    fn to_bytes(&self) -> Option<Vec<u8>>;

    /// From that form; `None` if it is broken.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// What a store may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the blocks in memory at most, over all kinds. Blocks that have no form on disk, and a block that is larger
    /// by itself, are kept all the same.
    pub memory_bytes: usize,
}

/// The blocks of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The kind.
    pub kind: &'static str,
    /// Names, with and without a block.
    pub names: usize,
    /// Blocks in memory.
    pub resident_blocks: usize,
    /// Their bytes.
    pub resident_bytes: usize,
    /// Blocks on disk.
    pub stored_blocks: usize,
}

/// A store that cannot be opened or does not write.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder, or the file in it, cannot be used.
    #[error("{} cannot be opened as a store", path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else has the store open.
    #[error("{} is open in another process", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is no store, or broken.
    #[error("{} is not a store of blocks", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The disk has failed. Blocks stay in memory since.
    #[error("blocks are no longer written: {fault}")]
    Faulty {
        /// The first failure, with the file.
        fault: String,
    },
    /// The thread that writes cannot be started.
    #[error("no thread can be started to write {}", path.display())]
    Thread {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Blocks of all kinds, shared by all workers of a process. A clone is the same store. What an opened store still has to
/// write is written before the last clone is gone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    backing: Option<Backing>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.backing.take());
        if let Some(writer) = self.writer.take() {
            // The thread catches what can panic in it.
            writer.join().ok();
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

impl Store {
    /// A store in memory only, without a limit. It never fails.
    #[must_use]
    pub fn unbounded() -> Self {
        let core = Arc::new(Core::new(usize::MAX, Ledger::default()));
        Self(Arc::new(Inner { core, backing: None, writer: None }))
    }

    /// A store that writes what is over the limit to a nameless file in `folder`, which is created if it is not there.
    /// Nothing outlives the process.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the file cannot be created.
    pub fn spilling(limits: Limits, folder: &Path) -> Result<Self, StoreError> {
        Self::on(Disk::nameless(folder)?, Names::new(), limits, false)
    }

    /// The store of `folder`, which is created if it is not there: blocks that an earlier process has put are found again.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError`] if the folder cannot be used, is open elsewhere, or holds something else.
    pub fn open(limits: Limits, folder: &Path) -> Result<Self, StoreError> {
        let (disk, names) = Disk::open(folder)?;
        Self::on(disk, names, limits, true)
    }

    fn on(disk: Disk, names: Names, limits: Limits, persistent: bool) -> Result<Self, StoreError> {
        let mut ledger = Ledger::default();
        ledger.strangers = names;
        let core = Arc::new(Core::new(limits.memory_bytes, ledger));
        let disk = Arc::new(disk);
        let (jobs, asked) = crossbeam_channel::unbounded();
        let run = {
            let (core, disk) = (Arc::clone(&core), Arc::clone(&disk));
            move || writer::run(&core, &disk, &asked)
        };
        let started = thread::Builder::new().name("store".to_owned()).spawn(run);
        let writer = started.map_err(|source| StoreError::Thread { path: disk.path().to_owned(), source })?;
        let backing = Some(Backing { disk, jobs, persistent });
        Ok(Self(Arc::new(Inner { core, backing, writer: Some(writer) })))
    }

    /// From now on, what nobody holds goes from memory only. A replay goes through what was replaced and withdrawn since,
    /// and finds it on disk; [`Store::sweep`] still removes what no replay comes by.
    #[must_use]
    pub fn keeping(self) -> Self {
        self.0.core.lock().keeps = true;
        self
    }

    fn access(&self) -> Access<'_> {
        Access { core: &self.0.core, backing: self.0.backing.as_ref() }
    }

    /// The shelf of a kind.
    #[must_use]
    pub fn shelf<V: Block>(&self) -> Shelf<V> {
        self.named_shelf(V::KIND)
    }

    /// A shelf of its own for some of the blocks of a kind. All shelves of one name are the same shelf and have the same
    /// kind of blocks.
    #[must_use]
    pub fn named_shelf<V: Block>(&self, kind: &'static str) -> Shelf<V> {
        let form = Form {
            bytes: |value| value.downcast_ref::<V>().map_or(0, V::bytes),
            to_bytes: |value| value.downcast_ref::<V>().and_then(V::to_bytes),
            from_bytes: |bytes| V::from_bytes(bytes).map(|block| -> Value { Arc::new(block) }),
        };
        let table = if kind == V::KIND { kind.to_owned() } else { format!("{kind}.{}", V::KIND) };
        let index = self.0.core.lock().kind(kind, &table, form);
        Shelf::new(self.clone(), index)
    }

    /// Removes the blocks of all kinds that nobody holds, and that nobody has held or let go at `frontier` or later, from
    /// memory and, unless it is [`Store::keeping`], from disk.
    pub fn compact(&self, frontier: Tick) {
        let kinds = self.0.core.lock().kinds.len();
        (0..kinds).for_each(|kind| self.access().compact(kind, frontier));
    }

    /// What there is of each kind, in the order in which their shelves were made.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        let ledger = self.0.core.lock();
        let usage = |(index, kind): (usize, &ledger::Kind)| Usage {
            kind: kind.name,
            names: ledger.names(index),
            resident_blocks: kind.resident_blocks,
            resident_bytes: kind.resident_bytes,
            stored_blocks: kind.stored_blocks(),
        };
        ledger.kinds.iter().enumerate().map(usage).collect()
    }

    /// Returns once all that was put before is on disk, as far as this store writes it.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Faulty`] if the disk has failed, now or before.
    pub fn flush(&self) -> Result<(), StoreError> {
        if let Some(backing) = &self.0.backing {
            let (done, wait) = crossbeam_channel::bounded(1);
            backing.send(Job::Flush(done));
            // It fails only when the writer has gone, which a fault tells.
            wait.recv().ok();
        }
        self.fault().map_or(Ok(()), |fault| Err(StoreError::Faulty { fault }))
    }

    /// Removes from disk what nobody has held since the store was opened: what is left once a replay has caught up is of
    /// no use to anybody. Kinds that no shelf was made of go as a whole. Returns the number of blocks.
    ///
    /// # Errors
    ///
    /// Returns [`StoreError::Faulty`] if the disk has failed, now or before.
    pub fn sweep(&self) -> Result<usize, StoreError> {
        let access = self.access();
        let mut ledger = self.0.core.lock();
        let (removals, strangers) = ledger.sweep();
        let count = removals.len() + strangers.values().map(std::collections::HashSet::len).sum::<usize>();
        access.send(removals.into_iter().map(Job::Remove));
        access.send(strangers.into_keys().map(Job::Drop));
        drop(ledger);
        self.flush()?;
        Ok(count)
    }

    /// Removes from disk, behind, what nobody holds, also what a store that is [`Store::keeping`] has kept. Who comes by it
    /// again computes it again. Returns the number of blocks.
    pub fn prune(&self) -> usize {
        let mut ledger = self.0.core.lock();
        let removals = ledger.prune();
        let count = removals.len();
        // Under the lock, so that a write of the same name comes behind.
        self.access().send(removals.into_iter().map(Job::Remove));
        count
    }

    /// The first failure of the disk since the store was opened, with the file. Blocks stay in memory since.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.0.backing.as_ref()?.disk.fault()
    }
}
