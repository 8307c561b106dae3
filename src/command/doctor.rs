//! `hemoflow doctor`: what is wrong with a node and its surroundings, and the mend.

use std::path::Path;

use kernels::Device;

use super::Exit;
use super::inference::load_model;
use crate::arguments::Doctor;
use crate::console::{self, Console};
use crate::doctor::{self, State};

/// Tells a line of each check. Warnings do not fail.
pub(super) fn doctor(
    asked: &Doctor,
    named: Option<&Path>,
    device: Device,
    console: &mut Console,
) -> anyhow::Result<Exit> {
    console::keep_values_out_of_panics();
    let findings = doctor::examine(asked.file.as_deref().or(named), device, load_model)?;
    for finding in &findings {
        console.line(finding.to_string())?;
    }
    console.json(&findings)?;
    let wrong = findings.iter().any(|finding| finding.state == State::Wrong);
    Ok(if wrong { Exit::Failed } else { Exit::Done })
}
