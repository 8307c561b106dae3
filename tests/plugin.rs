//! The graph inside programs of others: the examples run, and a graph with an operator of its user's own keeps the laws.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, LazyLock};

use differential_dataflow::input::InputSession;
use hemoflow::graphs::batch::Reference;
use hemoflow::graphs::stages::{Compute, Setup, StageError};
use hemoflow::graphs::topology;
use hemoflow::kernels::executor::Fault;
use hemoflow::kernels::{Client, Device};
use hemoflow::operators::dicom::Instance;
use hemoflow::operators::event::{Metrics, Telemetry};
use hemoflow::operators::measure::volume_ml;
use hemoflow::operators::model::Model;
use hemoflow::operators::publish::{Publication, PublishedSlice};
use hemoflow::operators::record::{Change, Mask, MethodConfig, Rejection, Role, SeriesKey, Slice, Tick, Use};
use hemoflow::operators::store::Store;
use hemoflow::operators::train::TrainConfig;
use proptest::prelude::*;
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Map;

use crate::support::law::{self, Law, Setting, Streamed, Told, Version, cases};
use crate::support::steps::{Form, INSTANCES};

#[allow(dead_code, reason = "a test calls what the program's own main calls")]
#[path = "../graphs/examples/plugin.rs"]
mod embedded;
#[allow(dead_code, reason = "a test calls what the program's own main calls")]
#[path = "../graphs/examples/own_operator/main.rs"]
mod own_operator;

use own_operator::{Quorum, solid};

/// A small model of random weights.
static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let config = TrainConfig { width: 2, input_size: 32, context_hidden: 16, unet_width: 2, ..TrainConfig::default() };
    let mut card = config.card("random", "0");
    card.segmenter = true;
    Model::untrained(card, 6, Device::Cpu).expect("a model")
});
static CLIENT: LazyLock<Client> = LazyLock::new(|| Device::Cpu.client().expect("the CPU runtime"));
/// Contexts shorter than a series, and gates in the middle of what these weights say.
static METHOD: LazyLock<MethodConfig> = LazyLock::new(|| MethodConfig {
    context_radius: 2,
    fuse_reach: 1,
    mask_gate: 0.494,
    cam_gate: 0.522,
    cam_threshold: 0.3,
    ..MethodConfig::default()
});
static REFERENCE: LazyLock<Reference<'static>> = LazyLock::new(|| Reference::new(&MODEL, &CLIENT, &METHOD));

/// An instance, by its place in [`INSTANCES`], that arrives in a form, or that is withdrawn.
type Step = (usize, Option<Form>);

/// What is published of each series that has a slice.
type State = BTreeMap<SeriesKey, Vec<Shown>>;

/// A published slice that is compared by its probability and its masks, and printed in a line.
#[derive(Clone, PartialEq)]
struct Shown(Slice, u32, [Option<Arc<Mask>>; 2]);

impl Shown {
    fn of(PublishedSlice { slice, probability, pseudo_mask, mask, .. }: PublishedSlice) -> Self {
        Self(slice, probability.to_bits(), [pseudo_mask, mask])
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(slice, probability, masks) = self;
        let masks = masks.each_ref().map(|mask| mask.as_ref().map(|mask| mask.count()));
        write!(f, "{} {} {:?} {masks:?}", slice.along_um, slice.instance, f32::from_bits(*probability))
    }
}

/// The graph of the example under a rule, and as its oracle `graphs::batch` with the core of the rule behind it.
struct Quorate(Quorum);

impl Quorate {
    fn gated(&self, slices: Vec<PublishedSlice>) -> Vec<Shown> {
        let weighed = slices.iter().map(|published| (published.slice.clone(), self.weight(published))).collect();
        let reached = self.0.reached(weighed, METHOD.max_gap_mm);
        let closed = |published| PublishedSlice { pseudo_mask: None, mask: None, ..published };
        let gate = |published| if reached { published } else { closed(published) };
        slices.into_iter().map(gate).map(Shown::of).collect()
    }

