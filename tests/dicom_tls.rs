//! DICOM over TLS with the node as a program and senders of others: who is let in, and how the node calls back.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::serve::{configuration, done, kept, results};
use crate::support::certificates::write_certificates;
use crate::support::node::{Served, peers};
use crate::support::others::nowhere;
use crate::support::{assert_exit, files, phantoms, run};

const TLS: &str = "[dicom.tls]\ncertificate = 'node.pem'\nkey = 'node.key'\n";
/// The node asks for a certificate of our authority.
const MUTUAL: &str = "client_ca = 'ca.pem'\n";

/// How a sender calls: the certificate that it shows, and the authority that it trusts. `None` and nothing: without TLS.
#[derive(Clone, Copy, Debug)]
struct Way {
    shown: Option<&'static str>,
    trusted: Option<&'static str>,
}

impl Way {
    const PLAIN: Self = Self { shown: None, trusted: None };
    const ANONYMOUS: Self = Self { shown: None, trusted: Some("ca.pem") };

    const fn showing(shown: &'static str) -> Self {
        Self { shown: Some(shown), trusted: Some("ca.pem") }
    }

    /// The options of DCMTK's senders.
    fn options(self) -> Vec<String> {
        let Some(trusted) = self.trusted else { return Vec::new() };
        let mut options = match self.shown {
            None => vec!["+tla".to_owned()],
            Some(shown) => vec!["+tls".to_owned(), format!("{shown}.key"), format!("{shown}.pem")],
        };
        options.extend(["+cf".to_owned(), trusted.to_owned()]);
        options
    }
}

/// Sends a folder with DCMTK.
fn storescu(dcmtk: &Path, node: &Served, certificates: &Path, dicom: &Path, way: Way) -> Output {
    let mut command = Command::new(dcmtk.join("storescu"));
    command.current_dir(certificates).args(way.options()).args(["-aet", "CT1", "-aec", "HEMOFLOW", "+sd", "+r"]);
    command.args(["127.0.0.1", &node.dicom.port().to_string()]).arg(dicom).output().expect("it starts")
}

