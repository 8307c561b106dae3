//! Tensors beside kernels: arrays as tensors without a copy, upsampling that can be trained through, narrow numbers.
//!
//! | item | does | on |
//! |---|---|---|
//! | [`tensor_of`], [`array_of`] | a kernel's array as a tensor, and back | no copy on a GPU, one through the host on `cpu` |
//! | [`bilinear`] | `[batch, channels, rows, columns]` to another size | every device, with gradients |
//! | [`Precision`] | casts weights and activations for inference | what the device supports |

mod bridge;
mod precision;
mod upsample;

pub use bridge::{array_of, tensor_of};
pub use precision::Precision;
pub use upsample::bilinear;

/// The devices that tests run on: the networks' without a GPU, and what `HEMOFLOW_TEST_DEVICE` names. burn's tensors on the
/// processor's runtime of cubecl are not among them: finding the fastest kernel for each shape takes minutes there.
#[cfg(test)]
pub(crate) fn devices() -> Vec<burn::tensor::Device> {
    let mut devices = vec![burn::tensor::Device::flex()];
    if let Some(name) = std::env::var("HEMOFLOW_TEST_DEVICE").ok().filter(|name| name != "cpu") {
        devices.push(crate::model::connect(name.parse().unwrap()).unwrap());
    }
    devices
}
