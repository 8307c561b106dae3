//! Unique identifiers that follow from content: the same content has the same identifier, wherever it is made.
//!
//! Source: PS3.5 annex B.2 (a UUID below the root `2.25`) and RFC 9562 section 5.8 (UUID version 8: bits of our choice).

use crate::record::Digest;

/// The identifier that a digest stands for.
pub(crate) fn derived(digest: &Digest) -> String {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest.as_bytes()[..16]);
    uuid[6] = 0x80 | (uuid[6] & 0x0f);
    uuid[8] = 0x80 | (uuid[8] & 0x3f);
    format!("2.25.{}", u128::from_be_bytes(uuid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_a_uuid_below_its_root() {
        for content in [&b"a"[..], b"b", b""] {
            let uid = derived(&Digest::of(content));
            let number: u128 = uid.strip_prefix("2.25.").expect("the root").parse().expect("a number");
            assert!(uid.len() <= 64, "{uid}");
            assert_eq!((number >> 76) & 0xf, 8, "version");
            assert_eq!((number >> 62) & 0x3, 2, "variant");
        }
        assert_ne!(derived(&Digest::of(b"a")), derived(&Digest::of(b"b")));
    }
}
