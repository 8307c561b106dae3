//! The streaming graph: which hemorrhage does each series show, now?
//!
#![doc = concat!("```text\n", include_str!("../golden/hemorrhage.txt"), "```")]
//!
//! [`install`] is its five parts one after the other, and nothing more: who wants an operator of their own in between calls
//! the parts, and puts it where it belongs. `docs/adding-an-operator.md` walks through that.

use operators::classify::Call;
use operators::prelude::*;
use operators::publish::{Fact, Publication};
use operators::record::{Change, Reading, Rejection, SeriesKey, Slice, Tick, Use};
use timely::dataflow::StreamVec;

use crate::stages::Stages;

/// What the graph gives.
pub struct Hemorrhage<'scope> {
    /// A result for each series, role and tick that changed it.
    pub publications: StreamVec<'scope, Tick, Publication>,
    /// The inputs that are refused; one is taken back when its instance is replaced or withdrawn.
    pub rejections: Collection<'scope, Rejection>,
}

/// What is there to be read.
pub struct Received<'scope> {
    /// The slices present that decode.
    pub slices: Collection<'scope, (SeriesKey, Slice)>,
    /// The inputs that are refused, at the door or by the decoder.
    pub rejections: Collection<'scope, Rejection>,
}

/// What each method in use says of each slice. What a call names stands on the shelves of the parts that it came through.
pub type Calls<'scope> = Collection<'scope, (Reading, Call)>;

/// Installs the graph in the scope of its inputs: what is present, and the methods that read it.
#[must_use]
pub fn install<'scope>(
    changes: Collection<'scope, Change>,
    uses: Collection<'scope, Use>,
    stages: &Stages,
) -> Hemorrhage<'scope> {
    let Received { slices, rejections } = receive(changes.clone(), stages);
    let calls = classify(slices, uses, stages);
    let delineated = delineate(calls, stages);
    let segmented = segment(delineated, stages);
    let publications = publish(segmented, changes, stages);
    Hemorrhage { publications, rejections }
}

/// From changes to planes: which slices are present, and what they hold.
#[must_use]
pub fn receive<'scope>(changes: Collection<'scope, Change>, stages: &Stages) -> Received<'scope> {
    let scope = changes.scope();
    let refused = changes.clone().flat_map(Change::refusal);
    let (slices, undecodable) = scope.region_named("Receive", |receive| {
        let slices = changes.enter_region(receive).instances(stages.pixels.clone());
        let (slices, undecodable) = slices.decode(stages.decode.clone());
        (slices.leave_region(scope), undecodable.leave_region(scope))
    });
    Received { slices, rejections: refused.concat(undecodable) }
}

/// From planes to probabilities: which slices are positive in the context of their neighbors.
#[must_use]
pub fn classify<'scope>(
    slices: Collection<'scope, (SeriesKey, Slice)>,
    uses: Collection<'scope, Use>,
    stages: &Stages,
) -> Calls<'scope> {
    let (scope, methods) = (slices.scope(), stages.methods());
    scope.region_named("Classify", |infer| {
        let read = slices.enter_region(infer).read(uses.enter_region(infer));
        let encoded = read.encode(methods.clone(), stages.encode.clone());
        let plans = encoded.stack(methods.clone());
        plans.classify(methods.clone(), stages.classify.clone()).leave_region(scope)
    })
}

/// From activation maps to pseudo-masks, of the slices whose call is positive.
#[must_use]
pub fn delineate<'scope>(calls: Calls<'scope>, stages: &Stages) -> Calls<'scope> {
    let scope = calls.scope();
    scope.region_named("Delineate", |delineate| {
        let fused = calls.enter_region(delineate).fuse(stages.fuse.clone());
        let refined = fused.refine(stages.refine.clone());
        refined.reconcile(stages.reconcile.clone()).leave_region(scope)
    })
}

/// The segmenter's masks, of the slices whose call is positive.
#[must_use]
pub fn segment<'scope>(calls: Calls<'scope>, stages: &Stages) -> Calls<'scope> {
    calls.segment(stages.segment.clone())
}

/// From calls, and what `changes` say by themselves, to results. A slice whose call is not positive has no masks in them,
/// whether or not they were made.
#[must_use]
pub fn publish<'scope>(
    calls: Calls<'scope>,
    changes: Collection<'scope, Change>,
    stages: &Stages,
) -> StreamVec<'scope, Tick, Publication> {
    let said = changes.flat_map(Fact::of);
    calls.flat_map(Fact::seen).concat(said).publish(stages.methods().clone(), stages.shelves())
}
