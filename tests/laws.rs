//! The laws of the streaming graph, on random changes of small series, against the oracle of `graphs::batch`.
//!
//! The model is small and its weights are random, slices are 64 x 64, and everything runs on the CPU. So no law here says
//! anything of devices whose last bits depend on the batch, of real weights, or of large studies. What both sides share, the
//! cores that do the arithmetic, is not on trial either.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use hemoflow::engine::{Engine, Output};
use hemoflow::graphs::batch::{Batch, Reference, batch};
use hemoflow::graphs::stages::{Compute, Stages};
use hemoflow::kernels::executor::{Fault, Urgency};
use hemoflow::kernels::{Client, Device};
use hemoflow::operators::completeness::{Completeness, Status, judge};
use hemoflow::operators::dicom::Instance;
use hemoflow::operators::event::{Metrics, Telemetry};
use hemoflow::operators::model::Model;
use hemoflow::operators::publish::{Publication, PublishedSlice};
use hemoflow::operators::record::{Change, Digest, MethodConfig, Rejection, Role, SeriesKey, Sign, Slice, Tick};
use hemoflow::operators::store::Store;
use hemoflow::operators::train::TrainConfig;
use proptest::prelude::*;

use crate::support::law::{self, Law, Setting, Streamed, Told, Version, cases};
use crate::support::steps::{Form, INSTANCES, SERIES, SIGNS, STRANGER, Step, models, present, refusal, steps};

pub(crate) static MODELS: LazyLock<[Model; 2]> = LazyLock::new(|| [6, 7].map(model));

fn model(seed: u64) -> Model {
    let config = TrainConfig { width: 2, input_size: 32, context_hidden: 16, unet_width: 2, ..TrainConfig::default() };
    let mut card = config.card("random", "0");
    card.segmenter = true;
    (card.gate, card.context_radius) = (METHOD.mask_gate, METHOD.context_radius);
    Model::untrained(card, seed, Device::Cpu).expect("a model")
}

