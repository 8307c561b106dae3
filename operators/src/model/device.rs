//! Hemoflow's device as burn's: `flex` on the processor, the cubecl backends elsewhere.

use kernels::Device;

use super::ModelError;

/// burn's device of that name.
pub(crate) fn connect(device: Device) -> Result<burn::tensor::Device, ModelError> {
    match device {
        Device::Cpu => Ok(burn::tensor::Device::flex()),
        #[cfg(feature = "cuda")]
        Device::Cuda(index) => {
            device.find()?;
            Ok(burn::tensor::Device::cuda(index))
        }
        #[cfg(not(feature = "cuda"))]
        Device::Cuda(_) => Err(kernels::DeviceError::NotBuilt { device, feature: "cuda" }.into()),
        #[cfg(feature = "wgpu")]
        Device::Wgpu => {
            device.find()?;
            Ok(burn::tensor::Device::wgpu(burn::tensor::DeviceKind::DefaultDevice))
        }
        #[cfg(not(feature = "wgpu"))]
        Device::Wgpu => Err(kernels::DeviceError::NotBuilt { device, feature: "wgpu" }.into()),
    }
}
