//! The oracle: what the graph of [`hemorrhage`](crate::hemorrhage) must say of what is present, by a plain function.
//!
//! Written for the reader, not for speed: one series after the other, one slice after the other, from top to bottom. It
//! shares with the graph only the cores that do the arithmetic; there are no changes here, no ticks, no names, no shelves,
//! no executor and no threads. On the CPU it gives the graph's numbers to the last bit, because there no result depends on
//! what else was asked at once.
//!
//! What it cannot find: a mistake in a core, which both sides share. Kernels have references of their own for that.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use kernels::Client;
use operators::decode::{Decoded, decode};
use operators::dicom::{Header, Instance};
use operators::encode::{Encoding, encode, sigmoid};
use operators::fuse::fuse;
use operators::geometry;
use operators::model::{Model, windows};
use operators::publish::PublishedSlice;
use operators::record::{Digest, Mask, MethodConfig, Plane, Rejection, SeriesKey, Slice};
use operators::refine::{consistent, refine};
use operators::segment::segment;

use crate::stages::StageError;

/// The results of all series that have a slice, and what was refused.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The slices of each series, in z order.
    pub series: BTreeMap<SeriesKey, Vec<PublishedSlice>>,
    /// The slices that do not decode, sorted.
    pub rejections: Vec<Rejection>,
}

/// The results of the instances `present`, no two of which have one identity.
///
/// # Errors
///
/// Returns [`StageError`] if the device or the model fails.
pub fn batch(model: &Model, client: &Client, config: &MethodConfig, present: &[Instance]) -> Result<Batch, StageError> {
    Reference::new(model, client, config).batch(present)
}

/// The same function for who asks it ten thousand times: it remembers its answers.
///
/// That is no dataflow. An answer is remembered by the content of the slices that the question is about, in z order, and
/// is a function of nothing else; nothing here is ever changed, taken back or ordered in time. A `Reference` that forgot
/// everything between two calls would answer the same, later.
pub struct Reference<'a> {
    model: &'a Model,
    client: &'a Client,
    config: &'a MethodConfig,
    planes: Memo<Digest, Decoded>,
    encodings: Memo<Digest, Encoding>,
    logits: Memo<Vec<Digest>, Vec<f32>>,
    candidates: Memo<(Vec<Digest>, usize), Mask>,
    masks: Memo<Digest, Mask>,
}

/// A slice that decodes.
#[derive(Clone)]
struct Seen {
    slice: Slice,
    header: Option<Arc<Header>>,
    plane: Arc<Plane>,
}

/// What one slice says alone.
struct Single {
    seen: Seen,
    encoding: Arc<Encoding>,
}

impl<'a> Reference<'a> {
    /// A reference that remembers nothing yet.
    #[must_use]
    pub fn new(model: &'a Model, client: &'a Client, config: &'a MethodConfig) -> Self {
        let (planes, encodings, logits) = (Memo::default(), Memo::default(), Memo::default());
        Self { model, client, config, planes, encodings, logits, candidates: Memo::default(), masks: Memo::default() }
    }

