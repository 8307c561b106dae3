//! The configuration itself: what `hemoflow config check` says of it, and what to do about it.

use std::path::Path;

use super::Finding;
use crate::config::{Config, ConfigError, FILE};

const CHECK: &str = "configuration";

/// What is to be said of the configuration that was read; `named` is the file that was asked for.
pub(super) fn configuration(named: Option<&Path>, read: &Result<Config, ConfigError>) -> Vec<Finding> {
    let file = match named {
        Some(path) => path.display().to_string(),
        None if Path::new(FILE).exists() => FILE.to_owned(),
        None => "default".to_owned(),
    };
    match read {
        Ok(config) => usable(&file, config),
        Err(ConfigError::Invalid(fault)) => {
            let place = format!("{}:{}:{}", fault.file, fault.line, fault.column);
            let colon = if fault.key.is_empty() { "" } else { ": " };
            let detail = format!("{}{colon}{}", fault.key, fault.message);
            vec![Finding::wrong(CHECK, place, detail, "correct it: `hemoflow config default` tells every key")]
        }
        Err(ConfigError::Unreadable { error, .. }) => {
            let mend = "name the file that the node is started with, and run this as the user of the node";
            vec![Finding::wrong(CHECK, file, format!("cannot be read: {error}"), mend)]
        }
    }
}

fn usable(file: &str, config: &Config) -> Vec<Finding> {
    let (missing, warnings) = (config.missing(), config.warnings());
    let mut findings = Vec::new();
    if missing.is_empty() {
        findings.push(Finding::ok(CHECK, file, "can be used"));
    }
    for line in &missing {
        let (key, detail) = keyed(line);
        findings.push(Finding::wrong(CHECK, key, detail, format!("put it there, or correct {key}")));
    }
    for line in &warnings {
        let (key, detail) = keyed(line);
        findings.push(Finding::warning(CHECK, key, detail, mend(key)));
    }
    findings
}

/// A line of the check: its key, and the rest.
fn keyed(line: &str) -> (&str, &str) {
    line.split_once(": ").unwrap_or((CHECK, line))
}

fn mend(key: &str) -> &'static str {
    match key {
        "dicom.any_peer" => "list who may send, or ask senders for certificates: client_ca of [dicom.tls]",
        "dicom.peer" => "add a [[dicom.peer]] for each sender",
        "dicom.tls" => "add [dicom.tls], or keep this network to the senders",
        "http.anonymous" => "list tokens instead: [[http.token]]",
        "http.tls" => "add [http.tls], or keep this network to the senders",
        _ => "see `hemoflow config default`",
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_fault_is_wrong_by_its_place_and_an_open_door_is_a_warning() {
        let file = Some(Path::new("node.toml"));
        let read = |text: &str| Config::parse("node.toml", text).map_err(ConfigError::from);
        let found = configuration(file, &read("[dicom]\nae_titel = 'A'\n"));
        assert_eq!((found.len(), found[0].state, &*found[0].subject), (1, State::Wrong, "node.toml:2:1"));
        assert!(found[0].detail.starts_with("dicom.ae_titel: "), "{}", found[0].detail);
        let found = configuration(file, &read("[dicom]\nany_peer = true\naddress = '0.0.0.0:104'\n"));
        let states: Vec<_> = found.iter().map(|found| (found.state, found.subject.as_str())).collect();
        let expected = [(State::Ok, "node.toml"), (State::Warning, "dicom.any_peer"), (State::Warning, "dicom.tls")];
        assert_eq!(states, expected);
        let found =
            configuration(file, &read("[[folder]]\npath = '/no/such/folder'\n[[dicom.peer]]\nae_title = 'A'\n"));
        assert_eq!((found.len(), found[0].state, &*found[0].subject), (1, State::Wrong, "folder[0].path"));
    }
}
