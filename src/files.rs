//! How files leave and are written anew: step by step, and the machine may stop between any two.
//!
//! Each step is whole or not done, so what a stop leaves is what some number of steps have done. A test says how many.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The steps.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Steps that are still done; `None` if nothing stops them.
    left: Option<Arc<AtomicU64>>,
}

impl Files {
    /// Files of a machine that stops after so many steps.
    #[must_use]
    pub fn stopping_after(steps: u64) -> Self {
        Self { left: Some(Arc::new(AtomicU64::new(steps))) }
    }

    fn step(&self) -> io::Result<()> {
        let Some(left) = &self.left else { return Ok(()) };
        let took = left.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        took.map(drop).map_err(|_| io::Error::other("the machine has stopped"))
    }

    /// Begins a file that takes the place of another once it is whole. What an interrupted try left goes.
    pub(crate) fn begin(&self, partial: &Path) -> io::Result<File> {
        self.remove(partial)?;
        self.step()?;
        OpenOptions::new().read(true).append(true).create_new(true).open(partial)
    }

    /// Waits until the disk has a file.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.step()?;
        file.sync_all()
    }

    /// Lets a whole file take the place of another.
    pub(crate) fn replace(&self, partial: &Path, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::rename(partial, path)
    }

    /// Removes a file; one that is not there is removed already.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Waits until the disk has the names of a folder.
    pub(crate) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        File::open(folder)?.sync_all()
    }
}
