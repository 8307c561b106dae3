//! Who may store: by a bearer token (RFC 6750), or by the certificate that was shown.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use crate::config::Http;

/// Why somebody may not store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Nothing was shown.
    Unknown,
    /// What was shown is no token of the list.
    Wrong,
}

/// The name of who asks. `certified` says that the connection has a certificate of the listed authorities.
///
/// # Errors
///
/// Says why whoever asks may not store. A wrong token is wrong, whatever else was shown.
pub(super) fn sender(rules: &Http, certified: bool, headers: &HeaderMap) -> Result<String, Denied> {
    if let Some(shown) = headers.get(AUTHORIZATION) {
        let token = bearer(shown.as_bytes()).and_then(|token| rules.token(token)).ok_or(Denied::Wrong)?;
        return Ok(token.name.clone());
    }
    if certified {
        return Ok("certificate".to_owned());
    }
    if rules.anonymous { Ok("anonymous".to_owned()) } else { Err(Denied::Unknown) }
}

/// The token of a header.
fn bearer(shown: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = shown.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use operators::record::Digest;

    use super::*;
    use crate::config::Token;

    fn asked(anonymous: bool, certified: bool, shown: Option<&'static str>) -> Result<String, Denied> {
        let tokens = vec![Token { name: "pacs".to_owned(), sha256: Digest::of(b"secret") }];
        let rules = Http { anonymous, tokens, ..Http::default() };
        let headers = shown.map(|shown| (AUTHORIZATION, HeaderValue::from_static(shown)));
        sender(&rules, certified, &headers.into_iter().collect())
    }

    #[test]
    fn a_listed_token_or_a_certificate_lets_in_and_a_wrong_token_never_does() {
        for right in ["Bearer secret", "bearer  secret"] {
            assert_eq!(asked(false, false, Some(right)).as_deref(), Ok("pacs"), "{right}");
        }
        for (anonymous, certified) in [(false, false), (false, true), (true, false)] {
            for wrong in ["Bearer Secret", "Bearer", "Bearer ", "secret", "Basic secret", ""] {
                assert_eq!(asked(anonymous, certified, Some(wrong)), Err(Denied::Wrong), "{wrong}");
            }
        }
        assert_eq!(asked(false, false, None), Err(Denied::Unknown));
        assert_eq!(asked(false, true, None).as_deref(), Ok("certificate"));
        assert_eq!(asked(true, false, None).as_deref(), Ok("anonymous"));
    }
}
