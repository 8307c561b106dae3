//! Retention: what an inbox that forgets has left, and a node that is told to forget by its configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Instant;

use hemoflow::config::Ack;
use hemoflow::data::{DataFolder, Entry};
use hemoflow::files::Files;
use hemoflow::inbox::{Identity, Inbox, Kept, Promise, Received, Record, Via};
use hemoflow::operators::record::{Digest, InstanceUid, SeriesKey, SeriesUid, StudyUid};
use proptest::prelude::*;

use crate::serve::{batch, configuration, results, send};
use crate::support::law::cases;
use crate::support::node::Served;
use crate::support::slices::{CT, Sent, slices, study};

const PROMISE: Promise = Promise { ack: Ack::Written, segment_bytes: 1500 };

fn key(study: u8) -> SeriesKey {
    let study = StudyUid::new(&format!("1.{study}")).expect("a UID");
    SeriesKey { series: SeriesUid::new(&format!("{study}.1")).expect("a UID"), study }
}

/// A record and its payload: who it is depends on what it holds, as in a DICOM file.
fn record(study: u8, instance: u8, content: u8) -> (Record, Vec<u8>) {
    let payload = [study, instance, content].repeat(100 + usize::from(content));
    let instance = InstanceUid::new(&format!("1.{study}.1.{instance}")).expect("a UID");
    let received = Received {
        identity: Identity { key: key(study), instance, class: CT.to_owned() },
        content: Digest::of(&payload),
        bytes: payload.len() as u64,
        via: Via::Dimse,
        sender: "CT1".to_owned(),
        unix_ms: 0,
    };
    (Record::Received(received), payload)
}

#[derive(Clone, Debug)]
enum Act {
    Come(u8, u8, u8),
    End(u8),
    /// Forgets studies with all that came before the last so many records, and stops after so many steps.
    Forget(Vec<u8>, u64, Option<u64>),
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let studies = prop::sample::subsequence(vec![0_u8, 1, 2], 1..=3);
    let act = prop_oneof![
        12 => (0_u8..3, 0_u8..3, 0_u8..3).prop_map(|(study, instance, content)| Act::Come(study, instance, content)),
        2 => (0_u8..3).prop_map(Act::End),
        2 => (studies, 0_u64..4, prop::option::of(0_u64..20)).prop_map(|(studies, left, stop)| Act::Forget(studies, left, stop)),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 0..60)
}

fn open(folder: &Path) -> Inbox {
    Inbox::open(folder, PROMISE, Kept::read(folder).expect("readable")).expect("an inbox")
}

/// What an inbox says of all that could be in it.
fn told(kept: &Kept) -> Vec<(Option<Digest>, usize)> {
    let index = kept.index();
    let of = |study: u8, instance: u8| {
        let uid = InstanceUid::new(&format!("1.{study}.1.{instance}")).expect("a UID");
        (index.content(&uid), index.instances_of(&key(study).study))
    };
    (0..3).flat_map(|study| (0..3).map(move |instance| (study, instance))).map(|(s, i)| of(s, i)).collect()
}

