//! Quantities: bytes as a number or as `"2G"`, seconds as a number.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::arguments;

/// Bytes.
pub(super) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes, as 1048576 or \"1M\"")
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<usize, E> {
            usize::try_from(number).map_err(|_| E::custom("must not be less than 0"))
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<usize, E> {
            usize::try_from(number).map_err(|_| E::custom("does not fit"))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<usize, E> {
            arguments::bytes(text).map_err(|wrong| E::custom(format!("`{text}`: {wrong}")))
        }
    }

    deserializer.deserialize_any(Bytes)
}

/// Bytes, of a key that may be missing.
pub(super) fn some_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    bytes(deserializer).map(Some)
}

/// Seconds, whole or not, and more than none.
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| D::Error::custom(format!("`{seconds}` must be a number of seconds above 0")))
}
