//! Cost follows change: the blocks that an update makes each stage compute, counted by the metrics.
//!
//! What a result is made of has names. An update costs the names that are needed after it and were not needed before it;
//! [`needed`] lists them from what is present, by a plain function. It shares with the graph how a plan is made and how a
//! task is named, which `operators/src/stack.rs` tests against planning from scratch; it has no ticks and no shelves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;
use hemoflow::engine::{Engine, Output};
use hemoflow::graphs::stages::{Compute, Setup};
use hemoflow::kernels::Device;
use hemoflow::kernels::executor::{Fault, Urgency};
use hemoflow::operators::classify::Call;
use hemoflow::operators::dicom::{Frame, Instance, Pixels, Source};
use hemoflow::operators::event::{Metrics, Telemetry};
use hemoflow::operators::fuse::FuseTask;
use hemoflow::operators::phantom::{self, PhantomConfig};
use hemoflow::operators::plumbing::Task;
use hemoflow::operators::publish::Publication;
use hemoflow::operators::reconcile::ReconcileTask;
use hemoflow::operators::record::{
    Change, Digest, InstanceUid, Method, MethodConfig, SeriesKey, SeriesUid, Sign, Slice, StudyUid, Tick,
};
use hemoflow::operators::refine::RefineTask;
use hemoflow::operators::segment::SegmentTask;
use hemoflow::operators::stack::{encoding_name, plans};
use hemoflow::operators::store::Store;
use proptest::prelude::*;

use crate::laws::{METHOD, MODELS, REFERENCES, send};
use crate::support::law::cases;
use crate::support::steps::{INSTANCES, STRANGER, Step, models, present, steps};

const STAGES: [&str; 7] = ["Decode", "Encode", "Classify", "Fuse", "Refine", "Reconcile", "Segment"];

/// Names by stage.
type Names = BTreeMap<&'static str, BTreeSet<Digest>>;
/// Blocks computed by stage.
type Counts = BTreeMap<&'static str, u64>;

/// The names of all blocks that the results of what is present are made of.
fn needed(steps: &[Step]) -> Names {
    let mut names: Names = STAGES.into_iter().map(|stage| (stage, BTreeSet::new())).collect();
    let mut need = |stage, name| names.get_mut(stage).expect("a stage").insert(name);
    let instance = |index: usize, form| INSTANCES.get(index).map_or(&*STRANGER, |forms| &forms[&form]);
    let present: Vec<&Instance> = present(steps).into_iter().map(|(index, form)| instance(index, form)).collect();
    for frame in present.iter().flat_map(|instance| &instance.frames) {
        need("Decode", frame.slice.digest);
    }
    for model in models(steps).into_iter().flatten() {
        let (model, reference) = (&MODELS[model], &REFERENCES[model]);
        let method = Method::new(model.digest(), model.name(), METHOD.clone()).expect("a method");
        let batch = reference.batch(present.iter().copied()).expect("a result");
        for published in batch.series.into_values() {
            let slices: Vec<Slice> = published.iter().map(|published| published.slice.clone()).collect();
            for (plan, published) in plans(slices, &method).into_iter().zip(published) {
                assert_eq!(plan.slice, published.slice, "both are in z order");
                need("Encode", encoding_name(&method, &plan.slice));
                for context in &plan.context {
                    need("Classify", context.name);
                }
                let call = Call { plan, positive: published.mask.is_some() };
                for near in call.plan.neighborhoods.iter().flatten().filter(|_| call.positive) {
                    need("Fuse", FuseTask(Arc::clone(near)).name());
                    need("Refine", RefineTask(Arc::clone(near)).name());
                }
                if let Some(task) = ReconcileTask::of(&call) {
                    need("Reconcile", task.name());
                }
                if let Some(task) = SegmentTask::of(&call, method.digest) {
                    need("Segment", task.name());
                }
            }
        }
    }
    names
}

/// A running graph whose blocks are counted.
struct Counted {
    engine: Engine,
    outputs: Receiver<Output>,
    telemetry: Telemetry,
    methods: [Digest; 2],
}

impl Counted {
    fn start(config: &MethodConfig, workers: usize) -> Self {
        Self::gated(config, workers, |_| {})
    }

