//! `hemoflow config`: what is wrong with a configuration, and what may stand in one.

use std::path::Path;

use anyhow::{Context, bail};
use serde::Serialize;

use super::Exit;
use crate::arguments;
use crate::config::{Config, ConfigError, DEFAULT, FILE, Fault};
use crate::console::Console;

/// What `config check --json` tells.
#[derive(Debug, Default, Serialize)]
struct Checked {
    file: String,
    valid: bool,
    fault: Option<Fault>,
    missing: Vec<String>,
    warnings: Vec<String>,
}

/// Checks a configuration, or prints the default one.
pub(super) fn config(asked: &arguments::Config, named: Option<&Path>, console: &mut Console) -> anyhow::Result<Exit> {
    match asked {
        arguments::Config::Check { file } => {
            check(file.as_deref().or(named).unwrap_or_else(|| Path::new(FILE)), console)
        }
        arguments::Config::Default => {
            console.line(DEFAULT)?;
            console.json(&DEFAULT)?;
            Ok(Exit::Done)
        }
    }
}

fn check(path: &Path, console: &mut Console) -> anyhow::Result<Exit> {
    let file = path.display().to_string();
    let config = match Config::read(path) {
        Ok(config) => config,
        Err(ConfigError::Invalid(fault)) => {
            console.json(&Checked { file, fault: Some(fault.clone()), ..Checked::default() })?;
            bail!(fault);
        }
        Err(error @ ConfigError::Unreadable { .. }) => return Err(error).context("no configuration"),
    };
    let (missing, warnings) = (config.missing(), config.warnings());
    for line in missing.iter().chain(&warnings) {
        console.line(format!("{file}: {line}"))?;
    }
    let valid = missing.is_empty();
    if valid {
        console.line(format!("{file}: can be used"))?;
    }
    console.json(&Checked { file, valid, fault: None, missing, warnings })?;
    Ok(if valid { Exit::Done } else { Exit::Failed })
}
