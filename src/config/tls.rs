//! The files that TLS needs: of listeners, and of calls to peers.

use std::path::PathBuf;

use serde::Deserialize;

/// `[dicom.tls]` and `[http.tls]`: PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The node's certificate, and those between it and the root.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The authorities whose certificates clients must show. `None`: clients need show none.
    pub client_ca: Option<PathBuf>,
}

/// `[dicom.peer.tls]`: how a peer is called. It is shown the certificate of `[dicom.tls]`, if it asks for one and there is one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTls {
    /// The authorities of the peer's certificate, PEM.
    pub ca: PathBuf,
    /// The name, or the address, that its certificate is for. `None`: the address that is called.
    pub name: Option<String>,
}
