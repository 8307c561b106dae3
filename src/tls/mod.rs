//! TLS (PS3.15 annex B), from files in PEM: for listeners, and for who calls them.

mod caller;
mod validity;

use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, anyhow};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config;

pub use caller::Caller;
pub use validity::{Validity, from_now};

/// How a listener encrypts. Clones share it: one that is renewed is renewed for all.
#[derive(Clone)]
pub struct Tls {
    config: Arc<RwLock<Arc<ServerConfig>>>,
    mutual: bool,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be used.
    pub fn load(files: &config::Tls) -> anyhow::Result<Self> {
        Ok(Self { config: Arc::new(RwLock::new(Arc::new(read(files)?))), mutual: files.client_ca.is_some() })
    }

    /// Takes the certificates of another one: connections from here on see these. Whether callers must show one stays as it is.
    pub(crate) fn renew(&self, other: &Self) {
        let config = other.now();
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn now(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// When the certificate of these files holds, if the file says so.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be read.
    pub fn validity(files: &config::Tls) -> anyhow::Result<Option<Validity>> {
        Ok(certificates(&files.certificate)?.first().and_then(|certificate| Validity::of(certificate)))
    }

    /// Whether whoever connects has shown a certificate of the listed authorities.
    #[must_use]
    pub fn is_mutual(&self) -> bool {
        self.mutual
    }

    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        TlsAcceptor::from(self.now()).accept(stream).await
    }
}

/// What the files say of a listener.
fn read(files: &config::Tls) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS")?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.with_context(|| format!("{}", path.display()))?)
        }
    };
    builder
        .with_single_cert(certificates(&files.certificate)?, private_key(&files.key)?)
        .with_context(|| format!("the certificate {}", files.certificate.display()))
}

fn authorities(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).with_context(|| format!("the certificate {}", path.display()))?;
    }
    Ok(roots)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| anyhow!("the private key {}: {error}", path.display()))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let named = |error| anyhow!("the certificate {}: {error}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(named)?.collect::<Result<Vec<_>, _>>().map_err(named)?;
    if read.is_empty() {
        return Err(anyhow!("the certificate {}: there is none in it", path.display()));
    }
    Ok(read)
}
