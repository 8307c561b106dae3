//! Application entity titles: the names that DICOM nodes call each other by.
//!
//! Source: DICOM PS3.5 section 6.2, value representation AE.

use std::fmt;

use serde::Deserialize;

/// A title of 1 to 16 characters; blanks around it mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct AeTitle(String);

impl AeTitle {
    /// The title that `text` says.
    ///
    /// # Errors
    ///
    /// Says why it is none: empty, too long, or with a character that no title has.
    pub fn new(text: &str) -> Result<Self, String> {
        let title = text.trim_matches(' ');
        if title.is_empty() {
            return Err("an AE title must not be empty".to_owned());
        }
        if let Some(c) = title.chars().find(|&c| c == '\\' || !(c == ' ' || c.is_ascii_graphic())) {
            return Err(format!("an AE title must not hold the character {c:?}"));
        }
        if title.len() > 16 {
            return Err(format!("an AE title must have 16 characters at most, `{title}` has {}", title.len()));
        }
        Ok(Self(title.to_owned()))
    }

    /// The title, without blanks around it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The title of a node that is given no other.
impl Default for AeTitle {
    fn default() -> Self {
        Self("HEMOFLOW".to_owned())
    }
}

impl TryFrom<String> for AeTitle {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text)
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_has_1_to_16_printable_characters_and_no_backslash() {
        for title in ["A", "0123456789ABCDEF", "CT 1", "  0123456789ABCDEF  "] {
            assert_eq!(AeTitle::new(title).map(|title| title.0), Ok(title.trim().to_owned()));
        }
        for wrong in ["", "   ", "0123456789ABCDEFG", "A\\B", "A\tB", "A\0", "MÜNCHEN"] {
            assert!(AeTitle::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
