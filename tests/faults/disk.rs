//! A disk that is full: a small one, filled by a file of somebody else, which then goes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hemoflow::dimse::client::Client;
use tokio::runtime::Runtime;

use super::sender::{associate, runtime};
use super::{PATIENCE, names};
use crate::retention::{mentioned, one_of_two_is_old};
use crate::serve::{batch, configuration, kept, results, send};
use crate::support::node::{OPEN, Served};
use crate::support::slices::{CT, EXPLICIT, Sent, slices, study};

/// Out of resources.
const FULL: u16 = 0xA700;

/// A disk in memory. Dropped, it is gone.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said by name, where none can be mounted: only the administrator of a machine may.
    fn mounted(test: &str, at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at);
        let why = match mount.output() {
            Ok(output) if output.status.success() => return Some(Self(at.to_owned())),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!("skipped: {test}: no small disk can be mounted: {}", why.trim());
        None
    }

    fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.0).expect("a disk");
        found.f_bavail * found.f_frsize
    }

    /// Fills it with a file until no more than so many bytes are free.
    fn fill(&self, left: u64) -> PathBuf {
        let path = self.0.join("somebody-elses-file");
        let mut file = File::create(&path).expect("a file");
        while self.free() > left && file.write_all(&[7; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The folder is of the test and goes with it.
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

fn store(runtime: &Runtime, client: &mut Client, slice: &Sent) -> u16 {
    runtime.block_on(client.store(CT, EXPLICIT, &slice.instance, &slice.data)).expect("an answer")
}

/// Kills the node, which must have what it acknowledged, starts it again, and compares with a batch run.
fn outlives_it(node: Served, folder: &Path, configuration: &str, sent: &[Sent]) {
    node.kill();
    let acknowledged: BTreeSet<String> = names(sent);
    assert_eq!(kept(folder), acknowledged);
    let node = Served::start(folder, configuration);
    node.caught_up();
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(results(&folder.join("data/results")), batch(sent));
}

#[test]
fn an_inbox_without_room_refuses_for_now_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let inbox = folder.path().join("data/inbox");
    let Some(disk) = SmallDisk::mounted("an_inbox_without_room", &inbox, "24M") else { return };
    let configuration = format!("[node]\ndata = 'data'\n{OPEN}[limits]\nfree_disk = 0\n");
    let sent = slices(&study(62, 0, 9));
    let node = Served::start(folder.path(), &configuration);
    let runtime = runtime();
    let mut client = runtime.block_on(associate(node.dicom, CT)).expect("accepted");
    for slice in &sent[..4] {
        assert_eq!(store(&runtime, &mut client, slice), 0);
    }
    let filler = disk.fill(0);
    for slice in &sent[4..6] {
        assert_eq!(store(&runtime, &mut client, slice), FULL);
    }
    runtime.block_on(client.echo()).expect("it lives");
    fs::remove_file(filler).expect("removed");
    for slice in &sent[4..] {
        assert_eq!(store(&runtime, &mut client, slice), 0, "there is room again");
    }
    runtime.block_on(client.release()).expect("a release");
    outlives_it(node, folder.path(), &configuration, &sent);
}

#[test]
fn a_node_whose_disk_is_nearly_full_refuses_before_it_is_and_takes_again_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mounted("a_node_whose_disk_is_nearly_full", &folder.path().join("data"), "96M") else {
        return;
    };
    let configuration = format!("[node]\ndata = 'data'\n{OPEN}[limits]\nfree_disk = '32M'\n");
    let sent = slices(&study(63, 0, 9));
    let node = Served::start(folder.path(), &configuration);
    let runtime = runtime();
    let mut client = runtime.block_on(associate(node.dicom, CT)).expect("accepted");
    for slice in &sent[..4] {
        assert_eq!(store(&runtime, &mut client, slice), 0);
    }
    let filler = disk.fill(24 << 20);
    let mut until_it_says = |status: u16| {
        let until = Instant::now() + PATIENCE;
        loop {
            match store(&runtime, &mut client, &sent[0]) {
                said if said == status => return,
                said => assert!([0, FULL].contains(&said), "{said:04X}"),
            }
            assert!(Instant::now() < until, "it never says {status:04X}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    until_it_says(FULL);
    let refused = runtime.block_on(associate(node.dicom, CT)).err().expect("refused");
    assert!(format!("{refused:#}").contains("temporary congestion"), "{refused:#}");
    fs::remove_file(filler).expect("removed");
    until_it_says(0);
    for slice in &sent[4..] {
        assert_eq!(store(&runtime, &mut client, slice), 0, "there is room again");
    }
    runtime.block_on(client.release()).expect("a release");
    outlives_it(node, folder.path(), &configuration, &sent);
}

#[test]
fn what_cannot_be_forgotten_for_want_of_room_stays_whole_and_goes_later() {
    let (first, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let data = folder.path().join("data");
    let Some(disk) = SmallDisk::mounted("what_cannot_be_forgotten_for_want_of_room", &data, "96M") else { return };
    let (sent, old) = one_of_two_is_old(first.path(), folder.path());
    let forgetting = configuration("[retention]\nafter_days = 30\n");
    let node = Served::start(folder.path(), &configuration(""));
    node.caught_up();
    // It replaces what it replaces at a start, and nothing more becomes free by itself.
    node.until("its book is kept", || data.join("snapshot").exists());
    let filler = disk.fill(0);
    node.reload(folder.path(), &forgetting);
    node.until("it cannot forget", || node.metric("hemoflow_forgetting_failures_total") >= 1.0);
    assert!(node.metric("hemoflow_studies_forgotten_total") <= 0.0);
    assert_eq!(mentioned(&data, &old), [true, true]);
    fs::remove_file(filler).expect("removed");
    assert_eq!(send(node.dicom, &sent[1]).len(), sent[1].len(), "it lives");
    node.kill();
    assert_eq!(kept(folder.path()), names(&sent.concat()));

    let node = Served::start(folder.path(), &forgetting);
    node.until("there is room, and the old study is forgotten", || {
        node.metric("hemoflow_studies_forgotten_total") >= 1.0
    });
    node.caught_up();
    assert_eq!(mentioned(&data, &old), [false, false]);
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(kept(folder.path()), names(&sent[1]));
    assert_eq!(results(&data.join("results")), results(&first.path().join("data/results")), "what was published stays");
}
