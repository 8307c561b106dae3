//! What flows: identities, which differential orders and counts, and handles to pixels, which it never sees.

mod digest;
mod geometry;
mod plane;
mod rejection;
mod slice;
mod uid;

pub use digest::{Digest, DigestBuilder};
pub use geometry::Geometry;
pub use plane::{Plane, StoredValues};
pub use rejection::{Reason, Rejection};
pub use slice::{SeriesKey, Slice};
pub use uid::{InstanceUid, SeriesUid, StudyUid};
