//! What flows: identities, which differential orders and counts, and handles to pixels, which it never sees.

mod change;
mod digest;
mod geometry;
mod mask;
mod method;
mod outcome;
mod plane;
mod reading;
mod rejection;
mod role;
mod sign;
mod slice;
mod uid;

pub use change::Change;
pub use digest::{Digest, DigestBuilder};
pub use geometry::Geometry;
pub use mask::Mask;
pub use method::{Method, MethodConfig, Methods, ModelName};
pub use outcome::{Outcome, SliceOutcome, Truth};
pub use plane::{Plane, StoredValues};
pub use reading::{Reading, Use};
pub use rejection::{Reason, Refusal, Rejection};
pub use role::Role;
pub use sign::Sign;
pub use slice::{SeriesKey, Slice};
pub use uid::{InstanceUid, SeriesUid, StudyUid};

/// The time of the dataflow: a position in the order of arrival.
pub type Tick = u64;
