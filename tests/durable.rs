//! Law 5: whatever kills a node, what it acknowledged is there when it starts again, and nothing is published twice.
//!
//! Here a node lives in the process of the test and is dropped in the middle of its work; [`program`] kills a process. Not
//! on trial is a machine that loses power: what the system had not brought to the disk by then is lost.

mod program;
mod retention;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use hemoflow::collector::{Collected, Current};
use hemoflow::data::{DataFolder, Entry, Event, published_as};
use hemoflow::graphs::batch::Reference;
use hemoflow::graphs::stages::Compute;
use hemoflow::kernels::Device;
use hemoflow::node::{Node, Payload, Settings};
use hemoflow::operators::completeness::Status;
use hemoflow::operators::event::{Metrics, Telemetry};
use hemoflow::operators::record::{Change, MethodConfig, Role, SeriesKey};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::laws::{CLIENT, MODELS, Shown, State, line, told};
use crate::support::law::{Told, cases};
use crate::support::steps::{Form, INSTANCES, SERIES, SIGNS, Step, models, payload, present, refusal, steps};

const STAGES: [&str; 7] = ["Decode", "Encode", "Classify", "Fuse", "Refine", "Reconcile", "Segment"];

static METHOD: LazyLock<MethodConfig> =
    LazyLock::new(|| MethodConfig { mask_gate: MODELS[0].card().gate, ..MethodConfig::default() });
