//! Watched folders with the node as a program: what is whole is taken once, and nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::serve::{batch, configuration, kept, results};
use crate::support::files;
use crate::support::node::Served;
use crate::support::slices::{Sent, slices, study};

/// A node that watches `in` beside its data.
fn watching() -> String {
    configuration("[[folder]]\npath = 'in'\nsettle_seconds = 0.2\n")
}

/// Moves files into a folder at once, each by a name that says nothing.
fn hand_in(folder: &Path, slices: &[Sent]) {
    fs::create_dir_all(folder).expect("a folder");
    for slice in slices {
        let whole = folder.join(format!("{}.dcm", slice.instance));
        let part = whole.with_extension("part");
        fs::write(&part, &slice.file).expect("written");
        fs::rename(part, whole).expect("moved");
    }
}

/// The names of the files below a folder.
fn names(folder: &Path) -> Vec<PathBuf> {
    files(folder).iter().map(|path| path.strip_prefix(folder).expect("below").to_owned()).collect()
}

fn uids(slices: &[Sent]) -> BTreeSet<String> {
    slices.iter().map(|slice| slice.instance.clone()).collect()
}

#[test]
fn what_is_whole_is_taken_and_moved_and_the_results_equal_a_batch_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let sent: Vec<Sent> = (0..2).flat_map(|index| slices(&study(71, index, 6))).collect();
    let watched = folder.path().join("in");
    // Some are there before the node is.
    hand_in(&watched, &sent[..4]);
    fs::write(watched.join(".hidden.dcm"), &sent[0].file).expect("written");
    fs::write(watched.join("half.dcm.part"), &sent[0].file[..100]).expect("written");
    std::os::unix::fs::symlink("/etc/hostname", watched.join("link.dcm")).expect("a link");
    let node = Served::start(folder.path(), &watching());
    hand_in(&watched.join("second/below"), &sent[4..]);
    fs::write(watched.join("second/Doe_Jane.txt"), "no DICOM").expect("written");
    let (done, failed) = (watched.join("done"), watched.join("failed"));
    node.until("all files are moved", || done.exists() && files(&done).len() == 12 && files(&failed).len() == 2);
    assert_eq!(names(&failed), [Path::new("second/Doe_Jane.txt"), Path::new("second/Doe_Jane.txt.reason")]);
    assert_eq!(fs::read_to_string(failed.join("second/Doe_Jane.txt")).expect("there"), "no DICOM");
    let reason = fs::read_to_string(failed.join("second/Doe_Jane.txt.reason")).expect("a reason");
    assert!(reason.len() > 5 && !reason.contains("no DICOM"), "{reason}");
    for (index, slice) in sent.iter().enumerate() {
        let below = if index < 4 { done.clone() } else { done.join("second/below") };
        let moved = fs::read(below.join(format!("{}.dcm", slice.instance))).expect("moved");
        assert!(moved == slice.file, "{}", slice.instance);
    }
    // What came by a folder is complete when the folder is empty.
    let (tree, expected) = (folder.path().join("data/results"), batch(&sent));
    node.until("the results are those of a batch run", || results(&tree) == expected);
    for name in [".hidden.dcm", "half.dcm.part", "link.dcm"] {
        assert!(watched.join(name).symlink_metadata().is_ok(), "{name} is left where it is");
    }
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert!(!said.contains("Doe_Jane") && !said.contains(&sent[0].instance), "the log names a file: {said}");
    assert_eq!(kept(folder.path()), uids(&sent));
}

#[test]
fn a_node_that_was_killed_takes_the_rest_and_nothing_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let sent = slices(&study(72, 0, 12));
    let (watched, done) = (folder.path().join("in"), folder.path().join("in/done"));
    hand_in(&watched, &sent[..11]);
    let node = Served::start(folder.path(), &watching());
    node.until("a file is moved", || done.exists() && !files(&done).is_empty());
    node.kill();
    let moved = names(&done).into_iter().map(|name| name.with_extension("").display().to_string());
    assert!(moved.collect::<BTreeSet<_>>().is_subset(&kept(folder.path())), "moved, and not kept");
    // As a kill between keeping a file and moving it leaves it.
    let first = files(&done).remove(0);
    fs::rename(&first, watched.join(first.file_name().expect("a name"))).expect("moved");
    hand_in(&watched, &sent[11..]);
    let node = Served::start(folder.path(), &watching());
    let (tree, expected) = (folder.path().join("data/results"), batch(&sent));
    node.until("all files are moved", || files(&done).len() == 12);
    node.until("the results are those of a batch run", || results(&tree) == expected);
    node.caught_up();
    assert!(node.drain().0.success());
    assert_eq!(kept(folder.path()), uids(&sent));
}

#[test]
fn files_wait_while_there_is_no_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let sent = slices(&study(73, 0, 2));
    let watched = folder.path().join("in");
    hand_in(&watched, &sent);
    let full = watching().replace("free_disk = 0", "free_disk = '1000000G'");
    let node = Served::start(folder.path(), &full);
    node.caught_up();
    assert!(node.drain().0.success());
    assert_eq!(files(&watched).len(), 2, "both are where they were");
    let node = Served::start(folder.path(), &watching());
    node.until("both are moved", || files(&watched.join("done")).len() == 2);
    assert!(node.drain().0.success());
    assert_eq!(kept(folder.path()), uids(&sent));
}
