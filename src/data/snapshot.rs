//! A book that was kept: what the log came to up to a byte, so that a start needs only what stands behind it.
//!
//! It begins with eight letters and the byte of the log (8 bytes, little endian); then come the parts of the book, as records
//! of the log are written. It is written whole or not at all, and one that cannot be read is one that is not there: the log
//! is whole.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, bail};

use super::log::{frame, record};
use crate::book::Book;

const MAGIC: &[u8; 8] = b"HEMOBOK1";

/// Writes a book that is true up to byte `log_bytes` of the log.
///
/// # Errors
///
/// Returns an error that names the file that cannot be written.
pub(super) fn write(path: &Path, log_bytes: u64, parts: &[Vec<u8>]) -> anyhow::Result<()> {
    let partial = path.with_extension("partial");
    let write = || {
        let mut file = File::create(&partial)?;
        let mut bytes = [&MAGIC[..], &log_bytes.to_le_bytes()].concat();
        for part in parts {
            bytes.extend_from_slice(&frame(part)?);
            if bytes.len() > 1 << 20 {
                file.write_all(&bytes)?;
                bytes.clear();
            }
        }
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
        Ok(())
    };
    let written: anyhow::Result<()> = write();
    written.inspect_err(|_| drop(fs::remove_file(&partial))).with_context(|| format!("cannot write {}", path.display()))
}

/// The book that was kept, and the byte of the log behind what it says; `None` if none was.
///
/// # Errors
///
/// Returns an error that names the file if it is broken.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<(u64, Book)>> {
    let named = || format!("the snapshot {}", path.display());
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(named)?,
    };
    let parse = || {
        let Some((head, _)) = bytes.split_at_checked(16).filter(|(head, _)| head.starts_with(MAGIC)) else {
            bail!("it is not a snapshot of this program");
        };
        let log_bytes = head.get(8..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let (mut parts, mut at) = (Vec::new(), 16);
        while let Some((content, end)) = record(&bytes, at)? {
            parts.push(content);
            at = end;
        }
        if at != bytes.len() {
            bail!("its end is torn");
        }
        Ok((log_bytes.unwrap_or(u64::MAX), Book::of_parts(parts.into_iter())?))
    };
    parse().map(Some).with_context(named)
}
