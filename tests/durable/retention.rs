//! What a node forgets, and what it keeps: forgotten at any point and killed between any two steps of that, it ends as one
//! to which what it forgot was never sent.
//!
//! The node takes what the inbox holds, as the feeder lets it. Does not cover: power that fails; a disk that is full.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hemoflow::config::Ack;
use hemoflow::data::DataFolder;
use hemoflow::files::Files;
use hemoflow::inbox::{Identity, Inbox, Promise, Received, Record, Via};
use hemoflow::operators::record::{Digest, StudyUid};
use hemoflow::retention;

use super::*;
use crate::support::files;
use crate::support::slices::CT;

/// Small segments, so that a study lies in several.
const PROMISE: Promise = Promise { ack: Ack::Written, segment_bytes: 40_000 };

/// Of each study, its name.
fn name(study: usize) -> Digest {
    study_uid(study).digest()
}

fn study_uid(study: usize) -> &'static StudyUid {
    &SERIES[2 * study].study
}

/// A node with its inbox.
struct Keeper {
    node: Node,
    seen: Arc<Mutex<Vec<Current>>>,
    inbox: Inbox,
}

impl Keeper {
    /// Starts on a data folder, and ends what was forgotten by half.
    fn start(data: &Path, model: usize) -> Self {
        let Trial { node, seen, .. } = Trial::start(data, model, 1).expect("a node");
        let inbox = node.data().expect("a folder").inbox(PROMISE).expect("an inbox");
        retention::finish(&node, &inbox, &Files::default());
        assert!(node.forgotten().is_empty(), "nothing is left to forget");
        Self { node, seen, inbox }
    }

    fn send(&mut self, steps: &[Step]) {
        for step in steps {
            let Step::Arrive(index, form) = *step else {
                send(&mut self.node, *step);
                continue;
            };
            let (instance, bytes) = (&INSTANCES[index][&form], payload(index, form).expect("a payload"));
            let content = Digest::of(bytes);
            let identity = Identity { key: instance.key.clone(), instance: instance.uid.clone(), class: CT.to_owned() };
            let length = bytes.len() as u64;
            let sender = "CT1".to_owned();
            let received = Received { identity, content, bytes: length, via: Via::Dimse, sender, unix_ms: 0 };
            let position =
                self.inbox.append_waiting(Record::Received(received), bytes.to_vec()).expect("it is acknowledged");
            let stat = instance.key == SERIES[2];
            self.node.arrive_from(position, instance, &content, stat).expect("a node that works");
        }
    }

    /// Forgets studies, and says whether nothing stopped that.
    fn forget(&mut self, studies: &[usize], files: &Files) -> bool {
        let studies: BTreeSet<Digest> = studies.iter().map(|study| name(*study)).collect();
        let until = (self.inbox.next_position(), i64::MIN);
        let forgotten = retention::forget(&mut self.node, &self.inbox, &studies, until, files);
        forgotten.is_ok() && self.node.forgotten().is_empty()
    }
}

/// The study of a step, if it is of one.
fn study_of(step: &Step) -> Option<usize> {
    let series = match *step {
        Step::Arrive(index, _) | Step::Withdraw(index) => {
            SERIES.iter().position(|key| *key == INSTANCES[index][&Form::Plain].key).expect("one")
        }
        Step::Sign(series, _) | Step::Release(series) => series,
        Step::Use(_) | Step::Shadow(_) | Step::Refuse(_) => return None,
    };
    Some(series / 2)
}

/// Whether the log, once all had had its effect, was written anew.
fn was_forgotten(before: &[u8], data: &Path) -> bool {
    fs::read(data.join("log")).expect("a log") != before
}

/// That the inbox holds the newest content of what was sent and not forgotten, and nothing of the rest.
fn holds(inbox: &Inbox, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut newest = BTreeMap::new();
    for step in steps {
        if let Step::Arrive(index, form) = *step {
            newest.insert(index, payload(index, form).expect("a payload"));
        }
    }
    for (index, forms) in INSTANCES.iter().enumerate() {
        let content = inbox.kept().index().content(&forms[&Form::Plain].uid);
        let bytes = content.map(|content| inbox.kept().payload(&content).expect("sound").expect("there"));
        prop_assert_eq!(bytes.as_deref(), newest.get(&index).copied(), "instance {}", index);
    }
    let records = inbox.kept().records().expect("readable");
    let received = records.iter().filter(|(_, record)| record.received().is_some()).count();
    let sent = steps.iter().filter(|step| matches!(step, Step::Arrive(..))).count();
    prop_assert_eq!(received, sent, "records that are left");
    Ok(())
}

