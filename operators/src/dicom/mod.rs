//! DICOM in and out: files to instances, results to objects.

mod admit;
pub(crate) mod attribute;
pub(crate) mod codestream;
pub mod deidentify;
pub mod dicomdir;
pub(crate) mod fragments;
mod geometry;
mod header;
pub mod identity;
mod instance;
pub(crate) mod jpeg12;
mod kernel;
pub(crate) mod layout;
pub(crate) mod object;
mod outline;
mod part10;
pub mod read;
#[cfg(test)]
mod real_data;
pub mod rejection_note;
pub(crate) mod rle;
pub mod seg;

pub use header::{Header, REPEATED};
pub use instance::{Frame, Instance, Pixels, Source};
pub(crate) use kernel::kernels;
pub use kernel::{is_sharp, sharp_kernel};
pub use object::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
pub use part10::data_set;
