//! The node itself: folders, workers, memory, and what an acknowledgement promises.

use std::path::PathBuf;

use serde::Deserialize;

use super::quantity::some_bytes;

/// `[node]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// What must not be forgotten: inbox, log, models, store.
    pub data: PathBuf,
    /// Where results are written. `None`: `results` in the data folder.
    pub results: Option<PathBuf>,
    /// The folder or card of the model. `None`: the shipped one.
    pub model: Option<PathBuf>,
    /// Worker threads of the dataflow.
    pub workers: u16,
    /// Bytes of results and pixels in memory at most; more goes to disk. `None`: no limit.
    #[serde(deserialize_with = "some_bytes")]
    pub memory: Option<usize>,
    /// Series in memory at most. `None`: no limit.
    pub series: Option<usize>,
    /// What an acknowledgement promises.
    pub ack: Ack,
    /// What an instance means that is kept with other content.
    pub resent: Resent,
}

/// What it means that an instance comes that is kept with other content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resent {
    /// It takes the place of the one that is kept.
    #[default]
    Replace,
    /// Somebody made a mistake: it is not taken.
    Refuse,
}

/// What is true of an instance once it was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// It is on the disk: it outlives a loss of power.
    #[default]
    Fsync,
    /// It was handed to the system: it outlives the death of the program, not that of the machine.
    Written,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            data: PathBuf::from("hemoflow-data"),
            results: None,
            model: None,
            workers: 1,
            memory: None,
            series: None,
            ack: Ack::Fsync,
            resent: Resent::Replace,
        }
    }
}

impl Node {
    /// Where results are written.
    #[must_use]
    pub fn results(&self) -> PathBuf {
        self.results.clone().unwrap_or_else(|| self.data.join("results"))
    }
}
