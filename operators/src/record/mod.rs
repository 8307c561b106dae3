//! What flows: identities, which differential orders and counts, and handles to pixels, which it never sees.

mod change;
mod digest;
mod geometry;
mod mask;
mod method;
mod plane;
mod rejection;
mod slice;
mod uid;

pub use change::Change;
pub use digest::{Digest, DigestBuilder};
pub use geometry::Geometry;
pub use mask::Mask;
pub use method::{Method, MethodConfig};
pub use plane::{Plane, StoredValues};
pub use rejection::{Reason, Refusal, Rejection};
pub use slice::{SeriesKey, Slice};
pub use uid::{InstanceUid, SeriesUid, StudyUid};

/// The time of the dataflow: a position in the order of arrival.
pub type Tick = u64;
