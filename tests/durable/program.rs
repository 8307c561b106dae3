//! The data folder through the program: runs that repeat, a process that is killed, a past that is explained.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use hemoflow::data::Event;
use hemoflow::operators::measure::priority;
use hemoflow::operators::record::{Digest, Role};
use serde_json::Value;
use tempfile::TempDir;

use super::{Trial, entries, history, versions};
use crate::batch_law::objects;
use crate::laws::MODELS;
use crate::support::{assert_exit, complaints, files, hemoflow, json, phantoms, program, rejections};

/// A run into `out`, with more arguments.
fn run(inputs: &[&Path], out: &Path, more: &[&str]) -> Output {
    let mut command = program(["run", "--out"]);
    command.arg(out).args(inputs).args(more).output().expect("the program starts")
}

/// Every file of a tree by its name and its bytes.
fn tree(root: &Path) -> Vec<(String, Vec<u8>)> {
    let named = |path: std::path::PathBuf| {
        let name = path.strip_prefix(root).expect("below the tree").display().to_string();
        (name, fs::read(path).expect("a file"))
    };
    files(root).into_iter().map(named).collect()
}

fn names(tree: &[(String, Vec<u8>)]) -> Vec<&str> {
    tree.iter().map(|(name, _)| name.as_str()).collect()
}

/// Fails with the names of the files that differ.
#[track_caller]
fn same(one: &[(String, Vec<u8>)], other: &[(String, Vec<u8>)]) {
    assert_eq!(names(one), names(other));
    let differ: Vec<&str> =
        one.iter().zip(other).filter(|(one, other)| one != other).map(|(one, _)| one.0.as_str()).collect();
    assert!(differ.is_empty(), "{differ:?}");
}

#[test]
fn a_run_that_is_repeated_writes_the_same_bytes_and_publishes_nothing() {
    let inputs = phantoms(1, 6, 21);
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let data = at("data").display().to_string();
    // A volume, whose slices have one payload.
    let (dicom, nifti) = (inputs.path().join("dicom"), inputs.path().join("masks"));
    let broken = at("broken.dcm");
    fs::write(&broken, "no image").expect("written");
    let inputs: [&Path; 3] = [&dicom, &nifti, &broken];
    let half: Vec<std::path::PathBuf> = files(&dicom).into_iter().step_by(2).collect();
    let half: Vec<&Path> = half.iter().map(AsRef::as_ref).collect();
    assert_exit(&run(&half, &at("half"), &["--data", &data]), 0);
    assert_exit(&run(&inputs, &at("first"), &["--data", &data]), 3);
    let published = versions(&entries(Path::new(&data)));
    let first = tree(&at("first"));
    for (again, store_lost) in [("again", false), ("computed again", true)] {
        if store_lost {
            fs::remove_dir_all(at("data").join("store")).expect("a store");
        }
        assert_exit(&run(&inputs, &at(again), &["--data", &data]), 3);
        same(&first, &tree(&at(again)));
        assert_eq!(versions(&entries(Path::new(&data))), published, "{again}");
    }
    assert_eq!(rejections(&at("again")).len(), 1);
    assert_exit(&run(&inputs, &at("without"), &[]), 3);
    let without_version = |root: &Path| -> Vec<(String, Vec<u8>)> {
        objects(root).into_iter().map(|(name, bytes)| (name, without(&bytes, b"\"version\":"))).collect()
    };
    same(&without_version(&at("without")), &without_version(&at("first")));
}

/// A text without the lines of the top level that begin so.
fn without(bytes: &[u8], start: &[u8]) -> Vec<u8> {
    let kept = |line: &&[u8]| line.strip_prefix(b"  ").is_none_or(|line| !line.starts_with(start));
    bytes.split(|byte| *byte == b'\n').filter(kept).collect::<Vec<_>>().join(&b'\n')
}

