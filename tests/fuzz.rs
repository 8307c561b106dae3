//! Broken inputs of every kind: what the program makes itself, changed by a seed, given to everything that reads bytes
//! of others. Nothing panics, nothing hangs, and what stood before the change is not lost.
//!
//! | variable | says |
//! |---|---|
//! | `HEMOFLOW_FUZZ_EXECUTIONS` | inputs for each target, fewer for slow ones: 3000, or what `make fuzz` says |
//! | `HEMOFLOW_FUZZ_SEED` | what the inputs are drawn from; a failure tells it, and leaves its input in `target/` |
//!
//! A library that panics is contained by who calls it: how often is told (`--nocapture`). Does not cover: how much
//! memory an input asks for; code paths, which no tool looks at here; an input that ends the process, by its stack or a
//! library of C++, leaves no file.

mod corpus;
mod mutate;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use hemoflow::config::{Ack, Config};
use hemoflow::data::{DataFolder, Entry};
use hemoflow::dimse::Command;
use hemoflow::inbox::{Inbox, Kept, Promise, Record};
use hemoflow::operators::codec;
use hemoflow::operators::decode::decode;
use hemoflow::operators::dicom::data_set;
use hemoflow::operators::dicom::identity::{identify, is_uid};
use hemoflow::operators::dicom::read::read_bytes;
use hemoflow::operators::dicom::rejection_note::rejected;

use crate::dimse::{ANYBODY, Bench};
use crate::support::dice::{Dice, told};
use crate::support::slices::{EXPLICIT, slices, study};

use mutate::mutated;

/// How long one input may take.
const BOUND: Duration = Duration::from_secs(20);
/// The name of the threads that inputs are tried on.
const THREAD: &str = "fuzz";
/// Panics of libraries that were contained.
static CONTAINED: AtomicU64 = AtomicU64::new(0);

/// Lets panics on the threads of this test count instead of speak. What is not contained is told by who joins them.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some(THREAD) {
                CONTAINED.fetch_add(1, Ordering::Relaxed);
            } else {
                before(panic);
            }
        }));
    });
}

/// Tries inputs: those of the corpus as they are, then changed ones, a part of as many as are asked for.
fn fuzz(name: &str, part: u64, corpus: Vec<Vec<u8>>, run: impl Fn(&[u8]) + Send + 'static) {
    count_panics();
    let (executions, seed) = (told("HEMOFLOW_FUZZ_EXECUTIONS", 3000) / part, told("HEMOFLOW_FUZZ_SEED", 1));
    let current = Arc::<Mutex<Vec<u8>>>::default();
    let (done, heard) = channel();
    let thread = {
        let current = Arc::clone(&current);
        let try_all = move || {
            let mut dice = Dice::new(seed);
            let changed = (0..executions).map(|_| mutated(&mut dice.split(), &corpus));
            for input in corpus.iter().cloned().chain(changed) {
                current.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&input);
                run(&input);
                // Nobody hears only if it took too long before.
                done.send(()).ok();
            }
        };
        std::thread::Builder::new().name(THREAD.to_owned()).spawn(try_all).expect("a thread")
    };
    let failed = |what: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join(format!("fuzz-{name}-{seed}"));
        let input = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        fs::write(&path, input).expect("written");
        panic!("{name}: {what}: HEMOFLOW_FUZZ_SEED={seed}, the input is {}", path.display());
    };
    let mut tried = 0_u64;
    loop {
        match heard.recv_timeout(BOUND) {
            Ok(()) => tried += 1,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => failed("an input takes too long"),
        }
    }
    if let Err(panic) = thread.join() {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        failed(&text.unwrap_or_default());
    }
    eprintln!(
        "{name}: {tried} inputs; {} panics of libraries were contained so far",
        CONTAINED.load(Ordering::Relaxed)
    );
}

#[test]
fn command_sets() {
    fuzz("command_sets", 1, corpus::command_sets(), |bytes| {
        if let Ok(command) = Command::read(bytes) {
            // It may hold what has no form: that is told, and no panic.
            drop(command.write());
        }
    });
}

