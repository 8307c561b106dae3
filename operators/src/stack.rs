//! Stacking: for each slice of a series, in z order, the slices that its result depends on.
//!
//! In: `(reading, slice)`. Out: `(reading, plan)`, one for each slice. A [`Plan`] names what must be computed for its slice,
//! out of which other slices; it changes only when one of those does, so that the differences of this collection are the
//! work that an update costs. Only the plans near a change are made anew, however long the series.
//!
//! Source of windows and runs: slices within the context radius, in a run without a gap; see `docs/architecture.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use differential_dataflow::{AsCollection, Hashable};
use serde::{Deserialize, Serialize};

use crate::geometry;
use crate::model::windows;
use crate::plumbing::{self, Collection};
use crate::record::{Digest, Method, Methods, Reading, Slice};

/// What the result of one slice depends on, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// The slice.
    pub slice: Slice,
    /// The windows of the sequence head that contain it, from the lowest.
    pub context: Vec<Context>,
    /// Its neighborhood, and those of its next neighbors below and above in the run.
    pub neighborhoods: [Option<Arc<Neighborhood>>; 3],
}

/// A window of the sequence head.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Context {
    /// Names the window's logits.
    pub name: Digest,
    /// Names of the encodings of its slices, in z order.
    pub encodings: Arc<[Digest]>,
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
    let contexts: Vec<(Range<usize>, Digest, Arc<[Digest]>)> =
        windows::windows(slices.len(), method.config.context_radius)
            .into_iter()
            .map(|window| {
                let name = Digest::builder("window").digest(&method.model);
                let name = encodings[window.clone()].iter().fold(name, |name, encoding| name.digest(encoding));
                (window.clone(), name.finish(), encodings[window].into())
            })
            .collect();
    let reach = method.config.fuse_reach;
    let neighborhoods: Vec<Arc<Neighborhood>> = (0..slices.len())
        .map(|center| {
            let near = center.saturating_sub(reach)..(center + reach + 1).min(slices.len());
            Arc::new(neighborhood(&slices[near.clone()], &encodings[near.clone()], center - near.start, method))
        })
        .collect();
    let context_of = |position: usize| {
        // Windows are sorted by their starts and their ends, so those that hold a slice stand together.
        let first = contexts.partition_point(|(window, ..)| window.end <= position);
        let holding = contexts[first..].iter().take_while(move |(window, ..)| window.start <= position);
        holding.map(move |(window, name, encodings)| Context {
            name: *name,
            encodings: Arc::clone(encodings),
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

/// A slice of a series, as it was before a tick and is after it.
#[derive(Clone, Debug)]
struct Entry {
    slice: Slice,
    was: bool,
    count: isize,
}

/// The slices of a reading, in z order.
#[derive(Clone, Debug, Default)]
struct Stacked(Vec<Entry>);

impl Stacked {
    /// Applies the updates of a tick and gives the plans that go, -1, and those that come, 1.
    fn apply(&mut self, updates: Vec<(Slice, isize)>, method: &Method) -> Vec<(Plan, isize)> {
        let mut net: BTreeMap<Slice, isize> = BTreeMap::new();
        for (slice, diff) in updates {
            *net.entry(slice).or_default() += diff;
        }
        let mut new = Vec::new();
        for (slice, diff) in &net {
            match self.0.binary_search_by(|entry| entry.slice.cmp(slice)) {
                Ok(at) => self.0[at].count += diff,
                Err(_) => new.push(Entry { slice: slice.clone(), was: false, count: *diff }),
            }
        }
        if !new.is_empty() {
            self.0.append(&mut new);
            self.0.sort_by(|a, b| a.slice.cmp(&b.slice));
        }
        let reach = method.config.context_radius.max(method.config.fuse_reach + 1);
        let mut diffs = Vec::new();
        for near in self.near(net.keys(), reach) {
            let plans = |present: fn(&Entry) -> bool| -> BTreeSet<Plan> {
                let part = self.down(near.start, reach)..self.up(near.end, reach);
                let slices = self.0[part].iter().filter(|entry| present(entry)).map(|entry| entry.slice.clone());
                let (first, last) = (&self.0[near.start].slice, &self.0[near.end - 1].slice);
                let plans = plans(slices.collect(), method).into_iter();
                plans.filter(|plan| (first..=last).contains(&&plan.slice)).collect()
            };
            let (before, after) = (plans(|entry| entry.was), plans(|entry| entry.count > 0));
            diffs.extend(before.difference(&after).map(|plan| (plan.clone(), -1)));
            diffs.extend(after.difference(&before).map(|plan| (plan.clone(), 1)));
        }
        self.0.retain_mut(|entry| {
            entry.was = entry.count > 0;
            entry.count != 0
        });
        diffs
    }

    /// Where plans may have changed: what lies within `reach` slices of a change, before or after it. A plan depends on
    /// nothing further away; neither does where its run ends.
    fn near<'a>(&self, changed: impl Iterator<Item = &'a Slice>, reach: usize) -> Vec<Range<usize>> {
        let mut parts: Vec<Range<usize>> = Vec::new();
        for slice in changed {
            let Ok(at) = self.0.binary_search_by(|entry| entry.slice.cmp(slice)) else { continue };
            let near = self.down(at, reach)..self.up(at + 1, reach);
            match parts.last_mut() {
                Some(part) if near.start <= part.end => part.end = part.end.max(near.end),
                _ => parts.push(near),
            }
        }
        parts
    }

    /// Where the `reach` slices below a place begin, both of those that were and of those that are.
    fn down(&self, mut at: usize, reach: usize) -> usize {
        let (mut were, mut are) = (0, 0);
        while at > 0 && (were < reach || are < reach) {
            at -= 1;
            were += usize::from(self.0[at].was);
            are += usize::from(self.0[at].count > 0);
        }
        at
    }

    /// Where those above it end.
    fn up(&self, mut at: usize, reach: usize) -> usize {
        let (mut were, mut are) = (0, 0);
        while at < self.0.len() && (were < reach || are < reach) {
            were += usize::from(self.0[at].was);
            are += usize::from(self.0[at].count > 0);
            at += 1;
        }
        at
    }
}

/// Extension trait for collections of slices with their readings.
pub trait Stack<'scope> {
    /// Maintains one plan for each slice. A change of a slice changes its own plan and those within the context radius.
    /// Brings slices to the worker of their series and holds those that are present.
    fn stack(self, methods: Methods) -> Collection<'scope, (Reading, Plan)>;
}

impl<'scope> Stack<'scope> for Collection<'scope, (Reading, Slice)> {
    fn stack(self, methods: Methods) -> Collection<'scope, (Reading, Plan)> {
        let mut known: BTreeMap<Reading, Stacked> = BTreeMap::new();
        let route = |(reading, _): &(Reading, Slice)| reading.series.hashed();
        plumbing::settle(self, "Stack", route, move |tick, updates| {
            let mut by_reading: BTreeMap<Reading, Vec<(Slice, isize)>> = BTreeMap::new();
            for ((reading, slice), diff) in updates {
                by_reading.entry(reading).or_default().push((slice, diff));
            }
            let mut changed = Vec::new();
            for (reading, updates) in by_reading {
                // Methods are added before they are named, and stay.
                let Some(method) = methods.get(&reading.by.method) else { continue };
                let stacked = known.entry(reading.clone()).or_default();
                let plans = stacked.apply(updates, &method).into_iter();
                changed.extend(plans.map(|(plan, diff)| ((reading.clone(), plan), tick, diff)));
                if stacked.0.is_empty() {
                    known.remove(&reading);
                }
            }
            changed
        })
        .as_collection()
    }
}

