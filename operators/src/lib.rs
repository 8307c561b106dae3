//! Records, DICOM in and out, models, and one dataflow operator per file.
//!
//! | operator | in | out | error | event |
//! |---|---|---|---|---|
#![cfg_attr(test, allow(clippy::as_conversions, reason = "tests compare small numbers"))]

pub mod completeness;
pub mod dicom;
pub mod event;
pub mod labels;
pub mod mask_volume;
pub mod overlay;
pub mod phantom;
pub mod plumbing;
pub mod record;
pub mod refine;
pub mod score;
pub mod store;
