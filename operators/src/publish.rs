//! Publication: the result of a series, whole, at each tick that changed it.
//!
//! In: `(series, fact)`: a slice whose blocks are on the shelves, or that the series is complete. Out: a [`Publication`]
//! for each series and tick at which its facts changed, once no further change of that tick can come. Completeness is a
//! status on it, never a gate before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::Hashable;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::classify::{self, Call};
use crate::completeness::Status;
use crate::decode::Decoded;
use crate::dicom::{Header, Pixels};
use crate::encode::Encoding;
use crate::plumbing::{self, Collection, Task};
use crate::reconcile::ReconcileTask;
use crate::record::{Digest, Mask, Method, Plane, SeriesKey, Slice, Tick};
use crate::segment::SegmentTask;
use crate::store::Shelf;

/// What is known of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fact {
    /// The classifier's decision on a slice that is present.
    Slice(Box<Call>),
    /// The sender says that all instances were sent.
    Completed,
}

/// A version of the result of a series.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The series.
    pub key: SeriesKey,
    /// Counts the results of this series from 1.
    pub version: u64,
    /// The tick that the result is true at.
    pub tick: Tick,
    /// Preliminary until the series is complete; withdrawn when no slice is left.
    pub status: Status,
    /// The slices present, in z order.
    pub slices: Vec<PublishedSlice>,
}

/// The result of a slice.
#[derive(Clone, Debug)]
pub struct PublishedSlice {
    /// The slice.
    pub slice: Slice,
    /// The probability of hemorrhage in the context of its neighbors.
    pub probability: f32,
    /// The probability from this slice alone.
    pub single_probability: f32,
    /// The pixels.
    pub plane: Arc<Plane>,
    /// What result objects inherit; `None` if the input was no DICOM.
    pub header: Option<Arc<Header>>,
    /// The refined activation map, if the slice passes the gate.
    pub pseudo_mask: Option<Arc<Mask>>,
    /// The segmenter's answer, if the slice passes the gate.
    pub mask: Option<Arc<Mask>>,
}

/// Where the blocks stand that a publication is made of.
#[derive(Clone)]
pub struct Shelves {
    /// What was received, by slice digest.
    pub pixels: Shelf<Pixels>,
    /// Planes by slice digest.
    pub planes: Shelf<Decoded>,
    /// Encodings by name.
    pub encodings: Shelf<Encoding>,
    /// Logits by window.
    pub logits: Shelf<Vec<f32>>,
    /// Pseudo-masks by name.
    pub pseudo_masks: Shelf<Mask>,
    /// Segmenter's masks by name.
    pub masks: Shelf<Mask>,
}

impl Shelves {
    fn slice(&self, call: &Call, method: &Method) -> Option<PublishedSlice> {
        let slice = call.plan.slice.clone();
        let [_, own, _] = &call.plan.neighborhoods;
        let encoding = self.encodings.get(own.as_ref()?.encoding()?)?;
        let pseudo_mask = ReconcileTask::of(call).and_then(|task| self.pseudo_masks.get(&task.name()));
        let mask = SegmentTask::of(call, method).and_then(|task| self.masks.get(&task.name()));
        Some(PublishedSlice {
            probability: classify::probability(&call.plan, &self.logits)?,
            single_probability: encoding.probability,
            plane: self.planes.get(&slice.digest)?.as_ref().as_ref().ok().cloned()?,
            header: self.pixels.get(&slice.digest)?.header.clone(),
            pseudo_mask,
            mask,
            slice,
        })
    }
}

#[derive(Default)]
struct Series {
    version: u64,
    completed: isize,
    calls: BTreeMap<Call, isize>,
}

impl Series {
    /// Applies updates and says whether they changed anything.
    fn apply(&mut self, updates: Vec<(Fact, isize)>) -> bool {
        let mut net: BTreeMap<Fact, isize> = BTreeMap::new();
        for (fact, diff) in updates {
            *net.entry(fact).or_default() += diff;
        }
        net.retain(|_, diff| *diff != 0);
        let before = self.completed > 0;
        let mut changed = false;
        for (fact, diff) in net {
            match fact {
                Fact::Completed => self.completed += diff,
                Fact::Slice(call) => {
                    changed = true;
                    let count = self.calls.entry(*call).or_default();
                    *count += diff;
                }
            }
        }
        self.calls.retain(|_, count| *count > 0);
        changed || before != (self.completed > 0)
    }

    fn status(&self) -> Status {
        match (self.calls.is_empty(), self.completed > 0) {
            (true, _) => Status::Withdrawn,
            (false, true) => Status::Final,
            (false, false) => Status::Preliminary,
        }
    }
}

/// The digest of what a result is made from: its slices, in z order.
#[must_use]
pub fn inputs<'a>(slices: impl Iterator<Item = &'a Slice>) -> Digest {
    slices.fold(Digest::builder("inputs"), |inputs, slice| inputs.digest(&slice.digest)).finish()
}

/// Extension trait for collections of facts.
pub trait Publish<'scope> {
    /// Emits a publication for each series and tick that changed it. Brings facts to the worker of their series and holds
    /// the current facts of each.
    fn publish(self, method: Method, shelves: Shelves) -> StreamVec<'scope, Tick, Publication>;
}

impl<'scope> Publish<'scope> for Collection<'scope, (SeriesKey, Fact)> {
    fn publish(self, method: Method, shelves: Shelves) -> StreamVec<'scope, Tick, Publication> {
        let mut known: BTreeMap<SeriesKey, Series> = BTreeMap::new();
        plumbing::settle(
            self,
            "Publish",
            |(key, _)| key.hashed(),
            move |tick, updates| {
                let mut by_series: BTreeMap<SeriesKey, Vec<(Fact, isize)>> = BTreeMap::new();
                for ((key, fact), diff) in updates {
                    by_series.entry(key).or_default().push((fact, diff));
                }
                let mut publications = Vec::new();
                for (key, updates) in by_series {
                    let series = known.entry(key.clone()).or_default();
                    if !series.apply(updates) || (series.version == 0 && series.calls.is_empty()) {
                        continue;
                    }
                    series.version += 1;
                    let mut slices: Vec<PublishedSlice> =
                        series.calls.keys().filter_map(|call| shelves.slice(call, &method)).collect();
                    slices.sort_by(|a, b| a.slice.cmp(&b.slice));
                    debug_assert_eq!(
                        slices.iter().map(|slice| &slice.slice).collect::<BTreeSet<_>>().len(),
                        series.calls.len(),
                        "every block that a published call names is on its shelf"
                    );
                    let (version, status) = (series.version, series.status());
                    publications.push(Publication { key, version, tick, status, slices });
                }
                publications
            },
        )
    }
}
