//! What enters the graph: one change of what is present.

use serde::{Deserialize, Serialize};

use super::{Digest, InstanceUid, Rejection, Role, SeriesKey, Sign, Slice};

/// A change, at one tick.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Change {
    /// An instance arrived: for the first time, again, or with other content.
    Arrived {
        /// Its series.
        key: SeriesKey,
        /// The instance.
        instance: InstanceUid,
        /// Its slices, one for each frame.
        slices: Vec<Slice>,
    },
    /// An instance was taken back.
    Withdrawn {
        /// Its series.
        key: SeriesKey,
        /// The instance.
        instance: InstanceUid,
    },
    /// Something says that a series is complete. Instances that come later are taken all the same.
    Signed {
        /// The series.
        key: SeriesKey,
        /// What says so.
        sign: Sign,
    },
    /// A series is let go: its result stays as it is, what it was made of is forgotten, and its version is remembered. A
    /// slice that comes later makes a result of its own: who lets a series go brings it back whole before.
    Released {
        /// The series.
        key: SeriesKey,
    },
    /// An input was refused at the door.
    Refused(Rejection),
    /// A series that was let go is back: what arrives at this tick is what went then. Its results are published again only
    /// where another method makes them now.
    Returned {
        /// The series.
        key: SeriesKey,
    },
    /// A series was let go before the graph was started: of each of its results that is published, the version, and what
    /// made it if it is not withdrawn. What comes later goes on from there.
    Remembered {
        /// The series.
        key: SeriesKey,
        /// Its newest results.
        results: Vec<(Role, u64, Option<Digest>)>,
    },
    /// A series is forgotten: what it was made of goes, as if it were let go, and its signs and versions with it. What was
    /// published of it was true and is not withdrawn. What comes later is a series that nobody has heard of.
    Forgotten {
        /// The series.
        key: SeriesKey,
    },
}

impl Change {
    /// The series that the change is about, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&SeriesKey> {
        match self {
            Self::Arrived { key, .. }
            | Self::Withdrawn { key, .. }
            | Self::Signed { key, .. }
            | Self::Released { key }
            | Self::Returned { key }
            | Self::Forgotten { key }
            | Self::Remembered { key, .. } => Some(key),
            Self::Refused(_) => None,
        }
    }

    /// The slices that arrive with the change.
    #[must_use]
    pub fn slices(&self) -> &[Slice] {
        if let Self::Arrived { slices, .. } = self { slices } else { &[] }
    }

    /// The refused input, if the change is one.
    #[must_use]
    pub fn refusal(self) -> Option<Rejection> {
        if let Self::Refused(rejection) = self { Some(rejection) } else { None }
    }
}
