//! What enters the graph: one change of what is present.

use serde::{Deserialize, Serialize};

use super::{InstanceUid, Rejection, SeriesKey, Slice};

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
    /// The sender says that a series has all its instances. Instances that come later are taken all the same.
    Completed {
        /// The series.
        key: SeriesKey,
    },
    /// An input was refused at the door.
    Refused(Rejection),
}

impl Change {
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

    /// The completed series, if the change says so of one.
    #[must_use]
    pub fn completion(self) -> Option<SeriesKey> {
        if let Self::Completed { key } = self { Some(key) } else { None }
    }
}
