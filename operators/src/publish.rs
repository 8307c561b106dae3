//! Publication: the result of a series, whole, at each tick that changed it.
//!
//! In: `(series, fact)`: a slice whose blocks are on the shelves, a sign that the series is complete, or that it is let go.
//! Out: a [`Publication`] for each series, role and tick at which its facts changed, once no further change of that tick
//! can come. Completeness is a status on it, never a gate before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use differential_dataflow::Hashable;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;

use crate::classify::{self, Call};
use crate::completeness::{self, Completeness, Status};
use crate::decode::Decoded;
use crate::dicom::{Header, Pixels};
use crate::encode::Encoding;
use crate::plumbing::{self, Collection, Task};
use crate::reconcile::ReconcileTask;
use crate::record::{Change, Digest, Mask, Method, Methods, Plane, Role, SeriesKey, Sign, Slice, Tick, Use};
use crate::segment::SegmentTask;
use crate::store::Shelf;

/// What is known of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fact {
    /// A method's decision on a slice that is present.
    Slice(Use, Box<Call>),
    /// Something says that all instances were sent.
    Sign(Sign),
    /// The series is let go: what goes at this tick was not withdrawn.
    Released,
}

impl Fact {
    /// The fact that a change states by itself.
    #[must_use]
    pub fn of(change: Change) -> Option<(SeriesKey, Self)> {
        match change {
            Change::Signed { key, sign } => Some((key, Self::Sign(sign))),
            Change::Released { key } => Some((key, Self::Released)),
            Change::Arrived { .. } | Change::Withdrawn { .. } | Change::Refused(_) => None,
        }
    }
}

/// A version of the result of a series.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The series.
    pub key: SeriesKey,
    /// Whether it is the result, or stands beside it.
    pub role: Role,
    /// What made it.
    pub method: Arc<Method>,
    /// Counts the results of this series and role from 1.
    pub version: u64,
    /// The tick that the result is true at.
    pub tick: Tick,
    /// Preliminary until the series is complete; withdrawn when no slice is left.
    pub status: Status,
    /// What is known of missing slices and of odd geometry.
    pub completeness: Completeness,
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
    fn slice(&self, call: &Call, method: &Digest) -> Option<PublishedSlice> {
        let slice = call.plan.slice.clone();
        let [_, own, _] = &call.plan.neighborhoods;
        let encoding = self.encodings.get(own.as_ref()?.encoding()?)?;
        let pseudo_mask = ReconcileTask::of(call).and_then(|task| self.pseudo_masks.get(&task.name()));
        let mask = SegmentTask::of(call, *method).and_then(|task| self.masks.get(&task.name()));
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

/// What one series knows. A series that was let go keeps its signs and versions, so that it can come back.
#[derive(Default)]
struct Series {
    signs: BTreeMap<Sign, isize>,
    readings: BTreeMap<Role, Current>,
}

/// The calls of one reading, and how many results they have made.
#[derive(Default)]
struct Current {
    version: u64,
    method: Option<Digest>,
    calls: BTreeMap<Call, isize>,
}

impl Series {
    /// Applies updates and gives the roles whose results they change.
    fn apply(&mut self, updates: Vec<(Fact, isize)>) -> BTreeSet<Role> {
        let mut net: BTreeMap<Fact, isize> = BTreeMap::new();
        for (fact, diff) in updates {
            *net.entry(fact).or_default() += diff;
        }
        net.retain(|_, diff| *diff != 0);
        let (mut touched, mut signed, mut released) = (BTreeSet::new(), false, false);
        for (fact, diff) in net {
            match fact {
                Fact::Sign(sign) => {
                    let count = self.signs.entry(sign).or_default();
                    signed |= (*count > 0) != (*count + diff > 0);
                    *count += diff;
                }
                Fact::Released => released |= diff > 0,
                Fact::Slice(by, call) => {
                    let current = self.readings.entry(by.role).or_default();
                    if diff > 0 {
                        current.method = Some(by.method);
                    }
                    *current.calls.entry(*call).or_default() += diff;
                    touched.insert(by.role);
                }
            }
        }
        for current in self.readings.values_mut() {
            current.calls.retain(|_, count| *count > 0);
        }
        if signed {
            // A sign says nothing of a series that has no slice.
            touched
                .extend(self.readings.iter().filter(|(_, current)| !current.calls.is_empty()).map(|(role, _)| *role));
        }
        // What a released series forgets was not withdrawn.
        touched.retain(|role| self.readings.get(role).is_some_and(|current| !(released && current.calls.is_empty())));
        touched
    }

    /// The next result of a role, or `None` if it never had one and has none now.
    fn publish(
        &mut self,
        key: &SeriesKey,
        role: Role,
        tick: Tick,
        methods: &Methods,
        shelves: &Shelves,
    ) -> Option<Publication> {
        let current =
            self.readings.get_mut(&role).filter(|current| current.version > 0 || !current.calls.is_empty())?;
        let method = methods.get(&current.method?)?;
        current.version += 1;
        let mut slices: Vec<PublishedSlice> =
            current.calls.keys().filter_map(|call| shelves.slice(call, &method.digest)).collect();
        slices.sort_by(|a, b| a.slice.cmp(&b.slice));
        debug_assert_eq!(
            slices.iter().map(|slice| &slice.slice).collect::<BTreeSet<_>>().len(),
            current.calls.len(),
            "every block that a published call names is on its shelf"
        );
        let places: Vec<Slice> = slices.iter().map(|published| published.slice.clone()).collect();
        let signs = self.signs.iter().filter(|(_, count)| **count > 0).map(|(sign, _)| *sign);
        let (completeness, status) = completeness::judge(&places, signs, method.config.max_gap_mm);
        Some(Publication {
            key: key.clone(),
            role,
            method,
            version: current.version,
            tick,
            status,
            completeness,
            slices,
        })
    }
}

/// The digest of what a result is made from: its slices, in z order.
#[must_use]
pub fn inputs<'a>(slices: impl Iterator<Item = &'a Slice>) -> Digest {
    slices.fold(Digest::builder("inputs"), |inputs, slice| inputs.digest(&slice.digest)).finish()
}

/// Extension trait for collections of facts.
pub trait Publish<'scope> {
    /// Emits a publication for each series, role and tick that changed it. Brings facts to the worker of their series and
    /// holds the current facts of each.
    fn publish(self, methods: Methods, shelves: Shelves) -> StreamVec<'scope, Tick, Publication>;
}

impl<'scope> Publish<'scope> for Collection<'scope, (SeriesKey, Fact)> {
    fn publish(self, methods: Methods, shelves: Shelves) -> StreamVec<'scope, Tick, Publication> {
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
                    let roles = series.apply(updates);
                    let results =
                        roles.into_iter().filter_map(|role| series.publish(&key, role, tick, &methods, &shelves));
                    publications.extend(results);
                }
                publications
            },
        )
    }
}
