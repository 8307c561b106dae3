//! Watched folders: what is moved into them is taken.

use std::path::PathBuf;

use serde::Deserialize;

/// `[[folder]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// Where files go that were taken. `None`: `done` in the folder.
    pub done: Option<PathBuf>,
    /// Where files go that were refused. `None`: `failed` in the folder.
    pub failed: Option<PathBuf>,
}

impl Folder {
    /// Where files go that were taken.
    #[must_use]
    pub fn done(&self) -> PathBuf {
        self.done.clone().unwrap_or_else(|| self.path.join("done"))
    }

    /// Where files go that were refused.
    #[must_use]
    pub fn failed(&self) -> PathBuf {
        self.failed.clone().unwrap_or_else(|| self.path.join("failed"))
    }
}
