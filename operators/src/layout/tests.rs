//! The law of adapters: a phantom read from any layout is the phantom.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::phantom::{PhantomConfig, PhantomStudy, study};

/// Studies of all forms of stored values, with and without bleeds.
fn studies() -> Vec<PhantomStudy> {
    let config = PhantomConfig { seed: 77, slices: Some(5), matrix: 48, positive_share: 0.7 };
    (0..10).map(|index| study(&config, index)).collect()
}

fn written(layout: Layout, studies: &[PhantomStudy]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = LayoutWriter::create(folder.path(), layout, true).expect("a folder");
    studies.iter().for_each(|study| writer.add(study).expect("written"));
    writer.finish().expect("written");
    folder
}

fn open(root: &Path) -> DataSet {
    DataSet::open(root, &Given::default()).expect("a data set")
}

/// What a slice is: HU, label of any hemorrhage, subtypes where known, mask where drawn.
type Shown = (Vec<i16>, bool, [Option<bool>; 5], Option<Vec<u8>>);

/// The cases, each as its slices in z order; in any order.
fn shown(set: &DataSet) -> Vec<Vec<Shown>> {
    let mut cases: Vec<Vec<Shown>> = set
        .cases
        .iter()
        .map(|case| {
            let loaded = case.load().expect("a case");
            assert!(loaded.rejections.is_empty() && loaded.conflicts == 0, "{:?}", loaded.rejections);
            assert_eq!(loaded.instances().len(), loaded.slices.len());
            let slices = loaded.slices.iter().map(|slice| {
                let labels = slice.labels.expect("labels");
                (slice.plane().expect("pixels").hu(), labels.any, labels.subtypes, slice.mask.clone())
            });
            slices.collect()
        })
        .collect();
    cases.sort();
    cases
}

