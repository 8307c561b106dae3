//! Observation: what publications and truths say, as the differences that the views across studies follow.
//!
//! [`slice_outcomes`] says what is so, [`Observed`] what changes: after any sequence of publications and truths, all that
//! it has emitted adds up to the outcomes of the newest publication of each series and role, and to their
//! `slice_outcomes`. Two masks are compared again only when one of them is another. Only slices with a truth have an
//! outcome of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Weak};

use crate::outcome::{Measures, Salt, ppm};
use crate::publish::{Publication, PublishedSlice};
use crate::record::{Digest, InstanceUid, Mask, Outcome, Role, SeriesKey, SliceOutcome, Truth};
use crate::score::overlap::Overlap;

/// What changes: 1 for an outcome that comes, -1 for one that goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diffs {
    /// Of series.
    pub outcomes: Vec<(Outcome, isize)>,
    /// Of slices.
    pub slices: Vec<(SliceOutcome, isize)>,
}

impl Diffs {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.slices.is_empty()
    }
}

/// Adds what takes `before` to `after`.
fn replace<R: PartialEq>(diffs: &mut Vec<(R, isize)>, before: Option<R>, after: Option<R>) {
    if before != after {
        diffs.extend(before.map(|before| (before, -1)));
        diffs.extend(after.map(|after| (after, 1)));
    }
}

/// The truths at hand. One that is told twice must be taken back twice.
#[derive(Clone, Debug, Default)]
pub struct Truths(BTreeMap<InstanceUid, BTreeMap<Truth, isize>>);

impl Truths {
    /// Adds a truth, or takes it back.
    pub fn apply(&mut self, truth: Truth, diff: isize) {
        let instance = truth.instance().clone();
        let of_instance = self.0.entry(instance.clone()).or_default();
        *of_instance.entry(truth).or_default() += diff;
        of_instance.retain(|_, count| *count != 0);
        if of_instance.is_empty() {
            self.0.remove(&instance);
        }
    }

    fn of(&self, instance: &InstanceUid) -> impl Iterator<Item = &Truth> {
        let told = self.0.get(instance).into_iter().flatten();
        told.filter(|(_, count)| **count > 0).map(|(truth, _)| truth)
    }

    /// Whether an instance shows hemorrhage. Labels that contradict each other are none.
    #[must_use]
    pub fn label(&self, instance: &InstanceUid) -> Option<bool> {
        only(self.of(instance).filter_map(|truth| match truth {
            Truth::Label { hemorrhage, .. } => Some(*hemorrhage),
            Truth::Mask { .. } => None,
        }))
    }

    /// The name of the true mask of a slice. Masks that contradict each other are none.
    #[must_use]
    pub fn mask(&self, instance: &InstanceUid, of_frame: u32) -> Option<Digest> {
        only(self.of(instance).filter_map(|truth| match truth {
            Truth::Mask { frame, name, .. } => (*frame == of_frame).then_some(*name),
            Truth::Label { .. } => None,
        }))
    }
}

fn only<T>(mut truths: impl Iterator<Item = T>) -> Option<T> {
    let first = truths.next()?;
    truths.next().is_none().then_some(first)
}

/// The pixels of a slice.
fn pixels(published: &PublishedSlice) -> usize {
    let geometry = &published.slice.geometry;
    usize::try_from(u64::from(geometry.rows) * u64::from(geometry.columns)).unwrap_or(usize::MAX)
}

/// A mask without its voxels: the runs inside it, some hundred bytes where the voxels are a quarter of a million.
#[derive(Debug, Default)]
struct Outline {
    /// Tells a mask from another without looking at it. Keeps no voxels.
    source: Weak<Mask>,
    voxels: usize,
    runs: Vec<Range<usize>>,
}

