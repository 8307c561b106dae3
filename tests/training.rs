//! Training and evaluation as a user asks for them, on networks that learn little and fast.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Output, Stdio};

use hemoflow::operators::train::{StageConfig, TrainConfig};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{assert_exit, complaints, files, hemoflow, json, program};

/// Synthetic studies in a layout: some with a bleed, some without.
fn phantoms(layout: &str, studies: u32) -> TempDir {
    phantoms_of(layout, studies, "5", "41")
}

fn phantoms_of(layout: &str, studies: u32, slices: &str, seed: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, studies) = (folder.path().display().to_string(), studies.to_string());
    let sizes = ["--matrix", "96", "--slices", slices, "--seed", seed];
    let output =
        hemoflow(["phantom", "--layout", layout, "--out", &out, "--studies", &studies].into_iter().chain(sizes));
    assert_exit(&output, 0);
    folder
}

/// The numbers of a training of seconds, as a file.
fn tiny(folder: &Path) -> String {
    numbers(folder, 2, [3, 2, 1])
}

/// As [`tiny`], with so many channels, and epochs of the classifier and its heads.
fn numbers(folder: &Path, width: usize, [classifier, head, cam]: [usize; 3]) -> String {
    let stage = |epochs, batch, learning_rate| StageConfig {
        epochs,
        samples: 4 * batch,
        batch,
        learning_rate,
        weight_decay: 1e-4,
    };
    let config = TrainConfig {
        width,
        input_size: 32,
        context_hidden: 8,
        unet_width: 2,
        validation: 0.3,
        coarse_epochs: 0,
        classifier: stage(classifier, 8, 3e-3),
        head: stage(head, 8, 5e-3),
        cam: stage(cam, 8, 1e-3),
        segmenter: stage(2, 4, 1e-2),
        ..TrainConfig::default()
    };
    let path = folder.join("tiny.json");
    fs::write(&path, serde_json::to_vec(&config).expect("plain data")).expect("written");
    path.display().to_string()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_killed_training_goes_on_to_the_same_weights() {
    // Enough to find a mask to learn from.
    let data = phantoms_of("rsna", 16, "6", "48");
    let tiny = numbers(data.path(), 4, [40, 10, 4]);
    let train = |out: &Path, more: &[&str]| {
        let (data, out) = (text(data.path()), text(out));
        let mut command =
            program(["train", "all", "--data", &data, "--training", &tiny, "--self-training", "1", "--out", &out]);
        command.args(["--method", r#"{"cam_threshold": 0.1}"#]).args(more);
        command
    };
    let [whole, killed] = ["whole", "killed"].map(|name| data.path().join(name));
    let output = train(&whole, &[]).output().expect("it starts");
    assert_exit(&output, 0);
    assert!(!whole.join("checkpoints").exists(), "they are of no use any more");

    // Killed once in the classifier and once in the segmenter, each as soon as an epoch was told.
    for (sign, more) in [("classifier epoch 2/", &[][..]), ("segmenter epoch 1/", &["--resume"])] {
        let mut child = train(&killed, more).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
        let said = BufReader::new(child.stderr.take().expect("standard error"));
        let told = said.lines().map(|line| line.expect("text")).any(|line| line.contains(sign));
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(told, "{sign} was not told");
    }
    let output = train(&killed, &["--resume"]).output().expect("it starts");
    assert_exit(&output, 0);
    for name in ["hemoflow.safetensors", "losses.csv", "config.json"] {
        assert!(read(&killed.join(name)) == read(&whole.join(name)), "{name} differs");
    }
    let losses = String::from_utf8(read(&whole.join("losses.csv"))).expect("text");
    assert_eq!(losses.lines().count(), 1 + 40 + 10 + 4 + 2 + 2, "{losses}");
    assert!(losses.contains("segmenter round 1,2,"), "{losses}");

    // Its last stage again gives the same segmenter, not one that was trained twice, and the card tells both commands.
    let before = json(&killed.join("hemoflow.json"));
    let again = ["train", "segmenter", "--data", &text(data.path()), "--training", &tiny, "--self-training", "1"];
    let method = ["--method", r#"{"cam_threshold": 0.1}"#, "--out", &text(&killed)];
    assert_exit(&hemoflow(again.iter().chain(&method)), 0);
    assert!(read(&killed.join("hemoflow.safetensors")) == read(&whole.join("hemoflow.safetensors")));
    let mut after = json(&killed.join("hemoflow.json"));
    let command = after["trained"]["command"].take();
    let mut commands = command.as_str().expect("text").split(" && ");
    assert_eq!(commands.next(), before["trained"]["command"].as_str());
    assert!(commands.next().is_some_and(|last| last.starts_with("hemoflow train segmenter")), "{command}");
    after["trained"]["command"] = before["trained"]["command"].clone();
    assert_eq!(after, before);
}

#[test]
fn a_training_begins_with_the_encoder_of_another_model() {
    let data = phantoms("ct-ich", 8);
    let tiny = tiny(data.path());
    let train = |out: &str, more: &[&str]| -> Output {
        let (data, out) = (text(data.path()), text(&data.path().join(out)));
        hemoflow(["train", "classifier", "--data", &data, "--training", &tiny, "--out", &out].iter().chain(more))
    };
    assert_exit(&train("first", &["--width", "3"]), 0);
    let first = text(&data.path().join("first"));
    assert_exit(&train("second", &["--init", &first]), 0);
    assert_eq!(json(&data.path().join("second/hemoflow.json"))["width"], 3, "its width, not that of the numbers");
    let [first, second] = ["first", "second"].map(|name| read(&data.path().join(name).join("losses.csv")));
    assert!(first != second);
}

#[test]
fn a_broken_case_is_named_and_costs_no_other() {
    let data = phantoms("instance", 8);
    let tiny = tiny(data.path());
    let image = data.path().join("train_2/data/002.nii.gz");
    fs::write(&image, &read(&image)[..200]).expect("written");
    fs::remove_file(data.path().join("train_2/label/003.nii.gz")).expect("removed");
    let out = text(&data.path().join("model"));
    let output = hemoflow(["train", "classifier", "--data", &text(data.path()), "--training", &tiny, "--out", &out]);
    assert_exit(&output, 3);
    let said = complaints(&output);
    for name in ["002.nii.gz", "003.nii.gz"] {
        assert!(said.lines().any(|line| line.contains("rejected") && line.contains(name)), "{said}");
    }
    assert_eq!(json(&data.path().join("model/hemoflow.json"))["trained"]["studies"], 6);
    // The same case, named by the evaluation.
    let output = hemoflow(["evaluate", "--data", &text(data.path()), "--model", &out, "--json"]);
    assert_exit(&output, 3);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (told["rejections"].as_array().map(Vec::len), told["cases"].as_array().map(Vec::len)),
        (Some(2), Some(6))
    );
    // A layout that it is not.
    let output = hemoflow(["evaluate", "--data", &text(data.path()), "--layout", "bhsd"]);
    assert_exit(&output, 1);
    assert!(complaints(&output).contains("label_192"), "{}", complaints(&output));
}

#[test]
fn arms_are_compared_on_the_same_patients_and_pictured() {
    let data = phantoms("bhsd", 10);
    let tiny = tiny(data.path());
    let (root, out) = (text(data.path()), data.path().join("scores"));
    let arguments = ["evaluate", "--data", &root, "--training", &tiny, "--folds", "2", "--arms", "weak,supervised"];
    let more = ["--fractions", "50,100", "--seeds", "1", "--out", &text(&out)];
    assert_exit(&hemoflow(arguments.into_iter().chain(more)), 0);
    let metrics = json(&out.join("metrics.json"));
    let patients = |arm: &str| -> Vec<String> {
        let cases = metrics["arms"][arm]["metrics"]["cases"].as_array().expect("cases");
        let mut all: Vec<String> =
            cases.iter().map(|case| case["patient"].as_str().expect("text").to_owned()).collect();
        all.sort();
        all
    };
    // Each patient is tested once, in both arms.
    let images = files(&data.path().join("label_192/images"));
    let mut expected: Vec<String> = images
        .iter()
        .map(|path| {
            path.file_name().expect("a name").to_string_lossy().rsplit_once("_ID_").expect("two tokens").0.to_owned()
        })
        .collect();
    expected.sort();
    assert_eq!((patients("weak"), patients("supervised")), (expected.clone(), expected));
    assert_eq!(metrics["arms"]["supervised"]["supervision"], "masks");
    assert_eq!(metrics["slices"]["n"], 50, "the first arm's");
    let comparisons = metrics["comparisons"].as_array().expect("comparisons");
    assert!(comparisons.len() == 2 && comparisons.iter().all(|comparison| comparison["first"] == "weak"));
    let fractions: Vec<f64> =
        metrics["fractions"].as_array().expect("points").iter().filter_map(|point| point["percent"].as_f64()).collect();
    assert_eq!(fractions, [50.0, 100.0]);
    let page = String::from_utf8(read(&out.join("report.html"))).expect("text");
    assert!(
        page.contains("data:image/png;base64,") && page.contains("weak against supervised") && !page.contains("http")
    );
}
