//! Hemoflow: head-CT slices, as they leave the scanner, to hemorrhage probabilities, pseudo-masks and segmentations.
//!
//! The library is three crates, re-exported here; the program stands on top of them.
//!
//! | | holds |
//! |---|---|
//! | [`kernels`] | arrays in, arrays out, and the device that they run on |
//! | [`operators`] | records, DICOM in and out, models, one dataflow operator per file |
//! | [`graphs`] | named assemblies of operators |
//! | [`engine`], [`collector`] | a graph in motion: workers, the way in and the way out |
//! | [`node`], [`data`] | a graph with its model and the folder that forgets nothing |
//! | [`cohort`], [`training`] | the cases of a data set, and a model out of them |
//! | [`result_tree`] | results as files |
//! | [`arguments`], [`command`], [`console`], [`http`] | the program |

pub mod arguments;
pub mod cohort;
pub mod collector;
pub mod command;
pub mod console;
pub mod data;
pub mod engine;
pub mod http;
pub mod node;
mod residents;
pub mod result_tree;
pub mod training;

pub use {graphs, kernels, operators};
