//! The device that everything runs on, chosen once at the edge: `cpu`, `cuda[:N]` or `wgpu`.

use std::fmt;
use std::str::FromStr;

/// A client of the device's queue: what a kernel is launched with.
pub type Client = cubecl::client::Client;

/// A device by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this index.
    Cuda(usize),
    /// The default adapter of WebGPU.
    Wgpu,
}

/// A device that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No device has this name.
    #[error("no device is named {name:?}: say cpu, cuda, cuda:N or wgpu")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// This build lacks the device's runtime.
    #[error("this build has no {device} runtime: build with --features {feature}")]
    NotBuilt {
        /// The device.
        device: Device,
        /// The Cargo feature that adds it.
        feature: &'static str,
    },
}

impl Device {
    /// Connects to the device.
    ///
    /// # Errors
    ///
    /// Returns [`DeviceError::NotBuilt`] if this build lacks the runtime.
    pub fn client(self) -> Result<Client, DeviceError> {
        match self {
            #[cfg(feature = "cpu")]
            Self::Cpu => Ok(cubecl::Device::Cpu(cubecl::cpu::CpuDevice).client()),
            #[cfg(not(feature = "cpu"))]
            Self::Cpu => Err(DeviceError::NotBuilt { device: self, feature: "cpu" }),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Ok(cubecl::Device::Cuda(cubecl::cuda::CudaDevice { index }).client()),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda(_) => Err(DeviceError::NotBuilt { device: self, feature: "cuda" }),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(cubecl::Device::Wgpu(cubecl::wgpu::WgpuDevice::default()).client()),
            #[cfg(not(feature = "wgpu"))]
            Self::Wgpu => Err(DeviceError::NotBuilt { device: self, feature: "wgpu" }),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Wgpu => write!(f, "wgpu"),
        }
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown { name: name.to_owned() };
        match name.split_once(':') {
            None if name == "cpu" => Ok(Self::Cpu),
            None if name == "cuda" => Ok(Self::Cuda(0)),
            None if name == "wgpu" => Ok(Self::Wgpu),
            Some(("cuda", index)) => index.parse().map(Self::Cuda).map_err(|_| unknown()),
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints() {
        for device in [Device::Cpu, Device::Cuda(0), Device::Cuda(3), Device::Wgpu] {
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
    }

    #[test]
    fn refuses_names_of_no_device() {
        for name in ["", "gpu", "cuda:", "cuda:x", "cpu:0"] {
            assert!(name.parse::<Device>().is_err(), "{name:?} was taken");
        }
    }
}