    /// The results of the instances `present`, no two of which have one identity.
    ///
    /// # Errors
    ///
    /// Returns [`StageError`] if the device or the model fails.
    pub fn batch<'i>(&self, present: impl IntoIterator<Item = &'i Instance>) -> Result<Batch, StageError> {
        let mut rejections = Vec::new();
        let mut by_series: BTreeMap<SeriesKey, Vec<Seen>> = BTreeMap::new();
        for instance in present {
            for frame in &instance.frames {
                let decoded = self.planes.answer(frame.slice.digest, || Ok(decode(&frame.pixels)))?;
                match decoded.as_ref() {
                    Ok(plane) => by_series.entry(instance.key.clone()).or_default().push(Seen {
                        slice: frame.slice.clone(),
                        header: frame.pixels.header.clone(),
                        plane: Arc::clone(plane),
                    }),
                    Err(rejection) => rejections.push(rejection.clone()),
                }
            }
        }
        rejections.sort();
        let series = by_series.into_iter().map(|(key, slices)| Ok((key, self.series(slices)?)));
        Ok(Batch { series: series.collect::<Result<_, StageError>>()?, rejections })
    }

    /// A series falls into runs of slices without a gap; nothing in one run depends on another.
    fn series(&self, mut slices: Vec<Seen>) -> Result<Vec<PublishedSlice>, StageError> {
        slices.sort_by(|a, b| a.slice.cmp(&b.slice));
        let places: Vec<Slice> = slices.iter().map(|seen| seen.slice.clone()).collect();
        let mut published = Vec::new();
        for run in geometry::runs(&places, self.config.max_gap_mm) {
            published.extend(self.run(&slices[run])?);
        }
        Ok(published)
    }

    fn run(&self, slices: &[Seen]) -> Result<Vec<PublishedSlice>, StageError> {
        let singles: Vec<Single> = slices.iter().map(|seen| self.single(seen)).collect::<Result<_, _>>()?;
        let probabilities = self.probabilities(&singles)?;
        let publish = |(target, probability): (usize, f32)| {
            let Single { seen, encoding } = &singles[target];
            let positive = probability >= self.config.mask_gate;
            Ok(PublishedSlice {
                slice: seen.slice.clone(),
                probability,
                single_probability: encoding.probability,
                plane: Arc::clone(&seen.plane),
                header: seen.header.clone(),
                pseudo_mask: positive.then(|| self.pseudo_mask(&singles, target)).transpose()?,
                mask: positive.then(|| self.mask(seen)).transpose()?,
            })
        };
        probabilities.into_iter().enumerate().map(publish).collect()
    }

    fn single(&self, seen: &Seen) -> Result<Single, StageError> {
        let encoding = self.encodings.answer(seen.slice.digest, || {
            one(encode(self.model, self.client, std::slice::from_ref(&seen.plane))?, "encoding", seen)
        })?;
        Ok(Single { seen: seen.clone(), encoding })
    }

    /// The probability of each slice of a run: the mean of what all windows that hold it say.
    fn probabilities(&self, run: &[Single]) -> Result<Vec<f32>, StageError> {
        let windows = windows::windows(run.len(), self.config.context_radius);
        let mut logits = Vec::new();
        for window in &windows {
            let features = || run[window.clone()].iter().map(|single| single.encoding.feature.as_slice()).collect();
            let answer = self.logits.answer(content(run, window), || {
                one(self.model.classify(&[features()])?, "window", &run[window.start].seen)
            })?;
            logits.push(answer.as_ref().clone());
        }
        Ok(windows::mean(&windows, &logits, run.len()).into_iter().map(sigmoid).collect())
    }

    /// The candidate of a slice, from the activation maps near it.
    fn candidate(&self, run: &[Single], target: usize) -> Result<Arc<Mask>, StageError> {
        let reach = self.config.fuse_reach;
        let near = target.saturating_sub(reach)..(target + reach + 1).min(run.len());
        let among = target - near.start;
        self.candidates.answer((content(run, &near), among), || {
            let slices: Vec<Slice> = run[near.clone()].iter().map(|single| single.seen.slice.clone()).collect();
            let maps: Vec<Arc<Encoding>> = run[near].iter().map(|single| Arc::clone(&single.encoding)).collect();
            let (grid, Seen { slice, plane, .. }) = (self.config.grid(self.model.map_grid()), &run[target].seen);
            let fused = fuse(self.client, &slices, &maps, among, grid.size, self.config)?;
            let (threshold, numbers) = (self.config.cam_threshold, &self.config.refine);
            Ok(refine(self.client, plane, slice.geometry.spacing_mm(), &fused.0, grid, threshold, numbers)?)
        })
    }

    /// A candidate becomes a pseudo-mask where the slices next to it in the run agree.
    fn pseudo_mask(&self, run: &[Single], target: usize) -> Result<Arc<Mask>, StageError> {
        let beside = |index: Option<usize>| {
            let within = index.filter(|index| *index < run.len());
            within.map(|index| self.candidate(run, index)).transpose()
        };
        let (below, own, above) =
            (beside(target.checked_sub(1))?, self.candidate(run, target)?, beside(target.checked_add(1))?);
        let Single { seen, encoding } = &run[target];
        let voxels = consistent(
            &own.voxels,
            seen.plane.rows,
            seen.plane.columns,
            below.as_deref().map(|mask| mask.voxels.as_slice()),
            above.as_deref().map(|mask| mask.voxels.as_slice()),
            encoding.probability,
            &self.config.refine,
        );
        Ok(Arc::new(Mask { voxels }))
    }

    fn mask(&self, seen: &Seen) -> Result<Arc<Mask>, StageError> {
        self.masks.answer(seen.slice.digest, || {
            let plane = (Arc::clone(&seen.plane), seen.slice.geometry.spacing_mm());
            one(segment(self.model, self.client, &[plane], &self.config.refine)?, "mask", seen)
        })
    }
}

/// The only answer to a single question.
fn one<A>(answers: Vec<A>, kind: &'static str, seen: &Seen) -> Result<A, StageError> {
    answers.into_iter().next().ok_or(StageError::Missing { kind, name: seen.slice.digest })
}

/// What the slices of a part of a run hold, in z order.
fn content(run: &[Single], part: &Range<usize>) -> Vec<Digest> {
    run[part.clone()].iter().map(|single| single.seen.slice.digest).collect()
}

/// Answers by the question.
struct Memo<K, A>(Mutex<HashMap<K, Arc<A>>>);

impl<K, A> Default for Memo<K, A> {
    fn default() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<K: Eq + Hash, A> Memo<K, A> {
    /// Answers remembered at most.
    const MOST: usize = 20_000;

    fn answer(&self, question: K, work: impl FnOnce() -> Result<A, StageError>) -> Result<Arc<A>, StageError> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known().get(&question) {
            return Ok(Arc::clone(answer));
        }
        let answer = Arc::new(work()?);
        let mut known = known();
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(question, Arc::clone(&answer));
        Ok(answer)
    }
}
