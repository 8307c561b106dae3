//! The streaming graph: which hemorrhage does each series show, now?
//!
#![doc = concat!("```text\n", include_str!("../golden/hemorrhage.txt"), "```")]

use operators::prelude::*;
use operators::publish::{Fact, Publication};
use operators::record::{Change, Rejection, Tick};
use timely::dataflow::StreamVec;

use crate::stages::Stages;

/// What the graph gives.
pub struct Hemorrhage<'scope> {
    /// A result for each series and tick that changed it.
    pub publications: StreamVec<'scope, Tick, Publication>,
    /// The inputs that are refused; one is taken back when its instance is replaced or withdrawn.
    pub rejections: Collection<'scope, Rejection>,
}

/// Installs the graph in the scope of `changes`.
#[must_use]
pub fn hemorrhage<'scope>(changes: Collection<'scope, Change>, stages: &Stages) -> Hemorrhage<'scope> {
    let scope = changes.scope();
    let method = &stages.method;
    let refused = changes.clone().flat_map(Change::refusal);
    let completed = changes.clone().flat_map(Change::completion).map(|key| (key, Fact::Completed));

    let (slices, undecodable) = scope.region_named("Receive", |receive| {
        let slices = changes.enter_region(receive).instances(stages.pixels.clone());
        let (slices, undecodable) = slices.decode(stages.decode.clone());
        (slices.leave_region(scope), undecodable.leave_region(scope))
    });
    let calls = scope.region_named("Classify", |infer| {
        let encoded = slices.enter_region(infer).encode(method.clone(), stages.encode.clone());
        let plans = encoded.stack(method.clone());
        plans.classify(method.config.mask_gate, stages.classify.clone()).leave_region(scope)
    });
    let delineated = scope.region_named("Delineate", |delineate| {
        let fused = calls.enter_region(delineate).fuse(stages.fuse.clone());
        let refined = fused.refine(stages.refine.clone()).reconcile(stages.reconcile.clone());
        refined.segment(method.clone(), stages.segment.clone()).leave_region(scope)
    });
    let facts = delineated.map(|(key, call)| (key, Fact::Slice(Box::new(call)))).concat(completed);
    let publications = facts.publish(method.clone(), stages.shelves());
    Hemorrhage { publications, rejections: refused.concat(undecodable) }
}