    fn gated(config: &MethodConfig, workers: usize, gate: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        let fault = Fault::default();
        let telemetry = Telemetry::new(Metrics::register(&prometheus::Registry::new()).expect("metrics"));
        // A thread that the gate holds up leaves one more.
        let compute = Compute { host_threads: 2.try_into().expect("not zero"), ..Compute::on(Device::Cpu) };
        let setup = Setup::gated(compute, Store::unbounded(), telemetry.clone(), gate).expect("the CPU");
        let stages = setup.start(fault.clone());
        let stages = stages.expect("stages");
        let methods =
            MODELS.each_ref().map(|model| stages.load(model.clone(), config.clone()).expect("a method").digest);
        let (mut engine, outputs) = Engine::start(stages, workers, telemetry.clone(), fault, 0).expect("an engine");
        engine.activate(methods[0]).expect("a graph that runs");
        Self { engine, outputs, telemetry, methods }
    }

    /// The blocks that a change makes the stages compute, all its effects included.
    fn cost(&mut self, change: impl FnOnce(&mut Engine) -> anyhow::Result<Tick>) -> Counts {
        let tasks = |telemetry: &Telemetry| STAGES.map(|stage| telemetry.metrics().tasks_of(stage));
        let before = tasks(&self.telemetry);
        change(&mut self.engine).expect("a graph that runs");
        self.engine.settle().expect("a graph that runs");
        let after = tasks(&self.telemetry);
        STAGES.into_iter().zip(before.into_iter().zip(after).map(|(before, after)| after - before)).collect()
    }

    /// What was published since this was asked last.
    fn published(&self) -> Vec<Publication> {
        let publication =
            |output| if let Output::Published(publication, _) = output { Some(publication) } else { None };
        self.outputs.try_iter().filter_map(publication).collect()
    }
}

proptest! {
    #![proptest_config(cases(16))]

    /// Each update computes the blocks that are needed after it and were not before, each once: whatever the workers, for
    /// whatever series, lane and model they are needed. Does not cover: changes that come before earlier ones have had
    /// their effect, whose blocks may be made although nobody needs them in the end.
    #[test]
    fn an_update_costs_what_it_makes_needed(steps in steps(), workers in prop::sample::select(&[1_usize, 2, 4][..])) {
        let mut graph = Counted::start(&METHOD, workers);
        let methods = graph.methods;
        graph.engine.settle().expect("a graph that runs");
        let mut before = needed(&[]);
        for (count, step) in (1..).zip(&steps) {
            let cost = graph.cost(|engine| send(engine, step, methods));
            let after = needed(&steps[..count]);
            let new = |stage: &'static str| after[stage].difference(&before[stage]).count() as u64;
            let expected: Counts = STAGES.into_iter().map(|stage| (stage, new(stage))).collect();
            prop_assert!(cost == expected, "{step:?}, step {count} of {steps:?}: {cost:?} is not {expected:?}");
            before = after;
        }
        graph.engine.finish().expect("a clean end");
    }
}

/// Windows of three slices, maps fused over three, every slice above every gate.
fn all_positive() -> MethodConfig {
    MethodConfig { mask_gate: 0.0, cam_gate: 0.0, ..METHOD.clone() }
}

/// A series of 20 slices without headers, with the content that `variant` says at one place.
fn series(study: &str) -> Vec<Instance> {
    let config = PhantomConfig { seed: 5, slices: Some(20), matrix: 64, ..PhantomConfig::default() };
    let drawn = phantom::study(&config, 0);
    let key = SeriesKey {
        study: StudyUid::new(study).expect("a UID"),
        series: SeriesUid::new(&format!("{study}.1")).expect("a UID"),
    };
    let instance = |(number, slice): (u32, &phantom::PhantomSlice)| {
        let uid = InstanceUid::new(&format!("{study}.1.{number}")).expect("a UID");
        let digest = Digest::builder("test").number(number.into()).finish();
        let pixels = Pixels { source: Source::Decoded(Arc::new(slice.plane.clone())), header: None };
        let slice = Slice::new(uid.clone(), 1, digest, slice.geometry.clone());
        Instance { key: key.clone(), uid, frames: vec![Frame { slice, pixels }] }
    };
    (1..).zip(&drawn.slices).map(instance).collect()
}

