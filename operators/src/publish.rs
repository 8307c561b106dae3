//! Publication: the result of a series, whole, at each tick that changed it.
//!
//! In: `(series, fact)`: a slice whose blocks are on the shelves, a sign that the series is complete, or that it is let go.
//! Out: a [`Publication`] for each series, role and tick at which its facts changed, once no further change of that tick
//! can come. Completeness is a status on it, never a gate before it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};

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
use crate::record::{Change, Digest, Mask, Method, Methods, Plane, Reading, Role, SeriesKey, Sign, Slice, Tick, Use};
use crate::segment::SegmentTask;
use crate::store::Shelf;

/// What is known of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fact {
    /// A slice that is present, as a method sees it.
    Slice(Use, Box<Seen>),
    /// Something says that all instances were sent.
    Sign(Sign),
    /// The series is let go: what goes at this tick was not withdrawn.
    Released,
    /// The series is back: what comes at this tick is not new.
    Returned,
    /// The series was let go before the graph was started: by role the version of its result, and what made it.
    Remembered(Vec<(Role, u64, Option<Digest>)>),
    /// The series is forgotten: what goes at this tick was not withdrawn, and nothing of it is remembered.
    Forgotten,
}

/// A slice that is present, with the names of the blocks that its result is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seen {
    slice: Slice,
    /// Names of the windows that contain it, and its place in each.
    windows: Vec<(Digest, usize)>,
    encoding: Digest,
    /// Names of its pseudo-mask and of the segmenter's mask, if it passes the gate.
    masks: Option<[Digest; 2]>,
}

impl Seen {
    /// What is seen of the slice of a call. `None` for a slice without a neighborhood, which no plan has.
    #[must_use]
    pub fn of(call: &Call, method: Digest) -> Option<Self> {
        let [_, own, _] = &call.plan.neighborhoods;
        let encoding = *own.as_ref()?.encoding()?;
        let masks = ReconcileTask::of(call).zip(SegmentTask::of(call, method));
        Some(Self {
            slice: call.plan.slice.clone(),
            windows: call.plan.context.iter().map(|context| (context.name, context.position)).collect(),
            encoding,
            masks: masks.map(|(reconcile, segment)| [reconcile.name(), segment.name()]),
        })
    }
}

impl Fact {
    /// The fact that a reading's decision on a slice is.
    #[must_use]
    pub fn seen((reading, call): (Reading, Call)) -> Option<(SeriesKey, Self)> {
        let seen = Seen::of(&call, reading.by.method)?;
        Some((reading.series, Self::Slice(reading.by, Box::new(seen))))
    }

