//! The log, written anew without what is forgotten: beside it first, and then in its place, in one step.
//!
//! Records are taken over as they are, so what stays in the log is what was there to the byte.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use operators::codec;

use super::log::{Entry, HEAD, Log, MAGIC, PARTIAL, VERSION, frame, length, sound, start};
use crate::files::Files;

/// A log that is ready to take the place of another, and locked as that one is.
pub(super) struct Rewritten {
    file: File,
    path: PathBuf,
    whole: u64,
    /// Entries that it has.
    pub(super) entries: u64,
    /// Bytes of the log that it was made from.
    of: u64,
}

impl Log {
    /// Writes the log anew beside it: the entries that are to be kept, in order, and then the `last`.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read or written. The log is as it was.
    pub(super) fn rewritten(
        &self,
        mut keep: impl FnMut(&Entry) -> bool,
        last: &Entry,
        files: &Files,
    ) -> anyhow::Result<Rewritten> {
        let path = self.path().with_extension(PARTIAL);
        let named = || format!("cannot write {}", path.display());
        let file = files.begin(&path).with_context(named)?;
        file.try_lock().with_context(named)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        out.write_all(MAGIC).with_context(named)?;
        let (mut whole, mut entries) = (start(), 1);
        let mut each = |record: &[u8], entry: &Entry| {
            if keep(entry) {
                out.write_all(record)?;
                whole += u64::try_from(record.len())?;
                entries += 1;
            }
            Ok(())
        };
        records(self.path(), self.bytes(), &mut each)?;
        let last = frame(&codec::encode(VERSION, last)?)?;
        out.write_all(&last).with_context(named)?;
        whole += u64::try_from(last.len())?;
        let file = out.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(named)?;
        files.sync(&file).with_context(named)?;
        Ok(Rewritten { file, path, whole, entries, of: self.bytes() })
    }

    /// Lets a log that was written anew take the place of this one, and gives how many bytes that takes off the disk.
    ///
    /// # Errors
    ///
    /// Returns an error if that cannot be done, or it is not known whether it was: the node must be started again then.
    pub(super) fn become_rewritten(&mut self, rewritten: Rewritten, files: &Files) -> anyhow::Result<u64> {
        let Rewritten { file, path, whole, of, .. } = rewritten;
        if of != self.bytes() {
            bail!("the log {} was written to meanwhile", self.path().display());
        }
        let named = || format!("cannot replace the log {}", self.path().display());
        files.replace(&path, self.path()).with_context(named)?;
        let folder = self.path().parent().map(Path::to_owned).unwrap_or_default();
        files.sync_folder(&folder).with_context(named)?;
        self.continue_with(file, whole);
        Ok(of.saturating_sub(whole))
    }
}

/// Shows each record of a log up to a byte, as it stands there and what it says.
fn records(path: &Path, end: u64, each: &mut impl FnMut(&[u8], &Entry) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let named = || format!("the log {}", path.display());
    let mut file = File::open(path).with_context(named)?;
    file.seek(SeekFrom::Start(start())).with_context(named)?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut at, mut record) = (start(), Vec::new());
    while at < end {
        record.resize(HEAD, 0);
        reader.read_exact(&mut record).with_context(named)?;
        let Some(bytes) = length(&record) else { bail!("{}: the record at byte {at} is broken", named()) };
        record.resize(HEAD + bytes, 0);
        reader.read_exact(record.get_mut(HEAD..).unwrap_or_default()).with_context(named)?;
        let Some(content) = sound(&record) else { bail!("{}: the record at byte {at} is broken", named()) };
        let entry = codec::decode(VERSION, content).with_context(|| format!("{}: byte {at}", named()))?;
        each(&record, &entry)?;
        at += u64::try_from(record.len())?;
    }
    Ok(())
}
