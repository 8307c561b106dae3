//! Limits: what is refused, and when, so that no peer takes the node down.

use serde::Deserialize;

use super::quantity::bytes;

/// `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Associations at once; one more is refused.
    pub associations: usize,
    /// Associations at once of one calling AE title.
    pub associations_per_peer: usize,
    /// Bytes of one instance as it is received.
    #[serde(deserialize_with = "bytes")]
    pub instance_bytes: usize,
    /// Bytes of all instances that are being received.
    #[serde(deserialize_with = "bytes")]
    pub receiving_bytes: usize,
    /// Bytes of the pixels of one instance when they are decoded.
    #[serde(deserialize_with = "bytes")]
    pub decoded_bytes: usize,
    /// Instances over one association.
    pub association_instances: usize,
    /// Instances of one study.
    pub study_instances: usize,
    /// Instances that were received and are not yet in the graph, from which on PDUs are read slowly.
    pub waiting_slow: usize,
    /// The same, from which on associations are refused and STOW-RS is told to come later.
    pub waiting_refuse: usize,
    /// Bytes that the disk of the data folder must have left; with less, nothing is stored until there is more.
    #[serde(deserialize_with = "bytes")]
    pub free_disk: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            associations: 64,
            associations_per_peer: 32,
            instance_bytes: 1 << 30,
            receiving_bytes: 512 << 20,
            decoded_bytes: 4 << 30,
            association_instances: 100_000,
            study_instances: 20_000,
            waiting_slow: 2_000,
            waiting_refuse: 20_000,
            free_disk: 2 << 30,
        }
    }
}
