//! Records, DICOM in and out, models, and one dataflow operator per file.
//!
//! | operator | in | out | error | event |
//! |---|---|---|---|---|
#![cfg_attr(test, allow(clippy::as_conversions, reason = "tests compare small numbers"))]

pub mod brain;
pub mod completeness;
pub mod dicom;
pub mod event;
pub mod geometry;
pub mod kmeans;
pub mod measure;
pub mod plumbing;
pub mod record;
pub mod refine;
#[cfg(test)]
mod sample;
pub mod store;
