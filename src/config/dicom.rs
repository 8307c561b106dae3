//! The DICOM listener: where it listens, by which name, and whom it answers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::address::{loopback, or_off};
use super::quantity::seconds;
use super::{AeTitle, Network, PeerTls, Tls};

/// `[dicom]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dicom {
    /// Where the node listens. `None`: nowhere.
    #[serde(deserialize_with = "or_off")]
    pub address: Option<SocketAddr>,
    /// The node's own title, by which it must be called.
    pub ae_title: AeTitle,
    /// The longest PDU that is taken, bytes.
    pub max_pdu: u32,
    /// An association over which nothing comes for so long is ended.
    #[serde(rename = "timeout_seconds", deserialize_with = "seconds")]
    pub timeout: Duration,
    /// Whether peers may call that are not listed.
    pub any_peer: bool,
    /// `[[dicom.peer]]`: who may call.
    #[serde(rename = "peer")]
    pub peers: Vec<Peer>,
    /// `[dicom.tls]`. `None`: without.
    pub tls: Option<Tls>,
}

/// `[[dicom.peer]]`: one who may call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// The title that it calls itself.
    pub ae_title: AeTitle,
    /// Where it calls from. `None`: anywhere.
    pub from: Option<Network>,
    /// Where it listens: for storage commitment, and for the C-ECHO of `doctor`.
    pub address: Option<SocketAddr>,
    /// TLS for calls to it. `None`: without.
    pub tls: Option<PeerTls>,
}

impl Default for Dicom {
    fn default() -> Self {
        Self {
            address: loopback(11112),
            ae_title: AeTitle::default(),
            max_pdu: 131_072,
            timeout: Duration::from_secs(60),
            any_peer: false,
            peers: Vec::new(),
            tls: None,
        }
    }
}

impl Dicom {
    /// The listed peer of this title that may call from this address: the first, if there are several.
    #[must_use]
    pub fn peer(&self, ae_title: &str, from: IpAddr) -> Option<&Peer> {
        let title = AeTitle::new(ae_title).ok()?;
        self.peers.iter().find(|peer| peer.ae_title == title && peer.from.is_none_or(|network| network.contains(from)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_by_title_and_address_together() {
        let peer = |title: &str, from: Option<&str>| Peer {
            ae_title: AeTitle::new(title).expect("a title"),
            from: from.map(|from| Network::new(from).expect("a network")),
            address: None,
            tls: None,
        };
        let peers = vec![peer("CT1", Some("192.0.2.7")), peer("CT1", Some("198.51.100.0/24")), peer("PACS", None)];
        let dicom = Dicom { peers, ..Dicom::default() };
        let found = |title: &str, from: &str| {
            let found = dicom.peer(title, from.parse().expect("an address"))?;
            dicom.peers.iter().position(|peer| peer == found)
        };
        assert_eq!((found("CT1", "192.0.2.7"), found("CT1 ", "198.51.100.3")), (Some(0), Some(1)));
        assert_eq!((found("CT1", "192.0.2.8"), found("ct1", "192.0.2.7")), (None, None));
        assert_eq!((found("PACS", "::1"), found("OTHER", "192.0.2.7"), found("", "::1")), (Some(2), None, None));
    }
}