/// What is forgotten at some point.
#[derive(Clone, Debug)]
struct Forget {
    /// Where, as a part of all steps.
    at: f64,
    studies: Vec<usize>,
    /// After how many steps the machine stops.
    stop: Option<u64>,
    /// Whether a node that was not stopped goes on, or another starts.
    goes_on: bool,
    /// Whether what the log has come to is kept before that.
    kept: bool,
}

fn forgets() -> impl Strategy<Value = Vec<Forget>> {
    let studies = prop::sample::select(vec![vec![0], vec![1], vec![0, 1]]);
    let forget = (0.0..1.0_f64, studies, prop::option::of(0_u64..40), any::<bool>(), any::<bool>());
    let forget = forget.prop_map(|(at, studies, stop, goes_on, kept)| Forget { at, studies, stop, goes_on, kept });
    prop::collection::vec(forget, 1..3)
}

proptest! {
    #![proptest_config(cases(8))]

    /// A study that was forgotten was never there: what is shown, what the log tells, the versions, what the inbox holds.
    #[test]
    fn what_is_forgotten_was_never_sent(steps in durable_steps(), forgets in forgets()) {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        let mut points: Vec<(usize, Forget)> =
            forgets.into_iter().map(|forget| (place(forget.at, steps.len()), forget)).collect();
        points.sort_by_key(|(at, _)| *at);
        let (mut sent, mut left): (usize, Vec<Step>) = (0, Vec::new());
        let mut keeper = Keeper::start(data, 0);
        for (at, forget) in points {
            keeper.send(&steps[sent..at]);
            left.extend(&steps[sent..at]);
            sent = at;
            keeper.node.settle().expect("a node that works");
            let before = fs::read(data.join("log")).expect("a log");
            keeper.forget(&forget.studies, &forget.stop.map(Files::stopping_after).unwrap_or_default());
            if was_forgotten(&before, data) {
                left.retain(|step| study_of(step).is_none_or(|study| !forget.studies.contains(&study)));
            }
            if forget.stop.is_none() && forget.goes_on {
                prop_assert!(keeper.node.forgotten().is_empty());
                holds(&keeper.inbox, &left)?;
                continue;
            }
            let kept = forget.kept && keeper.node.keep_book().is_ok();
            drop(keeper);
            if kept {
                // A start from there lets every series go.
                left.extend((0..SERIES.len()).map(Step::Release));
            } else {
                fs::remove_file(data.join("snapshot")).ok();
            }
            log_tells(&entries(data), &left)?;
            keeper = Keeper::start(data, models(&left)[0].expect("an active model"));
            holds(&keeper.inbox, &left)?;
        }
        keeper.send(&steps[sent..]);
        left.extend(&steps[sent..]);
        let running = state(&keeper.node.finish().expect("a clean end"));
        log_tells(&entries(data), &left)?;
        // One that does the whole log again tells all of it.
        fs::remove_file(data.join("snapshot")).ok();
        let last = Keeper::start(data, models(&left)[0].expect("an active model"));
        holds(&last.inbox, &left)?;
        let again = state(&last.node.finish().expect("a clean end"));
        let told = told_by_node(&left, None);
        prop_assert!(again == told.state, "{again:#?}\n{:#?}", told.state);
        prop_assert!(running.iter().all(|(result, told)| again.get(result) == Some(told)), "{running:#?}");
    }
}

/// Bytes of the files below a folder that grow with what comes. The store is a file that keeps its size.
fn bytes_of(data: &Path) -> u64 {
    let counted = files(data).into_iter().filter(|path| {
        !["store", "models"].iter().any(|part| path.strip_prefix(data).expect("below it").starts_with(part))
    });
    counted.map(|path| fs::metadata(path).expect("a file").len()).sum()
}

