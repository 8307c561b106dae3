//! Stores against a plain model, over restarts, and over disks that fail.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use proptest::prelude::*;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::medium::Medium;
use super::*;
use crate::record::Digest;

/// A block of the tests; a first byte of 255 has no form on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Block for Bytes {
    const KIND: &'static str = "bytes.1";

    fn bytes(&self) -> usize {
        self.0.len()
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        (self.0.first() != Some(&255)).then(|| self.0.clone())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.to_vec()))
    }
}

fn name(n: usize) -> Digest {
    Digest::of(&n.to_le_bytes())
}

fn block(n: usize) -> Arc<Bytes> {
    Arc::new(Bytes(vec![n.to_le_bytes()[0] % 200; 64 + n % 32]))
}

fn limits(memory_bytes: usize) -> Limits {
    Limits { memory_bytes }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn fill(shelf: &Shelf<Bytes>, names: std::ops::Range<usize>) {
    for n in names {
        shelf.hold(name(n), 1, 0);
        shelf.put(name(n), block(n));
    }
}

fn resident(store: &Store) -> usize {
    store.usage().iter().map(|usage| usage.resident_bytes).sum()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Hold(u8, isize),
    Put(u8, u8),
    Get(u8),
    Want(u8),
    Compact(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u8..6, prop_oneof![3 => Just(1), 2 => Just(-1)]).prop_map(|(name, diff)| Step::Hold(name, diff)),
        4 => (0_u8..6, prop_oneof![Just(255), any::<u8>()]).prop_map(|(name, content)| Step::Put(name, content)),
        3 => (0_u8..6).prop_map(Step::Get),
        1 => (0_u8..6).prop_map(Step::Want),
        1 => (0_u64..6).prop_map(Step::Compact),
    ];
    prop::collection::vec(step, 0..50)
}

/// What a store without limit or disk must do, in the plainest form.
#[derive(Default)]
struct Plain {
    blocks: BTreeMap<u8, (isize, Tick, Option<u8>)>,
    wanted: BTreeMap<u8, usize>,
}

impl Plain {
    /// Does a step at a tick; says what is to be seen of it.
    fn step(&mut self, step: Step, tick: Tick) -> String {
        match step {
            Step::Hold(name, diff) => {
                let (holders, last, content) = self.blocks.entry(name).or_insert((0, tick, None));
                *holders += diff;
                *last = tick.max(*last);
                format!("{}", content.is_some())
            }
            Step::Put(name, content) => {
                if let Some((_, _, block)) = self.blocks.get_mut(&name) {
                    block.get_or_insert(content);
                }
                format!("{}", self.wanted.remove(&name).unwrap_or_default())
            }
            Step::Get(name) => format!("{:?}", self.blocks.get(&name).and_then(|(_, _, content)| *content)),
            Step::Want(name) => {
                if self.blocks.get(&name).is_some_and(|(_, _, content)| content.is_some()) {
                    return "Here".to_owned();
                }
                let wanted = self.wanted.entry(name).or_default();
                *wanted += 1;
                (if *wanted == 1 { "Ask" } else { "Asked" }).to_owned()
            }
            Step::Compact(back) => {
                let frontier = tick.saturating_sub(back);
                self.blocks.retain(|_, (holders, last, _)| *holders > 0 || *last >= frontier);
                format!("{}", self.blocks.len())
            }
        }
    }
}

