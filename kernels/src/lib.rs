//! Arrays in, arrays out: the kernels of Hemoflow, and the device that they run on.
//!
//! | kernel | shapes | units | source | used by |
//! |---|---|---|---|---|
//! | [`window::window`] | `[rows, columns]` to `[windows, rows, columns]` | stored value to intensity | PS3.3 C.11.1, C.11.2.1.3.2 | encode, segment |
//! | [`cam::activation`] | `[slices, channels, rows, columns]` to `[slices, rows, columns]` | activation | Zhou 2016, equation 2 | encode |
//! | [`cam::normalized`] | `[slices, rows, columns]` to the same of another size | activation to share in `[0, 1]` | Zhou 2016 | refine |
//! | [`cam::region`], [`cam::cam`] | the same | activation to 0 or 1 | Zhou 2016 | refine |
//! | [`fuse::fuse`] | `[maps, rows, columns]` to `[targets, rows, columns]` | activation | this project | fuse |
//! | [`histogram::histogram`] | `[pixels]` to `[bins]` | stored value to pixels for each HU | PS3.3 C.11.1 | refine |
//!
//! Each kernel stands beside its definition in plain Rust, `reference`, and agrees with it on the CPU runtime over
//! random shapes and values. The same on the host, where the work is small or serial:
//!
//! | function | shapes | units | source | used by |
//! |---|---|---|---|---|
//! | [`resize::bilinear`] | `[rows, columns]` to another size | any | half-pixel centres | cam, segment |
//! | [`morphology`] | `[rows, columns]` | mask | Serra 1982 | refine |
//! | [`distance::distance_mm`] | `[rows, columns]` | mask to mm | Felzenszwalb 2012 | refine |
//! | [`components`] | `[rows, columns]`, `[depth, rows, columns]` | mask to labels | Wu 2009 | refine, evaluate |
//! | [`bits`] | `[elements]` to `[bytes]` | mask to packed bits | PS3.5 8.1.1, PS3.3 C.8.20.2 | report |
//!
//! What they run on, and how:
//!
//! | item | does | source | used by |
//! |---|---|---|---|
//! | [`device::Device`] | `cpu`, `cuda[:N]` or `wgpu` to a client | cubecl | all kernels |
//! | [`clock::Clock`] | how long launches take, and how many there were | cubecl | bench |
//! | [`copy::DeviceCopy`] | the copy from device to device that kernels are measured by | this project | bench |
//! | [`executor::Desk`] | questions to answers: urgent first, in batches under a deadline, no class starved | this project | all stages |
//!
//! This crate knows nothing of dataflow, DICOM or models.
#![allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "`as` is how cube functions convert, and launches narrow sizes that they have checked"
)]

pub mod array;
pub mod backend;
pub mod bits;
pub mod cam;
pub mod clock;
pub mod components;
pub mod copy;
pub mod device;
pub mod distance;
pub mod error;
pub mod executor;
pub mod fuse;
pub mod histogram;
pub mod morphology;
pub mod overlap;
pub mod pack;
pub mod resize;
pub mod units;
pub mod window;

#[cfg(test)]
mod compare;
mod launch;

pub use array::Array;
pub use device::{Client, Device, DeviceError};
pub use error::KernelError;
