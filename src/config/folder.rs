//! Watched folders: what is moved into them is taken.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::quantity::seconds;

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
    /// How long a file must stand still before it is taken.
    #[serde(rename = "settle_seconds", default = "settle", deserialize_with = "seconds")]
    pub settle: Duration,
}

fn settle() -> Duration {
    Duration::from_secs(2)
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
