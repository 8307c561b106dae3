//! Law 5: whatever kills a node, what it acknowledged is there when it starts again, and nothing is published twice.
//!
//! Here a node lives in the process of the test and is dropped in the middle of its work; [`program`] kills a process. Not
//! on trial is a machine that loses power: what the system had not brought to the disk by then is lost.

mod program;
mod retention;
mod starts;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use hemoflow::collector::{Collected, Current};
use hemoflow::data::{DataFolder, Entry, Event};
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

static METHOD: LazyLock<MethodConfig> = LazyLock::new(|| MethodConfig::default().of(MODELS[0].card()));
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
        let there = |index: usize| present(&steps_but_releases(at)).get(&index).copied();
        let (index, changes) = match *step {
            Step::Arrive(index, form) => (series_of(index), there(index) != Some(form)),
            Step::Withdraw(index) => (series_of(index), there(index).is_some()),
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

/// The series of an instance, by their places in [`SERIES`] and [`INSTANCES`].
fn series_of(index: usize) -> usize {
    SERIES.iter().position(|key| *key == INSTANCES[index][&Form::Plain].key).expect("one")
}

/// The steps with what a start from a kept book does: it lets every series go that the book has heard of.
fn with_starts(steps: &[Step], kills: &[Kill]) -> Vec<Step> {
    let mut points: Vec<usize> =
        kills.iter().filter(|kill| kill.kept).map(|kill| place(kill.at, steps.len())).collect();
    points.sort_unstable();
    let mut steps = steps.to_vec();
    for at in points.into_iter().rev() {
        let heard_of = |step: &Step| match *step {
            Step::Arrive(index, _) | Step::Withdraw(index) => Some(series_of(index)),
            Step::Sign(series, _) | Step::Release(series) => Some(series),
            Step::Use(_) | Step::Shadow(_) | Step::Refuse(_) => None,
        };
        let heard_of: BTreeSet<usize> = steps[..at].iter().filter_map(heard_of).collect();
        steps.splice(at..at, heard_of.into_iter().map(Step::Release));
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
        survives(&steps, &kills, series)?;
    }
}

fn survives(steps: &[Step], kills: &[Kill], series: Option<usize>) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().expect("a folder");
    let collected = outlive(folder.path(), steps, kills, series)?;
    log_tells(&entries(folder.path()), steps)?;
    let told = told_by_node(&with_starts(steps, kills), series);
    prop_assert!(state(&collected) == told.state, "{:#?}\n{:#?}", state(&collected), told.state);
    if kills.iter().all(|kill| !kill.kept) {
        prop_assert_eq!(refused(&collected), told.refused);
    }
    Ok(())
}

/// A start lets nothing go that it has not heard of: what comes of such a series takes room, though it changes nothing.
#[test]
fn a_series_never_heard_of_before_a_start_takes_room_behind_it() {
    let steps = [plain_step(5), plain_step(2), plain_step(3), plain_step(6), Step::Withdraw(9), Step::Use(1)];
    let kill = Kill { at: 0.2, settled: true, kept: true, left: 1.0, torn: 0, store_lost: false, workers: 1 };
    survives(&steps, &[kill], Some(2)).expect("law 5");
}

/// All instances that a file can hold, as they are.
fn plain() -> Vec<Step> {
    (0..INSTANCES.len()).filter(|index| payload(*index, Form::Plain).is_some()).map(plain_step).collect()
}

fn plain_step(index: usize) -> Step {
    Step::Arrive(index, Form::Plain)
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
