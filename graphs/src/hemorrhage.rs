//! The streaming graph: which hemorrhage does each series show, now?
//!
#![doc = concat!("```text\n", include_str!("../golden/hemorrhage.txt"), "```")]

use operators::prelude::*;
use operators::publish::{Fact, Publication};
use operators::record::{Change, Rejection, Tick, Use};
use timely::dataflow::StreamVec;

use crate::stages::Stages;

/// What the graph gives.
pub struct Hemorrhage<'scope> {
    /// A result for each series, role and tick that changed it.
    pub publications: StreamVec<'scope, Tick, Publication>,
    /// The inputs that are refused; one is taken back when its instance is replaced or withdrawn.
    pub rejections: Collection<'scope, Rejection>,
}

/// Installs the graph in the scope of its inputs: what is present, and the methods that read it.
#[must_use]
pub fn install<'scope>(
    changes: Collection<'scope, Change>,
    uses: Collection<'scope, Use>,
    stages: &Stages,
) -> Hemorrhage<'scope> {
    let scope = changes.scope();
    let methods = stages.methods();
    let refused = changes.clone().flat_map(Change::refusal);
    let said = changes.clone().flat_map(Fact::of);

    let (slices, undecodable) = scope.region_named("Receive", |receive| {
        let slices = changes.enter_region(receive).instances(stages.pixels.clone());
        let (slices, undecodable) = slices.decode(stages.decode.clone());
        (slices.leave_region(scope), undecodable.leave_region(scope))
    });
    let calls = scope.region_named("Classify", |infer| {
        let read = slices.enter_region(infer).read(uses.enter_region(infer));
        let encoded = read.encode(methods.clone(), stages.encode.clone());
        let plans = encoded.stack(methods.clone());
        plans.classify(methods.clone(), stages.classify.clone()).leave_region(scope)
    });
    let delineated = scope.region_named("Delineate", |delineate| {
        let fused = calls.enter_region(delineate).fuse(stages.fuse.clone());
        let refined = fused.refine(stages.refine.clone()).reconcile(stages.reconcile.clone());
        refined.segment(stages.segment.clone()).leave_region(scope)
    });
    let publications = delineated.flat_map(Fact::seen).concat(said).publish(methods.clone(), stages.shelves());
    Hemorrhage { publications, rejections: refused.concat(undecodable) }
}
