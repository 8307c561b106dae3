//! What is served over HTTP.
//!
//! | path | serves |
//! |---|---|
//! | `/livez`, `/readyz` | whether the node lives, and whether it should be sent anything ([`Health`]) |
//! | `/dicom-web/studies`, `/dicom-web/studies/{uid}` | STOW-RS (PS3.18 section 10.5) |
//! | `/metrics`, on a port of its own | the registry of metrics ([`metrics`]) |

mod access;
mod body;
mod health;
mod listener;
mod media_type;
pub mod metrics;
mod multipart;
mod refusal;
mod stow;

pub use health::{Health, Life};
pub use listener::{Listener, Options, answer_one};
