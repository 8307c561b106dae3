//! The records of the inbox.

use operators::record::{Digest, InstanceUid, SeriesKey};
use serde::{Deserialize, Serialize};

/// Who an instance says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its series.
    pub key: SeriesKey,
    /// SOP Instance UID.
    pub instance: InstanceUid,
    /// SOP Class UID.
    pub class: String,
}

/// The way that something came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Via {
    /// C-STORE.
    Dimse,
    /// STOW-RS.
    Stow,
    /// A watched folder.
    Folder,
}

impl Via {
    /// The name of the way, as metrics and logs call it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Dimse => "dimse",
            Self::Stow => "stow",
            Self::Folder => "folder",
        }
    }
}

/// An instance that was received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Who it is.
    pub identity: Identity,
    /// SHA-256 of its content, a DICOM file (PS3.10).
    pub content: Digest,
    /// Bytes of its content.
    pub bytes: u64,
    /// The way that it came.
    pub via: Via,
    /// The AE title, the name of the token, or the folder that it came from.
    pub sender: String,
    /// When, by the clock of the machine: milliseconds since 1970. For people; no result is computed from it. What it
    /// decides is when a study is forgotten.
    pub unix_ms: i64,
}

/// What the inbox holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// An instance came.
    Received(Received),
    /// The association, the request or the folder ended that these series came by.
    Ended(Vec<SeriesKey>),
    /// A record that was forgotten: its position stays taken. A content that came with it stays where a later record
    /// names it.
    Gone(Option<Digest>),
}

impl Record {
    /// The instance, if it is one.
    #[must_use]
    pub fn received(&self) -> Option<&Received> {
        if let Self::Received(received) = self { Some(received) } else { None }
    }
}
