//! What leaves the data folder without identity, as pydicom and dicom-anonymizer see it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{assert_exit, complaints, files, phantoms, program};

fn script(command: &str, from: &Path, to: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/deidentification");
    Command::new(script).arg(command).arg(from).arg(to).output().expect("the script starts")
}

fn study_of(dicom: &Path) -> String {
    let mut folders = std::fs::read_dir(dicom).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    folders.next().expect("a study").to_string_lossy().into_owned()
}

/// Runs images into a data folder and exports the study, with its results.
fn exported(images: &Path, study: &str, work: &Path) -> Value {
    let [data, tree, out] = ["data", "tree", "out"].map(|name| work.join(name));
    let run = program(["run", "--out"]).arg(&tree).arg("--data").arg(&data).arg(images).output().expect("it starts");
    assert_exit(&run, 0);
    let mut command = program(["export", "--json", study, "--data"]);
    command.arg(&data).arg("--out").arg(&out).arg("--results").arg(&tree);
    let output = command.output().expect("it starts");
    assert_exit(&output, 0);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn an_export_holds_every_image_and_nobody_s_name() {
    let source = phantoms(1, 4, 11);
    let dicom = source.path().join("dicom");
    let study = study_of(&dicom);
    let work = tempfile::tempdir().expect("a folder");
    let told = exported(&dicom, &study, work.path());
    assert_eq!((&told["instances"], &told["series"], &told["refused"]), (&4.into(), &1.into(), &Value::Array(vec![])));
    let results = told["results"].as_u64().expect("a number");
    assert_ne!(told["study_uid"], study.as_str());
    let out = work.path().join("out");
    let written = files(&out);
    assert_eq!(u64::try_from(written.len()), Ok(4 + results), "{written:?}");
    for path in written {
        let bytes = std::fs::read(out.join(&path)).expect("a file");
        assert!(!bytes.windows(study.len()).any(|window| window == study.as_bytes()), "{}", path.display());
        assert!(!path.display().to_string().contains(&study));
    }
}

#[test]
fn other_implementations_find_nothing_of_what_was_planted() {
    let source = phantoms(1, 4, 12);
    let work = tempfile::tempdir().expect("a folder");
    let planted = work.path().join("planted");
    let output = script("plant", &source.path().join("dicom"), &planted);
    if output.status.code() == Some(2) {
        eprintln!("skipped: other_implementations_find_nothing_of_what_was_planted: {}", complaints(&output));
        return;
    }
    assert_exit(&output, 0);
    exported(&planted, &study_of(&source.path().join("dicom")), work.path());
    let output = script("judge", &planted, &work.path().join("out"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", complaints(&output));
    let last = said.lines().last().unwrap_or_default();
    assert!(last.ends_with(" 0 failed") && !last.starts_with("0 passed"), "{said}");
}

#[test]
fn an_unknown_study_and_a_short_salt_are_named() {
    let source = phantoms(1, 3, 13);
    let work = tempfile::tempdir().expect("a folder");
    exported(&source.path().join("dicom"), &study_of(&source.path().join("dicom")), work.path());
    let ask = |study: &str, salt: &[u8]| {
        let file = work.path().join("salt");
        std::fs::write(&file, salt).expect("written");
        let mut command = program(["export", study, "--data"]);
        command.arg(work.path().join("data")).arg("--out").arg(work.path().join("again")).arg("--salt").arg(file);
        command.output().expect("it starts")
    };
    let output = ask("1.2.3", &[7; 32]);
    assert_exit(&output, 1);
    assert!(complaints(&output).contains("holds no image of the study 1.2.3"), "{}", complaints(&output));
    let study = study_of(&source.path().join("dicom"));
    assert!(complaints(&ask(&study, b"short")).contains("16 bytes or more"));
    let names = || files(&work.path().join("again"));
    assert_exit(&ask(&study, &[7; 32]), 0);
    let first = names();
    assert_exit(&ask(&study, &[7; 32]), 0);
    assert_eq!(names(), first, "the same salt, the same names");
}