impl Outline {
    /// The outline of the mask of a slice; a slice below the gate has an empty one.
    fn of(published: &PublishedSlice) -> Self {
        let Some(mask) = &published.mask else {
            return Self { voxels: pixels(published), ..Self::default() };
        };
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (index, _) in mask.voxels.iter().enumerate().filter(|(_, voxel)| **voxel != 0) {
            match runs.last_mut() {
                Some(run) if run.end == index => run.end += 1,
                _ => runs.push(index..index + 1),
            }
        }
        Self { source: Arc::downgrade(mask), voxels: mask.voxels.len(), runs }
    }

    fn is_of(&self, published: &PublishedSlice) -> bool {
        match &published.mask {
            Some(mask) => Weak::ptr_eq(&self.source, &Arc::downgrade(mask)),
            None => Weak::ptr_eq(&self.source, &Weak::new()) && self.voxels == pixels(published),
        }
    }

    /// Voxels in both, in this one only, in the true one only; `None` if they differ in size.
    fn overlap(&self, truth: &Mask) -> Option<[u64; 3]> {
        if self.voxels != truth.voxels.len() {
            return None;
        }
        let inside = |voxels: &[u8]| u64::try_from(voxels.iter().filter(|voxel| **voxel != 0).count()).ok();
        let (mut both, mut predicted) = (0, 0);
        for run in &self.runs {
            both += inside(truth.voxels.get(run.clone())?)?;
            predicted += u64::try_from(run.len()).ok()?;
        }
        Some([both, predicted - both, inside(&truth.voxels)? - both])
    }
}

/// A slice as it was last seen.
#[derive(Debug, Default)]
struct Seen {
    probability_ppm: u32,
    outline: Outline,
    compared: Option<Digest>,
    overlap: Option<[u64; 3]>,
    told: Option<SliceOutcome>,
}

/// The label of a slice: what was said, or else whether its true mask has voxels.
fn label(said: Option<bool>, overlap: Option<[u64; 3]>) -> Option<bool> {
    said.or_else(|| overlap.map(|[both, _, truth_only]| both + truth_only > 0))
}

/// The outcomes of the slices of a publication that have a truth. `masks` are the true masks by name.
#[must_use]
pub fn slice_outcomes(
    publication: &Publication,
    role: Role,
    truths: &Truths,
    masks: impl Fn(&Digest) -> Option<Arc<Mask>>,
) -> Vec<SliceOutcome> {
    let outcome = |published: &PublishedSlice| {
        let slice = &published.slice;
        let truth = truths.mask(&slice.instance, slice.frame).and_then(|name| masks(&name));
        let predicted =
            || published.mask.as_ref().map_or_else(|| vec![0; pixels(published)], |mask| mask.voxels.clone());
        let overlap = truth.and_then(|truth| Overlap::of(&predicted(), &truth.voxels));
        let overlap = overlap.map(|voxels| [voxels.both, voxels.predicted - voxels.both, voxels.truth - voxels.both]);
        let label = label(truths.label(&slice.instance), overlap);
        (label.is_some() || overlap.is_some()).then(|| SliceOutcome {
            series: publication.key.clone(),
            role,
            instance: slice.instance.clone(),
            frame: slice.frame,
            probability_ppm: ppm(published.probability),
            label,
            overlap,
        })
    };
    publication.slices.iter().filter_map(outcome).collect()
}

#[derive(Debug, Default)]
struct Series {
    outcome: Option<Outcome>,
    slices: BTreeMap<(InstanceUid, u32), Seen>,
}

/// True masks by name.
type Masks = Box<dyn Fn(&Digest) -> Option<Arc<Mask>> + Send>;

/// What was said of each series and role, so that it can be taken back exactly.
pub struct Observed {
    salt: Salt,
    masks: Masks,
    truths: Truths,
    series: BTreeMap<(SeriesKey, Role), Series>,
    by_instance: BTreeMap<InstanceUid, BTreeSet<(SeriesKey, Role)>>,
    comparisons: u64,
}

impl Observed {
    /// Nothing yet. `masks` finds true masks by name; each must be there before its truth is told.
    #[must_use]
    pub fn new(salt: Salt, masks: impl Fn(&Digest) -> Option<Arc<Mask>> + Send + 'static) -> Self {
        let (truths, series, by_instance) = (Truths::default(), BTreeMap::new(), BTreeMap::new());
        Self { salt, masks: Box::new(masks), truths, series, by_instance, comparisons: 0 }
    }

