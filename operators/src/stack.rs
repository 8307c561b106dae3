//! Stacking: for each slice of a series, in z order, the slices that its result depends on.
//!
//! In: `(reading, slice)`. Out: `(reading, plan)`, one for each slice. A [`Plan`] names what must be computed for its slice,
//! out of which other slices; it changes only when one of those does, so that the differences of this collection are the
//! work that an update costs.
//!
//! Source of windows and runs: slices within the context radius, in a run without a gap; see `docs/architecture.md`.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::geometry;
use crate::model::windows;
use crate::plumbing::Collection;
use crate::record::{Digest, Method, Methods, Reading, Slice};

/// What the result of one slice depends on, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// The slice.
    pub slice: Slice,
    /// The windows of the sequence head that contain it, from the lowest.
    pub context: Vec<Context>,
    /// Its neighborhood, and those of its next neighbors below and above in the run.
    pub neighborhoods: [Option<Neighborhood>; 3],
}

/// A window of the sequence head.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Context {
    /// Names the window's logits.
    pub name: Digest,
    /// Names of the encodings of its slices, in z order.
    pub encodings: Vec<Digest>,
    /// Which of them is the plan's slice.
    pub position: usize,
}

/// The slices whose activation maps are fused for one slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Neighborhood {
    /// The method that fuses and refines.
    pub method: Digest,
    /// Names the fused map.
    pub name: Digest,
    /// The slices, in z order.
    pub slices: Vec<Slice>,
    /// Names of their encodings.
    pub encodings: Vec<Digest>,
    /// Which of them the map is for.
    pub target: usize,
}

impl Neighborhood {
    /// The slice that the map is for.
    #[must_use]
    pub fn slice(&self) -> Option<&Slice> {
        self.slices.get(self.target)
    }

    /// The name of the target's encoding.
    #[must_use]
    pub fn encoding(&self) -> Option<&Digest> {
        self.encodings.get(self.target)
    }
}

/// The name of the encoding of a slice.
#[must_use]
pub fn encoding_name(method: &Method, slice: &Slice) -> Digest {
    Digest::builder("encoding").digest(&method.model).digest(&slice.digest).finish()
}

/// The plans of a series, in z order.
#[must_use]
pub fn plans(mut slices: Vec<Slice>, method: &Method) -> Vec<Plan> {
    slices.sort_unstable();
    let encodings: Vec<Digest> = slices.iter().map(|slice| encoding_name(method, slice)).collect();
    let runs = geometry::runs(&slices, method.config.max_gap_mm);
    runs.into_iter().flat_map(|run| run_plans(&slices[run.clone()], &encodings[run], method)).collect()
}

fn run_plans(slices: &[Slice], encodings: &[Digest], method: &Method) -> Vec<Plan> {
    let contexts: Vec<(Range<usize>, Digest)> = windows::windows(slices.len(), method.config.context_radius)
        .into_iter()
        .map(|window| {
            let name = Digest::builder("window").digest(&method.model);
            let name = encodings[window.clone()].iter().fold(name, |name, encoding| name.digest(encoding));
            (window, name.finish())
        })
        .collect();
    let reach = method.config.fuse_reach;
    let neighborhoods: Vec<Neighborhood> = (0..slices.len())
        .map(|center| {
            let near = center.saturating_sub(reach)..(center + reach + 1).min(slices.len());
            neighborhood(&slices[near.clone()], &encodings[near.clone()], center - near.start, method)
        })
        .collect();
    let context_of = |position: usize| {
        let holding = contexts.iter().filter(move |(window, _)| window.contains(&position));
        holding.map(move |(window, name)| Context {
            name: *name,
            encodings: encodings[window.clone()].to_vec(),
            position: position - window.start,
        })
    };
    let plan = |(position, slice): (usize, &Slice)| Plan {
        slice: slice.clone(),
        context: context_of(position).collect(),
        neighborhoods: [
            position.checked_sub(1).and_then(|below| neighborhoods.get(below).cloned()),
            neighborhoods.get(position).cloned(),
            neighborhoods.get(position + 1).cloned(),
        ],
    };
    slices.iter().enumerate().map(plan).collect()
}

