//! Result objects as other implementations read them: dicom3tools, highdicom, nibabel.

use std::path::Path;
use std::process::Command;

use crate::support::{assert_exit, phantoms, real_data, run};

/// Runs the project's conformance script on a result tree; it prints `N passed, N failed`.
fn judge(tree: &Path, source: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/conformance");
    let output = Command::new(script).arg(tree).arg(source).output().expect("the script starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let last = said.lines().last().unwrap_or_default();
    assert!(last.ends_with(" 0 failed") && !last.starts_with("0 passed"), "{said}");
}

#[test]
fn objects_of_phantoms_and_of_real_slices_satisfy_other_implementations() {
    let data = phantoms(3, 10, 5);
    let dicom = data.path().join("dicom");
    let (tree, output) = run(&[&dicom]);
    assert_exit(&output, 0);
    judge(tree.path(), &dicom);
    if let Some(real) = real_data("objects_of_real_slices", "ich/ct_ich_v1/dicom_rle") {
        let (tree, output) = run(&[&real]);
        assert_exit(&output, 0);
        judge(tree.path(), &real);
    }
}