    /// The outcome of a publication; `None` if it is withdrawn.
    #[must_use]
    pub fn outcome(&self, publication: &Publication, measures: &Measures) -> Option<Outcome> {
        Outcome::of(publication, measures, &self.salt)
    }

    /// Takes an outcome as it was before the program was started; nothing is known of its slices.
    pub fn recall(&mut self, outcome: Outcome) -> Diffs {
        let id = (outcome.key.clone(), outcome.role);
        let before = self.series.remove(&id).unwrap_or_default();
        let mut diffs = Diffs::default();
        replace(&mut diffs.outcomes, before.outcome, Some(outcome.clone()));
        self.series.insert(id, Series { outcome: Some(outcome), slices: before.slices });
        diffs
    }

    /// Takes a publication in the place of the one before it of the same series and role.
    pub fn publish(&mut self, publication: &Publication, measures: &Measures) -> Diffs {
        let id = (publication.key.clone(), publication.role);
        let before = self.series.remove(&id).unwrap_or_default();
        let outcome = Outcome::of(publication, measures, &self.salt);
        let mut diffs = Diffs::default();
        replace(&mut diffs.outcomes, before.outcome, outcome.clone());

        let mut gone = before.slices;
        let mut slices = BTreeMap::new();
        for published in &publication.slices {
            let name = (published.slice.instance.clone(), published.slice.frame);
            let mut seen = gone.remove(&name).unwrap_or_default();
            seen.probability_ppm = ppm(published.probability);
            if !seen.outline.is_of(published) {
                (seen.outline, seen.compared) = (Outline::of(published), None);
            }
            self.comparisons += seen.judge(&id, &name, &self.truths, &self.masks, &mut diffs);
            self.by_instance.entry(name.0.clone()).or_default().insert(id.clone());
            slices.insert(name, seen);
        }
        for ((instance, _), seen) in gone {
            replace(&mut diffs.slices, seen.told, None);
            let still = (instance.clone(), 0)..=(instance.clone(), u32::MAX);
            if slices.range(still).next().is_none() {
                self.forget(&instance, &id);
            }
        }
        if outcome.is_some() || !slices.is_empty() {
            self.series.insert(id, Series { outcome, slices });
        }
        diffs
    }

    fn forget(&mut self, instance: &InstanceUid, id: &(SeriesKey, Role)) {
        if let Some(holders) = self.by_instance.get_mut(instance) {
            holders.remove(id);
            if holders.is_empty() {
                self.by_instance.remove(instance);
            }
        }
    }

    /// Takes back all that was said of a series in a role, as when a model is no longer run.
    pub fn retract(&mut self, key: &SeriesKey, role: Role) -> Diffs {
        let id = (key.clone(), role);
        let before = self.series.remove(&id).unwrap_or_default();
        let mut diffs = Diffs::default();
        replace(&mut diffs.outcomes, before.outcome, None);
        for ((instance, _), seen) in before.slices {
            replace(&mut diffs.slices, seen.told, None);
            self.forget(&instance, &id);
        }
        diffs
    }

    /// Adds a truth, or takes it back.
    pub fn learn(&mut self, truth: Truth, diff: isize) -> Diffs {
        let instance = truth.instance().clone();
        self.truths.apply(truth, diff);
        let mut diffs = Diffs::default();
        for id in self.by_instance.get(&instance).into_iter().flatten() {
            let Some(series) = self.series.get_mut(id) else { continue };
            for (name, seen) in series.slices.range_mut((instance.clone(), 0)..=(instance.clone(), u32::MAX)) {
                self.comparisons += seen.judge(id, name, &self.truths, &self.masks, &mut diffs);
            }
        }
        diffs
    }

    /// How often two masks were compared.
    #[must_use]
    pub fn comparisons(&self) -> u64 {
        self.comparisons
    }

    /// Whether nothing is held of any series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.by_instance.is_empty()
    }
}

