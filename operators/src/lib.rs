//! Records, DICOM in and out, models, and one dataflow operator per file.
//!
//! | operator | in | out | error | event |
//! |---|---|---|---|---|
#![cfg_attr(test, allow(clippy::as_conversions, reason = "tests compare small numbers"))]

pub mod record;