    fn weight(&self, PublishedSlice { slice, plane, pseudo_mask, .. }: &PublishedSlice) -> usize {
        let least = self.0.least_voxels(slice);
        pseudo_mask.as_ref().map_or(0, |mask| solid(mask, [plane.rows, plane.columns], least).0)
    }
}

fn present(steps: &[Step]) -> BTreeMap<usize, Form> {
    let mut forms = BTreeMap::new();
    for (index, form) in steps {
        match form {
            Some(form) => forms.insert(*index, *form),
            None => forms.remove(index),
        };
    }
    forms
}

fn setup(batch: usize) -> Setup {
    let telemetry = Telemetry::new(Metrics::register(&prometheus::Registry::new()).expect("metrics"));
    let mut compute = Compute::on(Device::Cpu);
    compute.limits.batch = batch;
    Setup::new(compute, Store::unbounded(), telemetry).expect("stages")
}

fn line(rejection: &Rejection) -> String {
    format!("{} {} {}", rejection.input, rejection.reason, rejection.detail)
}

impl Law for Quorate {
    type Change = Step;
    type State = State;

    fn stream(&self, steps: &[Step], setting: Setting) -> Streamed<State> {
        let mut setup = setup(setting.batch);
        let weigh = own_operator::weigh(&mut setup);
        let stages = setup.start(Fault::default()).expect("threads");
        let method = stages.load(MODEL.clone(), METHOD.clone()).expect("a method").digest;
        let (published, publications) = mpsc::channel();
        let (rejected, rejections) = mpsc::channel();
        let (rule, steps, store) = (self.0, steps.to_vec(), stages.store.clone());
        let count = steps.len();
        let workers = timely::execute(timely::Config::process(setting.workers), move |worker| {
            let (mut changes, mut uses) = (InputSession::new(), InputSession::new());
            let (published, rejected) = (published.clone(), rejected.clone());
            let probe = ProbeHandle::new();
            worker.dataflow::<Tick, _, _>(|scope| {
                let (changes, uses) = (changes.to_collection(scope), uses.to_collection(scope));
                let graph = own_operator::install(changes, uses, &stages, (rule, weigh.clone()));
                graph.publications.map(move |result| published.send(result).expect("a listener")).probe_with(&probe);
                let told = move |(rejection, _, diff): &(Rejection, Tick, isize)| {
                    rejected.send((line(rejection), *diff)).expect("a listener");
                };
                graph.rejections.inspect(told).probe_with(&probe);
            });
            if worker.index() == 0 {
                uses.insert(Use { role: Role::Active, method });
                for ((index, form), tick) in steps.iter().zip(0..) {
                    let Instance { key, uid, .. } = &INSTANCES[*index][&Form::Plain];
                    let change = match form {
                        Some(form) => stages.accept(&INSTANCES[*index][form], tick),
                        None => Change::Withdrawn { key: key.clone(), instance: uid.clone() },
                    };
                    changes.insert(change);
                    changes.advance_to(tick + 1);
                    uses.advance_to(tick + 1);
                    changes.flush();
                    uses.flush();
                    if setting.settle_every.is_some_and(|every| (tick + 1) % every as Tick == 0) {
                        stages.step_while(worker, |_| probe.less_than(&(tick + 1)))?;
                        stages.store.compact(tick + 1);
                    }
                }
            }
            drop((changes, uses));
            stages.step_while(worker, |worker| worker.has_dataflows())
        });
        let ended = workers.expect("workers").join().into_iter();
        ended.for_each(|worker| worker.expect("no panic").expect("no failure"));
        store.compact(Tick::MAX);
        let publications: Vec<Publication> = publications.try_iter().collect();
        let mut refused: BTreeMap<String, isize> = BTreeMap::new();
        rejections.try_iter().for_each(|(line, diff)| *refused.entry(line).or_default() += diff);
        let repeated = |(line, count): (String, isize)| vec![line; usize::try_from(count).expect("taken back once")];
        Streamed {
            at: states(&publications, count),
            versions: versions(&publications),
            refused: refused.into_iter().flat_map(repeated).collect(),
            held: store.usage().iter().map(|kind| kind.names).sum(),
        }
    }

