//! How long things are kept.

use serde::Deserialize;

/// `[retention]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Days after which a study is forgotten that nothing came of. 0: never.
    pub after_days: u32,
}
