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

/// Whether a listener that runs can go over from one to the other: its certificates may change, but not whether it encrypts,
/// nor whether callers must show one of theirs, which would be said of open connections as well.
#[allow(clippy::ref_option, reason = "a field, as the configuration has it")]
pub(super) fn renewable(one: &Option<Tls>, other: &Option<Tls>) -> bool {
    let way = |tls: &Option<Tls>| tls.as_ref().map(|tls| tls.client_ca.is_some());
    way(one) == way(other)
}