    fn batch(&self, steps: &[Step]) -> Told<State> {
        let present = present(steps).into_iter().map(|(index, form)| &INSTANCES[index][&form]);
        let batch = REFERENCE.batch(present).expect("a result");
        let state = batch.series.into_iter().map(|(key, slices)| (key, self.gated(slices))).collect();
        let mut refused: Vec<String> = batch.rejections.iter().map(line).collect();
        refused.sort();
        Told { state, refused }
    }

    fn present(&self, steps: &[Step]) -> Vec<Step> {
        present(steps).into_iter().map(|(index, form)| (index, Some(form))).collect()
    }

    fn undo(&self, (index, form): &Step) -> Option<Step> {
        form.map(|_| (*index, None))
    }
}

fn states(publications: &[Publication], count: usize) -> Vec<State> {
    let mut state = State::new();
    let after = |tick: Tick| {
        for Publication { key, slices, .. } in publications.iter().filter(|published| published.tick == tick) {
            state.insert(key.clone(), slices.iter().cloned().map(Shown::of).collect());
        }
        state.retain(|_, slices| !slices.is_empty());
        state.clone()
    };
    (0..).take(count).map(after).collect()
}

fn versions(publications: &[Publication]) -> Vec<Vec<Version>> {
    let mut versions: BTreeMap<&SeriesKey, Vec<Version>> = BTreeMap::new();
    for Publication { key, version, tick, .. } in publications {
        let tick = usize::try_from(*tick).expect("small");
        versions.entry(key).or_default().push(Version { number: *version, tick });
    }
    versions.into_values().collect()
}

/// A rule that some of the series reach and others do not: the largest volume of theirs.
static RULE: LazyLock<Quorum> = LazyLock::new(|| {
    let open = Quorum { least_mm2: 30.0, least_ml: 0.0 };
    let plain = INSTANCES.iter().map(|forms| &forms[&Form::Plain]);
    let volume = |slices: &Vec<PublishedSlice>| {
        let places: Vec<Slice> = slices.iter().map(|published| published.slice.clone()).collect();
        let weights: Vec<usize> = slices.iter().map(|published| Quorate(open).weight(published)).collect();
        volume_ml(&places, &weights, METHOD.max_gap_mm)
    };
    let series = REFERENCE.batch(plain).expect("a result").series;
    Quorum { least_ml: series.values().map(volume).fold(0.0, f64::max), ..open }
});

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let count = INSTANCES.len();
    let all: Vec<Step> = (0..count).map(|index| (index, Some(Form::Plain))).collect();
    let forms: Vec<Form> = INSTANCES[0].keys().copied().collect();
    let then = (0..count, prop::option::weighted(0.6, prop::sample::select(forms)));
    let arrivals = prop::sample::subsequence(all, 0..=count).prop_shuffle();
    (arrivals, prop::collection::vec(then, 0..12)).prop_map(|(arrivals, then)| [arrivals, then].concat())
}