pub(crate) static CLIENT: LazyLock<Client> = LazyLock::new(|| Device::Cpu.client().expect("the CPU runtime"));
/// Contexts shorter than a series, and gates in the middle of what these weights say.
pub(crate) static METHOD: LazyLock<MethodConfig> = LazyLock::new(|| MethodConfig {
    context_radius: 2,
    fuse_reach: 1,
    mask_gate: 0.494,
    cam_gate: 0.522,
    cam_threshold: 0.3,
    ..MethodConfig::default()
});
pub(crate) static REFERENCES: LazyLock<[Reference<'static>; 2]> =
    LazyLock::new(|| MODELS.each_ref().map(|model| Reference::new(model, &CLIENT, &METHOD)));

/// A published slice that is compared to the bit and printed in a line.
#[derive(Clone)]
pub(crate) struct Shown(pub(crate) PublishedSlice);

impl PartialEq for Shown {
    fn eq(&self, Self(other): &Self) -> bool {
        let Self(own) = self;
        let bits = |slice: &PublishedSlice| [slice.probability, slice.single_probability].map(f32::to_bits);
        own.slice == other.slice
            && bits(own) == bits(other)
            && own.plane == other.plane
            && own.header == other.header
            && own.pseudo_mask == other.pseudo_mask
            && own.mask == other.mask
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(PublishedSlice { slice, probability, single_probability, pseudo_mask, mask, .. }) = self;
        let [pseudo_mask, mask] = [pseudo_mask, mask].map(|mask| mask.as_ref().map(|mask| mask.count()));
        let place = (slice.along_um, &slice.instance, slice.frame, slice.digest);
        write!(f, "{place:?} {probability} {single_probability} {pseudo_mask:?} {mask:?}")
    }
}

/// The result of each series that has a slice, by the method of each role.
pub(crate) type State = BTreeMap<(SeriesKey, Role), Arc<(String, Status, Completeness, Vec<Shown>)>>;

/// The graph [`hemorrhage`](hemoflow::graphs::hemorrhage) in its engine, and `graphs::batch`.
struct Hemorrhage;

impl Law for Hemorrhage {
    type Change = Step;
    type State = State;

    fn stream(&self, steps: &[Step], setting: Setting) -> Streamed<State> {
        let fault = Fault::default();
        let telemetry = Telemetry::new(Metrics::register(&prometheus::Registry::new()).expect("metrics"));
        let mut compute = Compute::on(Device::Cpu);
        compute.limits.batch = setting.batch;
        let stages = Stages::start(compute, Store::unbounded(), telemetry.clone(), fault.clone()).expect("stages");
        let methods =
            MODELS.each_ref().map(|model| stages.load(model.clone(), METHOD.clone()).expect("a method").digest);
        let (mut engine, outputs) =
            Engine::start(stages.clone(), setting.workers, telemetry, fault, 0).expect("an engine");
        engine.activate(methods[0]).expect("a graph that runs");
        for (step, sent) in steps.iter().zip(1..) {
            send(&mut engine, step, methods).expect("a graph that runs");
            if setting.settle_every.is_some_and(|every| sent % every == 0) {
                engine.settle().expect("a graph that runs");
            }
        }
        engine.finish().expect("a clean end");
        let (publications, refused) = sorted(outputs);
        let held = stages.store.usage().iter().map(|kind| kind.names).sum();
        Streamed { at: states(&publications, steps.len()), versions: versions(publications), refused, held }
    }

    fn batch(&self, steps: &[Step]) -> Told<State> {
        told(steps, &REFERENCES)
    }

    fn present(&self, steps: &[Step]) -> Vec<Step> {
        let [active, shadow] = models(steps);
        let uses = active.map(Step::Use).into_iter().chain([Step::Shadow(shadow)]);
        uses.chain(present(steps).into_iter().map(|(index, form)| Step::Arrive(index, form))).collect()
    }

    fn undo(&self, step: &Step) -> Option<Step> {
        if let Step::Arrive(index, _) = step { Some(Step::Withdraw(*index)) } else { None }
    }
}

/// What must be published and refused after these steps.
pub(crate) fn told(steps: &[Step], references: &[Reference<'static>; 2]) -> Told<State> {
    let mut state = State::new();
    for (at, step) in steps.iter().enumerate() {
        let Step::Release(series) = step else { continue };
        let kept = now(&steps[..at], references).state;
        state.extend(kept.into_iter().filter(|((key, _), _)| *key == SERIES[*series]));
        // What was let go stays as it was until the series has a result again.
        let again = |until: usize| now(&steps[..until], references).state.into_keys();
        let again: BTreeSet<(SeriesKey, Role)> = (at + 1..=steps.len()).flat_map(again).collect();
        state.retain(|result, _| !again.contains(result));
    }
    let now = now(steps, references);
    state.extend(now.state);
    Told { state, refused: now.refused }
}

/// What a batch run says of the instances that are present and were not let go.
fn now(steps: &[Step], references: &[Reference<'static>; 2]) -> Told<State> {
    let (mut state, mut refused) = (State::new(), Vec::new());
    for (role, model) in [Role::Active, Role::Shadow].into_iter().zip(models(steps)) {
        let Some(model) = model else { continue };
        let stranger = |step: &Step| (*step == Step::Arrive(INSTANCES.len(), Form::Broken)).then_some(&*STRANGER);
        let known = present(steps).into_iter().filter_map(|(index, form)| Some(&INSTANCES.get(index)?[&form]));
        let batch = references[model].batch(known.chain(steps.iter().find_map(stranger))).expect("a result");
        for (key, slices) in batch.series {
            let places: Vec<Slice> = slices.iter().map(|published| published.slice.clone()).collect();
            let (completeness, status) = judge(&places, signs(steps, &key).into_iter(), METHOD.max_gap_mm);
            let shown = slices.into_iter().map(Shown).collect();
            state.insert((key, role), Arc::new((MODELS[model].name().sha256, status, completeness, shown)));
        }
        refused = batch.rejections.iter().map(line).collect();
    }
    let at_the_door =
        steps.iter().filter_map(|step| if let Step::Refuse(index) = step { Some(refusal(*index)) } else { None });
    let mut refused: Vec<String> = refused.into_iter().chain(at_the_door.map(|refused| line(&refused))).collect();
    refused.sort();
    Told { state, refused }
}

/// The signs that a series has.
fn signs(steps: &[Step], key: &SeriesKey) -> BTreeSet<Sign> {
    let of = |step: &Step| {
        let Step::Sign(series, sign) = *step else { return None };
        (SERIES[series] == *key).then_some(SIGNS[sign])
    };
    steps.iter().filter_map(of).collect()
}

/// Sends a step. The last series cannot wait: it has a lane of its own.
pub(crate) fn send(engine: &mut Engine, step: &Step, methods: [Digest; 2]) -> anyhow::Result<Tick> {
    let forms = |index: usize| INSTANCES.get(index);
    match *step {
        Step::Arrive(index, form) => {
            let instance = forms(index).map_or(&*STRANGER, |forms| &forms[&form]);
            let urgency = if instance.key == SERIES[2] { Urgency::Stat } else { Urgency::Routine };
            engine.arrive(instance, urgency)
        }
        Step::Withdraw(index) => {
            let Instance { key, uid, .. } = forms(index).map_or(&*STRANGER, |forms| &forms[&Form::Plain]);
            engine.send(Change::Withdrawn { key: key.clone(), instance: uid.clone() })
        }
        Step::Sign(series, sign) => engine.send(Change::Signed { key: SERIES[series].clone(), sign: SIGNS[sign] }),
        Step::Release(series) => engine.send(Change::Released { key: SERIES[series].clone() }),
        Step::Use(model) => engine.activate(methods[model]),
        Step::Shadow(model) => engine.shadow(model.map(|model| methods[model])),
        Step::Refuse(index) => engine.send(Change::Refused(refusal(index))),
    }
}

pub(crate) fn line(rejection: &Rejection) -> String {
    format!("{} {} {}", rejection.input, rejection.reason, rejection.detail)
}

/// The publications in the order of their ticks, and what is refused in the end. Outputs of one series come in its order.
fn sorted(outputs: impl IntoIterator<Item = Output>) -> (Vec<Publication>, Vec<String>) {
    let mut publications = Vec::new();
    let mut refused: BTreeMap<Rejection, isize> = BTreeMap::new();
    for output in outputs {
        match output {
            Output::Published(publication, _) => publications.push(publication),
            Output::Rejected(rejection, diff) => *refused.entry(rejection).or_default() += diff,
        }
    }
    assert!(refused.values().all(|count| *count >= 0), "taken back before it was said: {refused:?}");
    publications.sort_by_key(|publication| publication.tick);
    let repeated = |(rejection, count): (Rejection, isize)| std::iter::repeat_n(line(&rejection), count.unsigned_abs());
    let mut refused: Vec<String> = refused.into_iter().flat_map(repeated).collect();
    refused.sort();
    (publications, refused)
}

fn states(publications: &[Publication], ticks: usize) -> Vec<State> {
    let mut coming = publications.iter().peekable();
    let mut state = State::new();
    let after = |tick: usize| {
        // The first tick is that of the first model.
        while let Some(publication) = coming.next_if(|publication| publication.tick == tick as u64 + 1) {
            let shown = publication.slices.iter().cloned().map(Shown).collect();
            let (key, status) = ((publication.key.clone(), publication.role), publication.status);
            if status == Status::Withdrawn {
                state.remove(&key);
            } else {
                let (model, completeness) = (publication.method.name.sha256.clone(), publication.completeness.clone());
                state.insert(key, Arc::new((model, status, completeness, shown)));
            }
        }
        state.clone()
    };
    let states = (0..ticks).map(after).collect();
    assert!(coming.next().is_none(), "a publication at a tick that no change has");
    states
}

fn versions(publications: Vec<Publication>) -> Vec<Vec<Version>> {
    let mut versions: BTreeMap<(SeriesKey, Role), Vec<Version>> = BTreeMap::new();
    for Publication { key, role, version, tick, .. } in publications {
        let tick = usize::try_from(tick - 1).expect("small");
        versions.entry((key, role)).or_default().push(Version { number: version, tick });
    }
    versions.into_values().collect()
}

fn settings() -> impl Strategy<Value = Setting> {
    let workers = prop::sample::select(&[1, 2, 4][..]);
    let batch = prop::sample::select(&[8, 1, 3][..]);
    let settle_every = prop_oneof![4 => Just(None), 1 => (1_usize..8).prop_map(Some)];
    (workers, batch, settle_every).prop_map(|(workers, batch, settle_every)| Setting { workers, batch, settle_every })
}

proptest! {
    #![proptest_config(cases(16))]

    /// Law 1. Does not cover: what was refused at ticks before the last, which outputs do not tell; a sender that loses or
    /// reorders its own changes of one instance, which is another sequence of changes; one SOP Instance UID in two series.
    #[test]
    fn every_tick_shows_what_a_batch_run_gives(steps in steps(), setting in settings()) {
        law::holds_at_every_tick(&Hemorrhage, &steps, setting)?;
    }

    /// Law 2. Does not cover: the number of processes; how threads might have been scheduled and were not.
    #[test]
    fn workers_batches_and_pace_do_not_matter(steps in steps(), one in settings(), other in settings()) {
        law::settings_do_not_matter(&Hemorrhage, &steps, [one, other])?;
    }

    /// Law 3, of the blocks on all shelves. Does not cover: entries of arrangements, and what is remembered of a series for
    /// good: that it is complete, and the number of its last version; what is let go, whose result stays.
    #[test]
    fn what_is_withdrawn_leaves_nothing(mut steps in steps(), setting in settings()) {
        steps.retain(|step| !matches!(step, Step::Release(_)));
        law::insert_then_retract_leaves_nothing(&Hemorrhage, &steps, setting)?;
    }

    /// Law 4. Does not cover: how much work a repetition costs, which metrics count.
    #[test]
    fn what_comes_twice_makes_no_version(steps in steps(), setting in settings()) {
        law::twice_is_a_no_op(&Hemorrhage, &steps, setting)?;
    }

    // Law 5, kill and restart, needs the log and is no law of one run: its test stands elsewhere.

    /// Law 6. Does not cover: bytes that break a reader or a codec, which the tests of `dicom` and `decode` are about.
    #[test]
    fn what_is_corrupt_is_refused_and_the_others_go_on(
        mut steps in steps(), place in 0_usize..30, door: bool, setting in settings(),
    ) {
        // What is let go takes its refusals along.
        steps.retain(|step| !matches!(step, Step::Release(_)));
        let corrupt = if door { Step::Refuse(9) } else { Step::Arrive(INSTANCES.len(), Form::Broken) };
        law::corrupt_is_rejected_and_others_go_on(&Hemorrhage, &steps, (place, &corrupt), setting)?;
    }
}

/// A law that is tried on nothing holds: what the steps make must be worth comparing.
#[test]
fn the_series_of_the_laws_lie_on_both_sides_of_each_gate_and_have_masks() {
    let plain: Vec<Instance> = INSTANCES.iter().map(|forms| forms[&Form::Plain].clone()).collect();
    let batch = batch(&MODELS[0], &CLIENT, &METHOD, &plain).expect("a result");
    let shown = |batch: Batch| -> Vec<Shown> { batch.series.into_values().flatten().map(Shown).collect() };
    let remembered = [(); 2].map(|()| shown(REFERENCES[0].batch(&plain).expect("a result")));
    let shown = shown(batch);
    assert!(
        remembered.iter().all(|remembered| *remembered == shown),
        "what the oracle remembers is what it says afresh"
    );
    let slices: Vec<PublishedSlice> = shown.into_iter().map(|Shown(slice)| slice).collect();
    let some = |what: &str, of: fn(&PublishedSlice) -> bool| {
        let count = slices.iter().filter(|slice| of(slice)).count();
        let shown: Vec<Shown> = slices.iter().cloned().map(Shown).collect();
        assert!(0 < count && count < slices.len(), "{count} of {} slices {what}: {shown:#?}", slices.len());
    };
    some("pass the gate of masks", |slice| slice.mask.is_some());
    some("pass the gate of maps", |slice| slice.single_probability >= METHOD.cam_gate);
    some("have a pseudo-mask", |slice| slice.pseudo_mask.as_ref().is_some_and(|mask| !mask.is_empty()));
    some("have a segmentation", |slice| slice.mask.as_ref().is_some_and(|mask| !mask.is_empty()));
    let frames = INSTANCES.iter().flat_map(|forms| forms.values()).flat_map(|form| &form.frames);
    let digests: BTreeSet<Digest> = frames.map(|frame| frame.slice.digest).collect();
    assert_eq!(digests.len(), 5 * (13 + 1) - 1, "each form of each slice is content of its own, but of the twins");
}

#[test]
fn all_instances_in_any_order_end_as_a_batch_run() {
    let forwards: Vec<Step> = (0..INSTANCES.len()).map(|index| Step::Arrive(index, Form::Plain)).collect();
    let backwards: Vec<Step> = forwards.iter().rev().copied().collect();
    let strided: Vec<Step> = (0..5).flat_map(|start| forwards.iter().skip(start).step_by(5).copied()).collect();
    for steps in [forwards, backwards, strided] {
        for workers in [1, 2, 4] {
            let setting = Setting { workers, batch: 8, settle_every: None };
            law::ends_as_batch(&Hemorrhage, &steps, setting).expect("the law");
        }
    }
}

#[test]
fn a_sign_says_nothing_of_a_series_that_was_withdrawn() {
    let steps = [Step::Arrive(0, Form::Plain), Step::Withdraw(0), Step::Sign(0, 0)];
    let streamed = Hemorrhage.stream(&steps, Setting { workers: 1, batch: 8, settle_every: None });
    let versions: Vec<u64> = streamed.versions.concat().iter().map(|version| version.number).collect();
    assert_eq!(versions, [1, 2], "the arrival and the withdrawal");
}

#[test]
fn a_sign_before_the_first_slice_is_known_in_every_lane() {
    for (series, index) in [(0, 0), (2, 9)] {
        let steps = [Step::Sign(series, 0), Step::Arrive(index, Form::Plain)];
        law::ends_as_batch(&Hemorrhage, &steps, Setting { workers: 1, batch: 8, settle_every: None }).expect("final");
    }
}

#[test]
fn what_was_let_go_leaves_no_block_and_no_version() {
    let arrivals: Vec<Step> = (0..5).map(|index| Step::Arrive(index, Form::Plain)).collect();
    let steps = [&arrivals[..], &[Step::Release(0)]].concat();
    let streamed = Hemorrhage.stream(&steps, Setting { workers: 1, batch: 8, settle_every: None });
    assert_eq!((streamed.held, streamed.versions.concat().len()), (0, 5));
}
