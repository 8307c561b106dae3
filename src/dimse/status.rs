//! What a sender is told about an instance (PS3.4 table B.2-1, PS3.7 annex C).

use crate::inbox::InboxError;
use crate::ingest::Refused;

/// A status and, if it is not success, what a person may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: u16,
    /// At most 64 characters, without any value of the data set.
    pub(crate) comment: Option<String>,
}

impl Status {
    pub(crate) const SUCCESS: u16 = 0x0000;
    pub(crate) const OUT_OF_RESOURCES: u16 = 0xA700;
    pub(crate) const NOT_KEPT: u16 = 0xA701;
    pub(crate) const MISMATCH: u16 = 0xA900;
    pub(crate) const CANNOT_UNDERSTAND: u16 = 0xC000;
    pub(crate) const RESENT: u16 = 0xC001;
    pub(crate) const CLASS_NOT_SUPPORTED: u16 = 0x0122;
    pub(crate) const UNRECOGNIZED_OPERATION: u16 = 0x0211;
    pub(crate) const MISTYPED_ARGUMENT: u16 = 0x0212;
    pub(crate) const PROCESSING_FAILURE: u16 = 0x0110;

    pub(crate) fn success() -> Self {
        Self { code: Self::SUCCESS, comment: None }
    }

    pub(crate) fn failure(code: u16, comment: &str) -> Self {
        Self { code, comment: Some(comment.chars().filter(char::is_ascii).take(64).collect()) }
    }

    /// The status of an instance that was not kept.
    pub(crate) fn of(refused: &Refused) -> Self {
        let code = match refused {
            Refused::Closed(_) | Refused::TooMany | Refused::TooLarge | Refused::Inbox(InboxError::Full(_)) => {
                Self::OUT_OF_RESOURCES
            }
            Refused::Unreadable(_) => Self::CANNOT_UNDERSTAND,
            Refused::Mismatch(_) => Self::MISMATCH,
            Refused::Resent => Self::RESENT,
            Refused::Inbox(_) => Self::NOT_KEPT,
        };
        let comment = match refused {
            Refused::Unreadable(refusal) => refusal.detail.clone(),
            // Where files lie is nobody's business outside.
            Refused::Inbox(InboxError::Full(_)) => "the disk is full".to_owned(),
            Refused::Inbox(_) => "the instance could not be written".to_owned(),
            other => other.to_string(),
        };
        Self::failure(code, &comment)
    }
}