/// The same instance with other content: that of another slice, under another name.
fn repainted(instance: &Instance, by: &Instance) -> Instance {
    let mut other = instance.clone();
    other.frames[0].pixels = by.frames[0].pixels.clone();
    other.frames[0].slice.digest = Digest::builder("repainted").digest(&instance.frames[0].slice.digest).finish();
    other
}

fn counts(counts: [u64; 7]) -> Counts {
    STAGES.into_iter().zip(counts).collect()
}

#[test]
fn one_change_of_a_long_series_costs_so_many_blocks() {
    const NOTHING: [u64; 7] = [0; 7];
    let mut graph = Counted::start(&all_positive(), 1);
    let series = series("1.2.3");
    let late = &series[10];
    let rest: Vec<Instance> = series.iter().filter(|instance| instance.uid != late.uid).cloned().collect();
    graph.cost(|engine| engine.arrive_together(&rest, Urgency::Routine));
    let mut cost = |change: &dyn Fn(&mut Engine) -> anyhow::Result<Tick>| graph.cost(change);
    // The three windows and the three neighborhoods that hold it; masks agree with those of their next slices.
    let own = counts([1, 1, 3, 3, 3, 5, 1]);
    assert_eq!(cost(&|engine| engine.arrive(late, Urgency::Routine)), own, "a late slice");
    assert_eq!(cost(&|engine| engine.arrive(late, Urgency::Routine)), counts(NOTHING), "the same again");
    let sign = Change::Signed { key: late.key.clone(), sign: Sign::Requested };
    assert_eq!(cost(&|engine| engine.send(sign.clone())), counts(NOTHING), "a sign");
    let other = repainted(late, &series[0]);
    assert_eq!(cost(&|engine| engine.arrive(&other, Urgency::Routine)), own, "other content");
    let withdrawn = Change::Withdrawn { key: late.key.clone(), instance: late.uid.clone() };
    let without = counts([0, 0, 2, 2, 2, 4, 0]);
    assert_eq!(cost(&|engine| engine.send(withdrawn.clone())), without, "a withdrawal brings neighbors together");
    assert_eq!(cost(&|engine| engine.send(withdrawn.clone())), counts(NOTHING), "nothing to withdraw");
    let end = repainted(&series[19], &series[0]);
    let at_the_end = counts([1, 1, 1, 2, 2, 3, 1]);
    assert_eq!(cost(&|engine| engine.arrive(&end, Urgency::Routine)), at_the_end, "other content at the end");
    graph.engine.finish().expect("a clean end");
}

#[test]
fn what_lies_far_from_a_change_is_the_same_block_as_before() {
    let mut graph = Counted::start(&all_positive(), 2);
    let series = series("1.2.3");
    graph.cost(|engine| engine.arrive_together(&series, Urgency::Routine));
    let before = graph.published().pop().expect("a result");
    let other = repainted(&series[10], &series[0]);
    graph.cost(|engine| engine.arrive(&other, Urgency::Routine));
    let after = graph.published().pop().expect("a result");
    for (place, (before, after)) in before.slices.iter().zip(&after.slices).enumerate() {
        let same = |before: &Option<Arc<_>>, after: &Option<Arc<_>>| match (before, after) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after),
            _ => panic!("every slice has masks"),
        };
        assert_eq!(same(&before.mask, &after.mask), place != 10, "the mask of slice {place}");
        assert_eq!(same(&before.pseudo_mask, &after.pseudo_mask), place.abs_diff(10) > 2, "the pseudo-mask of {place}");
        assert!(
            place.abs_diff(10) <= 2 || before.probability.to_bits() == after.probability.to_bits(),
            "slice {place}"
        );
    }
    graph.engine.finish().expect("a clean end");
}