proptest! {
    #![proptest_config(cases(200))]

    /// Whatever is forgotten and wherever that is stopped: positions stay, what is not forgotten is there to the byte, what
    /// is forgotten is not, and an inbox that is opened again says the same.
    #[test]
    fn an_inbox_forgets_what_it_is_told_and_nothing_else(acts in acts()) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut inbox = open(folder.path());
        let mut sent: Vec<(Record, Vec<u8>)> = Vec::new();
        let mut forgotten: BTreeMap<Digest, u64> = BTreeMap::new();
        for act in acts {
            match act {
                Act::Come(study, instance, content) => {
                    let (record, payload) = record(study, instance, content);
                    let position = inbox.append_waiting(record.clone(), payload.clone()).expect("room");
                    prop_assert_eq!(position, sent.len() as u64);
                    sent.push((record, payload));
                }
                Act::End(study) => {
                    let record = Record::Ended(vec![key(study)]);
                    inbox.append_waiting(record.clone(), Vec::new()).expect("room");
                    sent.push((record, Vec::new()));
                }
                Act::Forget(studies, left, stop) => {
                    let before = inbox.next_position().saturating_sub(left);
                    for study in studies {
                        let until = forgotten.entry(key(study).study.digest()).or_default();
                        *until = before.max(*until);
                    }
                    let stopping = stop.map(Files::stopping_after).unwrap_or_default();
                    if inbox.forget(&forgotten, &stopping).is_err() {
                        drop(inbox);
                        inbox = open(folder.path());
                        inbox.forget(&forgotten, &Files::default()).expect("nothing stops it now");
                    }
                }
                Act::Restart => {
                    drop(inbox);
                    inbox = open(folder.path());
                }
            }
            let goes = |position: u64, record: &Record| {
                let study = record.received().map(|received| received.identity.key.study.digest());
                study.and_then(|study| forgotten.get(&study)).is_some_and(|before| position < *before)
            };
            let left: Vec<(u64, &Record)> =
                (0..).zip(sent.iter().map(|(record, _)| record)).filter(|(at, record)| !goes(*at, record)).collect();
            let mut found = BTreeMap::new();
            let mut reader = inbox.reader(0).expect("readable");
            while let Some(entry) = reader.next_until(Instant::now()).expect("sound") {
                found.insert(entry.position, entry.record);
            }
            prop_assert_eq!(inbox.next_position(), sent.len() as u64);
            let contents: BTreeSet<Digest> = left.iter().filter_map(|(_, record)| Some(record.received()?.content)).collect();
            for (position, record) in &left {
                if let Record::Received(received) = record {
                    prop_assert_eq!(found.get(position), Some(*record));
                    let payload = inbox.kept().payload(&received.content).expect("sound");
                    prop_assert_eq!(payload.as_ref(), Some(&sent[usize::try_from(*position).expect("small")].1));
                }
            }
            for (position, record) in found {
                let same = left.iter().any(|(at, kept)| *at == position && **kept == record);
                prop_assert!(same || matches!(record, Record::Gone(_)), "{position}: {record:?}");
            }
            prop_assert_eq!(inbox.kept().index().payloads(), contents.len());
            let fresh = Kept::read(folder.path()).expect("readable");
            prop_assert_eq!(told(&fresh), told(inbox.kept()));
        }
        // With everything, all goes but the segment that is written.
        let before = inbox.next_position();
        inbox.forget(&(0..3).map(|study| (key(study).study.digest(), before)).collect(), &Files::default()).expect("room");
        let bytes: u64 = crate::support::files(folder.path()).iter().map(|path| fs::metadata(path).expect("a file").len()).sum();
        prop_assert!(bytes <= 8, "{bytes} bytes are left");
    }
}

/// A content that stays for the sake of a later record goes with that record, wherever forgetting it is stopped.
#[test]
fn a_content_that_was_kept_for_another_record_goes_with_it() {
    let mut left = BTreeSet::new();
    for steps in 0.. {
        let folder = tempfile::tempdir().expect("a folder");
        let inbox = open(folder.path());
        // The content lies in the first segment, with one of a study that stays, and is named again in the last.
        for (study, content) in [(1, 0), (0, 0), (0, 1), (0, 2), (0, 1), (0, 2), (0, 0)] {
            let (record, payload) = record(study, 0, content);
            inbox.append_waiting(record, payload).expect("room");
        }
        let study = key(0).study.digest();
        inbox.forget(&BTreeMap::from([(study, 6)]), &Files::default()).expect("room");
        assert_eq!(inbox.kept().index().payloads(), 2);
        let all = BTreeMap::from([(study, 7)]);
        let stopped = inbox.forget(&all, &Files::stopping_after(steps)).is_err();
        drop(inbox);
        let inbox = open(folder.path());
        inbox.forget(&all, &Files::default()).expect("room");
        assert_eq!(inbox.kept().index().payloads(), 1, "stopped after {steps} steps");
        let files = crate::support::files(folder.path());
        left.insert(files.iter().map(|path| fs::metadata(path).expect("a file").len()).sum::<u64>());
        if !stopped {
            break;
        }
    }
    assert_eq!(left.len(), 1, "so many bytes are left where it was stopped: {left:?}");
}

/// Days between two times that nobody confuses, in milliseconds.
const DAYS_40: i64 = 40 * 86_400_000;

