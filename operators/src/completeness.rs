//! Completeness: what is known about whether a series has all its slices. A status on a result, never a gate before it.

use serde::{Deserialize, Serialize};

/// Where the result of a series stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// More slices may come.
    Preliminary,
    /// The sender says that all slices were sent.
    Final,
    /// No slice is left.
    Withdrawn,
}

impl Status {
    /// The fixed word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Preliminary => "preliminary",
            Self::Final => "final",
            Self::Withdrawn => "withdrawn",
        }
    }
}
