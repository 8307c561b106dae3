//! Arrays in, arrays out: the kernels of Hemoflow, and the device that they run on.
//!
//! | kernel | shapes | units | source | used by |
//! |---|---|---|---|---|
//!
//! Each kernel stands beside its definition in plain Rust, `reference`, and agrees with it on the CPU runtime over
//! random shapes and values. This crate knows nothing of dataflow, DICOM or models.
#![allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "`as` is how cube functions convert, and launches narrow sizes that they have checked"
)]

pub mod cam;
pub mod device;
pub mod error;
pub mod executor;
pub mod fuse;
pub mod histogram;
pub mod resize;
pub mod units;
pub mod window;

#[cfg(test)]
mod compare;
mod launch;

pub use device::{Client, Device, DeviceError};
pub use error::KernelError;
