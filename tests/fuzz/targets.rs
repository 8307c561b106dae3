//! What bytes are given to: everything that reads bytes of others, each as one function.
//!
//! `tests/fuzz.rs` tries these with changes that a seed draws; `tests/fuzz/coverage` lets libFuzzer look for what they have not
//! seen. A function panics if what it is given breaks a promise.

use std::cell::RefCell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Instant;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request};
use hemoflow::config::{Ack, Config};
use hemoflow::data::{DataFolder, Entry};
use hemoflow::dimse::{self, Command};
use hemoflow::http::{self, Health};
use hemoflow::inbox::{Inbox, Kept, Promise, Record};
use hemoflow::ingest::Door;
use hemoflow::operators::codec;
use hemoflow::operators::decode::decode;
use hemoflow::operators::dicom::data_set;
use hemoflow::operators::dicom::identity::{identify, is_uid};
use hemoflow::operators::dicom::read::read_bytes;
use hemoflow::operators::dicom::rejection_note::rejected;
use hemoflow::operators::event::{Metrics, Telemetry};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::corpus::{self, Written};
use crate::support::slices::EXPLICIT;

/// Something that reads bytes of others.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// How many of the others' inputs one of these takes as long as.
    pub(crate) part: u64,
    /// What inputs are made from.
    pub(crate) corpus: fn() -> Vec<Vec<u8>>,
    /// Tries one.
    pub(crate) run: fn(&[u8]),
}

/// All of them.
#[allow(dead_code, reason = "what asks for code paths asks for a target by its name")]
pub(crate) const ALL: [Target; 9] =
    [COMMAND_SETS, DATA_SETS, PIXELS, RECORDS, CONFIGURATIONS, INBOX_SEGMENTS, LOGS, ASSOCIATIONS, BODIES];

pub(crate) const COMMAND_SETS: Target =
    Target { name: "command_sets", part: 1, corpus: corpus::command_sets, run: command_sets };
pub(crate) const DATA_SETS: Target = Target { name: "data_sets", part: 1, corpus: corpus::data_sets, run: data_sets };
pub(crate) const PIXELS: Target = Target { name: "pixels", part: 1, corpus: corpus::pixels, run: pixels };
pub(crate) const RECORDS: Target = Target { name: "records", part: 1, corpus: corpus::encoded_records, run: records };
pub(crate) const CONFIGURATIONS: Target =
    Target { name: "configurations", part: 2, corpus: corpus::configurations, run: configurations };
pub(crate) const INBOX_SEGMENTS: Target =
    Target { name: "inbox_segments", part: 5, corpus: || vec![SEGMENT.bytes.clone()], run: inbox_segments };
pub(crate) const LOGS: Target = Target { name: "logs", part: 5, corpus: || vec![LOG.bytes.clone()], run: logs };
pub(crate) const ASSOCIATIONS: Target =
    Target { name: "associations", part: 5, corpus: corpus::streams, run: associations };
pub(crate) const BODIES: Target = Target { name: "bodies", part: 5, corpus: corpus::bodies, run: bodies };

fn command_sets(bytes: &[u8]) {
    if let Ok(command) = Command::read(bytes) {
        // It may hold what has no form: that is told, and no panic.
        drop(command.write());
    }
}

fn data_sets(bytes: &[u8]) {
    if let Ok(told) = identify(bytes) {
        let uids = [told.class.as_str(), told.instance.as_str(), told.key.study.as_str(), told.key.series.as_str()];
        assert!(uids.into_iter().all(is_uid), "{uids:?}");
    }
    drop((read_bytes("fuzz", bytes), rejected(bytes)));
    for syntax in [EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"] {
        drop(data_set(bytes, syntax));
    }
}

fn pixels(bytes: &[u8]) {
    let Ok(instance) = read_bytes("fuzz", bytes) else { return };
    for frame in instance.frames.iter().take(4) {
        if let Ok(plane) = decode(&frame.pixels) {
            assert_eq!(plane.hu().len(), plane.rows * plane.columns);
        }
    }
}

fn records(bytes: &[u8]) {
    drop((codec::decode::<Record>(1, bytes), codec::decode::<Entry>(2, bytes)));
}

fn configurations(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Config::parse("fuzz", &text) {
        Ok(config) => drop(config.warnings()),
        Err(fault) => {
            assert!((1..=text.matches('\n').count() + 1).contains(&fault.line), "{fault}");
            assert!(fault.to_string().starts_with("fuzz:"), "{fault}");
        }
    }
}

/// A promise that waits for no disk.
fn written() -> Promise {
    Promise { ack: Ack::Written, ..Promise::default() }
}

/// A segment as it was before it was changed.
static SEGMENT: LazyLock<Written<Record>> = LazyLock::new(|| corpus::segment(written()));
/// A log as it was before it was changed.
static LOG: LazyLock<Written<Entry>> = LazyLock::new(corpus::log);

