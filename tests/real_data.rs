//! The program on real CT.

use std::collections::BTreeSet;

use crate::support::{assert_exit, real_data, rejections, run, summary};

#[test]
fn a_tilted_irregular_head_is_measured_by_its_true_positions() {
    let Some(data) = real_data("a_tilted_irregular_head", "dicom/ge_head_tilt_irregular") else { return };
    let (tree, output) = run(&[&data]);
    assert_exit(&output, 3);
    assert_eq!(rejections(tree.path()).values().collect::<Vec<_>>(), ["not_dicom"], "only the text beside the images");
    let [series] = &summary(tree.path())[..] else { panic!("one series") };
    let positions: Vec<f64> =
        series["slices"].as_array().expect("slices").iter().map(|s| s["position_mm"].as_f64().expect("mm")).collect();
    assert_eq!(positions.len(), 28);
    assert!(positions.is_sorted());
    let step = |index: usize| positions[index + 1] - positions[index];
    assert!((step(0) - 4.0).abs() < 0.01 && (step(26) - 7.0).abs() < 0.01, "{positions:?}");
    let issues = series["completeness"]["issues"].to_string();
    assert!(issues.contains("tilt") && issues.contains("mixed_thickness"), "{issues}");
    assert_eq!(series["completeness"]["gaps"].as_array().map(Vec::len), Some(0), "a change of spacing is no gap");
}

#[test]
fn real_hemorrhages_give_a_series_each_with_the_gaps_told() {
    let Some(data) = real_data("real_hemorrhages", "ich/ct_ich_v1/dicom_rle") else { return };
    for (patient, slices) in [("p078", 10), ("p079", 1), ("p080", 8)] {
        let (tree, output) = run(&[&data.join(patient)]);
        assert_exit(&output, 0);
        let [series] = &summary(tree.path())[..] else { panic!("one series") };
        assert_eq!(series["slices"].as_array().map(Vec::len), Some(slices));
        assert_eq!(series["status"], "final");
        if patient == "p080" {
            assert!(!series["completeness"]["gaps"].as_array().expect("gaps").is_empty());
        }
    }
}

#[test]
fn a_skull_without_a_brain_has_no_volume() {
    let Some(data) = real_data("a_skull_without_a_brain", "dicom/philips_phantom_study") else { return };
    let (tree, output) = run(&[&data]);
    assert_exit(&output, 3);
    let reasons: BTreeSet<String> = rejections(tree.path()).into_values().collect();
    for reason in ["localizer", "sharp_kernel"] {
        assert!(reasons.contains(reason), "{reasons:?}");
    }
    let [series] = &summary(tree.path())[..] else { panic!("the soft axial series is selected, and no other") };
    assert_eq!(series["slices"].as_array().map(Vec::len), Some(8));
    assert_eq!(series["volume_ml"]["segmentation"], 0.0);
    assert_eq!(series["volume_ml"]["pseudo_mask"], 0.0);
}

#[test]
fn every_odd_file_is_taken_or_named() {
    let Some(data) = real_data("every_odd_file", "dicom/odd_headers") else { return };
    let (tree, output) = run(&[&data]);
    assert_exit(&output, 3);
    let refused = rejections(tree.path()).len();
    let taken: usize =
        summary(tree.path()).iter().map(|series| series["slices"].as_array().expect("slices").len()).sum();
    assert!(refused >= 20, "{refused} refused");
    assert!(taken >= 1, "the Hitachi head is a head CT");
}

#[test]
fn every_transfer_syntax_and_multi_frame_image_gives_a_series() {
    for (folder, least) in [("dicom/transfer_syntaxes", 2), ("dicom/enhanced_multiframe", 1)] {
        let Some(data) = real_data("every_transfer_syntax", folder) else { continue };
        let (tree, output) = run(&[&data]);
        assert_exit(&output, 3);
        assert!(summary(tree.path()).len() >= least, "{folder}");
        assert!(rejections(tree.path()).values().all(|reason| reason != "undecodable_pixels"), "{folder}");
    }
}
