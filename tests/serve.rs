//! The node as a program, with senders of others: what it acknowledged it keeps, and its results equal a batch run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hemoflow::data::{DataFolder, Entry, Event};
use hemoflow::dimse::client::Client;
use hemoflow::inbox::Record;
use hemoflow::operators::phantom::rejection_note;
use serde_json::Value;

use crate::support::node::{OPEN, Served, peers};
use crate::support::slices::{CT, EXPLICIT, Sent, as_sent, slices, study};
use crate::support::{assert_exit, files, json, phantoms, run};

const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration with its data in the folder of the file.
pub(crate) fn configuration(more: &str) -> String {
    format!("[node]\ndata = 'data'\nack = 'written'\n{OPEN}[limits]\nfree_disk = 0\n{more}")
}

/// Sends slices over one association, and gives those that were acknowledged before something failed.
pub(crate) fn send(address: SocketAddr, slices: &[Sent]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut acknowledged = Vec::new();
    runtime.block_on(async {
        let stored = [(CT.to_owned(), EXPLICIT.to_owned())];
        let Ok(mut client) = Client::associate(address, "CT1", "HEMOFLOW", &stored, PATIENCE).await else { return };
        for slice in slices {
            match client.store(&slice.class, EXPLICIT, &slice.instance, &slice.data).await {
                Ok(0) => acknowledged.push(slice.instance.clone()),
                Ok(status) => panic!("status {status:04X}"),
                Err(_) => return,
            }
        }
        client.release().await.ok();
    });
    acknowledged
}

/// The instances that a data folder keeps.
pub(crate) fn kept(folder: &Path) -> BTreeSet<String> {
    let data = DataFolder::existing(&folder.join("data")).expect("a data folder");
    let (_log, _) = data.log().expect("nobody uses it");
    let inbox = data.inbox(Default::default()).expect("an inbox");
    let mut reader = inbox.reader(0).expect("readable");
    let mut kept = BTreeSet::new();
    while let Some(entry) = reader.next_until(Instant::now()).expect("sound") {
        if let Record::Received(received) = entry.record {
            inbox.kept().payload(&received.content).expect("sound").expect("there");
            kept.insert(received.identity.instance.to_string());
        }
    }
    kept
}

/// What a result says that does not depend on its way: everything but version, tick and latency.
pub(crate) fn plain(mut result: Value) -> Value {
    let fields = result.as_object_mut().expect("an object");
    for field in ["version", "tick", "latency_seconds"] {
        fields.remove(field);
    }
    result
}

/// The results below a folder, by series.
pub(crate) fn results(tree: &Path) -> BTreeMap<String, Value> {
    let results = files(tree).into_iter().filter(|path| path.ends_with("result.json")).map(|path| json(&path));
    results.map(|result| (result["series_uid"].as_str().expect("text").to_owned(), plain(result))).collect()
}

/// Results over the same slices as files.
pub(crate) fn batch(slices: &[Sent]) -> BTreeMap<String, Value> {
    let folder = tempfile::tempdir().expect("a folder");
    for slice in slices {
        fs::write(folder.path().join(format!("{}.dcm", slice.instance)), &slice.file).expect("written");
    }
    let (tree, output) = run(&[folder.path()]);
    assert_exit(&output, 0);
    results(tree.path())
}

#[test]
fn a_node_that_is_killed_at_any_point_has_what_it_acknowledged_and_ends_as_a_batch_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let sent: Vec<Sent> = (0..2).flat_map(|index| slices(&study(41, index, 9))).collect();
    let mut acknowledged = BTreeSet::new();
    let mut left: &[Sent] = &sent;
    // The sender sends on where it was not answered, as senders do.
    for kill_after in [0, 3, 40, 120] {
        let node = Served::start(folder.path(), &configuration(""));
        let address = node.dicom;
        let part = left.len().min(5);
        let slices = left[..part].to_vec();
        let sender = std::thread::spawn(move || send(address, &slices));
        std::thread::sleep(Duration::from_millis(kill_after));
        node.kill();
        let answered = sender.join().expect("a sender");
        left = &left[answered.len()..];
        acknowledged.extend(answered);
        assert!(acknowledged.is_subset(&kept(folder.path())));
    }
    let node = Served::start(folder.path(), &configuration(""));
    acknowledged.extend(send(node.dicom, left));
    assert_eq!(acknowledged.len(), sent.len());
    node.caught_up();
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(results(&folder.path().join("data/results")), batch(&sent));
    // Nothing was published twice, and versions count from 1.
    let entries = DataFolder::existing(&folder.path().join("data")).expect("a folder").entries().expect("a log");
    for versions in crate::durable::versions(&entries).into_values() {
        assert_eq!(versions, (1..).take(versions.len()).collect::<Vec<u64>>());
    }
    // Started once more, it has nothing to say: it lets go of what it does not need.
    let published = |entries: &[Entry]| -> Vec<Entry> {
        let published = entries.iter().filter(|entry| matches!(entry.event, Event::Published(_)));
        published.cloned().collect()
    };
    let before = published(&entries);
    let node = Served::start(folder.path(), &configuration(""));
    node.caught_up();
    assert!(node.drain().0.success());
    let entries = DataFolder::existing(&folder.path().join("data")).expect("a folder").entries().expect("a log");
    assert_eq!(published(&entries), before);
}

