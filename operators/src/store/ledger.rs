//! What a store knows of its blocks: who holds them, which are in memory, which are on disk. No I/O and no waiting.
//!
//! A block in memory stands in one of two queues by its last use: `clean` if it is on disk too, so that memory can let go
//! of it, `unwritten` if it could be written. A block that is being written, or that has no form on disk, stands in none.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::record::{Digest, Tick};

/// A block of any kind.
pub(super) type Value = Arc<dyn Any + Send + Sync>;
/// Called once a block has been put.
pub(super) type Notify = Box<dyn FnOnce() + Send>;

/// A name of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) kind: usize,
    pub(super) name: Digest,
}

/// How the blocks of a kind are measured, written and read.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) bytes: fn(&Value) -> usize,
    pub(super) to_bytes: fn(&Value) -> Option<Vec<u8>>,
    pub(super) from_bytes: fn(&[u8]) -> Option<Value>,
}

/// Where a block is beside memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDisk {
    /// Nowhere yet.
    No,
    /// Nowhere, for good: it has no form on disk, or the disk has failed.
    Never,
    /// On its way.
    Queued,
    /// Written before this process started, and not looked at yet.
    Unchecked,
    /// Written and committed.
    Yes,
}

impl OnDisk {
    fn is_stored(self) -> bool {
        matches!(self, Self::Yes | Self::Unchecked)
    }
}

struct Resident {
    value: Value,
    bytes: usize,
    used: u64,
}

struct Entry {
    /// Tells this entry from earlier and later ones of the same name.
    id: u64,
    holders: isize,
    /// The latest tick that held it or let it go: what it still needs may be under way until the frontier has passed.
    last: Tick,
    resident: Option<Resident>,
    on_disk: OnDisk,
}

/// The blocks of one kind.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// What it is called on disk.
    pub(super) table: Arc<str>,
    pub(super) form: Form,
    entries: HashMap<Digest, Entry>,
    idle: BTreeMap<Tick, Vec<Digest>>,
    /// Names that somebody computes, with all who want them.
    waiting: HashMap<Digest, Vec<Notify>>,
    /// Names on disk since before this process started that nobody has held.
    found: HashSet<[u8; 32]>,
    /// Names on disk that were held and let go, for a replay that comes by again.
    kept: HashSet<[u8; 32]>,
    pub(super) resident_blocks: usize,
    pub(super) resident_bytes: usize,
    stored: usize,
}

impl Kind {
    pub(super) fn stored_blocks(&self) -> usize {
        self.stored + self.found.len() + self.kept.len()
    }
}

/// What is there of a block.
pub(super) enum Presence {
    Absent,
    Resident(Value),
    /// On disk; the entry, if the name has one.
    Stored {
        entry: Option<u64>,
        checked: bool,
    },
}

/// A block to write.
pub(super) struct Write {
    pub(super) place: Place,
    pub(super) table: Arc<str>,
    pub(super) entry: u64,
    pub(super) value: Value,
    pub(super) bytes: usize,
    pub(super) to_bytes: fn(&Value) -> Option<Vec<u8>>,
}

/// A name to remove from the disk.
pub(super) type Removal = (Arc<str>, [u8; 32]);

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) kinds: Vec<Kind>,
    /// Names on disk of kinds that nobody has opened.
    pub(super) strangers: HashMap<String, HashSet<[u8; 32]>>,
    pub(super) resident_bytes: usize,
    /// Bytes of the blocks that are being written.
    pub(super) queued_bytes: usize,
    /// Nothing is written any more.
    pub(super) failed: bool,
    /// What nobody holds stays on disk.
    pub(super) keeps: bool,
    clock: u64,
    clean: BTreeMap<u64, Place>,
    unwritten: BTreeMap<u64, Place>,
}

