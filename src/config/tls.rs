//! The files that TLS needs.

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
