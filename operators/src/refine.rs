//! Refinement: a region of the activation map becomes a candidate mask.

use serde::{Deserialize, Serialize};

/// How a region becomes a pseudo-mask.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefineConfig {}