fn settings() -> impl Strategy<Value = Setting> {
    let (workers, batch) = (prop::sample::select(&[1, 2, 4][..]), prop::sample::select(&[8, 1, 3][..]));
    let settle_every = prop_oneof![2 => Just(None), 1 => (1_usize..6).prop_map(Some)];
    (workers, batch, settle_every).prop_map(|(workers, batch, settle_every)| Setting { workers, batch, settle_every })
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn a_graph_with_a_quorum_shows_what_a_batch_run_gives(steps in steps(), setting in settings()) {
        law::holds_at_every_tick(&Quorate(*RULE), &steps, setting)?;
    }

    #[test]
    fn a_quorum_does_not_depend_on_workers_batches_or_pace(steps in steps(), one in settings(), other in settings()) {
        law::settings_do_not_matter(&Quorate(*RULE), &steps, [one, other])?;
    }

    #[test]
    fn a_quorum_of_what_is_withdrawn_leaves_nothing(steps in steps(), setting in settings()) {
        law::insert_then_retract_leaves_nothing(&Quorate(*RULE), &steps, setting)?;
    }

    #[test]
    fn more_never_loses_a_quorum(voxels in prop::collection::vec(0_u8..2, 30), least in 0_usize..8, more in 0_usize..8) {
        let mask = Mask { voxels };
        let (few, many) = (solid(&mask, [5, 6], least.max(more)), solid(&mask, [5, 6], least.min(more)));
        prop_assert!(few.0 <= many.0 && many.0 <= mask.count());
        prop_assert_eq!(solid(&mask, [5, 6], 1).0, mask.count(), "every piece has a voxel");
    }
}

/// A law that is tried on nothing holds: the rule must make a difference, and not everywhere.
#[test]
fn some_series_of_the_laws_reach_the_quorum_and_others_do_not() {
    let all: Vec<Step> = (0..INSTANCES.len()).map(|index| (index, Some(Form::Plain))).collect();
    let masks = |rule: Quorum| -> Vec<bool> {
        let told = Quorate(rule).batch(&all).state;
        told.into_values().map(|slices| slices.iter().any(|Shown(.., masks)| masks[1].is_some())).collect()
    };
    let (gated, free) = (masks(*RULE), masks(Quorum { least_mm2: 0.0, least_ml: 0.0 }));
    assert!(gated.contains(&true) && gated != free, "{RULE:?}: {gated:?} of {free:?}");
}

#[test]
fn a_piece_counts_from_its_least_voxels_on_and_corners_connect() {
    let mask = Mask { voxels: vec![1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0] };
    let counted = [1, 2, 3].map(|least| solid(&mask, [3, 4], least).0);
    assert_eq!(counted, [3, 2, 0], "a pair over a corner, and a voxel alone");
}

#[test]
fn the_golden_tree_is_that_of_the_graph_with_a_quorum() {
    let mut setup = setup(1);
    let weigh = own_operator::weigh(&mut setup);
    let stages = setup.stages().clone();
    let tree = topology::tree(move |scope| {
        let (mut changes, mut uses) = (InputSession::new(), InputSession::new());
        let (changes, uses) = (changes.to_collection(scope), uses.to_collection(scope));
        drop(own_operator::install(changes, uses, &stages, (*RULE, weigh.clone())));
    });
    let golden = include_str!("../graphs/examples/own_operator/golden.txt");
    assert!(tree == golden, "golden.txt differs from the graph:\n{tree}");
}

#[test]
fn the_plugin_tells_who_ordered_what_changes_and_ends() {
    let (say, said) = mpsc::channel();
    let instances = embedded::phantoms().expect("phantoms");
    let model = embedded::random().expect("a model");
    embedded::run(instances, model, move |line| say.send(line.to_owned()).expect("a listener")).expect("a clean end");
    let lines: Vec<String> = said.try_iter().collect();
    let count = |ward: &str, sign: &str| lines.iter().filter(|line| line.contains(ward) && line.contains(sign)).count();
    assert_eq!(
        [count("emergency", " +1 "), count("emergency", " -1 ")],
        [6, 5],
        "a finding for each slice: {lines:#?}"
    );
    assert_eq!([count("ward 7", " +1 "), count("ward 7", " -1 ")], [1, 0], "the last finding only: {lines:#?}");
    assert!(lines.iter().any(|line| line.contains("ward 7") && line.contains("slices: 6")), "{lines:#?}");
    assert_eq!(lines.last().map(String::as_str), Some("12 slices encoded, each once"));
}

