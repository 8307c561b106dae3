//! What the tests share: the program, synthetic data, real data where it is.

pub(crate) mod association;
pub(crate) mod certificates;
pub(crate) mod dice;
pub(crate) mod law;
pub(crate) mod node;
pub(crate) mod others;
pub(crate) mod slices;
pub(crate) mod steps;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The program with these arguments, run in the root of the project.
pub(crate) fn hemoflow(arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Output {
    program(arguments).output().expect("the program starts")
}

/// The program with these arguments, to be started.
pub(crate) fn program(arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hemoflow"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments);
    command
}

/// What a program said on standard error.
pub(crate) fn complaints(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts the exit status, showing what was said otherwise.
#[track_caller]
pub(crate) fn assert_exit(output: &Output, status: i32) {
    assert_eq!(output.status.code(), Some(status), "{}", complaints(output));
}

/// Synthetic studies: small, so that a test takes seconds.
pub(crate) fn phantoms(studies: u32, slices: u32, seed: u64) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().display().to_string();
    let arguments = ["phantom", "--out", &out, "--matrix", "128", "--studies", &studies.to_string()].map(str::to_owned);
    let more = ["--slices".to_owned(), slices.to_string(), "--seed".to_owned(), seed.to_string()];
    assert_exit(&hemoflow(arguments.into_iter().chain(more)), 0);
    folder
}

/// Runs the program on inputs and gives the folder of results and the exit status.
pub(crate) fn run(inputs: &[&Path]) -> (TempDir, Output) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = program(["run", "--nifti", "--out"]);
    let output = command.arg(folder.path()).args(inputs).output().expect("the program starts");
    (folder, output)
}

/// A JSON file.
#[track_caller]
pub(crate) fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The summary of a result tree.
#[track_caller]
pub(crate) fn summary(tree: &Path) -> Vec<Value> {
    json(&tree.join("summary.json")).as_array().expect("one object per series").clone()
}

/// The refused inputs of a result tree: reason by input.
#[track_caller]
pub(crate) fn rejections(tree: &Path) -> std::collections::BTreeMap<String, String> {
    let lines = std::fs::read_to_string(tree.join("rejections.jsonl")).expect("rejections.jsonl");
    let rejection = |line: &str| {
        let value: Value = serde_json::from_str(line).expect("one object per line");
        let text = |field: &str| value[field].as_str().expect("text").to_owned();
        assert!(!text("detail").is_empty(), "a rejection says what exactly: {line}");
        (text("input"), text("reason"))
    };
    lines.lines().map(rejection).collect()
}

/// The files below a folder, sorted.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.expect("a readable folder").into_path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// A folder of real data, or `None`, said by name, where there is none.
pub(crate) fn real_data(test: &str, folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("HEMOFLOW_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"));
    let path = root.join(folder);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {test}: no test data at {}", path.display());
    None
}
