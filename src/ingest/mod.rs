//! From listeners to the graph: the door that decides what is taken, and the feeder behind the inbox.
//!
//! ```text
//! C-STORE, STOW-RS, folders -> Door -> inbox (disk) -> Feeder -> node
//! ```
//!
//! A listener hands in the bytes of an instance and hears when they are kept. What the graph has no time for waits on the
//! disk; how much waits decides how fast listeners read, and whether they take anything at all.

mod door;
mod feeder;
mod pressure;
mod selector;
mod space;

pub use door::{Door, Refused, Sender, Taken};
pub use feeder::{Feeder, Settle};
pub use pressure::Closed;
pub(crate) use space::free_bytes;
