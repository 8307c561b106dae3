//! Tests of the program as a whole: one binary, so that the large dependencies are linked once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::as_conversions,
    reason = "a test fails by panicking and says on standard error what it skips"
)]

mod batch_law;
mod bench;
mod commands;
mod conformance;
mod cost;
mod dicom_tls;
mod dimse;
mod doctor;
mod durable;
mod export;
mod faults;
mod folders;
mod fuzz;
mod harness;
mod laws;
mod layers;
mod operations;
mod orthanc;
mod plugin;
mod privacy;
mod real_data;
mod retention;
mod scores;
mod selection;
mod serve;
mod stow;
mod support;
mod telemetry;
mod training;