fn neighborhood(slices: &[Slice], encodings: &[Digest], target: usize, method: &Method) -> Neighborhood {
    let name = Digest::builder("fused").digest(&method.digest);
    let name = slices.iter().zip(encodings).fold(name, |name, (slice, encoding)| {
        let position = slice.geometry.position_um;
        position.iter().fold(name.digest(encoding).number(slice.along_um), |name, um| name.number(*um))
    });
    let name = name.number(i64::try_from(target).unwrap_or(i64::MAX)).finish();
    Neighborhood { method: method.digest, name, slices: slices.to_vec(), encodings: encodings.to_vec(), target }
}

/// Extension trait for collections of slices with their readings.
pub trait Stack<'scope> {
    /// Maintains one plan for each slice. A change of a slice changes its own plan and those within the context radius.
    fn stack(self, methods: Methods) -> Collection<'scope, (Reading, Plan)>;
}

impl<'scope> Stack<'scope> for Collection<'scope, (Reading, Slice)> {
    fn stack(self, methods: Methods) -> Collection<'scope, (Reading, Plan)> {
        self.reduce_named("Stack", move |reading, slices, results| {
            let Some(method) = methods.get(&reading.by.method) else { return };
            let present = slices.iter().filter(|(_, count)| *count > 0).map(|(slice, _)| (*slice).clone()).collect();
            results.extend(plans(present, &method).into_iter().map(|plan| (plan, 1)));
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::record::{Geometry, InstanceUid, MethodConfig, ModelName};

    fn method() -> Method {
        let name = ModelName { name: "test".into(), version: "0".into(), sha256: String::new() };
        Method::new(Digest::of(b"weights"), name, MethodConfig::default()).expect("plain numbers")
    }

    fn slice(position: i32) -> Slice {
        let position_mm = [-120.0, -120.0, f64::from(position) * 5.0];
        let plane = Geometry::new(position_mm, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.45; 2], [512, 512], Some(5.0));
        let uid = InstanceUid::new(&format!("1.2.{position}")).expect("a UID");
        Slice::new(uid, 1, Digest::of(&position.to_le_bytes()), plane.expect("an axial plane"))
    }

    fn stacked(positions: &BTreeSet<i32>) -> Vec<Plan> {
        plans(positions.iter().rev().map(|position| slice(*position)).collect(), &method())
    }

    #[test]
    fn an_empty_series_has_no_plan_and_a_single_slice_stands_alone() {
        assert!(stacked(&BTreeSet::new()).is_empty());
        let [plan] = &stacked(&BTreeSet::from([3]))[..] else { panic!("one slice, one plan") };
        assert_eq!(plan.context.len(), 1);
        assert!(matches!(plan.neighborhoods, [None, Some(_), None]));
    }

    #[test]
    fn nothing_reaches_across_a_gap() {
        let plans = stacked(&BTreeSet::from([0, 1, 2, 5, 6]));
        let below = plans.iter().find(|plan| plan.slice == slice(2)).expect("slice 2");
        assert!(below.neighborhoods[2].is_none());
        assert!(below.context.iter().all(|context| context.encodings.len() == 3));
    }

    proptest! {
        #[test]
        fn a_change_is_felt_within_the_context_radius_only(
            present in prop::collection::btree_set(0..60, 1..40), changed in 0..60,
        ) {
            let radius = method().config.context_radius;
            let mut other = present.clone();
            if !other.remove(&changed) {
                other.insert(changed);
            }
            let before: BTreeSet<Plan> = stacked(&present).into_iter().collect();
            let after: BTreeSet<Plan> = stacked(&other).into_iter().collect();
            let everyone: BTreeSet<i32> = present.union(&other).copied().collect();
            let rank = |position: i32| everyone.range(..position).count();
            for plan in before.symmetric_difference(&after) {
                let position = i32::try_from(plan.slice.along_um / 5000).expect("a small number");
                prop_assert!(rank(position).abs_diff(rank(changed)) <= radius, "slice {position} felt {changed}");
            }
        }
    }
}
