//! What can go wrong in a kernel: sizes that do not fit, and devices that fail.

/// A launch that did not give a result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// An array has not the length that its shape says.
    #[error("{kernel}: {array} has {len} elements, its shape needs {expected}")]
    Length {
        /// The kernel.
        kernel: &'static str,
        /// The array.
        array: &'static str,
        /// Its length.
        len: usize,
        /// The length that the shape needs.
        expected: usize,
    },
    /// The result does not fit one launch.
    #[error("{kernel}: {len} elements do not fit one launch")]
    TooLarge {
        /// The kernel.
        kernel: &'static str,
        /// The elements of the result.
        len: usize,
    },
    /// An element has no meaning.
    #[error("{kernel}: element {index} of {array} has no meaning here")]
    Meaningless {
        /// The kernel.
        kernel: &'static str,
        /// The array.
        array: &'static str,
        /// The element.
        index: usize,
    },
    /// The device has no memory of such elements.
    #[error("{kernel}: no {element} on this device")]
    Element {
        /// The kernel.
        kernel: &'static str,
        /// The element.
        element: &'static str,
    },
    /// The device failed.
    #[error("{kernel}: the device failed: {reason}")]
    Device {
        /// The kernel.
        kernel: &'static str,
        /// What the device said.
        reason: String,
    },
}
