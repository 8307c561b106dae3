//! The targets of `tests/fuzz/targets.rs`, for libFuzzer.
//!
//! A library that panics is contained by who calls it, here as everywhere. A panic of Hemoflow's own code ends the process,
//! contained or not, and so does what is not contained: libFuzzer then keeps the input.
//!
//! | variable | says |
//! |---|---|
//! | `HEMOFLOW_FUZZ_SEEDS` | a folder, in which the target puts the corpus that the program makes itself |
#![allow(
    dead_code,
    unused_imports,
    clippy::expect_used,
    clippy::panic,
    reason = "a target fails by panicking, and not all that the tests share is used here"
)]

#[path = "../corpus.rs"]
mod corpus;
mod support;
#[path = "../targets.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::PathBuf;
use std::process::abort;
use std::sync::{Mutex, OnceLock, PoisonError};

use targets::{ALL, Target};

/// The target of this process.
static TARGET: OnceLock<Target> = OnceLock::new();
/// What the last panic said.
static LAST: Mutex<String> = Mutex::new(String::new());

/// Chooses a target by its name. libFuzzer calls this before it reads its corpus.
pub fn start(name: &str) {
    let target = ALL.into_iter().find(|target| target.name == name).expect("a target of this name");
    if let Some(folder) = std::env::var_os("HEMOFLOW_FUZZ_SEEDS").map(PathBuf::from) {
        fs::create_dir_all(&folder).expect("a folder");
        for (number, seed) in (target.corpus)().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed).expect("written");
        }
    }
    assert!(TARGET.set(target).is_ok(), "one target in a process");
    // libFuzzer's own hook would end the process at what is contained.
    set_hook(Box::new(|panic| {
        let file = panic.location().map(|place| place.file().to_owned()).unwrap_or_default();
        let foreign = file.contains("/registry/src/") || file.starts_with("/rustc/");
        if foreign {
            *LAST.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
        } else {
            eprintln!("{panic}\n{}", std::backtrace::Backtrace::force_capture());
            abort();
        }
    }));
}

/// Tries one input.
pub fn run(bytes: &[u8]) {
    let Some(target) = TARGET.get() else { return };
    if catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))).is_err() {
        eprintln!("not contained: {}", LAST.lock().unwrap_or_else(PoisonError::into_inner));
        abort();
    }
}

/// Defines the fuzz target that has the name of its program.
#[macro_export]
macro_rules! target {
    () => {
        libfuzzer_sys::fuzz_target!(init: $crate::start(env!("CARGO_BIN_NAME")), |bytes| $crate::run(bytes));
    };
}
