//! What the tests share.

#[path = "../../support/association.rs"]
pub(crate) mod association;
#[path = "../../support/slices.rs"]
pub(crate) mod slices;
