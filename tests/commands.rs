//! What a user types, and what comes back: exit statuses, complaints, files.

use std::fs;

use crate::support::{assert_exit, complaints, files, hemoflow, phantoms, program, rejections, run, summary};

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [&["no-such-command"][..], &["run"], &["run", "x"], &["--device", "tpu", "graphs"]] {
        assert_exit(&hemoflow(arguments), 2);
    }
}

#[test]
fn the_version_names_the_features() {
    let output = hemoflow(["--version"]);
    assert_exit(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("hemoflow 0.") && text.contains("features cpu"), "{text}");
}

#[test]
fn graphs_prints_the_golden_tree_and_refuses_unknown_names() {
    let output = hemoflow(["graphs", "hemorrhage"]);
    assert_exit(&output, 0);
    let golden = include_str!("../graphs/golden/hemorrhage.txt");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), golden.trim());
    let output = hemoflow(["graphs", "nothing"]);
    assert_exit(&output, 1);
    assert!(complaints(&output).contains("nothing"));
}

#[test]
fn the_shipped_model_shows_its_card_and_was_trained_from_slice_labels() {
    let output = hemoflow(["model", "show", "--json"]);
    assert_exit(&output, 0);
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(shown["card"]["trained"]["supervision"], "slice labels only");
    assert!(shown["card"]["trained"]["command"].as_str().expect("text").starts_with("hemoflow train "));
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let output = hemoflow(["model", "show", "no/such/model"]);
    assert_exit(&output, 1);
    assert!(complaints(&output).contains("no/such/model"));
}

#[test]
fn the_default_configuration_can_be_used_and_a_wrong_one_is_named_by_line_and_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("node.toml");
    let name = file.display().to_string();
    let printed = hemoflow(["config", "default"]);
    assert_exit(&printed, 0);
    fs::write(&file, &printed.stdout).expect("written");
    assert_exit(&hemoflow(["config", "check", &name]), 0);
    fs::write(&file, "[dicom]\nae_titel = 'CT'\n").expect("written");
    let output = hemoflow(["--config", &name, "config", "check", "--json"]);
    assert_exit(&output, 1);
    assert!(complaints(&output).contains("node.toml:2:1: dicom.ae_titel: "), "{}", complaints(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&told["valid"], &told["fault"]["line"]), (&false.into(), &2.into()));
    assert_exit(&hemoflow(["config", "check", "no/such/file"]), 1);
}

#[test]
fn what_a_rule_of_the_configuration_leaves_out_is_rejected_by_its_name() {
    let data = phantoms(1, 4, 7);
    let out = tempfile::tempdir().expect("a folder");
    let config = out.path().join("node.toml");
    let rule = "[[selection.rule]]\nname = 'no thick slices'\ntake = false\nslice_thickness_mm = { least = 0.1 }\n";
    fs::write(&config, rule).expect("written");
    let mut command = program(["run", "--config"]);
    command.arg(&config).arg("--out").arg(out.path().join("tree")).arg(data.path().join("dicom"));
    let output = command.output().expect("the program starts");
    assert_exit(&output, 3);
    let rejections = rejections(&out.path().join("tree"));
    assert!(rejections.len() == 4 && rejections.values().all(|reason| reason == "not_selected"), "{rejections:?}");
    assert!(
        complaints(&output).contains("no thick slices: slice_thickness_mm is 0.1 or more"),
        "{}",
        complaints(&output)
    );
}

#[test]
fn an_empty_folder_and_a_missing_path_are_rejected_by_name() {
    let empty = tempfile::tempdir().expect("a folder");
    let missing = empty.path().join("missing.dcm");
    fs::create_dir(empty.path().join("empty")).expect("a folder");
    let (tree, output) = run(&[&empty.path().join("empty"), &missing]);
    assert_exit(&output, 3);
    let rejections = rejections(tree.path());
    assert_eq!(rejections.get(&missing.display().to_string()).map(String::as_str), Some("unreadable"));
    assert_eq!(rejections.values().filter(|reason| *reason == "empty").count(), 1);
    assert!(complaints(&output).contains("missing.dcm"));
    assert!(summary(tree.path()).is_empty());
}

#[test]
fn bad_files_cost_no_other_study_anything() {
    let data = phantoms(2, 4, 11);
    let (clean, output) = run(&[&data.path().join("dicom")]);
    assert_exit(&output, 0);
    let dicom = files(&data.path().join("dicom"));
    let bytes = fs::read(&dicom[0]).expect("a file");
    let bad = data.path().join("dicom").join("bad");
    fs::create_dir(&bad).expect("a folder");
    fs::write(bad.join("text.txt"), "not an image").expect("written");
    fs::write(bad.join("truncated.dcm"), &bytes[..bytes.len() / 2]).expect("written");
    fs::write(bad.join("nothing.dcm"), "").expect("written");
    let (tree, output) = run(&[&data.path().join("dicom")]);
    assert_exit(&output, 3);
    assert_eq!(rejections(tree.path()).len(), 3, "{}", complaints(&output));
    let plain = |path: &std::path::Path| -> Vec<serde_json::Value> {
        summary(path).into_iter().map(crate::batch_law::without_history).collect()
    };
    assert_eq!(plain(tree.path()), plain(clean.path()));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let out = file.join("out").display().to_string();
    let output = hemoflow(["run", "x", "--out", &out]);
    assert_exit(&output, 1);
    assert!(complaints(&output).contains(&out), "{}", complaints(&output));
}

#[test]
fn evaluate_reports_the_slice_auc_of_unseen_phantoms() {
    let data = phantoms(3, 8, 900_001);
    let path = |name: &str| data.path().join(name).display().to_string();
    let output = hemoflow(["evaluate", "--data", &path("dicom"), "--masks", &path("masks"), "--out", &path("scores")]);
    assert_exit(&output, 0);
    let metrics = crate::support::json(&data.path().join("scores/metrics.json"));
    assert_eq!(metrics["slices"]["n"], 24);
    let page = fs::read_to_string(data.path().join("scores/report.html")).expect("a page");
    assert!(page.contains("<svg"));
}