impl Ledger {
    /// The kind of this name; the same name gives the same kind.
    pub(super) fn kind(&mut self, name: &'static str, table: &str, form: Form) -> usize {
        if let Some(known) = self.kinds.iter().position(|kind| kind.name == name) {
            return known;
        }
        let found = self.strangers.remove(table).unwrap_or_default();
        self.kinds.push(Kind {
            name,
            table: table.into(),
            form,
            entries: HashMap::new(),
            idle: BTreeMap::new(),
            waiting: HashMap::new(),
            found,
            kept: HashSet::new(),
            resident_blocks: 0,
            resident_bytes: 0,
            stored: 0,
        });
        self.kinds.len() - 1
    }

    /// The number of names of a kind.
    pub(super) fn names(&self, kind: usize) -> usize {
        self.kinds.get(kind).map_or(0, |kind| kind.entries.len())
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn entry(&self, place: Place) -> Option<&Entry> {
        self.kinds.get(place.kind)?.entries.get(&place.name)
    }

    fn entry_mut(&mut self, place: Place) -> Option<&mut Entry> {
        self.kinds.get_mut(place.kind)?.entries.get_mut(&place.name)
    }

    /// Takes a block out of the queues.
    fn unlist(&mut self, place: Place) {
        if let Some(used) = self.entry(place).and_then(|entry| entry.resident.as_ref()).map(|resident| resident.used) {
            self.clean.remove(&used);
            self.unwritten.remove(&used);
        }
    }

    /// Puts a block into the queue where it belongs now.
    fn list(&mut self, place: Place) {
        let Some(entry) = self.entry(place) else { return };
        let Some(resident) = &entry.resident else { return };
        let (used, on_disk) = (resident.used, entry.on_disk);
        match on_disk {
            OnDisk::Yes | OnDisk::Unchecked => drop(self.clean.insert(used, place)),
            OnDisk::No => drop(self.unwritten.insert(used, place)),
            OnDisk::Never | OnDisk::Queued => {}
        }
    }

    fn set_on_disk(&mut self, place: Place, on_disk: OnDisk) {
        self.unlist(place);
        let Some(kind) = self.kinds.get_mut(place.kind) else { return };
        if let Some(entry) = kind.entries.get_mut(&place.name) {
            kind.stored -= usize::from(entry.on_disk.is_stored());
            kind.stored += usize::from(on_disk.is_stored());
            entry.on_disk = on_disk;
        }
        self.list(place);
    }

    fn set_resident(&mut self, place: Place, value: Option<(Value, usize)>) {
        self.unlist(place);
        let used = self.tick();
        let Some(kind) = self.kinds.get_mut(place.kind) else { return };
        let Some(entry) = kind.entries.get_mut(&place.name) else { return };
        if let Some(resident) = entry.resident.take() {
            kind.resident_blocks -= 1;
            kind.resident_bytes -= resident.bytes;
            self.resident_bytes -= resident.bytes;
        }
        if let Some((value, bytes)) = value {
            kind.resident_blocks += 1;
            kind.resident_bytes += bytes;
            self.resident_bytes += bytes;
            entry.resident = Some(Resident { value, bytes, used });
        }
        self.list(place);
    }

    /// Adds holders; a name that is on disk gets its entry back.
    pub(super) fn hold(&mut self, place: Place, diff: isize, tick: Tick) {
        let id = self.tick();
        let Some(kind) = self.kinds.get_mut(place.kind) else { return };
        let entry = kind.entries.entry(place.name).or_insert_with(|| {
            let name = place.name.as_bytes();
            let found = kind.found.remove(name) || kind.kept.remove(name);
            kind.stored += usize::from(found);
            let on_disk = if found { OnDisk::Unchecked } else { OnDisk::No };
            Entry { id, holders: 0, last: tick, resident: None, on_disk }
        });
        entry.holders += diff;
        entry.last = entry.last.max(tick);
        if entry.holders <= 0 {
            kind.idle.entry(entry.last).or_default().push(place.name);
        }
    }

    /// What is there of a block. Counts as a use.
    pub(super) fn presence(&mut self, place: Place) -> Presence {
        let Some(entry) = self.entry(place) else {
            let name = place.name.as_bytes();
            let on_disk = |kind: &Kind| kind.found.contains(name) || kind.kept.contains(name);
            let found = self.kinds.get(place.kind).is_some_and(on_disk);
            return if found { Presence::Stored { entry: None, checked: false } } else { Presence::Absent };
        };
        if let Some(resident) = &entry.resident {
            let value = Arc::clone(&resident.value);
            self.unlist(place);
            let used = self.tick();
            if let Some(resident) = self.entry_mut(place).and_then(|entry| entry.resident.as_mut()) {
                resident.used = used;
            }
            self.list(place);
            return Presence::Resident(value);
        }
        match entry.on_disk {
            OnDisk::Yes => Presence::Stored { entry: Some(entry.id), checked: true },
            OnDisk::Unchecked => Presence::Stored { entry: Some(entry.id), checked: false },
            OnDisk::No | OnDisk::Never | OnDisk::Queued => Presence::Absent,
        }
    }

    /// Notes what a look at the disk told of the block that `entry` named. Returns the name if it is to be removed there.
    pub(super) fn checked(&mut self, place: Place, entry: Option<u64>, good: bool) -> Option<Removal> {
        if entry.is_none() {
            let kind = self.kinds.get_mut(place.kind)?;
            let name = place.name.as_bytes();
            let gone = !good && (kind.found.remove(name) || kind.kept.remove(name));
            return gone.then(|| (Arc::clone(&kind.table), *place.name.as_bytes()));
        }
        let found = self.entry(place).filter(|found| Some(found.id) == entry && found.on_disk.is_stored())?;
        if good {
            if found.on_disk == OnDisk::Unchecked {
                self.set_on_disk(place, OnDisk::Yes);
            }
            return None;
        }
        self.set_on_disk(place, OnDisk::No);
        Some((Arc::clone(&self.kinds.get(place.kind)?.table), *place.name.as_bytes()))
    }

    /// Makes a block that was read from disk resident, if there is room or room can be made.
    pub(super) fn restore(&mut self, place: Place, entry: u64, value: &Value, bytes: usize, limit: usize) {
        if bytes > limit {
            return;
        }
        self.evict(limit - bytes);
        let room = bytes <= limit.saturating_sub(self.resident_bytes);
        let wanted = self.entry(place).is_some_and(|found| found.id == entry && found.resident.is_none());
        if room && wanted {
            self.set_resident(place, Some((Arc::clone(value), bytes)));
        }
    }

    /// Whether a block of this name would be taken.
    pub(super) fn takes(&self, place: Place) -> bool {
        self.entry(place).is_some_and(|entry| entry.resident.is_none() && !entry.on_disk.is_stored())
    }

    /// Takes a block, if [`Ledger::takes`] it.
    pub(super) fn put(&mut self, place: Place, value: Value, bytes: usize) {
        if self.takes(place) {
            self.set_resident(place, Some((value, bytes)));
        }
    }

    /// Queues a block that is nowhere on disk for writing.
    pub(super) fn queue(&mut self, place: Place) -> Option<Write> {
        let kind = self.kinds.get(place.kind)?;
        let entry = kind.entries.get(&place.name).filter(|entry| entry.on_disk == OnDisk::No)?;
        let resident = entry.resident.as_ref()?;
        if self.failed {
            self.set_on_disk(place, OnDisk::Never);
            return None;
        }
        let write = Write {
            place,
            table: Arc::clone(&kind.table),
            entry: entry.id,
            value: Arc::clone(&resident.value),
            bytes: resident.bytes,
            to_bytes: kind.form.to_bytes,
        };
        self.queued_bytes += write.bytes;
        self.set_on_disk(place, OnDisk::Queued);
        Some(write)
    }

    /// Queues the blocks used least recently, until at least `bytes` are being written.
    pub(super) fn spill(&mut self, bytes: usize) -> Vec<Write> {
        let mut writes = Vec::new();
        while self.queued_bytes < bytes
            && let Some((_, place)) = self.unwritten.pop_first()
        {
            writes.extend(self.queue(place));
        }
        writes
    }

    /// Notes that a write has ended.
    pub(super) fn written(&mut self, write: &Write, on_disk: OnDisk) {
        self.queued_bytes -= write.bytes;
        let queued = |entry: &Entry| entry.id == write.entry && entry.on_disk == OnDisk::Queued;
        if self.entry(write.place).is_some_and(queued) {
            self.set_on_disk(write.place, on_disk);
        }
    }

    /// Lets memory go of what is on disk too, the least recently used first, until `limit` bytes are left.
    pub(super) fn evict(&mut self, limit: usize) {
        while self.resident_bytes > limit
            && let Some((_, place)) = self.clean.pop_first()
        {
            self.set_resident(place, None);
        }
    }

    /// Registers for a block that is not there; says whether somebody had before.
    pub(super) fn wait(&mut self, place: Place, notify: Notify) -> bool {
        let Some(kind) = self.kinds.get_mut(place.kind) else { return false };
        let waiting = kind.waiting.entry(place.name).or_default();
        waiting.push(notify);
        waiting.len() > 1
    }

    /// All who wait for a block.
    pub(super) fn waiting(&mut self, place: Place) -> Vec<Notify> {
        self.kinds.get_mut(place.kind).and_then(|kind| kind.waiting.remove(&place.name)).unwrap_or_default()
    }

    /// Removes the names that nobody holds, and that nobody has held or let go at `frontier` or later.
    pub(super) fn compact(&mut self, index: usize, frontier: Tick) -> Compacted {
        let mut compacted = Compacted::default();
        let Some(kind) = self.kinds.get_mut(index) else { return compacted };
        let later = kind.idle.split_off(&frontier);
        for name in std::mem::replace(&mut kind.idle, later).into_values().flatten() {
            let place = Place { kind: index, name };
            let Some(entry) = self.entry(place) else { continue };
            if entry.holders > 0 || entry.last >= frontier {
                continue;
            }
            let stored = entry.on_disk.is_stored();
            let removed = !self.keeps && (stored || entry.on_disk == OnDisk::Queued);
            let kept = self.keeps && stored;
            compacted.values.extend(entry.resident.as_ref().map(|resident| Arc::clone(&resident.value)));
            self.set_resident(place, None);
            self.set_on_disk(place, OnDisk::No);
            if let Some(kind) = self.kinds.get_mut(index) {
                kind.entries.remove(&name);
                // What is on its way there is found by the process that comes next.
                kind.kept.extend(kept.then_some(*name.as_bytes()));
                compacted.removals.extend(removed.then(|| (Arc::clone(&kind.table), *name.as_bytes())));
            }
        }
        compacted
    }

    /// Forgets what is on disk and nobody holds.
    pub(super) fn prune(&mut self) -> Vec<Removal> {
        let unheld = |kind: &mut Kind| {
            let table = Arc::clone(&kind.table);
            let kept = std::mem::take(&mut kind.kept);
            std::mem::take(&mut kind.found).into_iter().chain(kept).map(move |name| (Arc::clone(&table), name))
        };
        self.kinds.iter_mut().flat_map(unheld).collect()
    }

    /// Forgets what was found on disk and nobody has held: the names, and the kinds that nobody has opened.
    pub(super) fn sweep(&mut self) -> (Vec<Removal>, HashMap<String, HashSet<[u8; 32]>>) {
        let unheld = |kind: &mut Kind| {
            let table = Arc::clone(&kind.table);
            std::mem::take(&mut kind.found).into_iter().map(move |found| (Arc::clone(&table), found))
        };
        let removals = self.kinds.iter_mut().flat_map(unheld).collect();
        (removals, std::mem::take(&mut self.strangers))
    }
}

/// What a compaction took away.
#[derive(Default)]
pub(super) struct Compacted {
    /// To be removed from the disk.
    pub(super) removals: Vec<Removal>,
    /// To be dropped by whoever does not hold the lock.
    pub(super) values: Vec<Value>,
}
