//! The file under the database, and what is left of it once it cannot be written.
//!
//! The database answers nothing more after its first failed write, reads included. What it had committed is opened again
//! over an [`Overlay`]: reads come from the file, and the few pages that opening changes stay in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// A file that outlives the database on it. It stays locked until it is dropped.
#[derive(Clone, Debug)]
pub(super) struct Medium {
    file: Arc<dyn StorageBackend>,
    /// Whether it outlives the process, so that what is written must reach the platter.
    lasting: bool,
}

impl Medium {
    pub(super) fn new(file: impl StorageBackend, lasting: bool) -> Self {
        Self { file: Arc::new(file), lasting }
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.lasting { self.file.sync_data() } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }
}

const PAGE: u64 = 4096;

/// A medium that is read only, under changes in memory.
#[derive(Debug)]
pub(super) struct Overlay {
    medium: Medium,
    /// Bytes of the medium.
    below: u64,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    len: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Overlay {
    /// # Errors
    ///
    /// Returns the medium's error if it does not tell its length.
    pub(super) fn new(medium: Medium) -> io::Result<Self> {
        let below = medium.len()?;
        Ok(Self { medium, below, changes: Mutex::new(Changes { len: below, pages: BTreeMap::new() }) })
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as the medium has it; zeros behind its end.
    fn page(&self, index: u64) -> io::Result<Vec<u8>> {
        let left = self.below.saturating_sub(index * PAGE).min(PAGE);
        let mut page = vec![0; size(left)?];
        if !page.is_empty() {
            self.medium.read(index * PAGE, &mut page)?;
        }
        page.resize(size(PAGE)?, 0);
        Ok(page)
    }
}

fn size(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(io::Error::other)
}

/// Part of a page: its index, the range in it, and the range in all bytes.
type Cut = (u64, Range<usize>, Range<usize>);

/// Cuts the range of `len` bytes from `offset` at the bounds of pages.
fn cuts(offset: u64, len: usize) -> io::Result<Vec<Cut>> {
    let mut cuts = Vec::new();
    let mut done = 0;
    while done < len {
        let at = offset + u64::try_from(done).map_err(io::Error::other)?;
        let start = size(at % PAGE)?;
        let count = (size(PAGE)? - start).min(len - done);
        cuts.push((at / PAGE, start..start + count, done..done + count));
        done += count;
    }
    Ok(cuts)
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        for (index, within, range) in cuts(offset, out.len())? {
            let changed = self.changes().pages.get(&index).cloned();
            let page = changed.map_or_else(|| self.page(index), Ok)?;
            out[range].copy_from_slice(&page[within]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.changes().len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        for (index, within, range) in cuts(offset, data.len())? {
            let mut changes = self.changes();
            let page = match changes.pages.entry(index) {
                Entry::Occupied(page) => page.into_mut(),
                Entry::Vacant(page) => page.insert(self.page(index)?),
            };
            page[within].copy_from_slice(&data[range]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    proptest! {
        #[test]
        fn an_overlay_reads_as_if_it_had_written(
            base in prop::collection::vec(any::<u8>(), 0..20_000),
            writes in prop::collection::vec((0_usize..12_000, prop::collection::vec(any::<u8>(), 1..9000)), 0..6),
        ) {
            let below = InMemoryBackend::new();
            below.set_len(base.len() as u64).expect("a length");
            below.write(0, &base).expect("a write");
            let medium = Medium::new(below, true);
            let overlay = Overlay::new(medium.clone()).expect("an overlay");
            let mut expected = base.clone();
            expected.resize(24_000, 0);
            overlay.set_len(24_000).expect("a length");
            for (offset, data) in writes {
                overlay.write(offset as u64, &data).expect("a write");
                expected[offset..offset + data.len()].copy_from_slice(&data);
            }
            let mut read = vec![0; 24_000];
            overlay.read(0, &mut read).expect("a read");
            prop_assert!(read == expected);
            let mut untouched = vec![0; base.len()];
            medium.read(0, &mut untouched).expect("a read");
            prop_assert!(untouched == base);
        }
    }
}
