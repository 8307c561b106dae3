//! The batch law: what is published does not depend on how its slices came, only on which they are.

use std::path::Path;

use serde_json::Value;

use crate::support::{assert_exit, files, phantoms, run, summary};

/// A result without what tells of its history: ticks, latencies, versions.
pub(crate) fn without_history(mut result: Value) -> Value {
    let fields = result.as_object_mut().expect("an object");
    for field in ["tick", "version", "latency_seconds"] {
        fields.remove(field).unwrap_or_else(|| panic!("no {field}"));
    }
    result
}

/// Every file of a series by its bytes, JSON without the lines of ticks and latencies.
pub(crate) fn objects(tree: &Path) -> Vec<(String, Vec<u8>)> {
    let history =
        |line: &str| ["\"tick\":", "\"first\":", "\"last\":"].iter().any(|field| line.trim().starts_with(field));
    let named = files(tree).into_iter().filter(|path| path.parent() != Some(tree));
    let content = |path: std::path::PathBuf| {
        let name = path.strip_prefix(tree).expect("below the tree").display().to_string();
        let bytes = std::fs::read(&path).expect("a file");
        if path.extension().is_none_or(|extension| extension != "json") {
            return (name, bytes);
        }
        let text = String::from_utf8(bytes).expect("text");
        (name, text.lines().filter(|line| !history(line)).collect::<Vec<_>>().join("\n").into_bytes())
    };
    named.map(content).collect()
}

#[test]
fn the_order_of_inputs_and_repeated_inputs_change_nothing() {
    let data = phantoms(2, 10, 5);
    let dicom = files(&data.path().join("dicom"));
    let forwards: Vec<&Path> = dicom.iter().map(AsRef::as_ref).collect();
    let backwards: Vec<&Path> = forwards.iter().rev().copied().collect();
    let twice: Vec<&Path> = forwards.iter().chain(backwards.iter()).copied().collect();
    let strided: Vec<&Path> = (0..7).flat_map(|start| forwards.iter().skip(start).step_by(7).copied()).collect();
    assert_eq!(strided.len(), forwards.len());
    let (expected, output) = run(&forwards);
    assert_exit(&output, 0);
    assert!(
        summary(expected.path()).iter().any(|result| result["volume_ml"]["pseudo_mask"] != 0.0),
        "no mask to compare"
    );
    for inputs in [backwards, twice, strided] {
        let (tree, output) = run(&inputs);
        assert_exit(&output, 0);
        assert_eq!(objects(tree.path()), objects(expected.path()), "versions too: an instance sent twice makes none");
    }
}
