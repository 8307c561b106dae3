//! The one place that knows how values become bytes: a version, and then the value.
//!
//! The first byte is the version of the form that the caller chose; the rest is that of bincode 2: little endian, small
//! integers in few bytes, lengths before what they count, floats to the bit. Reading takes no more than [`LIMIT`] bytes,
//! whatever a length says, and nothing may be left behind. Why bincode, and what comes after it: `docs/adr/0004`.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of one value at most.
pub const LIMIT: usize = 1 << 28;

/// A value that does not become bytes, or bytes that do not become a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// There is not even a version.
    #[error("no byte at all")]
    Empty,
    /// The bytes are of another version.
    #[error("version {found}, must be {expected}")]
    Version {
        /// The version of the bytes.
        found: u8,
        /// The version asked for.
        expected: u8,
    },
    /// The value is larger than what would be read back.
    #[error("a value of {bytes} bytes, must be at most {LIMIT}")]
    TooLarge {
        /// Bytes of the value.
        bytes: usize,
    },
    /// The value ends before the bytes do.
    #[error("{bytes} bytes behind the value")]
    Trailing {
        /// How many there are.
        bytes: usize,
    },
    /// The value has no form.
    #[error("the value cannot be written: {cause}")]
    Unwritable {
        /// The serializer's words.
        cause: String,
    },
    /// The bytes are no such value.
    #[error("the bytes are no such value: {cause}")]
    Malformed {
        /// The deserializer's words.
        cause: String,
    },
}

const fn configuration() -> Configuration<LittleEndian, Varint, Limit<LIMIT>> {
    bincode::config::standard().with_little_endian().with_variable_int_encoding().with_limit::<LIMIT>()
}

/// The bytes of a value in the form that the caller calls `version`.
///
/// # Errors
///
/// Returns [`CodecError`] if the value is too large or cannot be written.
pub fn encode<T: Serialize + ?Sized>(version: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut bytes = vec![version];
    bincode::serde::encode_into_std_write(value, &mut bytes, configuration())
        .map_err(|error| CodecError::Unwritable { cause: error.to_string() })?;
    let len = bytes.len() - 1;
    if len > LIMIT { Err(CodecError::TooLarge { bytes: len }) } else { Ok(bytes) }
}

/// The value of all of these bytes, which are of `version`.
///
/// # Errors
///
/// Returns [`CodecError`] if they are of another version, end early, go on behind the value, or are no such value.
pub fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, CodecError> {
    let (found, bytes) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *found != version {
        return Err(CodecError::Version { found: *found, expected: version });
    }
    if bytes.len() > LIMIT {
        return Err(CodecError::TooLarge { bytes: bytes.len() });
    }
    let (value, read) = bincode::serde::decode_from_slice(bytes, configuration())
        .map_err(|error| CodecError::Malformed { cause: error.to_string() })?;
    if read == bytes.len() { Ok(value) } else { Err(CodecError::Trailing { bytes: bytes.len() - read }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::record::{Reason, Rejection};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Sample {
        Numbers { signed: Vec<i64>, float: u32, text: Option<String> },
        Rejected(Rejection),
        Nothing,
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let numbers = (prop::collection::vec(any::<i64>(), 0..9), any::<u32>(), prop::option::of(".{0,9}"))
            .prop_map(|(signed, float, text)| Sample::Numbers { signed, float, text });
        let rejected = ".{0,9}".prop_map(|input| Sample::Rejected(Rejection::new(input, Reason::NotCt, "no CT")));
        prop_oneof![numbers, rejected, Just(Sample::Nothing)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_no_part_of_it(value in sample(), version: u8, extra: u8) {
            let bytes = encode(version, &value).expect("plain data");
            prop_assert_eq!(decode::<Sample>(version, &bytes).expect("a value"), value);
            prop_assert!(decode::<Sample>(version, &bytes[..bytes.len() - 1]).is_err());
            let longer = [bytes.as_slice(), &[extra]].concat();
            let is_trailing = matches!(decode::<Sample>(version, &longer), Err(CodecError::Trailing { bytes: 1 }));
            prop_assert!(is_trailing);
            let other = decode::<Sample>(version.wrapping_add(1), &bytes);
            let is_version = matches!(other, Err(CodecError::Version { found, .. }) if found == version);
            prop_assert!(is_version);
        }

        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(value) = decode::<Sample>(bytes.first().copied().unwrap_or_default(), &bytes) {
                prop_assert_eq!(decode::<Sample>(1, &encode(1, &value).expect("plain data")).expect("a value"), value);
            }
        }

        #[test]
        fn floats_keep_every_bit(bits: u32) {
            let bytes = encode(1, &[f32::from_bits(bits)]).expect("plain data");
            prop_assert_eq!(decode::<[f32; 1]>(1, &bytes).expect("a float")[0].to_bits(), bits);
        }
    }

    #[test]
    fn a_length_beyond_the_bytes_is_an_error_and_takes_no_memory() {
        let mut bomb = vec![1, 253];
        bomb.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(decode::<Vec<u64>>(1, &bomb), Err(CodecError::Malformed { .. })));
        assert!(matches!(decode::<String>(1, &bomb), Err(CodecError::Malformed { .. })));
        assert!(matches!(decode::<u8>(1, &[]), Err(CodecError::Empty)));
    }
}
