//! Scores as other implementations give them: surface-distance for masks, scipy and numpy for statistics.

use std::path::{Path, PathBuf};
use std::process::Command;

use hemoflow::operators::score::overlap::dice;
use hemoflow::operators::score::statistics::{agreement, wilcoxon};
use hemoflow::operators::score::surface::SurfaceDistances;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// Versions that surface-distance 0.1 runs with.
const PACKAGES: [&str; 3] = ["surface-distance==0.1", "numpy<2", "scipy<1.12"];

/// A Python with the packages, in the target folder; made once.
fn python() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    let (environment, script) = (target.join("scores"), "import surface_distance, scipy.stats");
    let python = environment.join("bin/python");
    let ready = || Command::new(&python).args(["-c", script]).output().is_ok_and(|output| output.status.success());
    if !ready() {
        let make = Command::new("python3").args(["-m", "venv"]).arg(&environment).status();
        assert!(make.is_ok_and(|status| status.success()), "python3 with venv is needed");
        let mut install = Command::new(&python);
        let status = install.args(["-m", "pip", "install", "--quiet"]).args(PACKAGES).status().expect("pip");
        assert!(status.success() && ready(), "the packages {PACKAGES:?} are needed");
    }
    python
}

/// First voxel and voxels along an axis.
type Reach = (usize, usize);

/// Masks that are like a lesion and its segmentation: two unions of boxes, of which either may be empty.
fn masks() -> impl Strategy<Value = ([usize; 3], [f64; 3], Vec<u8>, Vec<u8>)> {
    let axis = || (0_usize..6, 2_usize..9);
    let boxes = || proptest::collection::vec((axis(), axis(), axis()), 0..4);
    let shape = [1_usize..9, 1_usize..12, 1_usize..12];
    let spacing = [0.5_f64..7.0, 0.3_f64..1.0, 0.3_f64..1.0];
    (shape, spacing, boxes(), boxes()).prop_map(|(shape, spacing, truth, prediction)| {
        let drawn = |boxes: &[(Reach, Reach, Reach)]| {
            let [depth, rows, columns] = shape;
            let places = (0..depth * rows * columns).map(|i| [i / (rows * columns), i / columns % rows, i % columns]);
            let within = |(from, len): Reach, place: usize| (from..from + len).contains(&place);
            let inside =
                |[z, y, x]: [usize; 3]| boxes.iter().any(|b| within(b.0, z) && within(b.1, y) && within(b.2, x));
            places.map(|place| u8::from(inside(place))).collect()
        };
        (shape, spacing, drawn(&truth), drawn(&prediction))
    })
}

fn close(what: &str, ours: f64, theirs: &Value) {
    match theirs.as_f64() {
        Some(theirs) => assert!((ours - theirs).abs() < 1e-6, "{what}: {ours} for {theirs}"),
        None => assert!(!ours.is_finite(), "{what}: {ours} for no value"),
    }
}

#[test]
fn metrics_equal_independent_implementations() {
    let mut runner = TestRunner::deterministic();
    let mut draw = |count: usize| -> Vec<_> {
        (0..count).map(|_| masks().new_tree(&mut runner).expect("masks").current()).collect()
    };
    let cases = draw(200);
    let mut runner = TestRunner::deterministic();
    let pairs = proptest::collection::vec((0.0_f64..50.0, 0.0_f64..50.0), 3..40);
    let rounded = proptest::collection::vec((0_u8..9, 0_u8..9), 8..40);
    let mut many: Vec<Vec<(f64, f64)>> =
        (0..40).map(|_| pairs.new_tree(&mut runner).expect("pairs").current()).collect();
    let tied = (0..40).map(|_| rounded.new_tree(&mut runner).expect("pairs").current());
    let tied = tied.map(|pairs| pairs.into_iter().map(|(a, b)| (f64::from(a), f64::from(b))).collect::<Vec<_>>());
    many.extend(tied.filter(|pairs| pairs.iter().any(|(a, b)| a.total_cmp(b).is_ne())));

    let text = |mask: &[u8]| mask.iter().map(|voxel| char::from(b'0' + voxel)).collect::<String>();
    let asked = json!({
        "masks": cases.iter().map(|(shape, spacing, truth, prediction)| json!({
            "shape": shape, "spacing_mm": spacing, "truth": text(truth), "prediction": text(prediction),
        })).collect::<Vec<_>>(),
        "pairs": many,
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cases.json");
    std::fs::write(&path, asked.to_string()).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scores.py");
    let output = Command::new(python()).arg(script).arg(path).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");

    let mut overlapping = 0;
    for ((shape, spacing, truth, prediction), theirs) in cases.iter().zip(told["masks"].as_array().expect("a list")) {
        let distances = SurfaceDistances::between(truth, prediction, *shape, *spacing).expect("one size");
        let no = f64::NAN;
        overlapping += usize::from(dice(prediction, truth).is_some_and(|dice| dice > 0.0));
        close("Dice", dice(prediction, truth).unwrap_or(no), &theirs["dice"]);
        close("surface Dice", distances.dice_at(0.42).unwrap_or(no), &theirs["surface_dice"]);
        close("Hausdorff", distances.hausdorff_mm(100.0), &theirs["hausdorff"]);
        close("95 %", distances.hausdorff_mm(95.0), &theirs["hausdorff_95"]);
        for (ours, theirs) in distances.mean_mm().into_iter().zip(theirs["mean_distances"].as_array().expect("two")) {
            close("mean distance", ours.unwrap_or(no), theirs);
        }
    }
    assert!(overlapping > 40, "{overlapping} of the cases overlap");
    for (pairs, theirs) in many.iter().zip(told["pairs"].as_array().expect("a list")) {
        let test = wilcoxon(pairs).expect("differences");
        close("Wilcoxon's statistic", test.statistic, &theirs["wilcoxon"][0]);
        close("Wilcoxon's p", test.p, &theirs["wilcoxon"][1]);
        close("ICC", agreement(pairs).and_then(|agreement| agreement.icc).unwrap_or(f64::NAN), &theirs["icc"]);
    }
}