#[test]
fn a_stage_of_the_users_own_that_fails_ends_all_workers_with_its_reason() {
    let mut setup = setup(8);
    let weigh = setup.on_host("Weigh", |_| Err(StageError::Own("out of weights".into())));
    let stages = setup.start(Fault::default()).expect("threads");
    let config = MethodConfig { mask_gate: 0.0, ..METHOD.clone() };
    let method = stages.load(MODEL.clone(), config).expect("a method").digest;
    let workers = timely::execute(timely::Config::process(2), move |worker| {
        let (mut changes, mut uses) = (InputSession::new(), InputSession::new());
        worker.dataflow::<Tick, _, _>(|scope| {
            let (changes, uses) = (changes.to_collection(scope), uses.to_collection(scope));
            drop(own_operator::install(changes, uses, &stages, (*RULE, weigh.clone())));
        });
        if worker.index() == 0 {
            uses.insert(Use { role: Role::Active, method });
            changes.insert(stages.accept(&INSTANCES[0][&Form::Plain], 0));
        }
        drop((changes, uses));
        stages.step_while(worker, |worker| worker.has_dataflows())
    });
    for ended in workers.expect("workers").join() {
        let said = ended.expect("no panic").expect_err("a stage failed").to_string();
        assert_eq!(said, "Weigh: the stage failed: out of weights");
    }
}

#[test]
fn the_gate_of_the_example_opens_for_all_positive_slices_at_once() {
    let (say, said) = mpsc::channel();
    let instances = own_operator::phantom().expect("a phantom");
    let model = Model::load(Path::new(env!("CARGO_MANIFEST_DIR")).join("models").as_path(), Device::Cpu);
    let say = move |line: &str| say.send(line.to_owned()).expect("a listener");
    own_operator::run(instances, model.expect("the shipped model"), say).expect("a clean end");
    let lines: Vec<String> = said.try_iter().collect();
    let numbers = |line: &String| -> Option<[usize; 2]> {
        let (_, results) = line.split_once(" slices, ")?;
        let (positive, rest) = results.split_once(" positive, ")?;
        Some([positive.parse().ok()?, rest.strip_suffix(" segmented")?.parse().ok()?])
    };
    let results: Vec<[usize; 2]> = lines.iter().filter_map(numbers).collect();
    assert_eq!(results.len(), 16, "a version for each slice: {lines:#?}");
    let closed = results.iter().take_while(|[_, segmented]| *segmented == 0);
    assert!(closed.clone().any(|[positive, _]| *positive > 0), "positive, but not enough: {lines:#?}");
    let open = &results[closed.count()..];
    assert!(!open.is_empty() && open.iter().all(|[positive, segmented]| positive == segmented), "{lines:#?}");
}

/// The code of the page, and that of the README, is the examples': each Rust block stands in one of these files, line by line.
#[test]
fn the_code_of_the_page_is_the_code_of_the_example() {
    let files = [
        include_str!("../graphs/examples/own_operator/main.rs"),
        include_str!("../graphs/examples/own_operator/quorum.rs"),
        include_str!("../graphs/examples/plugin.rs"),
        include_str!("plugin.rs"),
    ];
    let lines = |text: &str| text.lines().map(|line| format!("\n{}", line.trim())).collect::<String>();
    let files = files.map(lines);
    let page = include_str!("../docs/adding-an-operator.md");
    let pages = [page, include_str!("../README.md")].concat();
    let blocks: Vec<&str> = pages.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 5, "the page shows the change");
    for block in blocks {
        assert!(files.iter().any(|file| file.contains(&lines(block))), "in no file of the example:\n{block}");
    }
    let golden = include_str!("../graphs/examples/own_operator/golden.txt");
    let shown = page.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a tree");
    assert!(lines(golden).contains(&lines(shown)), "not in golden.txt:\n{shown}");
}