#[test]
fn a_node_that_has_forgotten_everything_is_an_empty_one_and_takes_all_of_it_again() {
    let (empty, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let fresh = Keeper::start(empty.path(), 0);
    drop(fresh.inbox);
    fresh.node.finish().expect("a clean end");
    let data = folder.path();
    let mut keeper = Keeper::start(data, 0);
    let steps = [plain(), vec![Step::Sign(0, 0), Step::Shadow(Some(1)), Step::Sign(2, 0), Step::Release(1)]].concat();
    for round in 0..2 {
        keeper.send(&steps);
        keeper.node.settle().expect("a node that works");
        assert!(!keeper.node.views().snapshot().worklist.is_empty());
        let (seen, full) = (keeper.seen.lock().expect("a lock").len(), bytes_of(data));
        keeper.forget(&[0, 1], &Files::default());
        let telling = keeper.seen.lock().expect("a lock").len();
        assert_eq!((telling, keeper.node.residents()), (seen, Vec::new()), "nothing is said of it");
        assert!(keeper.node.views().snapshot().worklist.is_empty());
        let store = &keeper.node.stages().store;
        store.flush().expect("a disk that works");
        let held: usize = store.usage().iter().map(|kind| kind.names + kind.stored_blocks).sum();
        assert_eq!(held, 0, "of no block anything is left");
        assert_eq!(keeper.inbox.kept().index().payloads(), 0);
        let left = bytes_of(data);
        // An entry of the log says so, and the model that came beside the active one is one more.
        assert!(left < bytes_of(empty.path()) + 1000, "{left} bytes of {full} are left in round {round}");
    }
    keeper.send(&steps);
    let collected = keeper.node.finish().expect("a clean end");
    assert!(state(&collected) == told_by_node(&steps, None).state);
    log_tells(&entries(data), &steps).expect("every version once, from 1");
}

/// A folder as it is.
fn copied(from: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for path in files(from) {
        let to = copy.path().join(path.strip_prefix(from).expect("below it"));
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(path, to).expect("copied");
    }
    copy
}

#[test]
fn a_stop_between_any_two_steps_leaves_a_study_or_nothing_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    // The studies alternate, so that no segment goes as a whole.
    let mut steps = plain();
    steps.sort_by_key(|step| (if let Step::Arrive(index, _) = step { index % 3 } else { 0 }, study_of(step)));
    let mut keeper = Keeper::start(folder.path(), 0);
    keeper.send(&steps);
    keeper.node.keep_book().expect("a node that works");
    drop(keeper);
    let kept: Vec<Step> = steps.iter().copied().filter(|step| study_of(step) != Some(0)).collect();
    let whole = told_by_node(&steps, None).state;
    let [mut before, mut after] = [0; 2];
    for stop in 0_u64.. {
        let copy = copied(folder.path());
        let data = copy.path();
        let mut keeper = Keeper::start(data, 0);
        let done = keeper.forget(&[0], &Files::stopping_after(stop));
        drop(keeper);
        let forgotten = entries(data).iter().any(|entry| matches!(entry.event, Event::Forgotten { .. }));
        let left = if forgotten { &kept } else { &steps };
        fs::remove_file(data.join("snapshot")).ok();
        let keeper = Keeper::start(data, 0);
        holds(&keeper.inbox, left).expect("what is left");
        let names: Vec<String> = files(&data.join("inbox")).iter().map(|path| path.display().to_string()).collect();
        assert!(names.iter().all(|name| name.ends_with(".seg")), "{names:?}");
        let shown = state(&keeper.node.finish().expect("a clean end"));
        let expected = if forgotten { &told_by_node(&kept, None).state } else { &whole };
        assert!(shown == *expected, "stopped after {stop} steps");
        [before, after] = [before + usize::from(!forgotten), after + usize::from(forgotten)];
        if done {
            break;
        }
    }
    assert!(before > 3 && after > 3, "{before} stops before the one step that counts, {after} behind it");
}

#[test]
fn files_that_were_read_leave_with_the_last_study_that_names_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let mut trial = Trial::start(data, 0, 1).expect("a node");
    trial.send(&plain());
    trial.send(&[Step::Arrive(1, Form::Repainted), Step::Withdraw(2)]);
    let inbox = trial.node.data().expect("a folder").inbox(PROMISE).expect("an inbox");
    let kept = |data: &Path| -> BTreeSet<String> {
        let names = |entry: &Entry| match &entry.event {
            Event::Changed { payload, .. } => payload.clone(),
            Event::Used { .. } | Event::Published(_) | Event::Forgotten { .. } => None,
        };
        entries(data).iter().filter_map(names).collect()
    };
    let on_disk = |data: &Path| -> BTreeSet<String> {
        let name = |path: &std::path::PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
        files(&data.join("payloads")).iter().map(name).collect()
    };
    let mut keeper = Keeper { node: trial.node, seen: trial.seen, inbox };
    for studies in [[0], [1]] {
        let before = on_disk(data);
        assert_eq!(before, kept(data));
        keeper.forget(&studies, &Files::default());
        assert!(on_disk(data).len() < before.len());
        assert_eq!(on_disk(data), kept(data), "what was replaced and withdrawn stays as long as its study");
    }
    assert_eq!(on_disk(data), BTreeSet::new());
    let entries = DataFolder::existing(data).expect("a folder").entries().expect("a log");
    assert_eq!(versions(&entries), BTreeMap::new());
}
