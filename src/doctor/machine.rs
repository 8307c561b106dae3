//! What computes: the devices of this build on this machine, and the model.

use std::path::Path;

use kernels::{Array, Device, DeviceError};
use operators::model::Model;

use super::Finding;

/// A device, and what is to be said of it.
pub(super) struct Tried {
    pub(super) device: Device,
    pub(super) works: bool,
    pub(super) finding: Finding,
}

/// Tries the device that was asked for, and the others that this build has.
pub(super) fn devices(asked: Device) -> Vec<Tried> {
    let others = [Device::Cpu, Device::Cuda(0), Device::Wgpu].into_iter().filter(|device| *device != asked);
    let built = others.filter(|device| !matches!(device.find(), Err(DeviceError::NotBuilt { .. })));
    let tried = |device: Device| {
        let outcome = try_out(device);
        Tried { device, works: outcome.is_ok(), finding: told(device, device == asked, &outcome) }
    };
    std::iter::once(asked).chain(built).map(tried).collect()
}

/// Sends numbers to the device and takes them back. Gives its name.
fn try_out(device: Device) -> Result<String, String> {
    let attempt = || {
        let client = device.client().map_err(|error| error.to_string())?;
        let sent = [1_i16, -2, 3, -4];
        let back = Array::upload(&client, &sent).download().map_err(|error| error.to_string())?;
        if back == sent {
            Ok(client.properties().identity.name.clone())
        } else {
            Err("it gives back other numbers than it was given".to_owned())
        }
    };
    std::panic::catch_unwind(attempt).unwrap_or_else(|_| Err("its driver breaks off".to_owned()))
}

fn told(device: Device, asked: bool, outcome: &Result<String, String>) -> Finding {
    let subject = device.to_string();
    match outcome {
        Ok(name) => Finding::ok("device", subject, format!("works: {name}")),
        Err(why) if asked => {
            Finding::wrong("device", subject, why, "mend what is named, or choose another one with --device")
        }
        Err(why) => Finding::warning("device", subject, why, "nothing, if it is not to be used"),
    }
}

/// What is to be said of the model that was loaded from `path`, or the shipped one.
pub(super) fn model(path: Option<&Path>, loaded: &anyhow::Result<Model>) -> Finding {
    let subject = path.map_or_else(|| "shipped".to_owned(), |path| path.display().to_string());
    match loaded {
        Ok(model) => {
            let name = model.name();
            let detail =
                format!("{} {} with the weights {} loads on {}", name.name, name.version, name.sha256, model.device());
            Finding::ok("model", subject, detail)
        }
        Err(error) => {
            let mend = "put the card and its weights there as they were published, or correct node.model";
            Finding::wrong("model", subject, format!("{error:#}"), mend)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_device_that_fails_is_wrong_if_it_was_asked_for() {
        let fails = Err("no library".to_owned());
        assert_eq!(told(Device::Wgpu, true, &fails).state, State::Wrong);
        assert_eq!(told(Device::Wgpu, false, &fails).state, State::Warning);
        assert_eq!(told(Device::Cpu, false, &Ok("a processor".to_owned())).state, State::Ok);
    }

    #[test]
    fn every_device_of_this_build_is_tried_and_no_other_unless_it_is_asked_for() {
        let tried = devices(Device::Cuda(9999));
        assert!(!tried[0].works && tried[0].finding.state == State::Wrong, "no machine has so many");
        assert_eq!(tried.iter().any(|tried| tried.device == Device::Cpu && tried.works), cfg!(feature = "cpu"));
        assert_eq!(tried.iter().any(|tried| tried.device == Device::Wgpu), cfg!(feature = "wgpu"));
    }
}
