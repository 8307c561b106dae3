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
//! | [`node`], [`data`] | a graph with its model, and the folder of what must not be lost |
//! | [`inbox`], [`ingest`] | what is acknowledged, and how it comes to the node |
//! | [`retention`], [`files`] | what a node forgets, and how files leave |
//! | [`dimse`], [`http`], [`folders`] | the ways in: DICOM, STOW-RS, watched folders |
//! | [`cohort`], [`training`] | the cases of a data set, and a model out of them |
//! | [`result_tree`], [`results`] | results as files, and the thread that writes them |
//! | [`serve`], [`config`] | a node with its listeners, and what it needs to know |
//! | [`doctor`] | what is wrong with a node, and the mend |
//! | [`reach`], [`tls`] | connections to others, and what keeps them secret |
//! | [`arguments`], [`command`], [`console`], [`progress`] | the program |

pub mod arguments;
mod book;
pub mod cohort;
pub mod collector;
pub mod command;
pub mod config;
mod connections;
pub mod console;
pub mod data;
pub mod dimse;
pub mod doctor;
pub mod engine;
pub mod files;
pub mod folders;
pub mod http;
pub mod inbox;
pub mod ingest;
pub mod node;
pub mod progress;
pub mod reach;
mod residents;
pub mod result_tree;
pub mod results;
pub mod retention;
pub mod serve;
pub mod tls;
pub mod training;

pub use {graphs, kernels, operators};
