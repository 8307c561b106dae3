//! Arrays in, arrays out: the kernels of Hemoflow, and the device that they run on.
//!
//! | kernel | shapes | units | source | used by |
//! |---|---|---|---|---|
//! | [`mod@window`] | `[slices, rows, columns]` to `[slices, windows, rows, columns]` of another size | stored value to intensity | PS3.3 C.11.1, C.11.2.1.3.2 | encode, segment |
//! | [`cam::activation`] | `[slices, channels, rows, columns]` to `[slices, rows, columns]` | activation | Zhou 2016, equation 2 | encode |
//! | [`cam::normalized`] | `[slices, rows, columns]` to the same of another size | activation to share in `[0, 1]` | Zhou 2016 | backend |
//! | [`cam::region`], [`cam::cam`] | the same | activation to 0 or 1 | Zhou 2016 | refine |
//! | [`cam::above`] | the same | logit to 0 or 1 | this project | segment |
//! | [`fuse::fuse`] | `[maps, rows, columns]` to `[targets, rows, columns]` | activation | this project | fuse |
//! | [`backend`] | features or maps to `[targets, rows, columns]` of another size | activation to packed bits | its parts | fuse, for a whole run |
//! | [`pack`] | `[elements]` to `[words]` | 0 or 1 to packed bits | PS3.5 8.1.1, PS3.3 C.8.20.2 | backend, segment |
//! | [`histogram::histogram`] | `[pixels]` to `[bins]` | stored value to pixels for each HU | PS3.3 C.11.1 | refine |
//!
//! Each kernel stands beside its definition in plain Rust, `reference`, and agrees with it on the CPU runtime over
//! random shapes and values. Each has two forms: `on_device` takes and gives [`Array`]s, and neither transfers nor waits;
//! the other takes and gives slices. On a processor the latter uses the host's own loops where these are faster, which
//! agree with the same definition. `bytes` tells what a call moves, `floor_bytes` what it must.
//!
//! On the host by measurement (2 virtual cores, AMD EPYC, under load; 512 x 512): serial, or so little work that sending
//! the arrays to a device takes longer. They stand beside their definitions as well.
//!
//! | function | shapes | units | source | used by | why the host |
//! |---|---|---|---|---|---|
//! | [`resize::bilinear`] | `[rows, columns]` to another size | any | half-pixel centres, or cells that lie before theirs | cam on a processor | kernels upsample as they use the result |
//! | [`morphology`] | `[rows, columns]` | mask | Serra 1982 | refine | between serial steps of one slice |
//! | [`distance::distance_mm`] | `[rows, columns]` | mask to mm | Felzenszwalb 2012 | refine | the same |
//! | [`components`] | `[rows, columns]`, `[depth, rows, columns]` | mask to labels | Wu 2009, Grana 2010 | refine, score | serial by rows; between serial steps |
//! | [`mod@overlap`] | `[elements]` | masks to counts | this project | score | 0.01 ms for two masks, less than to send them |
//! | [`bits`] | `[elements]` to `[bytes]` | mask to packed bits | PS3.5 8.1.1, PS3.3 C.8.20.2 | report | 0.025 ms, less than to send a mask |
//!
//! What they run on, and how:
//!
//! | item | does | source | used by |
//! |---|---|---|---|
//! | [`Array`] | memory on a device, to and from slices and other libraries' handles | cubecl | all kernels |
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
#[cfg(test)]
#[cfg(feature = "cpu")]
mod ptx;
mod wide;

pub use array::Array;
pub use device::{Client, Device, DeviceError};
pub use error::KernelError;
