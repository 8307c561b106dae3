//! Records, DICOM in and out, models, and one dataflow operator per file.
//!
//! | operator | in | out | error | event |
//! |---|---|---|---|---|
//! | [`instances`] | changes | slices present | - | - |
//! | [`decode`] | slices | slices whose plane is there | [`Rejection`](record::Rejection) | `StageAsked` |
//! | [`read`] | slices, methods in use | slices by reading | - | - |
//! | [`encode`] | slices | slices whose encoding is there | - | `StageAsked` |
//! | [`stack`] | slices | plans: what each slice depends on | - | - |
//! | [`classify`] | plans | calls: plans with the classifier's decision | - | `StageAsked` |
//! | [`fuse`] | calls | calls whose fused maps are there | - | `StageAsked` |
//! | [`refine`] | calls | calls whose candidate masks are there | - | `StageAsked` |
//! | [`reconcile`] | calls | calls whose pseudo-mask is there | - | `StageAsked` |
//! | [`segment`] | calls | calls whose segmentation is there | - | `StageAsked` |
//! | [`publish`] | facts | a publication for each series and tick that changed it | - | - |
//!
//! The operators stand on the records of [`record`], the blocks of [`store`] and the events of [`event`]; only
//! [`plumbing`] handles capabilities and frontiers. Networks are in [`model`], how kernels' arrays become their
//! tensors in [`tensor`], what results are worth in [`score`].
#![cfg_attr(test, allow(clippy::as_conversions, reason = "tests compare small numbers"))]

pub mod brain;
pub mod classify;
pub mod codec;
pub mod completeness;
pub mod completion;
pub mod decode;
pub mod dicom;
pub mod encode;
pub mod event;
pub mod fuse;
pub mod geometry;
pub mod instances;
pub mod intake;
pub mod kmeans;
pub mod labels;
pub mod layout;
pub mod mask_volume;
pub mod measure;
pub mod model;
pub mod nifti;
pub mod observed;
pub mod outcome;
pub mod overlay;
pub mod phantom;
pub mod plumbing;
pub mod publish;
pub mod read;
pub mod reconcile;
pub mod record;
pub mod refine;
pub mod report;
#[cfg(test)]
mod sample;
pub mod score;
pub mod segment;
pub mod selection;
pub mod stack;
pub mod store;
pub mod tensor;
pub mod train;

/// What a graph needs to read as a table of contents.
pub mod prelude {
    pub use crate::classify::Classify;
    pub use crate::decode::Decode;
    pub use crate::encode::Encode;
    pub use crate::fuse::Fuse;
    pub use crate::instances::Instances;
    pub use crate::plumbing::Collection;
    pub use crate::publish::Publish;
    pub use crate::read::Read;
    pub use crate::reconcile::Reconcile;
    pub use crate::refine::Refine;
    pub use crate::segment::Segment;
    pub use crate::stack::Stack;
}
