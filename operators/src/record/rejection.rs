//! Refused inputs: data, not log lines. Each has a fixed word, which is also a metric's label, and a detail for people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why an input was refused: a fixed word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The file or folder cannot be read.
    Unreadable,
    /// A folder or media directory holds no file.
    Empty,
    /// Neither DICOM nor NIfTI.
    NotDicom,
    /// The file ends before its content does.
    Truncated,
    /// The data set cannot be parsed.
    Malformed,
    /// A SOP class other than the CT image storage classes, or a modality other than CT.
    NotCt,
    /// A localizer (scout, topogram).
    Localizer,
    /// Derived or secondary content that is not an axial image of the scanner, or burned-in text.
    Derived,
    /// An identifier, the position, the orientation or the spacing is missing or makes no plane.
    MissingGeometry,
    /// A study, series or instance has no identifier.
    MissingUid,
    /// There are no pixels.
    MissingPixels,
    /// A transfer syntax that is not known or not decoded here.
    UnsupportedTransferSyntax,
    /// Pixels of a kind that is no CT value: color, more than 16 bits, planar.
    UnsupportedPixels,
    /// Pixels that do not decode.
    UndecodablePixels,
    /// Another slice of the series lies at the same position.
    DuplicatePosition,
    /// A series reconstructed with a sharp (bone) kernel beside a soft one of the same study.
    SharpKernel,
    /// A rule of the configuration leaves it out.
    NotSelected,
    /// Nobody says what a case or a slice shows.
    MissingLabel,
    /// A case has no mask.
    MissingMask,
    /// A label or a mask of images that are not there.
    MissingImage,
    /// A mask that does not fit its images.
    Mismatch,
}

impl Reason {
    /// The fixed word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Empty => "empty",
            Self::NotDicom => "not_dicom",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::NotCt => "not_ct",
            Self::Localizer => "localizer",
            Self::Derived => "derived",
            Self::MissingGeometry => "missing_geometry",
            Self::MissingUid => "missing_uid",
            Self::MissingPixels => "missing_pixels",
            Self::UnsupportedTransferSyntax => "unsupported_transfer_syntax",
            Self::UnsupportedPixels => "unsupported_pixels",
            Self::UndecodablePixels => "undecodable_pixels",
            Self::DuplicatePosition => "duplicate_position",
            Self::SharpKernel => "sharp_kernel",
            Self::NotSelected => "not_selected",
            Self::MissingLabel => "missing_label",
            Self::MissingMask => "missing_mask",
            Self::MissingImage => "missing_image",
            Self::Mismatch => "mismatch",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A refused input, by its path or UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rejection {
    /// The path or the SOP Instance UID.
    pub input: String,
    /// The fixed word.
    pub reason: Reason,
    /// What exactly, for people.
    pub detail: String,
}

impl Rejection {
    /// A refusal of `input`.
    #[must_use]
    pub fn new(input: impl Into<String>, reason: Reason, detail: impl Into<String>) -> Self {
        Self { input: input.into(), reason, detail: detail.into() }
    }
}

/// A refusal of an input that the caller names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The fixed word.
    pub reason: Reason,
    /// What exactly, for people: one line.
    pub detail: String,
}

impl Refusal {
    /// Characters of a detail at most.
    const LONGEST: usize = 300;

    /// A refusal; control characters and line ends in `detail` become blanks.
    #[must_use]
    pub fn new(reason: Reason, detail: impl AsRef<str>) -> Self {
        let line = detail.as_ref().chars().take(Self::LONGEST);
        Self { reason, detail: line.map(|c| if c.is_control() { ' ' } else { c }).collect() }
    }

    /// The refusal of `input`.
    #[must_use]
    pub fn of(self, input: impl Into<String>) -> Rejection {
        Rejection::new(input, self.reason, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_what_is_serialized() {
        let rejection = Rejection::new("1.2.3", Reason::NotCt, "MR Image Storage");
        let json = serde_json::to_string(&rejection).expect("plain data");
        assert_eq!(json, r#"{"input":"1.2.3","reason":"not_ct","detail":"MR Image Storage"}"#);
    }
}
