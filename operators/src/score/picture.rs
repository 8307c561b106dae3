//! The worst slices, to look at: what was true and what was found, as outlines on the slice.

use crate::overlay::{self, OverlayError};
use crate::record::Plane;

/// Slices to show at most.
pub const PICTURES: usize = 8;

/// A slice in a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// What is seen, in words.
    pub caption: String,
    /// The bytes of a PNG file.
    pub png: Vec<u8>,
}

/// Draws a slice with the outline of the truth (green) and of the prediction (red); where both go, yellow.
///
/// # Errors
///
/// Returns [`OverlayError`] if a mask does not fill the slice's matrix.
pub fn picture(
    caption: String,
    plane: &Plane,
    spacing_mm: [f64; 2],
    truth: &[u8],
    predicted: &[u8],
) -> Result<Picture, OverlayError> {
    Ok(Picture { caption, png: overlay::compared(plane, spacing_mm, truth, predicted)? })
}

/// Bytes as text, 6 bits a character (RFC 4648, section 4).
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let value = usize::try_from(number >> (18 - 6 * digit) & 63).unwrap_or(0);
            text.push(if digit <= group.len() { char::from(DIGITS[value]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let pairs =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in pairs {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xFB, 0xEF, 0xFF]), "++//");
    }
}