/// Sends a folder with pynetdicom, and gives how many were stored.
fn pynetdicom(python: &Path, node: &Served, certificates: &Path, dicom: &Path, way: Way) -> usize {
    let script = r#"
import ssl, sys
from pathlib import Path
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage
port, dicom, shown, trusted = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
tls = None
if trusted:
    context = ssl.create_default_context(cafile=trusted)
    if shown:
        context.load_cert_chain(f"{shown}.pem", f"{shown}.key")
    tls = (context, "127.0.0.1")
ae = AE(ae_title="PY1")
ae.add_requested_context(CTImageStorage)
assoc = ae.associate("127.0.0.1", port, ae_title="HEMOFLOW", tls_args=tls)
stored = 0
if assoc.is_established:
    for path in sorted(dicom.rglob("*.dcm")):
        stored += assoc.send_c_store(dcmread(path)).Status == 0
    assoc.release()
print(stored)
"#;
    let mut command = Command::new(python);
    command.current_dir(certificates).args(["-c", script, &node.dicom.port().to_string()]).arg(dicom);
    let output = command.args([way.shown, way.trusted].map(Option::unwrap_or_default)).output().expect("it starts");
    done(&output);
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

fn acknowledged(node: &Served) -> f64 {
    node.metric("hemoflow_instances_acknowledged_total{via=\"dimse\"}")
}

#[test]
fn who_shows_a_certificate_of_the_right_authority_stores_and_nobody_else() {
    let test = "who_shows_a_certificate_of_the_right_authority_stores_and_nobody_else";
    let Some((dcmtk, python)) = peers(test) else { return };
    let data = phantoms(1, 6, 71);
    let dicom = data.path().join("dicom");
    let folder = tempfile::tempdir().expect("a folder");
    write_certificates(&python, folder.path());
    let node = Served::start(folder.path(), &configuration(&format!("{TLS}{MUTUAL}")));
    // No certificate, one of another authority, one that has expired, no TLS at all, and a sender that does not trust the node.
    let distrustful = Way { trusted: Some("other-ca.pem"), ..Way::showing("client") };
    for way in [Way::ANONYMOUS, Way::showing("stranger"), Way::showing("old"), Way::PLAIN, distrustful] {
        let output = storescu(&dcmtk, &node, folder.path(), &dicom, way);
        assert!(!output.status.success(), "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(pynetdicom(&python, &node, folder.path(), &dicom, way), 0, "{way:?}");
    }
    assert!(acknowledged(&node) < 0.5, "nothing is taken");
    node.until("each refusal is counted", || node.metric("hemoflow_associations_total{outcome=\"tls\"}") > 9.5);
    done(&storescu(&dcmtk, &node, folder.path(), &dicom, Way::showing("client")));
    assert_eq!(pynetdicom(&python, &node, folder.path(), &dicom, Way::showing("client")), 6);
    assert!((acknowledged(&node) - 12.0).abs() < 0.5, "{} of 12", acknowledged(&node));
    node.caught_up();
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(kept(folder.path()).len(), 6);
    let (tree, output) = run(&[&dicom]);
    assert_exit(&output, 0);
    assert_eq!(results(&folder.path().join("data/results")), results(tree.path()));
}

#[test]
fn a_node_that_asks_for_no_certificate_is_encrypted_all_the_same() {
    let Some((dcmtk, python)) = peers("a_node_that_asks_for_no_certificate_is_encrypted_all_the_same") else { return };
    let data = phantoms(1, 3, 72);
    let dicom = data.path().join("dicom");
    let folder = tempfile::tempdir().expect("a folder");
    write_certificates(&python, folder.path());
    let node = Served::start(folder.path(), &configuration(TLS));
    assert!(!storescu(&dcmtk, &node, folder.path(), &dicom, Way::PLAIN).status.success());
    assert_eq!(pynetdicom(&python, &node, folder.path(), &dicom, Way::PLAIN), 0);
    assert!(acknowledged(&node) < 0.5, "nothing is taken");
    done(&storescu(&dcmtk, &node, folder.path(), &dicom, Way::ANONYMOUS));
    assert_eq!(pynetdicom(&python, &node, folder.path(), &dicom, Way::ANONYMOUS), 3);
    node.caught_up();
    assert!(node.drain().0.success());
    assert_eq!(kept(folder.path()).len(), 3);
}

#[test]
fn a_certificate_that_was_renewed_is_shown_after_a_reload() {
    let Some((dcmtk, python)) = peers("a_certificate_that_was_renewed_is_shown_after_a_reload") else { return };
    let data = phantoms(1, 2, 74);
    let dicom = data.path().join("dicom");
    let (folder, newer) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    write_certificates(&python, folder.path());
    write_certificates(&python, newer.path());
    let node = Served::start(folder.path(), &configuration(TLS));
    done(&storescu(&dcmtk, &node, folder.path(), &dicom, Way::ANONYMOUS));
    for name in ["node.pem", "node.key"] {
        fs::copy(newer.path().join(name), folder.path().join(name)).expect("copied");
    }
    let trusted = || storescu(&dcmtk, &node, newer.path(), &dicom, Way::ANONYMOUS).status.success();
    assert!(!trusted(), "it shows what it read");
    node.reload(folder.path(), &configuration(TLS));
    node.until("the new certificate is shown", trusted);
    assert!(!storescu(&dcmtk, &node, folder.path(), &dicom, Way::ANONYMOUS).status.success());
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(kept(folder.path()).len(), 2);
}

#[test]
fn commitment_is_reported_where_the_peer_listens_with_and_without_tls() {
    let Some((_, python)) = peers("commitment_is_reported_where_the_peer_listens_with_and_without_tls") else { return };
    let data = phantoms(1, 1, 73);
    let slice = files(&data.path().join("dicom")).into_iter().find(|path| path.extension().is_some()).expect("a slice");
    let script = r#"
import ssl, sys, threading
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel
port, own, path, encrypted = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4] == "tls"
inward = outward = None
if encrypted:
    inward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    inward.load_cert_chain("peer.pem", "peer.key")
    inward.load_verify_locations("ca.pem")
    inward.verify_mode = ssl.CERT_REQUIRED
    context = ssl.create_default_context(cafile="ca.pem")
    context.load_cert_chain("client.pem", "client.key")
    outward = (context, "127.0.0.1")
reports, arrived = [], threading.Event()
def report(event):
    reports.append((event.event_type, event.event_information))
    arrived.set()
    return 0x0000, None
ae = AE(ae_title="PACS")
ae.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
handlers = [(evt.EVT_N_EVENT_REPORT, report)]
server = ae.start_server(("127.0.0.1", own), block=False, evt_handlers=handlers, ssl_context=inward)
ae.add_requested_context(CTImageStorage)
ae.add_requested_context(StorageCommitmentPushModel)
assoc = ae.associate("127.0.0.1", port, ae_title="HEMOFLOW", tls_args=outward)
assert assoc.is_established, "refused"
ds = dcmread(path)
assert assoc.send_c_store(ds).Status == 0
item = Dataset()
item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
asked = Dataset()
asked.TransactionUID = "1.2.3"
asked.ReferencedSOPSequence = [item]
status, _ = assoc.send_n_action(asked, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1")
assert status.Status == 0, status
assoc.release()
assert arrived.wait(30), "no report"
kind, data = reports[0]
assert kind == 1 and data.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == ds.SOPInstanceUID, (kind, data)
server.shutdown()
"#;
    for (how, listener, peer) in [("plain", "", ""), ("tls", TLS, "[dicom.peer.tls]\nca = 'ca.pem'\n")] {
        let folder = tempfile::tempdir().expect("a folder");
        write_certificates(&python, folder.path());
        let own = nowhere();
        let mutual = if listener.is_empty() { "" } else { MUTUAL };
        let listed = format!("{listener}{mutual}[[dicom.peer]]\nae_title = 'PACS'\naddress = '{own}'\n{peer}");
        let node = Served::start(folder.path(), &configuration(&listed));
        let mut command = Command::new(&python);
        command.current_dir(folder.path()).args(["-c", script]);
        command.args([node.dicom.port(), own.port()].map(|port| port.to_string())).arg(&slice).arg(how);
        done(&command.output().expect("it starts"));
        assert!(node.drain().0.success());
    }
}