static REFERENCES: LazyLock<[Reference<'static>; 2]> =
    LazyLock::new(|| MODELS.each_ref().map(|model| Reference::new(model, &CLIENT, &METHOD)));

/// A node under test, and what it told.
struct Trial {
    node: Node,
    telemetry: Telemetry,
    seen: Arc<Mutex<Vec<Current>>>,
}

impl Trial {
    /// Starts a node that holds any number of series.
    fn start(data: &Path, model: usize, workers: usize) -> anyhow::Result<Self> {
        Self::holding(None, data, model, workers)
    }

    fn holding(series: Option<usize>, data: &Path, model: usize, workers: usize) -> anyhow::Result<Self> {
        let telemetry = Telemetry::new(Metrics::register(&prometheus::Registry::new()).expect("metrics"));
        let compute = Compute::on(Device::Cpu);
        let data = Some(data.to_owned());
        let settings = Settings {
            compute,
            workers,
            memory_bytes: None,
            data,
            series,
            truths: Vec::new(),
            synced: false,
            collects: true,
            method: MethodConfig::default(),
        };
        let seen = Arc::<Mutex<Vec<Current>>>::default();
        let watch = {
            let seen = Arc::clone(&seen);
            move |current: &Current| seen.lock().expect("a lock").push(current.clone())
        };
        let node = Node::start(MODELS[model].clone(), &settings, telemetry.clone(), watch)?;
        Ok(Self { node, telemetry, seen })
    }

    fn send(&mut self, steps: &[Step]) {
        steps.iter().for_each(|step| send(&mut self.node, *step));
    }

    /// Blocks that were computed.
    fn computed(&self) -> u64 {
        STAGES.iter().map(|stage| self.telemetry.metrics().tasks_of(stage)).sum()
    }
}

/// Sends a step, acknowledged once this returns. The last series cannot wait.
fn send(node: &mut Node, step: Step) {
    match step {
        Step::Arrive(index, form) => {
            let (instance, bytes) = (&INSTANCES[index][&form], payload(index, form).expect("a payload"));
            let payload = Payload { input: Path::new("received.dcm"), bytes };
            node.arrive(instance, Some(payload), instance.key == SERIES[2])
        }
        Step::Use(model) => node.activate(MODELS[model].clone()).map(drop),
        Step::Shadow(model) => node.shadow(model.map(|model| MODELS[model].clone())),
        Step::Withdraw(_) | Step::Sign(..) | Step::Release(_) | Step::Refuse(_) => {
            node.send(change(step).expect("a change"))
        }
    }
    .expect("a node that works");
}

/// The change that a step is, if it is one.
fn change(step: Step) -> Option<Change> {
    match step {
        Step::Arrive(index, form) => Some(INSTANCES[index][&form].arrival()),
        Step::Withdraw(index) => {
            let instance = &INSTANCES[index][&Form::Plain];
            Some(Change::Withdrawn { key: instance.key.clone(), instance: instance.uid.clone() })
        }
        Step::Sign(series, sign) => Some(Change::Signed { key: SERIES[series].clone(), sign: SIGNS[sign] }),
        Step::Release(series) => Some(Change::Released { key: SERIES[series].clone() }),
        Step::Refuse(index) => Some(Change::Refused(refusal(index))),
        Step::Use(_) | Step::Shadow(_) => None,
    }
}

/// Steps of instances that a file can hold.
fn durable_steps() -> impl Strategy<Value = Vec<Step>> {
    let can = |step: &Step| match step {
        Step::Arrive(index, _) | Step::Withdraw(index) => payload(*index, Form::Plain).is_some(),
        Step::Sign(..) | Step::Release(_) | Step::Use(_) | Step::Shadow(_) | Step::Refuse(_) => true,
    };
    steps().prop_map(move |steps| steps.into_iter().filter(can).collect())
}

/// What happens to a node at some point, beside that it dies.
#[derive(Clone, Copy, Debug)]
struct Kill {
    /// Where, as a part of all steps.
    at: f64,
    /// Whether it had published everything.
    settled: bool,
    /// Whether it had also kept what the log had come to.
    kept: bool,
    /// What part of the unacknowledged end of the log is left.
    left: f64,
    /// How much of the next record was written, bytes.
    torn: usize,
    store_lost: bool,
    workers: usize,
}

fn kills() -> impl Strategy<Value = Vec<Kill>> {
    let workers = prop::sample::select(&[1, 2, 4][..]);
    let kill = (0.0..1.0_f64, any::<bool>(), 0.0..=1.0_f64, 0_usize..40, any::<bool>(), workers, any::<bool>());
    let kill = kill.prop_map(|(at, settled, left, torn, store_lost, workers, kept)| Kill {
        at,
        settled,
        kept: kept && settled,
        // What was kept is on the disk.
        left: if kept && settled { 1.0 } else { left },
        torn,
        store_lost,
        workers,
    });
    prop::collection::vec(kill, 1..3)
}

fn entries(data: &Path) -> Vec<Entry> {
    DataFolder::existing(data).expect("a log").entries().expect("a sound log")
}

/// Leaves of the log what a kill may leave: all that was acknowledged, some bytes of what came after, and the beginning of
/// one more record.
fn tear(data: &Path, kill: Kill) {
    let path = data.join("log");
    let bytes = fs::read(&path).expect("a log");
    let (mut at, mut acknowledged) = (8, 8);
    for entry in entries(data) {
        let length: [u8; 4] = bytes[at..at + 4].try_into().expect("a length");
        at += 12 + usize::try_from(u32::from_le_bytes(length)).expect("small");
        if !matches!(entry.event, Event::Published(_)) {
            acknowledged = at;
        }
    }
    assert_eq!(at, bytes.len(), "whole records");
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a part")]
    let cut = acknowledged + ((bytes.len() - acknowledged) as f64 * kill.left) as usize;
    let mut left = bytes[..cut].to_vec();
    if cut == bytes.len() {
        left.extend_from_slice(&bytes[8..][..kill.torn.min(at - 8)]);
        // The first record is longer than that, or what is added here would be whole.
        assert!(at > 8 + 40);
    }
    fs::write(path, left).expect("torn");
    if kill.store_lost {
        fs::remove_dir_all(data.join("store")).expect("a store");
    }
}

/// All that is current, as a batch run tells it.
fn state(collected: &Collected) -> State {
    let series = collected.series.values().chain(collected.shadows.values()).map(|current| &current.publication);
    let present = series.filter(|publication| publication.status != Status::Withdrawn);
    let told = present.map(|publication| {
        let shown = publication.slices.iter().cloned().map(Shown).collect();
        let (model, completeness) = (publication.method.name.sha256.clone(), publication.completeness.clone());
        ((publication.key.clone(), publication.role), Arc::new((model, publication.status, completeness, shown)))
    });
    told.collect()
}

fn refused(collected: &Collected) -> Vec<String> {
    let repeated = collected
        .rejections
        .iter()
        .flat_map(|(rejection, count)| std::iter::repeat_n(line(rejection), usize::try_from(*count).expect("a count")));
    let mut refused: Vec<String> = repeated.collect();
    refused.sort();
    refused
}

/// The versions of each result that the log says were published, in its order.
pub(crate) fn versions(entries: &[Entry]) -> BTreeMap<(SeriesKey, Role), Vec<u64>> {
    let mut versions: BTreeMap<(SeriesKey, Role), Vec<u64>> = BTreeMap::new();
    for entry in entries {
        if let Event::Published(published) = &entry.event {
            versions.entry((published.key.clone(), published.role)).or_default().push(published.version);
        }
    }
    versions
}

/// That the log holds these steps, in order, and each version of each result once, without a gap. A node lets series go of
/// itself, too.
fn log_tells(entries: &[Entry], steps: &[Step]) -> Result<(), TestCaseError> {
    let stays = |change: &Change| !matches!(change, Change::Released { .. });
    let changes = entries.iter().filter_map(|entry| match &entry.event {
        Event::Changed { change, .. } => Some(change.clone()).filter(stays),
        Event::Used { .. } | Event::Published(_) | Event::Forgotten { .. } => None,
    });
    let sent = steps.iter().filter_map(|step| change(*step)).filter(stays);
    prop_assert_eq!(changes.collect::<Vec<_>>(), sent.collect::<Vec<_>>());
    let entered: Vec<u64> =
        entries.iter().filter(|entry| !matches!(entry.event, Event::Published(_))).map(|entry| entry.tick).collect();
    prop_assert!(entered.is_sorted_by(|one, next| one < next), "a tick for each change: {entered:?}");
    for (result, versions) in versions(entries) {
        prop_assert_eq!(&versions, &(1..).take(versions.len()).collect::<Vec<u64>>(), "{:?}", result);
    }
    Ok(())
}

/// What a node must tell that holds so many series: what was let go stays as it was, until something changes it.
fn told_by_node(steps: &[Step], series: Option<usize>) -> Told<State> {
    let steps_but_releases = |until: usize| -> Vec<Step> {
        steps[..until].iter().copied().filter(|step| !matches!(step, Step::Release(_))).collect()
    };
    let mut changed: Vec<usize> = Vec::new();
    let mut away: BTreeMap<usize, State> = BTreeMap::new();
    let let_go = |series: usize, until: usize, away: &mut BTreeMap<usize, State>| {
        let mut state = told(&steps_but_releases(until), &REFERENCES).state;
        state.retain(|(key, _), _| *key == SERIES[series]);
        away.insert(series, state);
    };
    for (at, step) in steps.iter().enumerate() {
        let before = &steps[..at];
        let of = |index: usize| SERIES.iter().position(|key| *key == INSTANCES[index][&Form::Plain].key).expect("one");
        let there = |index: usize| present(&steps_but_releases(at)).get(&index).copied();
        let (index, changes) = match *step {
            Step::Arrive(index, form) => (of(index), there(index) != Some(form)),
            Step::Withdraw(index) => (of(index), there(index).is_some()),
            Step::Sign(index, _) => (index, !before.contains(step)),
            Step::Release(index) => {
                changed.retain(|changed| *changed != index);
                if !away.contains_key(&index) {
                    let_go(index, at, &mut away);
                }
                continue;
            }
            Step::Use(_) | Step::Shadow(_) | Step::Refuse(_) => continue,
        };
        if changes || !away.contains_key(&index) {
            away.remove(&index);
            changed.retain(|changed| *changed != index);
            changed.push(index);
        }
        while changed.len() > series.unwrap_or(usize::MAX) {
            let_go(changed.remove(0), at + 1, &mut away);
        }
    }
    let mut told = told(&steps_but_releases(steps.len()), &REFERENCES);
    told.state.retain(|(key, _), _| away.keys().all(|series| SERIES[*series] != *key));
    told.state.extend(away.into_values().flatten());
    told
}

/// Streams steps through nodes that die, and gives what the last one tells.
fn outlive(data: &Path, steps: &[Step], kills: &[Kill], series: Option<usize>) -> Result<Collected, TestCaseError> {
    let mut collected = Collected::default();
    let mut points: Vec<(usize, Kill)> = kills.iter().map(|kill| (place(kill.at, steps.len()), *kill)).collect();
    points.sort_by_key(|(at, _)| *at);
    let mut sent = 0;
    for (at, kill) in points {
        let model = models(&steps[..sent])[0].expect("an active model");
        let mut trial = Trial::holding(series, data, model, kill.workers).expect("a node");
        trial.send(&steps[sent..at]);
        sent = at;
        if kill.settled {
            trial.node.settle().expect("a node that works");
        }
        if kill.kept {
            trial.node.keep_book().expect("a node that works");
            // A node that starts from that does not tell again what this one told.
            let seen = trial.seen.lock().expect("a lock");
            for current in seen.iter().cloned() {
                let series = if current.publication.role == Role::Active {
                    &mut collected.series
                } else {
                    &mut collected.shadows
                };
                series.insert(current.publication.key.clone(), current);
            }
        }
        drop(trial);
        log_tells(&entries(data), &steps[..sent])?;
        tear(data, kill);
    }
    let model = models(&steps[..sent])[0].expect("an active model");
    let mut trial = Trial::holding(series, data, model, 1).expect("a node");
    trial.send(&steps[sent..]);
    let last = trial.node.finish().expect("a clean end");
    collected.series.extend(last.series);
    collected.shadows.extend(last.shadows);
    collected.rejections = last.rejections;
    Ok(collected)
}

/// The steps with what a start from a kept book does: it lets every series go.
fn with_starts(steps: &[Step], kills: &[Kill]) -> Vec<Step> {
    let mut points: Vec<usize> =
        kills.iter().filter(|kill| kill.kept).map(|kill| place(kill.at, steps.len())).collect();
    points.sort_unstable();
    let mut steps = steps.to_vec();
    for at in points.into_iter().rev() {
        steps.splice(at..at, (0..SERIES.len()).map(Step::Release));
    }
    steps
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a part")]
fn place(part: f64, steps: usize) -> usize {
    (part * (steps + 1) as f64) as usize
}

proptest! {
    #![proptest_config(cases(8))]

    /// Law 5, and that what is let go for want of room comes back whole. Does not cover: power that fails, so that what was written is not on the disk; a disk that is full;
    /// instances of several frames and volumes, whose payloads are one for many; who heard of a version before the kill.
    #[test]
    fn a_kill_loses_nothing_and_repeats_nothing(
        steps in durable_steps(), kills in kills(), series in prop::option::of(1_usize..3),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let collected = outlive(folder.path(), &steps, &kills, series)?;
        log_tells(&entries(folder.path()), &steps)?;
        let told = told_by_node(&with_starts(&steps, &kills), series);
        prop_assert!(state(&collected) == told.state, "{:#?}\n{:#?}", state(&collected), told.state);
        if kills.iter().all(|kill| !kill.kept) {
            prop_assert_eq!(refused(&collected), told.refused);
        }
    }
}

/// All instances that a file can hold, as they are.
fn plain() -> Vec<Step> {
    (0..INSTANCES.len()).filter(|index| payload(*index, Form::Plain).is_some()).map(plain_step).collect()
}

fn plain_step(index: usize) -> Step {
    Step::Arrive(index, Form::Plain)
}

/// The bytes of each result.
fn bytes(collected: &Collected) -> Vec<Vec<u8>> {
    let json = |current: &Current| serde_json::to_vec(&current.report()).expect("JSON");
    collected.series.values().chain(collected.shadows.values()).map(json).collect()
}

/// A data folder with a history of everything that can happen, and the steps of it.
fn history() -> (TempDir, Vec<Step>) {
    let folder = tempfile::tempdir().expect("a folder");
    let then = [
        Step::Sign(0, 0),
        Step::Shadow(Some(1)),
        Step::Arrive(1, Form::Repainted),
        Step::Withdraw(2),
        Step::Arrive(3, Form::Broken),
        Step::Use(1),
        Step::Shadow(Some(0)),
        plain_step(2),
        Step::Sign(2, 3),
        Step::Refuse(0),
    ];
    let steps: Vec<Step> = plain().into_iter().chain(then).collect();
    let mut trial = Trial::start(folder.path(), 0, 1).expect("a node");
    trial.send(&steps);
    trial.node.finish().expect("a clean end");
    (folder, steps)
}

/// Starts again on a data folder, sends `again`, and gives how many blocks were computed for it and the bytes of all
/// results. Nothing is published.
#[track_caller]
fn restarted(data: &Path, model: usize, again: &[Step]) -> (u64, Vec<Vec<u8>>) {
    let before = versions(&entries(data));
    let mut trial = Trial::start(data, model, 2).expect("a node");
    trial.send(again);
    trial.node.settle().expect("a node that works");
    let seen = trial.seen.lock().expect("a lock").len();
    assert_eq!(seen, before.values().map(Vec::len).sum::<usize>(), "every version is seen again");
    let computed = trial.computed();
    let collected = trial.node.finish().expect("a clean end");
    assert_eq!(versions(&entries(data)), before);
    (computed, bytes(&collected))
}

#[test]
fn what_comes_again_is_neither_computed_nor_published_nor_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let steps = [plain(), vec![Step::Sign(0, 0), Step::Shadow(Some(1)), Step::Sign(2, 0), Step::Refuse(0)]].concat();
    let mut trial = Trial::start(data, 0, 1).expect("a node");
    trial.send(&steps);
    let expected = bytes(&trial.node.finish().expect("a clean end"));
    assert!(versions(&entries(data)).keys().any(|(_, role)| *role == Role::Shadow), "a shadow has published");
    assert_eq!(restarted(data, 0, &[]), (0, expected.clone()));
    assert_eq!(restarted(data, 0, &steps), (0, expected.clone()));
    fs::remove_dir_all(data.join("store")).expect("a store");
    let (computed, results) = restarted(data, 0, &steps);
    assert!(computed > 0, "there was no store");
    assert_eq!(results, expected);
}

#[test]
fn a_series_that_was_let_go_comes_back_whole_and_only_for_what_changes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let mut trial = Trial::start(data, 0, 1).expect("a node");
    let first: Vec<Step> = plain().into_iter().filter(|step| *step != plain_step(2)).collect();
    trial.send(&first);
    trial.send(&[Step::Sign(0, 0), Step::Release(0)]);
    trial.node.settle().expect("a node that works");
    let published = |data: &Path| versions(&entries(data)).values().map(Vec::len).sum::<usize>();
    let (before, computed) = (published(data), trial.computed());
    // What changes nothing brings nothing back, and is behind at once.
    trial.send(&[plain_step(1), Step::Sign(0, 0), Step::Withdraw(2), Step::Release(0)]);
    trial.node.settle().expect("a node that works");
    assert_eq!((published(data), trial.computed()), (before, computed));
    trial.send(&[plain_step(2)]);
    trial.node.settle().expect("a node that works");
    assert_eq!(published(data), before + 1, "one version, of the whole series");
    assert!(
        state(&trial.node.finish().expect("a clean end"))
            == told(&[plain(), vec![Step::Sign(0, 0)]].concat(), &REFERENCES).state
    );
}

