//! The room on a disk.

use std::path::Path;

/// Bytes that are free on the disk that a folder lies on.
///
/// # Errors
///
/// Returns the system's error if it does not say.
pub(crate) fn free_bytes(folder: &Path) -> std::io::Result<usize> {
    let found = rustix::fs::statvfs(folder)?;
    Ok(usize::try_from(found.f_bavail.saturating_mul(found.f_frsize)).unwrap_or(usize::MAX))
}
