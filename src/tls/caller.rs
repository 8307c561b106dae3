//! TLS for who calls: a node that calls its peers, or itself to see whether it answers.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{authorities, certificates, private_key};
use crate::config;
use crate::reach::Unreached;

/// How a caller encrypts, and whom it trusts.
#[derive(Clone)]
pub struct Caller {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Caller {
    /// Calls the listener of these files, which must show the very certificate of them, and shows that certificate too if it
    /// is asked for one.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be used.
    pub fn to_ourselves(files: &config::Tls) -> anyhow::Result<Self> {
        let chain = certificates(&files.certificate)?;
        let own = chain.first().cloned().context("there is no certificate")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let exactly = Exactly { certificate: own, algorithms: provider.signature_verification_algorithms };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(exactly))
            .with_client_auth_cert(chain, private_key(&files.key)?)
            .with_context(|| format!("the certificate {}", files.certificate.display()))?;
        // It is not looked at: the certificate is known.
        let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Ok(Self { config: Arc::new(config), name })
    }

    /// Calls a peer at `address`, whose certificate must be of one of the authorities that are named, and for the name; shows
    /// the certificate of the node's `own` files if it is asked for one.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that cannot be used.
    pub fn to_peer(peer: &config::PeerTls, own: Option<&config::Tls>, address: IpAddr) -> anyhow::Result<Self> {
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_root_certificates(authorities(&peer.ca)?);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(certificates(&own.certificate)?, private_key(&own.key)?)
                .with_context(|| format!("the certificate {}", own.certificate.display()))?,
        };
        let name = match &peer.name {
            None => ServerName::from(address),
            Some(name) => ServerName::try_from(name.clone()).with_context(|| format!("{name} is no name"))?,
        };
        Ok(Self { config: Arc::new(config), name })
    }

    /// Encrypts a connection.
    ///
    /// # Errors
    ///
    /// Says why it stays as it is.
    pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        patience: Duration,
    ) -> Result<TlsStream<S>, Unreached> {
        let connect = TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), stream);
        let connected = tokio::time::timeout(patience, connect).await.map_err(|_| Unreached::Silent(patience))?;
        // Whoever hangs up here is no listener of TLS.
        connected.map_err(|error| Unreached::Tls(error.to_string()))
    }
}

/// Trusts one certificate.
#[derive(Debug)]
struct Exactly {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if shown.as_ref() == self.certificate.as_ref() {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
