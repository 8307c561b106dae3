//! The inbox: what a node acknowledged, on the disk before it said so, in the order in which it came.
//!
//! ```text
//! DIR/inbox/<position>.seg     records from that position on, each with its payload (`segment`)
//! ```
//!
//! Listeners append, a feeder reads behind them: what waits for the graph waits on the disk and not in memory. A content is
//! stored once; who sends it again is recorded, and that the content is there (`index`). Appends that come together are
//! brought to the disk together (`writer`). What is forgotten leaves its position behind, or nothing at all at the beginning
//! (`shed`).

mod index;
mod reader;
mod record;
mod segment;
mod shed;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use operators::record::Digest;

pub use index::{Index, Kept};
pub use reader::{Entry, Reader};
pub use record::{Identity, Received, Record, Via};
pub use writer::InboxError;
use writer::{Progress, Writer};

use crate::config::Ack;
use crate::files::Files;

/// What an inbox promises and how it is cut.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// When an append is acknowledged.
    pub ack: Ack,
    /// Bytes after which a new segment begins.
    pub segment_bytes: u64,
}

impl Default for Promise {
    fn default() -> Self {
        Self { ack: Ack::Fsync, segment_bytes: 256 << 20 }
    }
}

/// The inbox of a data folder. Clones share it; it ends with the last.
#[derive(Clone)]
pub struct Inbox {
    writer: Arc<Writer>,
    kept: Kept,
}

impl Inbox {
    /// Opens the inbox in `folder`, which is made if there is none, and mends what an interrupted write left. `kept` is
    /// told what is there. Whoever calls must be the only user of the data folder.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read or written, or is broken before its end.
    pub fn open(folder: &Path, promise: Promise, kept: Kept) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
        let writer = Writer::start(folder, promise, kept.clone())?;
        Ok(Self { writer: Arc::new(writer), kept })
    }

    /// Appends a record, with the payload if it is an instance, and gives its position once the promise holds.
    ///
    /// # Errors
    ///
    /// Returns [`InboxError`] if it was not kept.
    pub async fn append(&self, record: Record, payload: Vec<u8>) -> Result<u64, InboxError> {
        self.writer.append(record, payload).await.unwrap_or(Err(InboxError::Ended))
    }

    /// The same, for a thread that may wait.
    ///
    /// # Errors
    ///
    /// Returns [`InboxError`] if it was not kept.
    pub fn append_waiting(&self, record: Record, payload: Vec<u8>) -> Result<u64, InboxError> {
        self.writer.append(record, payload).blocking_recv().unwrap_or(Err(InboxError::Ended))
    }

    /// Reads from a position on.
    ///
    /// # Errors
    ///
    /// Returns an error that names the folder that cannot be read.
    pub fn reader(&self, from: u64) -> anyhow::Result<Reader> {
        Reader::open(self.writer.folder(), Arc::clone(self.progress()), from)
    }

    /// Forgets what came of studies, each by the digest of its UID with the position before which all of it goes; the graph
    /// must have followed all before any of these positions. Gives how many bytes that takes off the disk. If it fails it is
    /// done again: what has gone by then stays gone.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read, written or removed.
    pub fn forget(&self, studies: &BTreeMap<Digest, u64>, files: &Files) -> anyhow::Result<u64> {
        let Some(followed) = studies.values().max() else { return Ok(0) };
        // What is to go must lie in segments that are not written any more.
        self.writer.roll(*followed)?;
        shed::shed(&self.kept, studies, files)
    }

    /// What is kept.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// How many records there are, those that were removed included: the position that the next one gets.
    #[must_use]
    pub fn next_position(&self) -> u64 {
        self.progress().next()
    }

    fn progress(&self) -> &Arc<Progress> {
        self.writer.progress()
    }
}