#[test]
fn a_history_with_everything_in_it_comes_out_the_same() {
    let (folder, steps) = history();
    let data = folder.path();
    let (computed, expected) = restarted(data, 1, &[]);
    assert_eq!(computed, 0, "a replay finds what was replaced, too");
    let present = [0, 2, 4, 5].map(plain_step);
    let again = [&present[..], &[Step::Arrive(1, Form::Repainted), Step::Sign(0, 0), Step::Shadow(Some(0))]].concat();
    assert_eq!(restarted(data, 1, &again), (0, expected.clone()));
    fs::remove_dir_all(data.join("store")).expect("a store");
    let (without_store, results) = restarted(data, 1, &again);
    assert!(computed < without_store, "{computed} of {without_store}");
    assert_eq!(results, expected);
    assert!(state_of(data) == told(&steps, &REFERENCES).state);
}

fn state_of(data: &Path) -> State {
    state(&Trial::start(data, 1, 1).expect("a node").node.finish().expect("a clean end"))
}

/// The log has its test beside the node.
#[test]
fn a_node_whose_executor_fails_says_so_and_ends_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    for workers in [1, 2] {
        let mut trial = Trial::start(&folder.path().join(workers.to_string()), 0, workers).expect("a node");
        trial.send(&plain()[..2]);
        trial.node.settle().expect("nothing has failed yet");
        // A slice that nobody has sent the pixels of.
        trial.node.send(INSTANCES[2][&Form::Plain].arrival()).expect("it is taken");
        let said = |error: anyhow::Error| assert!(format!("{error:#}").contains("Decode: the pixels"), "{error:#}");
        trial.node.settle().map_or_else(said, |()| panic!("there are no pixels"));
        let payload = payload(3, Form::Plain).map(|bytes| Payload { input: Path::new("received.dcm"), bytes });
        let refused = trial.node.arrive(&INSTANCES[3][&Form::Plain], payload, false);
        said(refused.expect_err("nothing is acknowledged any more"));
        said(trial.node.finish().expect_err("it has failed"));
    }
}

