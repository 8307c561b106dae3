//! The newest state of a view, as a program holds it.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// The rows of a view, in their order. As JSON an array of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held<R>(BTreeMap<R, isize>);

impl<R> Default for Held<R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<R: Ord> Held<R> {
    /// Adds a row `diff` times, or takes it away. In whatever order the differences of a time come, the rows are right
    /// after the last of them.
    pub fn apply(&mut self, row: R, diff: isize) {
        match self.0.entry(row) {
            std::collections::btree_map::Entry::Vacant(place) if diff != 0 => {
                place.insert(diff);
            }
            std::collections::btree_map::Entry::Occupied(mut held) => {
                *held.get_mut() += diff;
                if *held.get() == 0 {
                    held.remove();
                }
            }
            std::collections::btree_map::Entry::Vacant(_) => {}
        }
    }

    /// The rows, in their order.
    pub fn rows(&self) -> impl Iterator<Item = &R> {
        self.0.keys()
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<R: Serialize> Serialize for Held<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_order_and_go_without_a_trace() {
        let mut held = Held::default();
        for (row, diff) in [(3, 1), (1, 1), (2, -1), (2, 1), (4, 0), (1, 1)] {
            held.apply(row, diff);
        }
        assert_eq!(serde_json::to_string(&held).expect("plain data"), "[1,3]");
        for (row, diff) in [(1, -2), (3, -1)] {
            held.apply(row, diff);
        }
        assert_eq!(held, Held::default());
    }
}
