//! What is wrong with a node and its surroundings, and what mends it: `hemoflow doctor`.
//!
//! | | looks at |
//! |---|---|
//! | `configuration` | the file, and the doors that it leaves open |
//! | `machine` | devices and the model |
//! | `disk` | folders, who uses the data folder, free bytes |
//! | `certificates` | the files of TLS |
//! | `way_in`, `port` | each listener, called as those call it who use it; a port without a node: whether it is free |
//! | `way_out` | each peer that says where it listens, by C-ECHO |
//!
//! Nothing is started, and nothing that has a name is written. A [`Finding`] is a value; whoever asked prints it.

mod certificates;
mod configuration;
mod disk;
mod finding;
mod get;
mod machine;
mod port;
mod way_in;
mod way_out;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use kernels::Device;
use operators::model::Model;

use crate::config::Config;

pub use finding::{Finding, State};

/// How long somebody may be silent at most.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks at all that a node needs: by the configuration of the file that is `named`, or the one of `hemoflow serve` without a
/// name, and on the device that was asked for. `load` loads the model of a path, or the shipped one.
///
/// # Errors
///
/// Returns an error if there are no means to call anybody.
pub fn examine(
    named: Option<&Path>,
    device: Device,
    load: impl FnOnce(Option<&Path>, Device) -> anyhow::Result<Model>,
) -> anyhow::Result<Vec<Finding>> {
    let read = Config::load(named);
    let mut findings = configuration::configuration(named, &read);
    let config = read.ok();
    let tried = machine::devices(device);
    // A model is looked at on another device if there is none of the name.
    let working = tried.iter().find(|tried| tried.works).map(|tried| tried.device);
    findings.extend(tried.into_iter().map(|tried| tried.finding));
    let path = config.as_ref().and_then(|config| config.node.model.as_deref());
    findings.extend(working.map(|device| machine::model(path, &load(path, device))));
    let Some(config) = config else { return Ok(findings) };
    findings.extend(disk::folders(&config));
    findings.push(disk::room(&config));
    let (used, user) = disk::user(&config);
    findings.push(user);
    findings.extend(certificates::certificates(&config));
    let patience = PATIENCE.min(config.dicom.timeout);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("there is no network")?;
    findings.extend(runtime.block_on(way_in::listeners(&config, used, patience)));
    findings.extend(runtime.block_on(way_out::peers(&config, patience)));
    Ok(findings)
}
