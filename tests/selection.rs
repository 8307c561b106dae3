//! Selection by a node: what it takes is what a batch run takes, whatever comes first and however often it starts again.

use dicom_object::{DefaultDicomObject, InMemDicomObject};
use hemoflow::operators::phantom;
use serde_json::Value;

use crate::serve::{configuration, results as results_of, send};
use crate::support::node::Served;
use crate::support::slices::{Sent, as_sent, slices, study};
use crate::support::{assert_exit, hemoflow, run};

/// The slices of a study as another series of it that a bone kernel made.
fn bone(study: &phantom::PhantomStudy) -> Vec<Sent> {
    let sharp = study.slices.iter().map(|slice| {
        let object: DefaultDicomObject = phantom::dicom_object(study, slice).expect("an object");
        let mut data: InMemDicomObject = object.into_inner();
        let number = slice.number;
        for (name, value) in [
            ("ConvolutionKernel", "BONE".to_owned()),
            ("SeriesInstanceUID", "1.2.3.77".to_owned()),
            ("SOPInstanceUID", format!("1.2.3.77.{number}")),
        ] {
            let element = data.element_by_name(name).expect("there");
            let (tag, vr) = (element.header().tag, element.vr());
            data.put_str(tag, vr, value);
        }
        let meta = dicom_object::FileMetaTableBuilder::new().transfer_syntax(crate::support::slices::EXPLICIT);
        as_sent(&data.with_meta(meta).expect("a file"))
    });
    sharp.collect()
}

/// What `hemoflow explain` says of the selection: series, whether it was taken, of how many instances, by what.
fn explained(folder: &std::path::Path, study: &str) -> Vec<(String, bool, u64, String)> {
    let data = folder.join("data").display().to_string();
    let output = hemoflow(["explain", study, "--json", "--data", &data]);
    assert_exit(&output, 0);
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let selected = told["selection"].as_array().expect("a list").iter().map(|selected| {
        let (taken, instances) = (selected["taken"].as_bool(), selected["instances"].as_u64());
        let taken = taken.zip(instances).expect("a fact and a number");
        (text(&selected["series_uid"]), taken.0, taken.1, text(&selected["by"]))
    });
    selected.collect()
}

#[test]
fn a_sharp_series_goes_when_a_soft_one_comes_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = study(51, 0, 5);
    let (sharp, soft) = (bone(&study), slices(&study));
    let node = Served::start(folder.path(), &configuration(""));
    assert_eq!(send(node.dicom, &sharp).len(), 5);
    node.caught_up();
    assert!(node.drain().0.success());
    assert_eq!(results_of(&folder.path().join("data/results")).len(), 1, "it is all that there is");
    let node = Served::start(folder.path(), &configuration(""));
    assert_eq!(send(node.dicom, &soft).len(), 5);
    node.caught_up();
    assert!(node.drain().0.success());
    let mut results = results_of(&folder.path().join("data/results"));
    results.retain(|_, result| result["status"] != "withdrawn");
    let both: Vec<Sent> = sharp.iter().chain(&soft).cloned().collect();
    let files = tempfile::tempdir().expect("a folder");
    for slice in &both {
        std::fs::write(files.path().join(format!("{}.dcm", slice.instance)), &slice.file).expect("written");
    }
    let (tree, output) = run(&[files.path()]);
    assert_exit(&output, 3);
    let mut batch = results_of(tree.path());
    assert_eq!(results.keys().collect::<Vec<_>>(), batch.keys().collect::<Vec<_>>());
    let (ours, theirs) = (results.pop_first().expect("one").1, batch.pop_first().expect("one").1);
    assert_eq!((&ours["probability"], &ours["slices"]), (&theirs["probability"], &theirs["slices"]));
    let series = study.series.to_string();
    let told = explained(folder.path(), study.study.as_str());
    assert_eq!(
        told,
        [(series, true, 5, "otherwise".to_owned()), ("1.2.3.77".to_owned(), false, 5, "sharp_kernel".to_owned())]
    );
}

#[test]
fn a_series_that_a_rule_leaves_out_is_explained_by_its_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = study(52, 0, 4);
    let rule = "[[selection.rule]]\nname = 'no bone'\ntake = false\nkernel = '^bone'\n";
    let node = Served::start(folder.path(), &configuration(rule));
    assert_eq!(send(node.dicom, &bone(&study)).len(), 4);
    node.caught_up();
    assert!(node.drain().0.success());
    let told = explained(folder.path(), study.study.as_str());
    assert_eq!(told, [("1.2.3.77".to_owned(), false, 4, "not_selected".to_owned())]);
}