impl Seen {
    /// Says what is now so of the slice and takes back what was said of it. Returns how often masks were compared.
    fn judge(
        &mut self,
        (series, role): &(SeriesKey, Role),
        (instance, frame): &(InstanceUid, u32),
        truths: &Truths,
        masks: &Masks,
        diffs: &mut Diffs,
    ) -> u64 {
        let named = truths.mask(instance, *frame);
        let mut comparisons = 0;
        if named != self.compared {
            let truth = named.and_then(|name| masks(&name));
            self.overlap = truth.as_ref().and_then(|truth| self.outline.overlap(truth));
            comparisons = u64::from(truth.is_some());
            self.compared = named;
        }
        let label = label(truths.label(instance), self.overlap);
        let outcome = (label.is_some() || self.overlap.is_some()).then(|| SliceOutcome {
            series: series.clone(),
            role: *role,
            instance: instance.clone(),
            frame: *frame,
            probability_ppm: self.probability_ppm,
            label,
            overlap: self.overlap,
        });
        replace(&mut diffs.slices, std::mem::replace(&mut self.told, outcome.clone()), outcome);
        comparisons
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::outcome::tests::{MEASURES, by, publication, salt};

    const TRUE_MASKS: [&[u8]; 3] = [&[0; 16], &[0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], &[1; 9]];

    fn true_masks(name: &Digest) -> Option<Arc<Mask>> {
        let found = TRUE_MASKS.into_iter().find(|voxels| Digest::of(voxels) == *name);
        found.map(|voxels| Arc::new(Mask { voxels: voxels.to_vec() }))
    }

    fn instance(at: usize) -> InstanceUid {
        InstanceUid::new(&format!("1.2.{at}")).expect("a UID")
    }

    fn truth() -> impl Strategy<Value = Truth> {
        let label = (0..4_usize, any::<bool>())
            .prop_map(|(at, hemorrhage)| Truth::Label { instance: instance(at), hemorrhage });
        let mask = (0..4_usize, 1..3_u32, 0..4_usize).prop_map(|(at, frame, name)| {
            let name = TRUE_MASKS.get(name).map_or(Digest::of(b"not on the shelf"), |voxels| Digest::of(voxels));
            Truth::Mask { instance: instance(at), frame, name }
        });
        prop_oneof![label, mask]
    }

    #[derive(Clone, Debug)]
    enum Step {
        Publish { role: Role, slices: Vec<(f32, usize)> },
        Retract(Role),
        Learn(Truth),
        Unlearn(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let role = || prop_oneof![Just(Role::Active), Just(Role::Shadow)];
        let slice = (prop_oneof![Just(0.25_f32), Just(0.75)], 0..4_usize);
        prop_oneof![
            4 => (role(), prop::collection::vec(slice, 0..5)).prop_map(|(role, slices)| Step::Publish { role, slices }),
            1 => role().prop_map(Step::Retract),
            4 => truth().prop_map(Step::Learn),
            2 => (0..8_usize).prop_map(Step::Unlearn),
        ]
    }

    /// What the differences add up to; nothing twice.
    fn add<R: Ord + std::fmt::Debug>(present: &mut BTreeSet<R>, diffs: Vec<(R, isize)>) {
        for (record, diff) in diffs {
            match diff {
                1 => assert!(present.insert(record), "there already"),
                -1 => assert!(present.remove(&record), "taken back but not there"),
                other => panic!("{other} times"),
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_emitted_adds_up_to_what_is_so(steps in prop::collection::vec(step(), 0..40)) {
            let masks: Vec<Option<Arc<Mask>>> = [&[0; 16][..], TRUE_MASKS[1], &[1; 16]]
                .into_iter()
                .map(|voxels| Some(Arc::new(Mask { voxels: voxels.to_vec() })))
                .chain([None])
                .collect();
            let mut observed = Observed::new(salt(), true_masks);
            let (mut truths, mut told) = (Truths::default(), Vec::new());
            let mut newest: BTreeMap<Role, Publication> = BTreeMap::new();
            let (mut outcomes, mut slices) = (BTreeSet::new(), BTreeSet::new());
            for (version, step) in (1..).zip(steps) {
                let diffs = match step {
                    Step::Publish { role, slices } => {
                        let slices: Vec<_> =
                            slices.into_iter().map(|(probability, mask)| (probability, masks[mask].clone(), None)).collect();
                        let publication = Publication { version, ..publication(&slices) };
                        let diffs = observed.publish(&by(role, &publication), &MEASURES);
                        newest.insert(role, publication);
                        diffs
                    }
                    Step::Retract(role) => {
                        newest.remove(&role);
                        observed.retract(&publication(&[]).key, role)
                    }
                    Step::Learn(truth) => {
                        told.push(truth.clone());
                        truths.apply(truth.clone(), 1);
                        observed.learn(truth, 1)
                    }
                    Step::Unlearn(which) if !told.is_empty() => {
                        let truth = told.swap_remove(which % told.len());
                        truths.apply(truth.clone(), -1);
                        observed.learn(truth, -1)
                    }
                    Step::Unlearn(_) => Diffs::default(),
                };
                add(&mut outcomes, diffs.outcomes);
                add(&mut slices, diffs.slices);
                let so = newest.iter().filter_map(|(role, newest)| Outcome::of(&by(*role, newest), &MEASURES, &salt()));
                prop_assert_eq!(&outcomes, &so.collect());
                let so = newest.iter().flat_map(|(role, newest)| slice_outcomes(newest, *role, &truths, true_masks));
                prop_assert_eq!(&slices, &so.collect());
            }
            for role in [Role::Active, Role::Shadow] {
                let diffs = observed.publish(&by(role, &publication(&[])), &MEASURES);
                add(&mut outcomes, diffs.outcomes);
                add(&mut slices, diffs.slices);
            }
            prop_assert!(outcomes.is_empty() && slices.is_empty() && observed.is_empty());
        }
    }

    #[test]
    fn masks_are_compared_again_only_when_one_of_them_is_another() {
        let mask = |voxels: &[u8]| Some(Arc::new(Mask { voxels: voxels.to_vec() }));
        let (one, other) = (mask(&[1; 16]), mask(&[1; 16]));
        let mut observed = Observed::new(salt(), true_masks);
        let publish = |observed: &mut Observed, probability: f32, mask: &Option<Arc<Mask>>| {
            let publication = publication(&[(probability, mask.clone(), None), (0.1, None, None)]);
            observed.publish(&publication, &MEASURES);
            observed.comparisons()
        };
        assert_eq!(publish(&mut observed, 0.5, &one), 0, "no truth yet");
        let truth = |name: usize| Truth::Mask { instance: instance(0), frame: 1, name: Digest::of(TRUE_MASKS[name]) };
        observed.learn(truth(1), 1);
        observed.learn(Truth::Label { instance: instance(0), hemorrhage: true }, 1);
        assert_eq!(observed.comparisons(), 1);
        assert_eq!(publish(&mut observed, 0.75, &one), 1, "another probability");
        assert_eq!(publish(&mut observed, 0.75, &other), 2, "another mask, though the voxels are the same");
        observed.learn(truth(1), -1);
        observed.learn(truth(0), 1);
        assert_eq!(observed.comparisons(), 3, "another truth");
    }

    #[test]
    fn an_observed_mask_keeps_no_voxels() {
        let mask = Arc::new(Mask { voxels: vec![1; 16] });
        let mut observed = Observed::new(salt(), true_masks);
        observed.publish(&publication(&[(0.5, Some(Arc::clone(&mask)), None)]), &MEASURES);
        assert_eq!(Arc::strong_count(&mask), 1);
        drop(mask);
        let diffs = observed.learn(Truth::Mask { instance: instance(0), frame: 1, name: Digest::of(TRUE_MASKS[1]) }, 1);
        assert_eq!(diffs.slices.iter().map(|(slice, _)| slice.overlap).collect::<Vec<_>>(), [Some([6, 10, 0])]);
    }
}
