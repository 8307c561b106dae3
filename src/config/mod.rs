//! What a node needs to know, from one TOML file: parsed and checked at the door, so that nothing behind it asks again.
//!
//! | | holds |
//! |---|---|
//! | `hemoflow.toml` | the sections below, each optional, each key optional |
//! | [`DEFAULT`] | the same with every key, its meaning and its default: what `hemoflow config default` prints |
//! | [`Fault`] | what is wrong: file, line, column and key |
//!
//! A relative path is relative to the folder of the file. A listener whose address is `off` is not started. Sizes are bytes, as
//! a number or as `"2G"`; K, M and G are powers of 1024. Names of people, of machines or of paths are in no default.

mod address;
mod ae_title;
mod check;
mod dicom;
mod fault;
mod folder;
mod http;
mod limits;
mod network;
mod node;
mod place;
mod quantity;
mod retention;
mod tls;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use operators::completion::CompletionRules;
use operators::selection::Rules;
use serde::Deserialize;
use thiserror::Error;

pub use address::Metrics;
pub use ae_title::AeTitle;
pub use dicom::{Dicom, Peer};
pub use fault::Fault;
pub use folder::Folder;
pub use http::{Http, Token};
pub use limits::Limits;
pub use network::Network;
pub use node::{Ack, Node, Resent};
pub use retention::Retention;
pub use tls::{PeerTls, Tls};

/// A commented configuration that says what [`Config::default`] holds.
pub const DEFAULT: &str = include_str!("default.toml");

/// The file that is read where none is named, if it is there.
pub const FILE: &str = "hemoflow.toml";

/// The configuration of a node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[node]`: folders, workers, memory, and what an acknowledgement promises.
    pub node: Node,
    /// `[dicom]`: the DICOM listener and who may call it.
    pub dicom: Dicom,
    /// `[http]`: the HTTP listener and who may store over it.
    pub http: Http,
    /// `[metrics]`: where Prometheus asks.
    pub metrics: Metrics,
    /// `[[folder]]`: folders that are watched.
    #[serde(rename = "folder")]
    pub folders: Vec<Folder>,
    /// `[completion]`: what is taken as a sign that a series is complete.
    pub completion: CompletionRules,
    /// `[limits]`: what is refused, and when.
    pub limits: Limits,
    /// `[retention]`: how long things are kept.
    pub retention: Retention,
    /// `[selection]`: which series are taken.
    pub selection: Rules,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
    /// The file does not say what it should.
    #[error(transparent)]
    Invalid(#[from] Fault),
}

/// Leaves a value where it cannot become the other one, and gives its key.
fn staying<T: Clone>(
    key: &'static str,
    own: &T,
    other: &mut T,
    becomes: impl Fn(&T, &T) -> bool,
) -> Option<&'static str> {
    let stays = !becomes(own, other);
    if stays {
        other.clone_from(own);
    }
    stays.then_some(key)
}

impl Config {
    /// The configuration of the file that is named; of [`FILE`] if none is and it is there; otherwise the default one.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file, and the line and the key if these are at fault.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        match named {
            Some(path) => Self::read(path),
            None if Path::new(FILE).exists() => Self::read(Path::new(FILE)),
            None => Ok(Self::default()),
        }
    }

    /// The configuration of a file. Its relative paths become relative to where the program runs.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file, and the line and the key if these are at fault.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let mut config = Self::parse(&path.display().to_string(), &text)?;
        if let Some(folder) = path.parent() {
            config.paths().into_iter().for_each(|(_, path)| *path = folder.join(&*path));
        }
        Ok(config)
    }

    /// The configuration that `text` says; `file` names it in the fault.
    ///
    /// # Errors
    ///
    /// Returns the first fault: a syntax error, an unknown key, a value that its key cannot have, or values that do not fit
    /// together.
    pub fn parse(file: &str, text: &str) -> Result<Self, Fault> {
        let config: Self = toml::from_str(text).map_err(|error| Fault::parsing(file, text, &error))?;
        match check::first_misfit(&config) {
            Some((key, message)) => Err(Fault::at_key(file, text, &key, &message)),
            None => Ok(config),
        }
    }

    /// Takes from another configuration what a running node can change: who may send, certificates, and how long studies are
    /// kept. Gives the sections and keys that differ and hold after a restart.
    pub(crate) fn take(&mut self, mut other: Self) -> Vec<&'static str> {
        let sections = [
            ("node", self.node != other.node),
            ("metrics", self.metrics != other.metrics),
            ("folder", self.folders != other.folders),
            ("completion", self.completion != other.completion),
            ("limits", self.limits != other.limits),
            ("selection", self.selection != other.selection),
        ];
        let mut later: Vec<_> = sections.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect();
        let addresses = |one: &Option<SocketAddr>, other: &Option<SocketAddr>| one == other;
        later.extend(staying("dicom.address", &self.dicom.address, &mut other.dicom.address, addresses));
        later.extend(staying("dicom.tls", &self.dicom.tls, &mut other.dicom.tls, tls::renewable));
        later.extend(staying("http.address", &self.http.address, &mut other.http.address, addresses));
        later.extend(staying("http.tls", &self.http.tls, &mut other.http.tls, tls::renewable));
        (self.dicom, self.http, self.retention) = (other.dicom, other.http, other.retention);
        later
    }

    /// Every path, with its key.
    fn paths(&mut self) -> Vec<(String, &mut PathBuf)> {
        let mut paths = vec![("node.data".to_owned(), &mut self.node.data)];
        paths.extend(self.node.results.as_mut().map(|path| ("node.results".to_owned(), path)));
        paths.extend(self.node.model.as_mut().map(|path| ("node.model".to_owned(), path)));
        for (section, tls) in [("dicom", &mut self.dicom.tls), ("http", &mut self.http.tls)] {
            let Some(tls) = tls else { continue };
            paths.push((format!("{section}.tls.certificate"), &mut tls.certificate));
            paths.push((format!("{section}.tls.key"), &mut tls.key));
            paths.extend(tls.client_ca.as_mut().map(|path| (format!("{section}.tls.client_ca"), path)));
        }
        for (index, peer) in self.dicom.peers.iter_mut().enumerate() {
            paths.extend(peer.tls.as_mut().map(|tls| (format!("dicom.peer[{index}].tls.ca"), &mut tls.ca)));
        }
        for (index, folder) in self.folders.iter_mut().enumerate() {
            paths.push((format!("folder[{index}].path"), &mut folder.path));
            paths.extend(folder.done.as_mut().map(|path| (format!("folder[{index}].done"), path)));
            paths.extend(folder.failed.as_mut().map(|path| (format!("folder[{index}].failed"), path)));
        }
        paths
    }

    /// The files and folders that must be there before a node starts and are not: a line each, with its key.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        // What the node writes, it makes.
        let made = |key: &str| {
            ["node.data", "node.results"].contains(&key) || key.ends_with("done") || key.ends_with("failed")
        };
        let mut copy = self.clone();
        let absent = copy.paths().into_iter().filter(|(key, path)| !made(key) && !path.exists());
        absent.map(|(key, path)| format!("{key}: {} is not there", path.display())).collect()
    }
}

#[cfg(test)]
mod tests;
