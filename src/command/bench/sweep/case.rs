//! A problem for a kernel: of one size, for so many slices.

use kernels::{Client, KernelError};
use serde::Serialize;

/// Where a kernel works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Place {
    /// On the device, whatever that is.
    Device,
    /// On all threads of the host.
    Threads,
    /// On one thread of the host.
    Host,
}

/// A problem that was not made yet.
pub(super) struct Case {
    pub(super) kernel: &'static str,
    /// Rows and columns of a slice.
    pub(super) size: usize,
    /// Slices.
    pub(super) batch: usize,
    /// Arrays in and out, in words.
    pub(super) shape: String,
    /// The fewest bytes that the problem moves: each input read once, each output written once.
    pub(super) bytes: usize,
    pub(super) place: Place,
    /// Makes the inputs.
    pub(super) prepare: Prepare,
}

pub(super) type Prepare = Box<dyn FnOnce(&Client) -> anyhow::Result<Work>>;

/// A problem whose inputs lie where the kernel works.
pub(super) struct Work {
    /// Launches the kernel, and does not wait for it.
    pub(super) run: Box<dyn FnMut() -> Result<(), KernelError>>,
    /// The definition in plain Rust, over one slice.
    pub(super) reference: Option<Box<dyn FnMut()>>,
}

impl Case {
    /// Bytes that are held at once: inputs and outputs, and those of the copy.
    pub(super) fn held(&self) -> usize {
        self.bytes.saturating_mul(2)
    }
}
