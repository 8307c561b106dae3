//! The device that everything runs on, chosen once at the edge: `cpu`, `cuda[:N]` or `wgpu`.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use cubecl::device::{DeviceUnavailable, WgpuDeviceKind};

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
    /// This machine lacks the device, or what leads to it.
    #[error("{device} is not on this machine, where {available} such devices answer: it needs {needs}")]
    Missing {
        /// The device.
        device: Device,
        /// How many of its kind there are.
        available: usize,
        /// What it needs.
        needs: &'static str,
    },
}

/// Devices that were found: asking the system again takes milliseconds, and loads its drivers anew.
static FOUND: Mutex<Vec<(Device, cubecl::Device)>> = Mutex::new(Vec::new());

impl Device {
    /// Connects to the device.
    ///
    /// # Errors
    ///
    /// As [`Device::find`].
    pub fn client(self) -> Result<Client, DeviceError> {
        Ok(self.found()?.client())
    }

    /// Asks whether this build and this machine have the device, and does not connect to it.
    ///
    /// # Errors
    ///
    /// Returns [`DeviceError::NotBuilt`] if this build lacks the runtime, [`DeviceError::Missing`] if the machine lacks
    /// the driver or the device.
    pub fn find(self) -> Result<(), DeviceError> {
        self.found().map(drop)
    }

    fn found(self) -> Result<cubecl::Device, DeviceError> {
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, device)) = found.iter().find(|(name, _)| *name == self) {
            return Ok(device.clone());
        }
        let (asked, feature, needs) = match self {
            Self::Cpu => (cubecl::Device::cpu(), "cpu", "a processor"),
            Self::Cuda(index) => {
                (cubecl::Device::cuda(index), "cuda", "the NVIDIA driver (libcuda.so.1) and a GPU that it shows")
            }
            Self::Wgpu => (
                cubecl::Device::wgpu(WgpuDeviceKind::DefaultDevice),
                "wgpu",
                "the Vulkan loader (libvulkan.so.1) and a driver that shows an adapter",
            ),
        };
        let device = asked.map_err(|error| match error {
            DeviceUnavailable::NotLinked(_) => DeviceError::NotBuilt { device: self, feature },
            DeviceUnavailable::NoSuchDevice { available, .. } => {
                DeviceError::Missing { device: self, available, needs }
            }
        })?;
        found.push((self, device.clone()));
        Ok(device)
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
    use std::process::Command;

    use super::*;
    use crate::array::Array;

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

    /// What a device that is asked for comes to.
    fn told(device: Device) -> String {
        match device.client() {
            Ok(client) => {
                let sent = [1.0, -2.5, 3.0];
                let back = Array::<f32>::upload(&client, &sent).download();
                assert_eq!(back.as_deref(), Ok(&sent[..]), "{device} was found");
                format!("found: {}", client.properties().identity.name)
            }
            Err(error) => error.to_string(),
        }
    }

    fn is_built(device: Device) -> bool {
        match device {
            Device::Cpu => cfg!(feature = "cpu"),
            Device::Cuda(_) => cfg!(feature = "cuda"),
            Device::Wgpu => cfg!(feature = "wgpu"),
        }
    }

    #[test]
    fn a_device_is_found_or_what_is_missing_is_named() {
        for (device, library) in [(Device::Cuda(0), "libcuda.so.1"), (Device::Wgpu, "libvulkan.so.1")] {
            let told = told(device);
            println!("\n{device}: {told}");
            if is_built(device) {
                assert!(told.starts_with("found: ") || told.contains(library), "{told}");
            } else {
                assert!(told.contains("--features"), "{told}");
            }
        }
        let beyond = Device::Cuda(9999).find().expect_err("no machine has so many");
        let expected = if is_built(Device::Cuda(0)) { "libcuda.so.1" } else { "--features cuda" };
        assert!(beyond.to_string().contains(expected), "{beyond}");
    }

    /// The device that the process below asks for.
    const HIDDEN: &str = "HEMOFLOW_HIDDEN_DEVICE";

    #[test]
    fn a_hidden_device_is_told() {
        if let Ok(device) = std::env::var(HIDDEN) {
            println!("told: {}", told(device.parse().expect("a device")));
        }
    }

    /// In a process to which the drivers show nothing, whether this machine has them or not.
    #[test]
    fn a_machine_without_the_device_gets_an_error_and_no_panic() {
        for (device, library) in [(Device::Cuda(0), "libcuda.so.1"), (Device::Wgpu, "libvulkan.so.1")] {
            if !is_built(device) {
                println!("skipped: a_machine_without_the_device_gets_an_error_and_no_panic: no {device} in this build");
                continue;
            }
            let run = Command::new(std::env::current_exe().expect("this program"))
                .args(["--exact", "device::tests::a_hidden_device_is_told", "--nocapture"])
                .env(HIDDEN, device.to_string())
                .env("CUDA_VISIBLE_DEVICES", "")
                .envs(
                    ["VK_ICD_FILENAMES", "VK_DRIVER_FILES", "__EGL_VENDOR_LIBRARY_FILENAMES"]
                        .map(|name| (name, "/dev/null")),
                )
                .output()
                .expect("a run of one test");
            let said = String::from_utf8_lossy(&run.stdout);
            let told = said.lines().find(|line| line.contains("told: ")).unwrap_or_default();
            assert!(run.status.success() && told.contains("is not on this machine"), "{device}: {said}");
            assert!(told.contains(library), "{device}: {told}");
        }
    }
}