#[test]
fn what_was_there_before_is_not_computed_again_when_more_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = plain();
    let half = all.len() / 2;
    let mut first = Trial::start(folder.path(), 0, 1).expect("a node");
    first.send(&all[..half]);
    first.node.settle().expect("a node that works");
    let decoded = |trial: &Trial| trial.telemetry.metrics().tasks_of("Decode");
    assert_eq!(decoded(&first), half as u64);
    first.node.finish().expect("a clean end");
    let mut second = Trial::start(folder.path(), 0, 1).expect("a node");
    second.send(&all);
    second.node.settle().expect("a node that works");
    assert_eq!(decoded(&second), (all.len() - half) as u64);
    let collected = second.node.finish().expect("a clean end");
    assert!(state(&collected) == told(&all, &REFERENCES).state);
}

#[test]
fn a_data_folder_has_one_node_at_a_time_and_is_free_as_soon_as_it_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = Trial::start(folder.path(), 0, 4).expect("a node");
    first.send(&plain());
    let refused = Trial::start(folder.path(), 0, 1).err().expect("it is in use");
    assert!(format!("{refused:#}").contains("in use by another process"), "{refused:#}");
    drop(first);
    for workers in [1, 2, 4] {
        let mut next = Trial::start(folder.path(), 0, workers).expect("it is free");
        next.send(&plain()[..3]);
    }
}