#[test]
fn a_process_that_is_killed_goes_on_where_it_was() {
    let inputs = phantoms(2, 8, 22);
    let dicom = inputs.path().join("dicom");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (data, out) = (at("data").display().to_string(), at("out").display().to_string());
    let more = ["--data", &data];
    for records in [3, 12, 30] {
        let mut command = program(["run", "--out", &out, "--data", &data]);
        let command = command.arg(&dicom).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        let started = Instant::now();
        // A half-written record is no reason to stop looking, but a broken one is.
        let long_enough = || at("data/log").exists() && entries(Path::new(&data)).len() >= records;
        while !long_enough() && child.try_wait().expect("a child").is_none() {
            assert!(started.elapsed() < Duration::from_secs(120), "it does not get on");
            std::thread::sleep(Duration::from_millis(2));
        }
        // It may have ended by itself.
        child.kill().ok();
        child.wait().expect("an end");
    }
    assert_exit(&run(&[&dicom], &at("out"), &more), 0);
    assert_exit(&run(&[&dicom], &at("whole"), &[]), 0);
    same(&objects(&at("whole")), &objects(&at("out")));
    for versions in versions(&entries(Path::new(&data))).into_values() {
        assert_eq!(versions, (1..).take(versions.len()).collect::<Vec<u64>>());
    }
    for result in crate::support::summary(&at("out")) {
        let study = result["study_uid"].as_str().expect("text");
        assert_exit(&hemoflow(["explain", study, "--data", &data]), 0);
    }
}

/// What `explain` says, as JSON.
fn explain(study: &str, data: &Path, more: &[&str]) -> Output {
    let data = data.display().to_string();
    hemoflow(["explain", study, "--data", &data, "--json"].iter().chain(more))
}