#[track_caller]
pub(crate) fn done(output: &Output) {
    let said = [&output.stdout[..], &output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn senders_of_others_are_understood() {
    let Some((dcmtk, python)) = peers("senders_of_others_are_understood") else { return };
    let data = phantoms(1, 6, 51);
    let dicom = data.path().join("dicom");
    let folder = tempfile::tempdir().expect("a folder");
    let node = Served::start(folder.path(), &configuration(""));
    let port = node.dicom.port().to_string();
    let to_node = ["-aet", "CT1", "-aec", "HEMOFLOW", "127.0.0.1", &port];
    done(&Command::new(dcmtk.join("echoscu")).args(to_node).output().expect("it starts"));
    // As the files are, and with implicit representations.
    for syntax in [None, Some("-xi")] {
        let mut command = Command::new(dcmtk.join("storescu"));
        command.args(to_node).args(["+sd", "+r"]).args(syntax).arg(&dicom);
        done(&command.output().expect("it starts"));
    }
    let script = r#"
import sys
from pathlib import Path
from pydicom import dcmread
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification, StorageCommitmentPushModel
from pydicom.dataset import Dataset
ae = AE(ae_title="PY1")
ae.add_requested_context(CTImageStorage)
ae.add_requested_context(Verification)
ae.add_requested_context(StorageCommitmentPushModel)
reports = []
def report(event):
    reports.append((event.event_type, event.event_information))
    return 0x0000, None
assoc = ae.associate("127.0.0.1", int(sys.argv[1]), ae_title="HEMOFLOW", evt_handlers=[(evt.EVT_N_EVENT_REPORT, report)])
assert assoc.is_established, "refused"
assert assoc.send_c_echo().Status == 0
asked = Dataset()
asked.TransactionUID = "1.2.3"
asked.ReferencedSOPSequence = []
for path in Path(sys.argv[2]).rglob("*.dcm"):
    ds = dcmread(path)
    assert assoc.send_c_store(ds).Status == 0
    item = Dataset()
    item.ReferencedSOPClassUID = ds.SOPClassUID
    item.ReferencedSOPInstanceUID = ds.SOPInstanceUID
    asked.ReferencedSOPSequence.append(item)
status, _ = assoc.send_n_action(asked, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
assert status.Status == 0, status
import time
until = time.monotonic() + 30
while not reports and time.monotonic() < until:
    time.sleep(0.01)
kind, data = reports[0]
assert kind == 1 and len(data.ReferencedSOPSequence) == len(asked.ReferencedSOPSequence), (kind, data)
assoc.release()
"#;
    done(&Command::new(python).args(["-c", script, &port]).arg(&dicom).output().expect("it starts"));
    node.caught_up();
    let kept = node.metric("hemoflow_instances_acknowledged_total{via=\"dimse\"}");
    assert!((kept - 18.0).abs() < 0.5, "{kept} of 18");
    assert!(node.drain().0.success());
    let (tree, output) = run(&[&dicom]);
    assert_exit(&output, 0);
    assert_eq!(results(&folder.path().join("data/results")), results(tree.path()));
}

#[test]
fn a_note_withdraws_over_the_network_and_a_reload_changes_who_may_send() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = study(42, 0, 4);
    let sent = slices(&study);
    let node = Served::start(folder.path(), &configuration(""));
    assert_eq!(send(node.dicom, &sent).len(), 4);
    let uid = study.slices[3].instance.clone();
    let note = as_sent(&rejection_note(&study, &[uid]).expect("a note"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let status = runtime.block_on(async {
        let stored = [(note.class.clone(), EXPLICIT.to_owned())];
        let mut client = Client::associate(node.dicom, "CT1", "HEMOFLOW", &stored, PATIENCE).await.expect("accepted");
        let status = client.store(&note.class, EXPLICIT, &note.instance, &note.data).await.expect("an answer");
        client.release().await.expect("a release");
        status
    });
    assert_eq!(status, 0);
    node.reload(folder.path(), &configuration("").replace("any_peer = true", "any_peer = false"));
    let refused = || runtime.block_on(Client::associate(node.dicom, "CT1", "HEMOFLOW", &[], PATIENCE)).is_err();
    let until = Instant::now() + PATIENCE;
    while !refused() {
        assert!(Instant::now() < until, "the configuration is not read again");
        std::thread::sleep(Duration::from_millis(10));
    }
    node.caught_up();
    assert!(node.drain().0.success());
    assert_eq!(results(&folder.path().join("data/results")), batch(&sent[..3]));
}

/// What could not be written was published all the same, and the node that starts next writes it.
#[test]
fn a_result_that_could_not_be_written_is_written_after_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = study(44, 0, 4);
    let sent = slices(&study);
    assert!(Served::start(folder.path(), &configuration("")).drain().0.success(), "it makes its folders");
    let tree = folder.path().join("data/results");
    let in_the_way = tree.join(study.study.as_str());
    fs::write(&in_the_way, "a file where the folder of the study would be").expect("written");
    let node = Served::start(folder.path(), &configuration(""));
    assert_eq!(send(node.dicom, &sent).len(), 4);
    node.caught_up();
    let (status, said) = node.drain();
    assert!(status.success() && said.contains("a result was not written"), "{said}");
    assert!(results(&tree).is_empty());
    fs::remove_file(&in_the_way).expect("removed");
    let node = Served::start(folder.path(), &configuration(""));
    node.caught_up();
    assert!(node.drain().0.success());
    assert_eq!(results(&tree), batch(&sent));
}
