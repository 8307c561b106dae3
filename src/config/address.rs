//! Where the node listens: an address and a port, or `off`.

use std::net::{Ipv4Addr, SocketAddr};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The address that a key holds; `None` for `off`.
pub(super) fn or_off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "off" {
        return Ok(None);
    }
    let wrong = || format!("`{text}` must be an address and a port, as 127.0.0.1:11112 or [::1]:11112, or off");
    text.parse().map(Some).map_err(|_| D::Error::custom(wrong()))
}

/// A port of this machine that no other machine reaches.
pub(super) fn loopback(port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// `[metrics]`: where Prometheus asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Where `/metrics` is served. `None`: nowhere.
    #[serde(deserialize_with = "or_off")]
    pub address: Option<SocketAddr>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { address: loopback(9464) }
    }
}