/// What the phantoms are, as a layout can tell it.
fn expected(layout: Layout, studies: &[PhantomStudy]) -> Vec<Vec<Shown>> {
    let mut cases: Vec<Vec<Shown>> = studies
        .iter()
        .map(|study| {
            let slices = study.slices.iter().map(|slice| {
                let labels = slice.labels();
                let wrapped =
                    layout == Layout::Rsna && matches!(slice.plane.values, crate::record::StoredValues::Unsigned(_));
                let hu = slice.plane.hu().into_iter().map(|hu| if wrapped { hu.max(-1000) } else { hu }).collect();
                let binary = || slice.truth.iter().map(|value| u8::from(*value != 0)).collect();
                let (subtypes, mask) = match layout {
                    Layout::Rsna | Layout::Plain => (labels.subtypes, None),
                    Layout::Instance => ([None; 5], Some(binary())),
                    Layout::CtIch => (labels.subtypes, Some(binary())),
                    Layout::Bhsd | Layout::Phantom => (labels.subtypes, Some(slice.truth.clone())),
                };
                (hu, labels.any, subtypes, mask)
            });
            slices.collect()
        })
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_adapter_yields_the_phantom() {
    let studies = studies();
    let forms =
        studies.iter().filter(|study| matches!(study.slices[0].plane.values, crate::record::StoredValues::Unsigned(_)));
    assert!((1..studies.len()).contains(&forms.count()), "wrapped and plain values");
    for layout in Layout::ALL {
        let folder = written(layout, &studies);
        let mut set = match layout {
            // Folders of images, with the labels given.
            Layout::Plain => {
                let given = Given { labels: Some(folder.path().join("labels.csv")), ..Given::default() };
                DataSet::open(&folder.path().join("dicom"), &given).expect("a data set")
            }
            Layout::Rsna | Layout::Instance | Layout::CtIch | Layout::Bhsd | Layout::Phantom => open(folder.path()),
        };
        assert_eq!((set.layout, &set.rejections[..]), (layout, &[][..]));
        set.keep_labeled();
        assert!(set.rejections.is_empty(), "{layout}: {:?}", set.rejections);
        assert_eq!(set.patients().len(), studies.len(), "{layout}");
        assert!(shown(&set) == expected(layout, &studies), "{layout}");
    }
}

#[test]
fn masks_that_are_given_belong_by_study_or_by_name() {
    let studies = &studies()[..2];
    let folder = written(Layout::Phantom, studies);
    let given = Given { masks: Some(folder.path().join("masks")), ..Given::default() };
    let set = DataSet::open(&folder.path().join("dicom"), &given).expect("a data set");
    let told = |case: Vec<Shown>| case.into_iter().map(|(hu, any, _, mask)| (hu, any, mask)).collect::<Vec<_>>();
    let ours: Vec<_> = shown(&set).into_iter().map(told).collect();
    assert!(ours == expected(Layout::Phantom, studies).into_iter().map(told).collect::<Vec<_>>());

    let folder = written(Layout::Bhsd, studies);
    let part = folder.path().join("label_192");
    let given = Given { layout: Some(Layout::Plain), masks: Some(part.join("ground truths")), ..Given::default() };
    let set = DataSet::open(&part.join("images"), &given).expect("a data set");
    assert!(shown(&set) == expected(Layout::Bhsd, studies));
    let missing = Given { masks: Some(part.join("none")), ..given };
    assert!(DataSet::open(&part, &missing).expect_err("refused").to_string().contains("none"));
}

fn rejected(set: &DataSet) -> Vec<(String, Reason)> {
    let name =
        |path: &str| Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut all: Vec<_> = set.rejections.iter().map(|rejection| (name(&rejection.input), rejection.reason)).collect();
    all.sort();
    all
}

#[test]
fn broken_cases_are_named_and_cost_no_other() {
    let studies = studies();
    // Volumes: one without a mask, one mask without its image, a text among the images, a volume cut short.
    let folder = written(Layout::Instance, &studies);
    let [data, label] = ["data", "label"].map(|name| folder.path().join("train_2").join(name));
    fs::remove_file(label.join("001.nii.gz")).expect("removed");
    fs::remove_file(data.join("002.nii.gz")).expect("removed");
    fs::write(data.join("notes.txt"), "none").expect("written");
    fs::write(data.join("003.nii.gz"), "short").expect("written");
    let mut set = open(folder.path());
    set.keep_labeled();
    let named = |name: &str, reason| (name.to_owned(), reason);
    assert_eq!(
        rejected(&set),
        [
            named("001.nii.gz", Reason::MissingLabel),
            named("002.nii.gz", Reason::MissingImage),
            named("notes.txt", Reason::NotDicom)
        ]
    );
    let refused: Vec<Rejection> = set.cases.iter().filter_map(|case| case.load().err()).collect();
    assert!(refused.len() == 1 && refused[0].input.ends_with("003.nii.gz"), "{refused:?}");
    assert_eq!(set.cases.len() + 2, studies.len());

    // A mask of another study does not fit, unless by chance it lies where its images do.
    let folder = written(Layout::Bhsd, &studies);
    let masks = files::listed(&folder.path().join("label_192/ground truths")).expect("masks");
    let moved = masks.iter().zip(masks.iter().skip(1)).find(|(a, b)| fs::metadata(a).is_ok() && a != b).expect("two");
    fs::copy(moved.0, moved.1).expect("copied");
    let refused: Vec<Rejection> = open(folder.path()).cases.iter().filter_map(|case| case.load().err()).collect();
    assert!(refused.iter().all(|rejection| rejection.reason == Reason::Mismatch) && refused.len() == 1, "{refused:?}");
}

#[test]
fn slices_without_label_and_labels_without_slice_are_named() {
    let studies = &studies()[..3];
    let folder = written(Layout::Rsna, studies);
    let table = folder.path().join(rsna::TABLE);
    let text = fs::read_to_string(&table).expect("a table");
    let images = files::listed(&folder.path().join(rsna::IMAGES)).expect("images");
    let id = |path: &PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let [unlabeled, removed, broken] = [0, 1, 2].map(|place| id(&images[place]));
    let rows = text.lines().filter(|line| !line.starts_with(&unlabeled)).map(|line| format!("{line}\n"));
    fs::write(&table, rows.collect::<String>()).expect("written");
    fs::remove_file(&images[1]).expect("removed");
    // As ID_6431af929 of the real set: the pixels end early.
    let bytes = fs::read(&images[2]).expect("a file");
    fs::write(&images[2], &bytes[..bytes.len() - 1000]).expect("written");
    let set = open(folder.path());
    let mut all = set.rejections.clone();
    let loaded: Vec<Loaded> = set.cases.iter().map(|case| case.load().expect("a case")).collect();
    all.extend(loaded.iter().flat_map(|loaded| loaded.rejections.clone()));
    let of = |reason| all.iter().find(|rejection| rejection.reason == reason).expect("named");
    assert_eq!(all.len(), 3, "{all:?}");
    assert_eq!(of(Reason::MissingLabel).input, unlabeled);
    let absent = &of(Reason::MissingImage).detail;
    assert!(
        absent.starts_with("2 labeled slices") && (absent.contains(&removed) || absent.contains(&broken)),
        "{absent}"
    );
    assert!(of(Reason::Truncated).input.contains(&broken));
    assert_eq!(loaded.iter().map(|loaded| loaded.slices.len()).sum::<usize>(), 3 * 5 - 3);
}

#[test]
fn a_table_that_contradicts_a_mask_is_counted() {
    let studies = studies();
    let folder = written(Layout::CtIch, &studies);
    let table = folder.path().join(ct_ich::TABLE);
    let text = fs::read_to_string(&table).expect("a table");
    // Patient 49, slice 1: a subdural bleed that nobody drew, or one more.
    let (start, rest) = text.split_once("49,1,").expect("the first row");
    let (_, after) = rest.split_once('\n').expect("a line");
    fs::write(&table, format!("{start}49,1,0,0,0,0,1,0,0\n{after}")).expect("written");
    let empty = studies[0].slices[0].truth.iter().all(|value| *value == 0);
    let conflicts: usize = open(folder.path()).cases.iter().map(|case| case.load().expect("a case").conflicts).sum();
    assert_eq!(conflicts, usize::from(empty));
    // The last slice of a patient without a row is named.
    let cut: String = text.lines().filter(|line| !line.starts_with("50,5,")).map(|line| format!("{line}\n")).collect();
    fs::write(&table, cut).expect("written");
    let set = open(folder.path());
    let loaded: Vec<Loaded> = set.cases.iter().map(|case| case.load().expect("a case")).collect();
    let named: Vec<&Rejection> = loaded.iter().flat_map(|loaded| &loaded.rejections).collect();
    assert!(named.len() == 1 && named[0].reason == Reason::MissingLabel, "{named:?}");
}

#[test]
fn names_of_layouts_are_those_of_the_command_line() {
    for layout in Layout::ALL {
        assert_eq!(layout.to_string().parse(), Ok(layout));
    }
    assert!("nifti".parse::<Layout>().expect_err("no such layout").contains("rsna"));
    let folder = tempfile::tempdir().expect("a folder");
    for layout in [Layout::Rsna, Layout::Instance, Layout::CtIch, Layout::Bhsd, Layout::Phantom] {
        let given = Given { layout: Some(layout), ..Given::default() };
        let error = DataSet::open(folder.path(), &given).expect_err("nothing there").to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
}
