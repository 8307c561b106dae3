//! How long what was received is kept.

use std::time::Duration;

use serde::Deserialize;

/// `[retention]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days that an instance is kept after it was received. 0: for ever.
    pub days: u32,
}

impl Retention {
    /// How long an instance is kept. `None`: for ever.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        (self.days > 0).then(|| Duration::from_secs(u64::from(self.days) * 86_400))
    }
}