#[test]
fn data_sets() {
    fuzz("data_sets", 1, corpus::data_sets(), |bytes| {
        if let Ok(told) = identify(bytes) {
            let uids = [told.class.as_str(), told.instance.as_str(), told.key.study.as_str(), told.key.series.as_str()];
            assert!(uids.into_iter().all(is_uid), "{uids:?}");
        }
        drop((read_bytes("fuzz", bytes), rejected(bytes)));
        for syntax in [EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"] {
            drop(data_set(bytes, syntax));
        }
    });
}

#[test]
fn pixels() {
    fuzz("pixels", 1, corpus::pixels(), |bytes| {
        let Ok(instance) = read_bytes("fuzz", bytes) else { return };
        for frame in instance.frames.iter().take(4) {
            if let Ok(plane) = decode(&frame.pixels) {
                assert_eq!(plane.hu().len(), plane.rows * plane.columns);
            }
        }
    });
}

#[test]
fn records() {
    fuzz("records", 1, corpus::encoded_records(), |bytes| {
        drop((codec::decode::<Record>(1, bytes), codec::decode::<Entry>(2, bytes)));
    });
}

#[test]
fn configurations() {
    fuzz("configurations", 2, corpus::configurations(), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        match Config::parse("fuzz", &text) {
            Ok(config) => drop(config.warnings()),
            Err(fault) => {
                assert!((1..=text.matches('\n').count() + 1).contains(&fault.line), "{fault}");
                assert!(fault.to_string().starts_with("fuzz:"), "{fault}");
            }
        }
    });
}

/// How many records end before the first byte that was changed, if they end at these bytes.
fn untouched(before: &[u8], after: &[u8], ends: &[usize]) -> usize {
    let same = before.iter().zip(after).take_while(|(one, other)| one == other).count();
    ends.iter().take_while(|end| **end <= same).count()
}

#[test]
fn inbox_segments() {
    let promise = Promise { ack: Ack::Written, ..Promise::default() };
    let corpus::Written { bytes: before, ends, records } = corpus::segment(promise);
    fuzz("inbox_segments", 5, vec![before.clone()], move |bytes| {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(corpus::SEGMENT), bytes).expect("written");
        let kept = Kept::read(folder.path());
        let opened = kept.and_then(|kept| Inbox::open(folder.path(), promise, kept));
        let whole = untouched(&before, bytes, &ends);
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
    });
}

#[test]
fn logs() {
    let corpus::Written { bytes: before, ends, records } = corpus::log();
    fuzz("logs", 5, vec![before.clone()], move |bytes| {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("log"), bytes).expect("written");
        let data = DataFolder::create(folder.path()).expect("a folder");
        match data.log() {
            Ok((mut log, found)) => {
                let whole = untouched(&before, bytes, &ends);
                assert_eq!(found.get(..whole), records.get(..whole));
                log.append(&records[..1]).expect("it goes on");
                assert_eq!(data.entries().expect("readable").len(), found.len() + 1);
            }
            // A record that is broken within is told, and nothing is written behind it.
            Err(error) => assert!(format!("{error:#}").contains("log"), "{error:#}"),
        }
    });
}

#[test]
fn streams() {
    let bench = Bench::start(&format!("{ANYBODY}associations = 200\nassociations_per_peer = 200\n"));
    let slice = slices(&study(31, 0, 2)).remove(0);
    let tried = AtomicU64::new(0);
    fuzz("streams", 20, corpus::streams(), move |bytes| {
        let mut stream = TcpStream::connect(bench.address()).expect("it listens");
        stream.set_read_timeout(Some(BOUND)).expect("a socket");
        stream.set_write_timeout(Some(BOUND)).expect("a socket");
        // It may be closed before all is sent.
        stream.write_all(bytes).ok();
        stream.shutdown(Shutdown::Write).ok();
        let ended = stream.read_to_end(&mut Vec::new());
        let silent = |error: std::io::Error| [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind());
        assert!(!ended.is_err_and(silent), "the connection stays open");
        if tried.fetch_add(1, Ordering::Relaxed).is_multiple_of(16) {
            let mut client = bench.associate("CT2").expect("others go on");
            assert_eq!(bench.store(&mut client, &slice), 0, "others go on");
        }
    });
}
