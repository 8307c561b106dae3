//! Reads the inbox in order, behind its writer.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};

use super::Record;
use super::segment::{self, Found};
use super::writer::Progress;

/// A record in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub position: u64,
    /// The record.
    pub record: Record,
}

/// A reader. It sees what the promise holds for, and waits for more.
pub struct Reader {
    folder: PathBuf,
    progress: Arc<Progress>,
    /// The segment that is read, with its first position.
    open: Option<(u64, File)>,
    /// The first byte of the next record.
    at: u64,
    position: u64,
}

impl Reader {
    pub(super) fn open(folder: &Path, progress: Arc<Progress>, from: u64) -> anyhow::Result<Self> {
        let mut reader = Self { folder: folder.to_owned(), progress, open: None, at: 0, position: from };
        let firsts = segment::list(folder)?;
        let Some(first) = firsts.iter().rev().find(|first| **first <= from) else {
            reader.position = firsts.first().copied().unwrap_or(from);
            return Ok(reader);
        };
        reader.position = *first;
        while reader.position < from && reader.step(Instant::now())?.is_some() {}
        Ok(reader)
    }

    /// The position of the record that comes next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next record, or `None` if none came until then or the inbox has ended.
    ///
    /// # Errors
    ///
    /// Returns an error that names the segment that cannot be read or is broken.
    pub fn next_until(&mut self, until: Instant) -> anyhow::Result<Option<Entry>> {
        let position = self.position;
        Ok(self.step(until)?.map(|found| Entry { position, record: found.record }))
    }

    fn step(&mut self, until: Instant) -> anyhow::Result<Option<Found>> {
        let Some((last, end)) = self.progress.wait(self.position, until) else { return Ok(None) };
        // A segment is done when another begins with this position.
        if self.open.as_ref().is_none_or(|(first, _)| *first != self.position) {
            let path = segment::path(&self.folder, self.position);
            if self.open.is_none() || path.exists() {
                let file = File::open(&path).with_context(|| format!("the inbox {}", path.display()))?;
                self.open = Some((self.position, file));
                self.at = segment::start();
            }
        }
        let Some((first, file)) = &self.open else { bail!("no segment is open") };
        let path = segment::path(&self.folder, *first);
        let named = || format!("the inbox {}", path.display());
        let end = if *first == last { end } else { file.metadata().with_context(named)?.len() };
        let found = segment::read(file, self.at, end).with_context(named)?;
        let Some(found) = found else { bail!("{}: the record at byte {} is broken", named(), self.at) };
        self.at = found.end();
        self.position += 1;
        Ok(Some(found))
    }
}
