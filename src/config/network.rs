//! Where a peer may call from: an address, or a network of them.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

/// A network; a single address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Network(IpNet);

impl Network {
    /// The network that `text` says, as `192.0.2.7`, `192.0.2.0/24` or `2001:db8::/32`.
    ///
    /// # Errors
    ///
    /// Says why it is none. A network whose address is not its first is refused: it may be meant as one machine.
    pub fn new(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.into()));
        }
        let network: IpNet = text
            .parse()
            .map_err(|_| format!("`{text}` must be an address or a network, as 192.0.2.7 or 192.0.2.0/24"))?;
        if network.addr() != network.network() {
            return Err(format!("`{text}` must be the address {} or the network {}", network.addr(), network.trunc()));
        }
        Ok(Self(network))
    }

    /// Whether an address is in it. An IPv4 address that a socket of IPv6 gives is an IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        Network::new(network).expect("a network").contains(address.parse().expect("an address"))
    }

    #[test]
    fn an_address_is_itself_and_a_network_has_edges() {
        assert!(holds("192.0.2.7", "192.0.2.7") && !holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("192.0.2.0/24", "192.0.2.255") && !holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "192.0.2.1"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.9"), "as a socket of IPv6 tells it");
    }

    #[test]
    fn what_is_no_network_or_two_things_at_once_is_refused() {
        for wrong in ["", "scanner", "192.0.2", "192.0.2.0/33", "192.0.2.1:104"] {
            assert!(Network::new(wrong).is_err(), "{wrong}");
        }
        let error = Network::new("192.0.2.7/24").expect_err("neither");
        assert!(error.contains("192.0.2.7 or") && error.contains("192.0.2.0/24"), "{error}");
    }
}
