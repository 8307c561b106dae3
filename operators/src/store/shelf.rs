//! The blocks of one kind: what an operator sees of a store.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::ledger::{Place, Presence, Value};
use super::{Block, Store};
use crate::record::{Digest, Tick};

/// What [`Shelf::want`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The block is there.
    Here,
    /// Somebody computes it already.
    Asked,
    /// The caller is the first: it computes the block and puts it.
    Ask,
}

/// Blocks of one kind by name, shared by all workers of a process.
pub struct Shelf<V> {
    store: Store,
    kind: usize,
    blocks: PhantomData<fn() -> V>,
}

impl<V> Clone for Shelf<V> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), kind: self.kind, blocks: PhantomData }
    }
}

impl<V> fmt::Debug for Shelf<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<V: Block> Default for Shelf<V> {
    /// A shelf of an unbounded store of its own.
    fn default() -> Self {
        Store::unbounded().shelf()
    }
}

impl<V: Send + Sync + 'static> Shelf<V> {
    pub(super) fn new(store: Store, kind: usize) -> Self {
        Self { store, kind, blocks: PhantomData }
    }

    fn place(&self, name: Digest) -> Place {
        Place { kind: self.kind, name }
    }

    /// Adds `diff` holders to `name` at `tick`, and says whether its block is here, in memory or on disk.
    pub fn hold(&self, name: Digest, diff: isize, tick: Tick) -> bool {
        let place = self.place(name);
        let (_ledger, presence) = self.store.access().presence(place, |ledger| ledger.hold(place, diff, tick));
        !matches!(presence, Presence::Absent)
    }

    /// Asks for a block. Unless it is here, `notify` is called once it has been put, from the thread that puts it. Of all
    /// who ask for a block that is not here, one is told to compute it.
    pub fn want(&self, name: Digest, notify: impl FnOnce() + Send + 'static) -> Want {
        let place = self.place(name);
        let (mut ledger, presence) = self.store.access().presence(place, |_| {});
        if !matches!(presence, Presence::Absent) {
            return Want::Here;
        }
        if ledger.wait(place, Box::new(notify)) { Want::Asked } else { Want::Ask }
    }

    /// Puts a block under its name and tells those who want it; one that is here already stays. A name that nobody has held
    /// since it was last removed gets no block. Waits while memory is full of blocks that are being written.
    pub fn put(&self, name: Digest, value: Arc<V>) {
        self.store.access().put(self.place(name), value);
    }

    /// The block of this name, read back from disk if memory has let go of it.
    #[must_use]
    pub fn get(&self, name: &Digest) -> Option<Arc<V>> {
        let value: Value = self.store.access().get(self.place(*name))?;
        value.downcast().ok()
    }

    /// Removes the blocks that nobody holds, and that nobody has held or let go at `frontier` or later.
    pub fn compact(&self, frontier: Tick) {
        self.store.access().compact(self.kind, frontier);
    }

    /// The number of names, with and without a block, that somebody has held and that are not removed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.access().core.lock().names(self.kind)
    }

    /// Whether no name is held and no block is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::Bytes;
    use super::*;

    fn block() -> Arc<Bytes> {
        Arc::new(Bytes(vec![7]))
    }

    #[test]
    fn a_block_stays_while_it_is_held_and_goes_behind_the_frontier() {
        let shelf = Shelf::default();
        let name = Digest::of(b"block");
        assert!(!shelf.hold(name, 1, 0));
        shelf.put(name, block());
        assert!(shelf.hold(name, 1, 1));
        shelf.hold(name, -2, 5);
        shelf.compact(5);
        assert_eq!(shelf.get(&name), Some(block()), "tick 5 may still be under way");
        shelf.compact(6);
        assert!(shelf.is_empty());
    }

    #[test]
    fn what_is_held_again_before_it_goes_stays() {
        let shelf = Shelf::default();
        let name = Digest::of(b"block");
        for (diff, tick) in [(1, 0), (-1, 1), (1, 2)] {
            shelf.hold(name, diff, tick);
            shelf.put(name, block());
        }
        shelf.compact(3);
        assert!(shelf.get(&name).is_some());
    }

    #[test]
    fn what_is_let_go_again_ahead_of_the_frontier_stays_until_it_has_passed() {
        let shelf = Shelf::default();
        let name = Digest::of(b"block");
        for (diff, tick) in [(1, 0), (-1, 5), (1, 9), (-1, 12)] {
            shelf.hold(name, diff, tick);
            shelf.put(name, block());
        }
        shelf.compact(6);
        assert!(shelf.get(&name).is_some(), "ticks 9 to 12 may still be under way");
        shelf.compact(13);
        assert!(shelf.is_empty());
        shelf.put(name, block());
        assert!(shelf.is_empty(), "an answer that nobody waits for any more");
    }

    proptest! {
        #[test]
        fn holding_and_letting_go_in_any_order_leaves_nothing(names in prop::collection::vec(0_u8..5, 0..40)) {
            let shelf = Shelf::default();
            let mut changes: Vec<(u8, isize)> = names.iter().flat_map(|n| [(*n, 1), (*n, -1)]).collect();
            changes.sort_by_key(|(n, diff)| (u16::from(*n) * 7919 % 13, -diff));
            for (tick, (n, diff)) in changes.into_iter().enumerate() {
                let name = Digest::of(&[n]);
                shelf.hold(name, diff, tick as Tick);
                shelf.put(name, Arc::new(Bytes(vec![n])));
            }
            shelf.compact(Tick::MAX);
            prop_assert!(shelf.is_empty());
        }
    }
}