/// How many records end before the first byte that was changed, if they end at these bytes.
fn untouched(before: &[u8], after: &[u8], ends: &[usize]) -> usize {
    let same = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    ends.iter().take_while(|end| **end <= same).count()
}

fn inbox_segments(bytes: &[u8]) {
    let Written { bytes: before, ends, records } = &*SEGMENT;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(corpus::SEGMENT), bytes).expect("written");
    let kept = Kept::read(folder.path());
    let opened = kept.and_then(|kept| Inbox::open(folder.path(), written(), kept));
    let whole = untouched(before, bytes, ends);
    let inbox = match opened {
        Ok(inbox) => inbox,
        Err(error) => return assert_eq!(whole, 0, "what was there is lost: {error:#}"),
    };
    let mut reader = inbox.reader(0).expect("readable");
    let mut found = Vec::new();
    while let Some(entry) = reader.next_until(Instant::now()).expect("sound") {
        found.push(entry.record);
    }
    assert_eq!(found.get(..whole), records.get(..whole));
    for received in records[..whole].iter().filter_map(Record::received) {
        inbox.kept().payload(&received.content).expect("sound").expect("there");
    }
    let position = inbox.append_waiting(Record::Ended(Vec::new()), Vec::new()).expect("it goes on");
    assert_eq!(position, found.len() as u64);
}

fn logs(bytes: &[u8]) {
    let Written { bytes: before, ends, records } = &*LOG;
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("log"), bytes).expect("written");
    let data = DataFolder::create(folder.path()).expect("a folder");
    match data.log() {
        Ok((mut log, found)) => {
            let whole = untouched(before, bytes, ends);
            assert_eq!(found.get(..whole), records.get(..whole));
            log.append(&records[..1]).expect("it goes on");
            assert_eq!(data.entries().expect("readable").len(), found.len() + 1);
        }
        // A record that is broken within is told, and nothing is written behind it.
        Err(error) => assert!(format!("{error:#}").contains("log"), "{error:#}"),
    }
}

/// A door with an inbox behind it. Nobody follows what comes in.
struct Node {
    runtime: Runtime,
    door: Door,
    config: Config,
    /// Inputs that it had.
    inputs: usize,
    _folder: TempDir,
}

impl Node {
    /// Inputs of one inbox, so that it stays small.
    const INPUTS: usize = 500;

    fn start() -> Self {
        let text = "[dicom]\nany_peer = true\n[http]\nanonymous = true\n[limits]\nfree_disk = 0\n";
        let config = Config::parse("fuzz", text).expect("a configuration");
        let folder = tempfile::tempdir().expect("a folder");
        let telemetry = Telemetry::new(Metrics::register(&prometheus::Registry::new()).expect("metrics"));
        let kept = Kept::read(folder.path()).expect("nothing yet");
        let inbox = Inbox::open(folder.path(), written(), kept).expect("an inbox");
        let door = Door::new(inbox, 0, config.limits.clone(), true, folder.path(), telemetry);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, door, config, inputs: 0, _folder: folder }
    }

    /// Gives the node of this thread, a new one now and then, one more input.
    fn with<T>(give: impl FnOnce(&Self) -> T) -> T {
        thread_local!(static NODE: RefCell<Option<Node>> = const { RefCell::new(None) });
        NODE.with_borrow_mut(|place| {
            let mut node = place.take().filter(|node| node.inputs < Self::INPUTS).unwrap_or_else(Self::start);
            node.inputs += 1;
            let given = give(&node);
            node.door.feed(node.door.inbox().next_position());
            *place = Some(node);
            given
        })
    }
}

/// Some address.
const SOMEWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 104);

/// All that a sender says, from its connection to its end.
fn associations(bytes: &[u8]) {
    Node::with(|node| {
        let rules = node.config.dicom.clone();
        let drain = rules.timeout;
        let options = dimse::Options { address: SOMEWHERE, rules, tls: None, drain };
        let stream = tokio::io::join(bytes, tokio::io::sink());
        node.runtime.block_on(dimse::serve_one(stream, SOMEWHERE.ip(), options, node.door.clone()));
    });
}

/// A request to store: a line with its media type, a line with its path, and its body.
fn bodies(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let (Some(media), Some(path), Some(body)) = (lines.next(), lines.next(), lines.next()) else { return };
    let request = Request::builder().method(Method::POST).uri(path).header(CONTENT_TYPE, media);
    let Ok(request) = request.body(Body::from(body.to_vec())) else { return };
    let answer = Node::with(|node| {
        let (rules, door) = (node.config.http.clone(), node.door.clone());
        node.runtime.block_on(http::answer_one(request, rules, SOMEWHERE, door, Health::default()))
    });
    assert!(!answer.status().is_server_error(), "{}", answer.status());
}