#[cfg(test)]
mod tests {
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

        #[test]
        fn what_is_maintained_is_what_a_plan_from_scratch_says(
            ticks in prop::collection::vec(prop::collection::vec((0..24, 0..3_u8), 1..6), 1..12),
        ) {
            // Wide steps, pixels of another size, and the same place twice: runs end and join.
            let drawn = |(place, form): (i32, u8)| {
                let mut slice = slice(place * if place > 15 { 3 } else { 1 });
                if form == 1 {
                    slice.geometry.spacing_nm = [600_000; 2];
                } else if form == 2 {
                    slice = Slice { digest: Digest::of(b"again"), ..slice };
                }
                slice
            };
            let (mut present, mut stacked, mut shown) = (BTreeSet::new(), Stacked::default(), BTreeSet::new());
            for tick in ticks {
                let mut updates = Vec::new();
                for change in tick {
                    let slice = drawn(change);
                    let came = present.insert(slice.clone());
                    if !came {
                        present.remove(&slice);
                    }
                    updates.push((slice, if came { 1 } else { -1 }));
                }
                for (plan, diff) in stacked.apply(updates, &method()) {
                    prop_assert!(if diff > 0 { shown.insert(plan) } else { shown.remove(&plan) }, "a diff of nothing");
                }
                let scratch: BTreeSet<Plan> = plans(present.iter().cloned().collect(), &method()).into_iter().collect();
                prop_assert!(shown == scratch, "{} plans for {}", shown.len(), scratch.len());
            }
            prop_assert_eq!(stacked.0.len(), present.len());
        }
    }
}
