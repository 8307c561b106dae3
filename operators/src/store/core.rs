//! The part of a store that its users and its writer share: the ledger behind its lock.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;

use super::disk::Disk;
use super::ledger::{Compacted, Form, Ledger, OnDisk, Place, Presence, Value, Write};
use super::writer::Job;
use crate::record::Tick;

/// The ledger, the limit, and those who wait for room.
pub(super) struct Core {
    ledger: Mutex<Ledger>,
    room: Condvar,
    /// Resident bytes at most.
    limit: usize,
}

impl Core {
    pub(super) fn new(limit: usize, ledger: Ledger) -> Self {
        Self { ledger: Mutex::new(ledger), room: Condvar::new(), limit }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what became of writes, and lets those go on who wait for room.
    pub(super) fn written<'a>(&self, writes: impl Iterator<Item = (&'a Write, OnDisk)>, failed: bool) {
        let mut ledger = self.lock();
        ledger.failed |= failed;
        for (write, on_disk) in writes {
            ledger.written(write, on_disk);
        }
        ledger.evict(self.limit);
        drop(ledger);
        self.room.notify_all();
    }
}

/// The disk under a store, and the way to its writer.
pub(super) struct Backing {
    pub(super) disk: Arc<Disk>,
    pub(super) jobs: Sender<Job>,
    /// Whether each block is written, or only what memory has no room for.
    pub(super) persistent: bool,
}

impl Backing {
    pub(super) fn send(&self, job: Job) {
        // It fails only when the writer has gone, and it goes after all who send.
        self.jobs.send(job).ok();
    }
}

/// Both together: what a shelf works on.
#[derive(Clone, Copy)]
pub(super) struct Access<'a> {
    pub(super) core: &'a Core,
    pub(super) backing: Option<&'a Backing>,
}

impl<'a> Access<'a> {
    pub(super) fn send(self, jobs: impl IntoIterator<Item = Job>) {
        if let Some(backing) = self.backing {
            jobs.into_iter().for_each(|job| backing.send(job));
        }
    }

    /// Does what comes `first`, and tells what is there of a block then. One that was found on disk is looked at before,
    /// outside the lock.
    pub(super) fn presence(self, place: Place, first: impl FnOnce(&mut Ledger)) -> (MutexGuard<'a, Ledger>, Presence) {
        let mut looked = false;
        let mut ledger = self.core.lock();
        first(&mut ledger);
        loop {
            let presence = ledger.presence(place);
            let Presence::Stored { entry, checked: false } = presence else { return (ledger, presence) };
            if looked {
                return (ledger, presence);
            }
            let table = ledger.kinds.get(place.kind).map(|kind| Arc::clone(&kind.table));
            drop(ledger);
            looked = true;
            let good = self.read(table.as_deref(), place).is_some();
            ledger = self.core.lock();
            // Under the lock, so that a write of the same name comes behind.
            self.send(ledger.checked(place, entry, good).map(Job::Remove));
        }
    }

    fn read(self, table: Option<&str>, place: Place) -> Option<Vec<u8>> {
        self.backing?.disk.read(table?, &place.name)
    }

    /// The block, from memory or else from disk.
    pub(super) fn get(self, place: Place) -> Option<Value> {
        let mut ledger = self.core.lock();
        let entry = match ledger.presence(place) {
            Presence::Absent => return None,
            Presence::Resident(value) => return Some(value),
            Presence::Stored { entry, .. } => entry,
        };
        let (table, Form { bytes: size, from_bytes, .. }) =
            ledger.kinds.get(place.kind).map(|kind| (Arc::clone(&kind.table), kind.form))?;
        drop(ledger);
        let value = self.read(Some(&table), place).and_then(|bytes| from_bytes(&bytes));
        let mut ledger = self.core.lock();
        self.send(ledger.checked(place, entry, value.is_some()).map(Job::Remove));
        if let (Some(value), Some(entry)) = (&value, entry) {
            ledger.restore(place, entry, value, size(value), self.core.limit);
            if let Presence::Resident(first) = ledger.presence(place) {
                return Some(first);
            }
        }
        value
    }

    /// Takes a block and tells all who wait for it. Waits while memory is full of what is being written.
    pub(super) fn put(self, place: Place, value: Value) {
        let ledger = self.core.lock();
        let bytes = ledger.kinds.get(place.kind).map_or(0, |kind| (kind.form.bytes)(&value));
        let mut ledger = if ledger.takes(place) { self.make_room(ledger, bytes) } else { ledger };
        ledger.put(place, value, bytes);
        if let Some(backing) = self.backing.filter(|backing| backing.persistent)
            && let Some(write) = ledger.queue(place)
        {
            backing.send(Job::Write(write));
        }
        let waiting = ledger.waiting(place);
        drop(ledger);
        waiting.into_iter().for_each(|notify| notify());
    }

    /// Removes what nobody holds, from disk too.
    pub(super) fn compact(self, kind: usize, frontier: Tick) {
        let mut ledger = self.core.lock();
        let Compacted { removals, values } = ledger.compact(kind, frontier);
        self.send(removals.into_iter().map(Job::Remove));
        drop(ledger);
        drop(values);
    }

    fn make_room(self, mut ledger: MutexGuard<'a, Ledger>, bytes: usize) -> MutexGuard<'a, Ledger> {
        let limit = self.core.limit;
        loop {
            ledger.evict(limit.saturating_sub(bytes));
            let over = ledger.resident_bytes.saturating_add(bytes).saturating_sub(limit);
            if over == 0 {
                return ledger;
            }
            if let Some(backing) = self.backing.filter(|backing| !backing.persistent) {
                // More than is needed now, so that the next blocks find room without waiting.
                ledger
                    .spill(over.saturating_add(limit / 8))
                    .into_iter()
                    .for_each(|write| backing.send(Job::Write(write)));
            }
            if ledger.queued_bytes == 0 {
                return ledger;
            }
            ledger = self.core.room.wait(ledger).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