    /// The fact that a change states by itself.
    #[must_use]
    pub fn of(change: Change) -> Option<(SeriesKey, Self)> {
        match change {
            Change::Signed { key, sign } => Some((key, Self::Sign(sign))),
            Change::Released { key } => Some((key, Self::Released)),
            Change::Returned { key } => Some((key, Self::Returned)),
            Change::Remembered { key, results } => Some((key, Self::Remembered(results))),
            Change::Forgotten { key } => Some((key, Self::Forgotten)),
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
    fn slice(&self, seen: &Seen) -> Option<PublishedSlice> {
        let windows = seen.windows.iter().map(|(name, position)| (name, *position));
        let [pseudo_mask, mask] = match &seen.masks {
            Some([pseudo_mask, mask]) => [self.pseudo_masks.get(pseudo_mask), self.masks.get(mask)],
            None => [None, None],
        };
        Some(PublishedSlice {
            probability: classify::probability(windows, &self.logits)?,
            single_probability: self.encodings.get(&seen.encoding)?.probability,
            plane: self.planes.get(&seen.slice.digest)?.as_ref().as_ref().ok().cloned()?,
            header: self.pixels.get(&seen.slice.digest)?.header.clone(),
            pseudo_mask,
            mask,
            slice: seen.slice.clone(),
        })
    }
}

/// A published slice without what it is large by, which is still there while the store or somebody else has it in memory.
/// So a series that is published again asks its shelves only for what they had to let go of.
struct Glimpse {
    probability: f32,
    single_probability: f32,
    plane: Weak<Plane>,
    header: Option<Weak<Header>>,
    pseudo_mask: Option<Weak<Mask>>,
    mask: Option<Weak<Mask>>,
}

/// `None` if something was there and has gone; `Some(None)` if there was nothing.
#[allow(clippy::option_option, reason = "there was nothing, or it has gone")]
fn again<V>(weak: Option<&Weak<V>>) -> Option<Option<Arc<V>>> {
    weak.map_or(Some(None), |weak| weak.upgrade().map(Some))
}

impl Glimpse {
    fn of(slice: &PublishedSlice) -> Self {
        Self {
            probability: slice.probability,
            single_probability: slice.single_probability,
            plane: Arc::downgrade(&slice.plane),
            header: slice.header.as_ref().map(Arc::downgrade),
            pseudo_mask: slice.pseudo_mask.as_ref().map(Arc::downgrade),
            mask: slice.mask.as_ref().map(Arc::downgrade),
        }
    }

    fn slice(&self, slice: &Slice) -> Option<PublishedSlice> {
        Some(PublishedSlice {
            slice: slice.clone(),
            probability: self.probability,
            single_probability: self.single_probability,
            plane: self.plane.upgrade()?,
            header: again(self.header.as_ref())?,
            pseudo_mask: again(self.pseudo_mask.as_ref())?,
            mask: again(self.mask.as_ref())?,
        })
    }
}

/// What one series knows.
#[derive(Default)]
struct Series {
    signs: BTreeMap<Sign, isize>,
    readings: BTreeMap<Role, Current>,
}

/// The slices of one reading, in z order, and how many results they have made.
#[derive(Default)]
struct Current {
    version: u64,
    /// What made the last slices that came.
    method: Option<Digest>,
    slices: BTreeMap<Seen, Shown>,
    /// What made the result that stands published; `None` if none does, or it says withdrawn.
    published: Option<Digest>,
}

impl Current {
    /// What makes the result, if there is one to make.
    fn made_by(&self) -> Option<Digest> {
        self.method.filter(|_| !self.slices.is_empty())
    }
}

/// How often a slice is there, which is once when a tick is complete, and what was published of it.
struct Shown {
    count: isize,
    glimpse: Option<Glimpse>,
}

impl Series {
    /// Applies updates and gives the roles whose results they change.
    fn apply(&mut self, updates: Vec<(Fact, isize)>) -> BTreeSet<Role> {
        let mut net: BTreeMap<Fact, isize> = BTreeMap::new();
        for (fact, diff) in updates {
            *net.entry(fact).or_default() += diff;
        }
        net.retain(|_, diff| *diff != 0);
        let (mut touched, mut signed) = (BTreeSet::new(), false);
        let [mut released, mut returned, mut forgotten] = [false; 3];
        for (fact, diff) in net {
            match fact {
                Fact::Sign(sign) => {
                    let count = self.signs.entry(sign).or_default();
                    signed |= (*count > 0) != (*count + diff > 0);
                    *count += diff;
                }
                Fact::Released => released |= diff > 0,
                Fact::Returned => returned |= diff > 0,
                Fact::Forgotten => forgotten |= diff > 0,
                Fact::Remembered(results) => {
                    for (role, version, published) in results {
                        let current = self.readings.entry(role).or_default();
                        (current.version, current.published) = (version, published);
                        // What comes back at this tick knows better what makes it.
                        current.method = current.method.or(published);
                    }
                }
                Fact::Slice(by, seen) => {
                    let current = self.readings.entry(by.role).or_default();
                    if diff > 0 {
                        current.method = Some(by.method);
                    }
                    match current.slices.entry(*seen) {
                        Entry::Occupied(mut entry) => {
                            entry.get_mut().count += diff;
                            if entry.get().count == 0 {
                                entry.remove();
                            }
                        }
                        Entry::Vacant(entry) => drop(entry.insert(Shown { count: diff, glimpse: None })),
                    }
                    touched.insert(by.role);
                }
            }
        }
        if forgotten {
            *self = Self::default();
            return BTreeSet::new();
        }
        if signed {
            // A sign says nothing of a series that has no slice.
            touched
                .extend(self.readings.iter().filter(|(_, current)| !current.slices.is_empty()).map(|(role, _)| *role));
        }
        if released {
            // What a series that is let go forgets was not withdrawn.
            touched.retain(|role| self.readings.get(role).is_some_and(|current| !current.slices.is_empty()));
        }
        if returned {
            let changed = |current: &Current| current.made_by() != current.published;
            touched = self.readings.iter().filter(|(_, current)| changed(current)).map(|(role, _)| *role).collect();
        }
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
            self.readings.get_mut(&role).filter(|current| current.version > 0 || !current.slices.is_empty())?;
        let method = methods.get(&current.method?)?;
        current.version += 1;
        current.published = current.made_by();
        let published = |(seen, shown): (&Seen, &mut Shown)| {
            if let Some(slice) = shown.glimpse.as_ref().and_then(|glimpse| glimpse.slice(&seen.slice)) {
                return Some(slice);
            }
            let slice = shelves.slice(seen)?;
            shown.glimpse = Some(Glimpse::of(&slice));
            Some(slice)
        };
        let slices: Vec<PublishedSlice> = current.slices.iter_mut().filter_map(published).collect();
        debug_assert_eq!(slices.len(), current.slices.len(), "every block that a seen slice names is on its shelf");
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

/// What is remembered of a series without slices, so that it goes on when it comes back: its signs, and by role the last
/// version and what made it.
struct Left {
    signs: Box<[(Sign, isize)]>,
    versions: Box<[(Role, u64, Option<Digest>)]>,
}

impl From<Series> for Left {
    fn from(series: Series) -> Self {
        let versions = series.readings.into_iter().map(|(role, current)| (role, current.version, current.published));
        Self {
            signs: series.signs.into_iter().filter(|(_, count)| *count != 0).collect(),
            versions: versions.filter(|(_, version, _)| *version > 0).collect(),
        }
    }
}

impl From<Left> for Series {
    fn from(left: Left) -> Self {
        let reading = |(role, version, published)| {
            (role, Current { version, published, method: published, ..Current::default() })
        };
        Self { signs: left.signs.into_iter().collect(), readings: left.versions.into_iter().map(reading).collect() }
    }
}

/// All series. Those without slices are many in the end, for each that was let go is one: they take some 0.2 KB.
#[derive(Default)]
struct Known {
    present: BTreeMap<SeriesKey, Series>,
    left: HashMap<Digest, Left>,
}

impl Known {
    fn take(&mut self, key: &SeriesKey) -> Series {
        let back = || self.left.remove(&key.digest()).map(Series::from);
        self.present.remove(key).or_else(back).unwrap_or_default()
    }

    fn put(&mut self, key: SeriesKey, series: Series) {
        if series.readings.values().any(|current| !current.slices.is_empty()) {
            self.present.insert(key, series);
            return;
        }
        let left = Left::from(series);
        if !left.signs.is_empty() || !left.versions.is_empty() {
            self.left.insert(key.digest(), left);
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
    /// Emits a publication for each series, role and tick that changed it. Brings facts to the worker of their series and
    /// holds the current facts of each.
    fn publish(self, methods: Methods, shelves: Shelves) -> StreamVec<'scope, Tick, Publication>;
}

impl<'scope> Publish<'scope> for Collection<'scope, (SeriesKey, Fact)> {
    fn publish(self, methods: Methods, shelves: Shelves) -> StreamVec<'scope, Tick, Publication> {
        let mut known = Known::default();
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
                    let mut series = known.take(&key);
                    let roles = series.apply(updates);
                    let results =
                        roles.into_iter().filter_map(|role| series.publish(&key, role, tick, &methods, &shelves));
                    publications.extend(results);
                    known.put(key, series);
                }
                publications
            },
        )
    }
}
