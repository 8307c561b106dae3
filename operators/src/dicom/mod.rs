//! DICOM in and out: files to instances, results to objects.

mod header;
mod instance;
pub(crate) mod object;
pub mod seg;

pub use header::Header;
pub use instance::{Frame, Instance, Pixels, Source};