/// Two studies, the first of them old, in a data folder `to`; `from` keeps what they were published as.
pub(crate) fn one_of_two_is_old(from: &Path, to: &Path) -> (Vec<Vec<Sent>>, String) {
    let studies = [study(71, 0, 5), study(71, 1, 5)];
    let sent: Vec<Vec<Sent>> = studies.iter().map(slices).collect();
    let node = Served::start(from, &configuration(""));
    // Both at once, so that they lie in one segment.
    let mixed: Vec<Sent> = sent[0].iter().zip(&sent[1]).flat_map(|(one, other)| [one.clone(), other.clone()]).collect();
    assert_eq!(send(node.dicom, &mixed).len(), mixed.len());
    node.caught_up();
    assert!(node.drain().0.success());
    let old = studies[0].study.to_string();
    aged(&from.join("data"), &to.join("data"), &old);
    (sent, old)
}

/// Whether the log and the inbox of a data folder say anything of a study.
pub(crate) fn mentioned(data: &Path, study: &str) -> [bool; 2] {
    let data = DataFolder::existing(data).expect("a folder");
    let log = format!("{:?}", data.entries().expect("a log"));
    let inbox = format!("{:?}", data.received().expect("readable"));
    [log.contains(study), inbox.contains(study)]
}

/// A data folder as it would be if all of a study in it had come so much earlier.
fn aged(from: &Path, to: &Path, study: &str) {
    let data = DataFolder::existing(from).expect("a folder");
    let old = DataFolder::create(to).expect("a folder");
    let earlier = |entry: Entry| {
        let of = format!("{:?}", entry.event).contains(study);
        Entry { unix_ms: entry.unix_ms - if of { DAYS_40 } else { 0 }, ..entry }
    };
    let entries: Vec<Entry> = data.entries().expect("a log").into_iter().map(earlier).collect();
    let (mut log, _) = old.log().expect("a log");
    log.append(&entries).expect("room");
    let inbox = old.inbox(Promise::default()).expect("an inbox");
    for (position, record) in data.received().expect("readable") {
        let (record, payload) = match record {
            Record::Received(mut received) => {
                let kept = Kept::read(&from.join("inbox")).expect("readable");
                let payload = kept.payload(&received.content).expect("sound").expect("there");
                if received.identity.key.study.as_str() == study {
                    received.unix_ms -= DAYS_40;
                }
                (Record::Received(received), payload)
            }
            record @ (Record::Ended(_) | Record::Gone(_)) => (record, Vec::new()),
        };
        assert_eq!(inbox.append_waiting(record, payload).expect("room"), position);
    }
    for path in crate::support::files(from) {
        let name = path.strip_prefix(from).expect("below it");
        if ["models", "results", "salt"].iter().any(|part| name.starts_with(part)) {
            let to = to.join(name);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::copy(path, to).expect("copied");
        }
    }
}

#[test]
fn a_node_forgets_what_is_old_and_takes_it_again() {
    let (first, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (sent, old) = one_of_two_is_old(first.path(), folder.path());
    let shown = results(&first.path().join("data/results"));

    let forgetting = configuration("[retention]\nafter_days = 30\n");
    let data = folder.path().join("data");
    let mentioned = || mentioned(&data, &old);
    let node = Served::start(folder.path(), &configuration(""));
    node.caught_up();
    assert_eq!(mentioned(), [true, true]);
    node.reload(folder.path(), &forgetting);
    node.until("the old study is forgotten", || node.metric("hemoflow_studies_forgotten_total") >= 1.0);
    assert!(node.metric("hemoflow_forgotten_bytes_total") > 0.0);
    node.caught_up();
    assert_eq!(mentioned(), [false, false]);
    assert_eq!(results(&data.join("results")), shown, "what was published stays");
    node.kill();
    // It does not come back by itself, and again if it is sent again.
    let node = Served::start(folder.path(), &forgetting);
    node.caught_up();
    assert_eq!(mentioned(), [false, false]);
    assert_eq!(send(node.dicom, &sent[0]).len(), sent[0].len());
    node.caught_up();
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(results(&data.join("results")), batch(&sent.concat()));
    let entries = DataFolder::existing(&data).expect("a folder").entries().expect("a log");
    let versions = crate::durable::versions(&entries);
    assert!(versions.keys().any(|(key, _)| key.study.as_str() == old));
    for versions in versions.into_values() {
        assert_eq!(versions, (1..).take(versions.len()).collect::<Vec<u64>>());
    }
}
