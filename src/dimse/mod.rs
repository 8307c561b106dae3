//! DICOM over TCP: the listener that scanners send to, and a small client.
//!
//! Verification, storage and storage commitment (PS3.4 annexes A, B and J) over the upper layer of PS3.8. Protocol data units
//! are those of `dicom-ul`; data sets, which are nearly all of the bytes, are read from the socket straight into the file
//! that is kept (docs/adr/0006).

#![allow(clippy::wildcard_enum_match_arm, reason = "of all that a peer may say, little has a place")]

mod association;
pub mod client;
mod command;
mod commitment;
mod failure;
mod listener;
mod negotiate;
mod pdu;
mod status;
mod stream;

pub use command::{Command, Operation};
pub use failure::Failure;
pub use listener::{Listener, Options, serve_one};
pub use negotiate::classes;
pub(crate) use status::Status;
