//! Roles: which of the models that run beside each other is listened to.

use serde::{Deserialize, Serialize};

/// What the results of a model are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// People act on them.
    #[default]
    Active,
    /// They are compared with those of the active model.
    Shadow,
}

impl Role {
    /// Each.
    pub const ALL: [Self; 2] = [Self::Active, Self::Shadow];

    /// The fixed word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Shadow => "shadow",
        }
    }
}