#[test]
fn what_another_series_holds_costs_nothing_and_neither_does_what_is_put_back() {
    let mut graph = Counted::start(&all_positive(), 1);
    let (one, other) = (series("1.2.3"), series("1.2.4"));
    let mut cost = |change: &dyn Fn(&mut Engine) -> anyhow::Result<Tick>| -> u64 { graph.cost(change).values().sum() };
    assert!(cost(&|engine| engine.arrive_together(&one, Urgency::Routine)) > 0);
    assert_eq!(cost(&|engine| engine.arrive_together(&other, Urgency::Stat)), 0, "the same slices in another lane");
    let gone = &one[10];
    let withdrawn = Change::Withdrawn { key: gone.key.clone(), instance: gone.uid.clone() };
    assert!(cost(&|engine| engine.send(withdrawn.clone())) > 0, "its neighbors were never together");
    assert_eq!(cost(&|engine| engine.arrive(gone, Urgency::Routine)), 0, "the other series holds what it needs");
    assert_eq!(cost(&|engine| engine.send(Change::Released { key: gone.key.clone() })), 0);
    graph.engine.finish().expect("a clean end");
}

#[test]
fn a_model_that_was_a_shadow_and_one_that_is_active_already_take_over_for_nothing() {
    let mut graph = Counted::start(&all_positive(), 1);
    let (series, [first, second]) = (series("1.2.3"), graph.methods);
    let mut cost = |change: &dyn Fn(&mut Engine) -> anyhow::Result<Tick>| -> u64 { graph.cost(change).values().sum() };
    assert!(cost(&|engine| engine.arrive_together(&series, Urgency::Routine)) > 0);
    assert_eq!(cost(&|engine| engine.activate(first)), 0, "it is active");
    assert!(cost(&|engine| engine.shadow(Some(second))) > 0);
    assert_eq!(cost(&|engine| engine.activate(second)), 0, "it has caught up");
    assert_eq!(cost(&|engine| engine.shadow(None)), 0);
    assert!(cost(&|engine| engine.activate(first)) > 0, "nobody held what it said");
    graph.engine.finish().expect("a clean end");
}

/// How long what must come may take, and how long what must not come is waited for.
const SOON: Duration = Duration::from_secs(60);
const WHILE: Duration = Duration::from_millis(300);

#[test]
fn a_flood_waits_at_the_door_and_what_cannot_wait_is_published_meanwhile() {
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    let (hold, holds) = crossbeam_channel::bounded::<()>(1);
    let held = AtomicBool::new(false);
    let mut graph = Counted::gated(&all_positive(), 1, move |stage| {
        // The first batch of slices is held up until the other end is dropped.
        if stage == "Decode" && !held.swap(true, Ordering::Relaxed) {
            hold.send(()).ok();
            released.recv().ok();
        }
    });
    let (routine, stat) = (series("1.2.3"), series("1.2.4"));
    let outputs = graph.outputs.clone();
    let of = |key: &SeriesKey| {
        let mut heard = std::iter::from_fn(|| outputs.recv_timeout(SOON).ok());
        heard.find(|output| matches!(output, Output::Published(publication, _) if publication.key == *key))
    };
    graph.engine.arrive(&routine[0], Urgency::Routine).expect("a graph that runs");
    holds.recv_timeout(SOON).expect("its batch begins");
    // Other content than what the routine series waits for.
    graph.engine.arrive(&repainted(&stat[5], &routine[5]), Urgency::Stat).expect("a graph that runs");
    assert!(of(&stat[5].key).is_some(), "published although the routine lane stands");

    const FLOOD: usize = 300;
    let (sent, heard) = crossbeam_channel::unbounded();
    let key = &routine[0].key;
    std::thread::scope(|scope| {
        let engine = &mut graph.engine;
        scope.spawn(move || {
            for number in 0..FLOOD {
                let sign = Sign::Expected { instances: 1000 + u32::try_from(number).expect("small") };
                engine.send(Change::Signed { key: key.clone(), sign }).expect("a graph that runs");
                sent.send(number).expect("somebody counts");
            }
        });
        let before: usize = std::iter::from_fn(|| heard.recv_timeout(WHILE).ok()).count();
        drop(release);
        let after = std::iter::from_fn(|| heard.recv_timeout(SOON).ok()).count();
        assert!((1..=96).contains(&before), "{before} of {FLOOD} changes were taken while nothing went on");
        assert_eq!(before + after, FLOOD, "and the others when it did");
    });
    graph.engine.finish().expect("a clean end");
    assert!(of(key).is_some(), "the routine series too");
}