/// The same of a store. Blocks are 100 bytes.
fn step(store: &Store, step: Step, tick: Tick, told: &Arc<AtomicUsize>) -> String {
    let shelf = store.shelf::<Bytes>();
    match step {
        Step::Hold(n, diff) => format!("{}", shelf.hold(name(n.into()), diff, tick)),
        Step::Put(n, content) => {
            told.store(0, Ordering::SeqCst);
            shelf.put(name(n.into()), Arc::new(Bytes(vec![content; 100])));
            format!("{}", told.load(Ordering::SeqCst))
        }
        Step::Get(n) => format!("{:?}", shelf.get(&name(n.into())).map(|block| block.0[0])),
        Step::Want(n) => {
            let told = Arc::clone(told);
            let want = shelf.want(name(n.into()), move || {
                told.fetch_add(1, Ordering::SeqCst);
            });
            format!("{want:?}")
        }
        Step::Compact(back) => {
            store.compact(tick.saturating_sub(back));
            format!("{}", shelf.len())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_limit_a_disk_and_a_broken_disk_change_nothing_that_is_seen(steps in steps(), writes in 0_usize..60) {
        let (spill, kept) = (folder(), folder());
        let (broken, _) = Failing::disk(writes);
        let stores = [
            Store::unbounded(),
            Store::spilling(limits(250), spill.path()).expect("a store"),
            Store::open(limits(0), kept.path()).expect("a store"),
            Store::on(broken, Names::new(), limits(150), true).expect("a store"),
            Store::on(Failing::disk(writes).0, Names::new(), limits(150), false).expect("a store"),
        ];
        let mut plain = Plain::default();
        let told = Arc::new(AtomicUsize::new(0));
        for (tick, s) in (0..).zip(steps) {
            let expected = plain.step(s, tick);
            for (index, store) in stores.iter().enumerate() {
                prop_assert_eq!(step(store, s, tick, &told), expected.as_str(), "store {}, {:?} at {}", index, s, tick);
            }
        }
    }
}

#[test]
fn memory_stays_below_its_limit_while_a_thousand_blocks_pass() {
    let folder = folder();
    let spilling = Store::spilling(limits(2000), &folder.path().join("spill")).expect("a store");
    let open = Store::open(limits(2000), &folder.path().join("open")).expect("a store");
    for store in [spilling, open] {
        let shelf = store.shelf::<Bytes>();
        let mut most = 0;
        for n in 0..1000 {
            fill(&shelf, n..n + 1);
            most = most.max(resident(&store));
        }
        for n in 0..1000 {
            assert_eq!(shelf.get(&name(n)), Some(block(n)), "block {n}");
            most = most.max(resident(&store));
        }
        assert!(most <= 2000 && most > 1000, "{most} bytes in memory");
        let usage = store.usage()[0];
        assert_eq!((usage.kind, usage.names), ("bytes.1", 1000));
        assert!(usage.stored_blocks + usage.resident_blocks >= 1000, "{usage:?}");
        store.compact(1);
        assert_eq!(store.usage()[0].names, 1000, "all are held");
        for n in 0..1000 {
            shelf.hold(name(n), -1, 1);
        }
        store.compact(2);
        let empty = Usage { kind: "bytes.1", names: 0, resident_blocks: 0, resident_bytes: 0, stored_blocks: 0 };
        assert_eq!(store.usage(), [empty]);
        assert_eq!(store.fault(), None);
    }
}

#[test]
fn the_least_recently_used_block_of_all_kinds_goes_first() {
    let folder = folder();
    let store = Store::open(limits(300), folder.path()).expect("a store");
    let (one, other) = (store.shelf::<Bytes>(), store.named_shelf::<Bytes>("other"));
    for (n, shelf) in [&one, &other, &one].into_iter().enumerate() {
        shelf.hold(name(n), 1, 0);
        shelf.put(name(n), Arc::new(Bytes(vec![1; 100])));
    }
    store.flush().expect("a disk");
    assert!(one.get(&name(0)).is_some(), "used again");
    other.hold(name(3), 1, 0);
    other.put(name(3), Arc::new(Bytes(vec![1; 100])));
    let blocks: Vec<usize> = store.usage().iter().map(|usage| usage.resident_blocks).collect();
    assert_eq!(blocks, [2, 1], "block 1, of the other kind, has gone");
    assert!(other.get(&name(1)).is_some());
}

#[test]
fn a_block_that_has_no_form_stays_in_memory() {
    let folder = folder();
    let store = Store::open(limits(0), folder.path()).expect("a store");
    let shelf = store.shelf::<Bytes>();
    let pinned = Arc::new(Bytes(vec![255; 10]));
    shelf.hold(name(0), 1, 0);
    shelf.put(name(0), Arc::clone(&pinned));
    fill(&shelf, 1..9);
    store.flush().expect("a disk");
    assert_eq!(resident(&store), 10);
    assert_eq!(shelf.get(&name(0)), Some(pinned));
    drop((shelf, store));
    let shelf = Store::open(limits(0), folder.path()).expect("a store").shelf::<Bytes>();
    assert!(!shelf.hold(name(0), 1, 0));
}

#[test]
fn a_process_that_starts_again_finds_what_was_put_and_a_sweep_removes_what_nobody_holds() {
    let folder = folder();
    {
        let store = Store::open(limits(500), folder.path()).expect("a store");
        fill(&store.shelf(), 0..100);
        fill(&store.named_shelf("retired"), 0..7);
    }
    {
        let store = Store::open(limits(500), folder.path()).expect("a store");
        let shelf = store.shelf::<Bytes>();
        assert!(shelf.is_empty(), "nobody holds anything yet");
        assert_eq!(store.usage()[0].stored_blocks, 100);
        for n in 0..40 {
            assert!(shelf.hold(name(n), 1, 0), "block {n} is on disk");
            assert_eq!(shelf.want(name(n), || {}), Want::Here);
        }
        assert_eq!(shelf.want(name(50), || {}), Want::Here, "not held, but there");
        assert_eq!(shelf.get(&name(50)), Some(block(50)));
        assert!(!shelf.hold(name(1000), 1, 0));
        assert_eq!(store.sweep().expect("a disk"), 60 + 7);
        assert_eq!(store.sweep().expect("a disk"), 0);
        assert_eq!(shelf.get(&name(50)), None);
        shelf.hold(name(39), -1, 1);
        store.compact(2);
    }
    let store = Store::open(limits(500), folder.path()).expect("a store");
    let shelf = store.shelf::<Bytes>();
    assert_eq!(store.usage()[0].stored_blocks, 39, "compaction removes from disk, too");
    assert_eq!(store.named_shelf::<Bytes>("retired").get(&name(1)), None);
    for n in 0..39 {
        assert_eq!(shelf.get(&name(n)), Some(block(n)));
    }
}

#[test]
fn a_block_that_goes_and_comes_again_is_the_new_one_after_a_restart() {
    let folder = folder();
    {
        let store = Store::open(limits(0), folder.path()).expect("a store");
        let shelf = store.shelf::<Bytes>();
        for (tick, content) in (0..40_u64).zip(0_u8..) {
            shelf.hold(name(0), 1, tick);
            shelf.put(name(0), Arc::new(Bytes(vec![content])));
            if content < 39 {
                shelf.hold(name(0), -1, tick);
                shelf.compact(tick + 1);
            }
        }
        assert_eq!(shelf.get(&name(0)), Some(Arc::new(Bytes(vec![39]))));
    }
    let shelf = Store::open(limits(0), folder.path()).expect("a store").shelf::<Bytes>();
    assert_eq!(shelf.get(&name(0)), Some(Arc::new(Bytes(vec![39]))));
}

#[test]
fn a_value_with_one_changed_byte_reads_as_absent_and_is_computed_again() {
    let folder = folder();
    let odd: Vec<u8> = (0..3000_u32).map(|n| (n * n % 251).to_le_bytes()[0]).collect();
    {
        let store = Store::open(limits(500), folder.path()).expect("a store");
        let shelf = store.shelf::<Bytes>();
        fill(&shelf, 0..3);
        shelf.hold(name(9), 1, 0);
        shelf.put(name(9), Arc::new(Bytes(odd.clone())));
    }
    let path = folder.path().join(disk::FILE);
    let mut file = std::fs::read(&path).expect("the file");
    let at = file.windows(100).rposition(|window| window == &odd[1000..1100]).expect("the value");
    file[at + 50] ^= 1;
    std::fs::write(&path, file).expect("the file");
    {
        let store = Store::open(limits(500), folder.path()).expect("a store");
        let shelf = store.shelf::<Bytes>();
        assert!(!shelf.hold(name(9), 1, 0), "broken is not there");
        assert_eq!(shelf.want(name(9), || {}), Want::Ask);
        assert_eq!(shelf.get(&name(9)), None);
        assert_eq!(shelf.get(&name(1)), Some(block(1)), "the others are whole");
        shelf.put(name(9), Arc::new(Bytes(odd.clone())));
        assert_eq!(store.fault(), None);
    }
    let shelf = Store::open(limits(500), folder.path()).expect("a store").shelf::<Bytes>();
    assert!(shelf.hold(name(9), 1, 0));
    assert_eq!(shelf.get(&name(9)), Some(Arc::new(Bytes(odd))));
}

#[test]
fn a_truncated_file_is_refused_or_loses_blocks_but_never_gives_another() {
    let folder = folder();
    fill(&Store::open(limits(500), folder.path()).expect("a store").shelf(), 0..200);
    let path = folder.path().join(disk::FILE);
    let whole = std::fs::read(&path).expect("the file");
    for part in 0..16 {
        std::fs::write(&path, &whole[..whole.len() * part / 16]).expect("the file");
        let Ok(store) = Store::open(limits(500), folder.path()) else { continue };
        let shelf = store.shelf::<Bytes>();
        for n in 0..200 {
            let found = shelf.get(&name(n));
            assert!(found.is_none() || found == Some(block(n)), "part {part}, block {n}");
        }
    }
}

#[test]
fn of_all_who_want_a_block_one_is_asked_and_all_are_told() {
    let shelf = Shelf::<Bytes>::default();
    let told = Arc::new(AtomicUsize::new(0));
    shelf.hold(name(0), 1, 0);
    let asked: usize = thread::scope(|scope| {
        let want = || {
            let told = Arc::clone(&told);
            let again = shelf.clone();
            let notify = move || {
                assert!(again.get(&name(0)).is_some(), "told once it is there, outside of the lock");
                told.fetch_add(1, Ordering::SeqCst);
            };
            usize::from(shelf.want(name(0), notify) == Want::Ask)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(want)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!((asked, told.load(Ordering::SeqCst)), (1, 0));
    shelf.put(name(0), block(0));
    shelf.put(name(0), block(0));
    assert_eq!(told.load(Ordering::SeqCst), 8);
    assert_eq!(shelf.want(name(0), || {}), Want::Here);
}

#[test]
fn what_was_wanted_and_is_no_longer_held_is_told_and_forgotten() {
    let shelf = Shelf::<Bytes>::default();
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    shelf.hold(name(0), 1, 0);
    assert_eq!(shelf.want(name(0), move || tell.store(true, Ordering::SeqCst)), Want::Ask);
    shelf.hold(name(0), -1, 1);
    shelf.compact(2);
    shelf.put(name(0), block(0));
    assert!(told.load(Ordering::SeqCst) && shelf.is_empty());
    assert_eq!(shelf.want(name(0), || {}), Want::Ask, "the first again");
}

#[test]
fn a_store_is_open_once_and_a_file_of_something_else_is_refused() {
    let folder = folder();
    let first = Store::open(limits(0), folder.path()).expect("a store");
    let second = Store::open(limits(0), folder.path()).expect_err("open already");
    assert!(matches!(&second, StoreError::Locked { path } if path.starts_with(folder.path())), "{second}");
    drop(first);
    Store::open(limits(0), folder.path()).expect("closed");
    let path = folder.path().join(disk::FILE);
    std::fs::write(&path, b"no store at all").expect("a file");
    let foreign = Store::open(limits(0), folder.path()).expect_err("no store");
    assert!(matches!(&foreign, StoreError::Foreign { .. }) && foreign.to_string().contains("blocks.redb"), "{foreign}");
    assert_eq!(std::fs::read(&path).expect("the file"), b"no store at all", "and left alone");
    let unusable = Store::open(limits(0), &path.join("below")).expect_err("a file is no folder");
    assert!(matches!(unusable, StoreError::Unusable { .. }));
}

/// A medium in memory whose writes fail after some.
#[derive(Debug)]
struct Failing {
    medium: InMemoryBackend,
    left: Arc<AtomicUsize>,
}

impl Failing {
    /// A disk that takes a number of writes once it is open, and what counts them down.
    fn disk(writes: usize) -> (Disk, Arc<AtomicUsize>) {
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let medium = Self { medium: InMemoryBackend::new(), left: Arc::clone(&left) };
        let (disk, _) = Disk::on(Medium::new(medium, true), PathBuf::from("failing")).expect("a disk");
        left.store(writes, Ordering::SeqCst);
        (disk, left)
    }

    fn count(&self) -> io::Result<()> {
        let less = |left: usize| left.checked_sub(1);
        let full = |_| io::Error::new(io::ErrorKind::StorageFull, "no space left");
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).map(|_| ()).map_err(full)
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.medium.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.medium.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.count()?;
        self.medium.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.count()?;
        self.medium.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.count()?;
        self.medium.write(offset, data)
    }
}

#[test]
fn a_full_disk_loses_nothing_and_is_reported() {
    for persistent in [true, false] {
        for writes in [0, 1, 2, 3, 5, 8, 40, 300] {
            let (disk, left) = Failing::disk(writes);
            let store = Store::on(disk, Names::new(), limits(1000), persistent).expect("a store");
            let shelf = store.shelf::<Bytes>();
            fill(&shelf, 0..100);
            left.fetch_min(1, Ordering::SeqCst);
            fill(&shelf, 100..200);
            for n in 0..200 {
                assert_eq!(shelf.get(&name(n)), Some(block(n)), "block {n} after {writes} writes");
            }
            let fault = store.fault().expect("a fault");
            assert!(fault.contains("failing") && fault.contains("no space left"), "{fault}");
            assert!(matches!(store.flush(), Err(StoreError::Faulty { .. })));
            assert!(store.sweep().is_err());
        }
    }
}
