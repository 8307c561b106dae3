//! Broken inputs of every kind: what the program makes itself, changed by a seed, given to everything that reads bytes
//! of others. Nothing panics, nothing hangs, and what stood before the change is not lost.
//!
//! | variable | says |
//! |---|---|
//! | `HEMOFLOW_FUZZ_EXECUTIONS` | inputs for each target, fewer for slow ones: 3000, or what `make fuzz` says |
//! | `HEMOFLOW_FUZZ_SEED` | what the inputs are drawn from; a failure tells it, and leaves its input in `target/` |
//!
//! A library that panics is contained by who calls it: how often is told (`--nocapture`). Does not cover: how much
//! memory an input asks for; an input that ends the process, by its stack or a library of C++, leaves no file. Code paths
//! are what `tests/fuzz/coverage` looks at, with the same targets: `make fuzz-coverage`.

mod corpus;
mod mutate;
mod targets;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use crate::dimse::{ANYBODY, Bench};
use crate::support::dice::{Dice, told};
use crate::support::slices::{slices, study};

use mutate::mutated;
use targets::Target;

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

/// Tries a target.
fn smoke(target: &Target) {
    fuzz(target.name, target.part, (target.corpus)(), target.run);
}

#[test]
fn command_sets() {
    smoke(&targets::COMMAND_SETS);
}

#[test]
fn data_sets() {
    smoke(&targets::DATA_SETS);
}

#[test]
fn pixels() {
    smoke(&targets::PIXELS);
}

#[test]
fn records() {
    smoke(&targets::RECORDS);
}

#[test]
fn configurations() {
    smoke(&targets::CONFIGURATIONS);
}

#[test]
fn inbox_segments() {
    smoke(&targets::INBOX_SEGMENTS);
}

#[test]
fn logs() {
    smoke(&targets::LOGS);
}

#[test]
fn associations() {
    smoke(&targets::ASSOCIATIONS);
}

#[test]
fn bodies() {
    smoke(&targets::BODIES);
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

#[test]
fn each_target_is_a_program_for_libfuzzer_as_well() {
    let manifest = include_str!("fuzz/coverage/Cargo.toml");
    for target in targets::ALL {
        let program = format!("name = \"{0}\"\npath = \"targets/{0}.rs\"", target.name);
        assert!(manifest.contains(&program), "{}", target.name);
    }
}