#[test]
fn blocks_that_no_replay_comes_by_leave_the_disk() {
    let (folder, _) = history();
    let data = folder.path();
    let on_disk = || {
        let trial = Trial::start(data, 1, 1).expect("a node");
        trial.node.settle().expect("a node that works");
        let usage = trial.node.stages().store.usage();
        trial.node.finish().expect("a clean end");
        usage.iter().map(|kind| kind.stored_blocks).sum::<usize>()
    };
    let before = on_disk();
    assert_eq!(on_disk(), before, "a replay needs all of them");
    // The log of a node that has just begun.
    let log = fs::read(data.join("log")).expect("a log");
    fs::write(data.join("log"), &log[..8]).expect("written");
    assert_eq!((before > 0, on_disk()), (true, 0));
}

#[test]
fn a_changed_payload_and_a_missing_model_are_named() {
    let (folder, _) = history();
    let data = folder.path();
    let payload = fs::read_dir(data.join("payloads")).expect("payloads").next().expect("one").expect("an entry").path();
    let (sound, name) = (fs::read(&payload).expect("a file"), payload.file_name().expect("a name"));
    let mut changed = sound.clone();
    *changed.last_mut().expect("a byte") ^= 1;
    fs::write(&payload, changed).expect("written");
    let error = format!("{:#}", Trial::start(data, 0, 1).err().expect("not what it was"));
    assert!(error.contains("the log at tick") && error.contains(&*name.to_string_lossy()), "{error}");
    fs::write(&payload, sound).expect("written");
    let sha256 = MODELS[1].name().sha256;
    fs::rename(data.join("models").join(&sha256), data.join("gone")).expect("moved");
    let error = format!("{:#}", Trial::start(data, 0, 1).err().expect("a model is missing"));
    assert!(error.contains("the log at tick") && error.contains(&sha256), "{error}");
}

