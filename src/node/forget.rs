//! How a node forgets studies: its log without them takes the place of its log, which is the one step that counts. Then the
//! graph, the views and the book let go of them, as a start from that log would not have them.

use std::collections::BTreeMap;

use anyhow::Context;
use operators::record::{Digest, SeriesKey};

use super::Node;
use crate::data::{Entry, Event, Forgotten};
use crate::files::Files;

impl Node {
    /// When something of each series came or was withdrawn last: milliseconds since 1970.
    #[must_use]
    pub(crate) fn touched(&self) -> Vec<(SeriesKey, i64)> {
        self.durable.as_ref().map(|durable| durable.journal.touched()).unwrap_or_default()
    }

    /// The studies that were forgotten and that the inbox may still hold something of, each by the digest of its UID with the
    /// position before which nothing of it is kept.
    #[must_use]
    pub fn forgotten(&self) -> BTreeMap<Digest, u64> {
        self.durable.as_ref().map(|durable| durable.journal.forgotten()).unwrap_or_default()
    }

    /// Notes that the inbox holds nothing more of what was forgotten.
    pub(crate) fn shed(&self) {
        self.durable.iter().for_each(|durable| durable.journal.shed());
    }

    /// Forgets studies, each by the digest of its UID with the position up to which the inbox was followed, and refusals that
    /// were told before a time of the clock. Nothing is told of it: what was published was true. Gives how many bytes that
    /// takes off the disk; what the inbox has of them is left to the caller.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no data folder, or its log cannot be written anew, and all is as it was; or if the node
    /// has failed.
    pub(crate) fn forget(&mut self, forgotten: &Forgotten, files: &Files) -> anyhow::Result<u64> {
        self.settle()?;
        let store = self.stages().store.clone();
        store.flush()?;
        let tick = self.engine.next_tick();
        let durable = self.durable.as_mut().context("a node without a data folder has nothing to forget")?;
        let payloads = durable.data.payloads();
        let mut unnamed = payloads.files()?;
        let see = |entry: &Entry| {
            if let Event::Changed { payload: Some(payload), .. } = &entry.event {
                unnamed.remove(payload);
            }
        };
        let forgetting = durable.journal.without(tick, forgotten, see, files)?;
        let replaced = durable.journal.forget(forgetting, &durable.data, files);
        // Whether it was replaced shows when the node is started again.
        let (keys, mut freed) = replaced.inspect_err(|error| self.fault.report(format!("{error:#}")))?;
        keys.iter().for_each(|key| durable.residents.forget(key));
        if !keys.is_empty() {
            self.engine.forget(&keys)?;
            self.engine.settle()?;
            self.collector.forget(keys);
        }
        // Whether the graph had something to do or not, its tick is taken.
        self.engine.skip_to(tick + 1);
        // A file that is left is of no use and no harm.
        match payloads.remove(&unnamed, files) {
            Ok(bytes) => freed += bytes,
            Err(error) => tracing::warn!("{error:#}"),
        }
        let blocks = store.prune();
        tracing::debug!("{blocks} blocks of no use were removed");
        Ok(freed)
    }
}
