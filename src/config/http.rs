//! The HTTP listener: where it listens, and who may store over it.

use std::net::SocketAddr;

use operators::record::Digest;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::Tls;
use super::address::{loopback, or_off};

/// `[http]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where the node listens. `None`: nowhere.
    #[serde(deserialize_with = "or_off")]
    pub address: Option<SocketAddr>,
    /// Whether who shows neither token nor certificate may store.
    pub anonymous: bool,
    /// `[[http.token]]`: the bearer tokens that may store.
    #[serde(rename = "token")]
    pub tokens: Vec<Token>,
    /// `[http.tls]`. `None`: without.
    pub tls: Option<Tls>,
}

/// `[[http.token]]`: a bearer token, which the file does not hold itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whose it is, as metrics and the log name the source.
    pub name: String,
    /// The SHA-256 of the token.
    #[serde(deserialize_with = "hexadecimal")]
    pub sha256: Digest,
}

impl Default for Http {
    fn default() -> Self {
        Self { address: loopback(8080), anonymous: false, tokens: Vec::new(), tls: None }
    }
}

impl Http {
    /// The listed token that a client shows.
    #[must_use]
    pub fn token(&self, shown: &[u8]) -> Option<&Token> {
        // What is compared is a digest: how long it takes tells nothing of the token.
        let digest = Digest::of(shown);
        self.tokens.iter().find(|token| token.sha256 == digest)
    }
}

fn hexadecimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    // The text is not repeated: it may be the token itself.
    let wrong = || D::Error::custom("must be the SHA-256 of the token: 64 hexadecimal digits");
    Digest::from_hex(&String::deserialize(deserializer)?).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest() {
        let token = Token { name: "pacs".to_owned(), sha256: Digest::of(b"secret") };
        let http = Http { tokens: vec![token], ..Http::default() };
        assert_eq!(http.token(b"secret").map(|token| token.name.as_str()), Some("pacs"));
        assert_eq!((http.token(b"Secret"), http.token(b"")), (None, None));
    }
}
