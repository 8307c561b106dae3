//! A connection to somebody else, or why there is none.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unreached {
    /// The machine is there, and nobody listens at the port.
    #[error("the connection is refused: nothing listens there")]
    Refused,
    /// No network leads there.
    #[error("there is no route to it")]
    NoRoute,
    /// Nothing came back for so long.
    #[error("there is no answer in {} s", .0.as_secs())]
    Silent(Duration),
    /// Both sides are connected and do not agree on TLS.
    #[error("TLS fails: {0}")]
    Tls(String),
    /// Anything else, in the words of the system.
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for Unreached {
    fn from(error: io::Error) -> Self {
        if let Some(tls) = tls_error(&error) {
            return Self::Tls(tls.to_string());
        }
        let kind = error.kind();
        if kind == io::ErrorKind::ConnectionRefused {
            Self::Refused
        } else if [io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable].contains(&kind) {
            Self::NoRoute
        } else {
            Self::Other(error.to_string())
        }
    }
}

/// What TLS says, if it was TLS that failed.
pub(crate) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}

/// Connects.
///
/// # Errors
///
/// Says why there is no connection.
pub(crate) async fn reach(address: SocketAddr, patience: Duration) -> Result<TcpStream, Unreached> {
    let connected = tokio::time::timeout(patience, TcpStream::connect(address)).await;
    Ok(connected.map_err(|_| Unreached::Silent(patience))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_has_its_word() {
        let of = |kind: io::ErrorKind| Unreached::from(io::Error::from(kind));
        assert_eq!(of(io::ErrorKind::ConnectionRefused), Unreached::Refused);
        assert_eq!(of(io::ErrorKind::HostUnreachable), Unreached::NoRoute);
        assert!(matches!(of(io::ErrorKind::ConnectionReset), Unreached::Other(_)));
        let tls = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::HandshakeNotComplete);
        assert!(matches!(Unreached::from(tls), Unreached::Tls(_)));
    }
}
