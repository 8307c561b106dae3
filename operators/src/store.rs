//! What is too large or too imprecise to flow: blocks by the digest that names them.
//!
//! A record in a collection says which block it needs; the block stands on a [`Shelf`] as long as some record holds its
//! name. Holding follows the collection's own differences: an insertion adds a holder, a retraction takes one away, and
//! what nobody has held since before the frontier is removed by [`Shelf::compact`].

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::record::{Digest, Tick};

/// Blocks of one kind by name, shared by all workers of a process.
pub struct Shelf<V>(Arc<Mutex<Blocks<V>>>);

struct Blocks<V> {
    blocks: HashMap<Digest, Block<V>>,
    idle: BTreeMap<Tick, Vec<Digest>>,
}

struct Block<V> {
    value: Option<Arc<V>>,
    holders: isize,
    /// The latest tick that held it or let it go: what it still needs may be under way until the frontier has passed.
    last: Tick,
}

impl<V> Clone for Shelf<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V> Default for Shelf<V> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Blocks { blocks: HashMap::new(), idle: BTreeMap::new() })))
    }
}

impl<V> Shelf<V> {
    fn blocks(&self) -> MutexGuard<'_, Blocks<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `diff` holders to `name` at `tick`, and says whether its block is here.
    pub fn hold(&self, name: Digest, diff: isize, tick: Tick) -> bool {
        let mut shelf = self.blocks();
        let block = shelf.blocks.entry(name).or_insert(Block { value: None, holders: 0, last: tick });
        block.holders += diff;
        block.last = block.last.max(tick);
        let (here, held, last) = (block.value.is_some(), block.holders > 0, block.last);
        if !held {
            shelf.idle.entry(last).or_default().push(name);
        }
        here
    }

    /// Puts a block under its name; one that is here already stays. A name that nobody has held since it was last removed
    /// gets no block.
    pub fn put(&self, name: Digest, value: Arc<V>) {
        if let Some(block) = self.blocks().blocks.get_mut(&name) {
            block.value.get_or_insert(value);
        }
    }

    /// The block of this name.
    #[must_use]
    pub fn get(&self, name: &Digest) -> Option<Arc<V>> {
        self.blocks().blocks.get(name)?.value.clone()
    }

    /// Removes the blocks that nobody holds, and that nobody has held or let go at `frontier` or later.
    pub fn compact(&self, frontier: Tick) {
        let mut shelf = self.blocks();
        let later = shelf.idle.split_off(&frontier);
        let idle = std::mem::replace(&mut shelf.idle, later);
        for name in idle.into_values().flatten() {
            if shelf.blocks.get(&name).is_some_and(|block| block.holders <= 0 && block.last < frontier) {
                shelf.blocks.remove(&name);
            }
        }
    }

    /// The number of names, with and without a block.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks().blocks.len()
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

    use super::*;

    #[test]
    fn a_block_stays_while_it_is_held_and_goes_behind_the_frontier() {
        let shelf = Shelf::default();
        let name = Digest::of(b"block");
        assert!(!shelf.hold(name, 1, 0));
        shelf.put(name, Arc::new(7));
        assert!(shelf.hold(name, 1, 1));
        shelf.hold(name, -2, 5);
        shelf.compact(5);
        assert_eq!(shelf.get(&name).as_deref(), Some(&7), "tick 5 may still be under way");
        shelf.compact(6);
        assert!(shelf.is_empty());
    }

    #[test]
    fn what_is_held_again_before_it_goes_stays() {
        let shelf = Shelf::default();
        let name = Digest::of(b"block");
        for (diff, tick) in [(1, 0), (-1, 1), (1, 2)] {
            shelf.hold(name, diff, tick);
            shelf.put(name, Arc::new(7));
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
            shelf.put(name, Arc::new(7));
        }
        shelf.compact(6);
        assert!(shelf.get(&name).is_some(), "ticks 9 to 12 may still be under way");
        shelf.compact(13);
        assert!(shelf.is_empty());
        shelf.put(name, Arc::new(7));
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
                shelf.put(name, Arc::new(n));
            }
            shelf.compact(Tick::MAX);
            prop_assert!(shelf.is_empty());
        }
    }
}