#[test]
fn the_log_names_each_result_by_its_bytes() {
    let (folder, _) = history();
    let trial = Trial::start(folder.path(), 1, 1).expect("a node");
    trial.node.settle().expect("a node that works");
    let seen = std::mem::take(&mut *trial.seen.lock().expect("a lock"));
    let logged: BTreeMap<_, _> = entries(folder.path())
        .into_iter()
        .filter_map(|entry| if let Event::Published(published) = entry.event { Some(published) } else { None })
        .map(|published| ((published.key, published.role, published.version), published.result))
        .collect();
    assert_eq!(logged.len(), seen.len());
    for current in seen {
        let publication = &current.publication;
        let named = (publication.key.clone(), publication.role, publication.version);
        assert_eq!(logged.get(&named), Some(&published_as(&current).expect("JSON")), "{named:?}");
    }
}

/// A start that fails half way ends, and says why: its threads must not wait for each other.
#[test]
fn a_start_that_cannot_keep_its_model_names_the_folder_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("models"), b"no folder").expect("written");
    let Err(error) = Trial::start(folder.path(), 0, 1) else { panic!("a model was kept in a file") };
    assert!(format!("{error:#}").contains("models"), "{error:#}");
    fs::remove_file(folder.path().join("models")).expect("removed");
    let trial = Trial::start(folder.path(), 0, 1).expect("the folder is free again");
    trial.node.finish().expect("a clean end");
}