fn told(output: &Output) -> Value {
    assert_exit(output, 0);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn explain_reproduces_every_published_version_by_its_bytes() {
    let (folder, _) = history();
    let entries = entries(folder.path());
    let published = |entry: &hemoflow::data::Entry| match &entry.event {
        Event::Published(published) => Some((entry.tick, published.clone())),
        Event::Changed { .. } | Event::Used { .. } | Event::Forgotten { .. } => None,
    };
    let published: Vec<_> = entries.iter().filter_map(published).collect();
    let study = published[0].1.key.study.clone();
    let of_study = || published.iter().filter(|(_, published)| published.key.study == study);
    let out = tempfile::tempdir().expect("a folder");
    let mut ticks: Vec<u64> = of_study().map(|(tick, _)| *tick).collect();
    ticks.sort_unstable();
    ticks.dedup();
    for at in ticks {
        let tree = out.path().join(at.to_string());
        let more = ["--at", &at.to_string(), "--out", &tree.display().to_string()];
        let told = told(&explain(study.as_str(), folder.path(), &more));
        let versions = told["series"].as_array().expect("series").iter().flat_map(|series| {
            series["versions"].as_array().expect("versions").iter().map(|version| version["reproduced"].clone())
        });
        let versions: Vec<Value> = versions.collect();
        assert_eq!(versions.len(), of_study().filter(|(tick, _)| *tick <= at).count());
        assert!(versions.iter().all(|reproduced| *reproduced == true), "tick {at}");
        let mut newest = BTreeMap::new();
        for (_, published) in of_study().filter(|(tick, published)| *tick <= at && published.role == Role::Active) {
            newest.insert(published.key.series.clone(), published.result);
        }
        for (series, result) in newest {
            let path = tree.join(study.as_str()).join(series.as_str()).join("result.json");
            let bytes = fs::read(&path).expect("a result");
            assert_eq!(Digest::of(&bytes), result, "{}", path.display());
        }
    }
}

#[test]
fn explain_tells_why_in_words() {
    let (folder, _) = history();
    let study = crate::support::steps::SERIES[0].study.clone();
    let output = hemoflow(["explain", study.as_str(), "--data", &folder.path().display().to_string()]);
    assert_exit(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in ["arrived", "was replaced", "was withdrawn", "active", "shadow", "final", "reproduced", "sha256"] {
        assert!(text.contains(word), "no {word}: {text}");
    }
    assert!(!text.contains("NO"), "{text}");
}

#[test]
fn explain_names_what_it_cannot_tell() {
    let (folder, _) = history();
    let study = crate::support::steps::SERIES[0].study.clone();
    let refused = |study: &str, data: &Path, more: &[&str], what: &[&str]| {
        let output = explain(study, data, more);
        assert_exit(&output, 1);
        assert!(what.iter().all(|what| complaints(&output).contains(what)), "{}", complaints(&output));
    };
    refused("1.2.3.4.5", folder.path(), &[], &["nothing of the study 1.2.3.4.5"]);
    refused(study.as_str(), folder.path(), &["--at", "0"], &["up to tick 0"]);
    let empty = tempfile::tempdir().expect("a folder");
    refused(study.as_str(), empty.path(), &[], &[&empty.path().display().to_string(), "no log"]);
    // A running node keeps nobody from looking.
    let trial = Trial::start(folder.path(), 1, 1).expect("a node");
    told(&explain(study.as_str(), folder.path(), &[]));
    let output = run(&[empty.path()], &empty.path().join("out"), &["--data", &folder.path().display().to_string()]);
    assert_exit(&output, 1);
    assert!(complaints(&output).contains("in use by another process"), "{}", complaints(&output));
    drop(trial);
}

#[test]
fn a_limit_of_memory_changes_no_result() {
    let inputs = phantoms(2, 8, 23);
    let dicom = inputs.path().join("dicom");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let data = at("data").display().to_string();
    assert_exit(&run(&[&dicom], &at("plain"), &[]), 0);
    for (name, more) in [("limited", &["--memory", "1M"][..]), ("both", &["--memory", "1M", "--data", &data])] {
        assert_exit(&run(&[&dicom], &at(name), more), 0);
        same(&objects(&at("plain")), &objects(&at(name)));
    }
}

#[test]
fn views_list_what_a_shadow_calls_otherwise_and_how_labels_agree() {
    let inputs = phantoms(2, 8, 24);
    let folder: TempDir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    MODELS[0].save(Path::new(&at("model"))).expect("saved");
    let labels = files(inputs.path()).into_iter().find(|path| path.extension().is_some_and(|end| end == "csv"));
    let labels = labels.expect("labels").display().to_string();
    let dicom = inputs.path().join("dicom");
    let more = ["--shadow", &at("model"), "--labels", &labels, "--data", &at("data")];
    assert_exit(&run(&[&dicom], Path::new(&at("out")), &more), 0);
    let views = json(&Path::new(&at("out")).join("views.json"));
    let summary = crate::support::summary(Path::new(&at("out")));
    // A call is whether the series is positive by the gate of the model that says so, and how urgent.
    let shipped = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("models/hemoflow.json"));
    let [gate, shadow_gate] = [shipped["gate"].as_f64().expect("a gate"), f64::from(MODELS[0].card().gate)];
    let shadows: BTreeMap<String, _> = entries(Path::new(&at("data")))
        .into_iter()
        .filter_map(|entry| match entry.event {
            Event::Published(published) if published.role == Role::Shadow => {
                let urgency = priority(published.probability, MODELS[0].card().gate, published.volume_ml).word();
                let positive = f64::from(published.probability) >= shadow_gate;
                Some((published.key.series.to_string(), (positive, urgency)))
            }
            Event::Published(_) | Event::Changed { .. } | Event::Used { .. } | Event::Forgotten { .. } => None,
        })
        .collect();
    let flipped = |result: &&Value| {
        let positive = result["probability"].as_f64().expect("a number") >= gate;
        let urgency = result["priority"].as_str().expect("a word");
        (positive, urgency) != shadows[result["series_uid"].as_str().expect("a UID")]
    };
    let flips = summary.iter().filter(flipped).count();
    assert_eq!(views["flips"].as_array().expect("flips").len(), flips, "{views:#}");
    let whole: Vec<&Value> = views["agreement"].as_array().expect("agreement").iter().collect();
    let of_all = whole.iter().find(|entry| entry["series"].is_null() && entry["role"] == "active").expect("of all");
    let counted = ["true_positives", "false_positives", "false_negatives", "true_negatives"];
    assert_eq!(counted.iter().map(|count| of_all[count].as_u64().expect("a count")).sum::<u64>(), 16, "{of_all}");
}
