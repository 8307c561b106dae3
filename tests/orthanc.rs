//! Orthanc, an archive of others, beside the node as a program: it sends, with TLS and without, asks whether the node keeps
//! what it sent, and keeps what the node made.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::serve::{batch, configuration, kept, results};
use crate::support::certificates::write_certificates;
use crate::support::files;
use crate::support::node::{Served, archive, peers};
use crate::support::slices::{Sent, slices, study};

const PATIENCE: Duration = Duration::from_secs(60);
/// The node, as Orthanc's configuration calls it, and the same without TLS.
const NODE: &str = "/modalities/node";
const PLAIN: &str = "/modalities/plain";

/// Two addresses of the loopback interface that were free a moment ago.
fn free() -> [SocketAddr; 2] {
    let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    held.map(|listener| listener.local_addr().expect("an address"))
}

/// A node that knows Orthanc at this address.
fn configured(orthanc: SocketAddr, more: &str) -> String {
    let peer = format!("[[dicom.peer]]\nae_title = 'ORTHANC'\nfrom = '127.0.0.1'\naddress = '{orthanc}'\n");
    configuration(&format!("{peer}{more}"))
}

/// A running Orthanc, with a storage of its own. Dropped, it is ended.
struct Orthanc {
    child: Child,
    http: SocketAddr,
    folder: TempDir,
}

impl Orthanc {
    /// Starts it beside a node, and waits until it answers. `tls` is a folder with certificates.
    fn start(program: &Path, [dicom, http]: [SocketAddr; 2], node: &Served, tls: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name).display().to_string();
        let node = |encrypted: bool| {
            json!({
                "AET": "HEMOFLOW", "Host": "127.0.0.1", "Port": node.dicom.port(),
                "AllowStorageCommitment": true, "UseDicomTls": encrypted,
            })
        };
        let mut settings = json!({
            "StorageDirectory": place("storage"), "IndexDirectory": place("storage"), "TemporaryDirectory": place("temporary"),
            "HttpPort": http.port(), "DicomPort": dicom.port(), "DicomAet": "ORTHANC", "DicomAssociationCloseDelay": 0,
            "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": [],
            "DicomModalities": { "node": node(tls.is_some()), "plain": node(false) },
        });
        if let Some(tls) = tls {
            let files = [("Certificate", "peer.pem"), ("PrivateKey", "peer.key"), ("TrustedCertificates", "ca.pem")];
            settings["DicomTlsEnabled"] = json!(true);
            for (setting, file) in files {
                settings[format!("DicomTls{setting}")] = json!(tls.join(file));
            }
        }
        let path = folder.path().join("orthanc.json");
        fs::write(&path, settings.to_string()).expect("written");
        let said = File::create(folder.path().join("said")).expect("a file");
        let mut command = Command::new(program);
        let command = command.arg(&path).stdout(Stdio::null()).stderr(said);
        let mut orthanc = Self { child: command.spawn().expect("it starts"), http, folder };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(http).is_err() {
            let ended = orthanc.child.try_wait().expect("a child").is_some();
            assert!(!ended && Instant::now() < until, "Orthanc does not answer: {}", orthanc.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        orthanc
    }

    /// What it says of what it does.
    fn said(&self) -> String {
        fs::read_to_string(self.folder.path().join("said")).unwrap_or_default()
    }

    /// The status and the body of an answer.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.http).expect("it listens");
        let head = format!("{method} {path} HTTP/1.0\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer.split_off(end + 4))
    }

    /// What it answers to what it takes.
    fn done(&self, method: &str, path: &str, body: &[u8]) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).expect("JSON")
    }

    /// Gives it a DICOM file, and gives its name for it.
    fn keep(&self, file: &[u8]) -> String {
        let answer = self.done("POST", "/instances", file);
        answer["ID"].as_str().expect("a name").to_owned()
    }

    /// Lets it send instances to the node.
    fn send(&self, names: &[String]) {
        let sent = self.done("POST", &format!("{NODE}/store"), json!(names).to_string().as_bytes());
        let sent = (sent["InstancesCount"].as_u64(), sent["FailedInstancesCount"].as_u64());
        assert_eq!(sent, (u64::try_from(names.len()).ok(), Some(0)), "{}", self.said());
    }

    /// Lets it ask the node whether it keeps instances: what the node reports as kept, and as not kept.
    fn commitment<'a>(&self, instances: impl IntoIterator<Item = (&'a str, &'a str)>) -> [BTreeSet<String>; 2] {
        let instances: Vec<_> = instances.into_iter().map(|(class, instance)| json!([class, instance])).collect();
        let asked = json!({ "DicomInstances": instances }).to_string();
        let asked = self.done("POST", &format!("{NODE}/storage-commitment"), asked.as_bytes());
        let path = asked["Path"].as_str().expect("where the report will be");
        let until = Instant::now() + PATIENCE;
        let report = loop {
            let report = self.done("GET", path, b"");
            if report["Status"] != "Pending" {
                break report;
            }
            assert!(Instant::now() < until, "no report came: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        };
        let uids = |list: &str| {
            let list = report[list].as_array().expect("a list").iter();
            list.map(|item| item["SOPInstanceUID"].as_str().expect("a UID").to_owned()).collect::<BTreeSet<_>>()
        };
        let [kept, failed] = ["Success", "Failures"].map(uids);
        assert_eq!(report["Status"] == "Success", failed.is_empty(), "{report}");
        [kept, failed]
    }
}

impl Drop for Orthanc {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The class and the UID of slices, as a request for commitment names them.
fn named(slices: &[Sent]) -> impl Iterator<Item = (&str, &str)> {
    slices.iter().map(|slice| (slice.class.as_str(), slice.instance.as_str()))
}

fn uids(slices: &[Sent]) -> BTreeSet<String> {
    slices.iter().map(|slice| slice.instance.clone()).collect()
}

#[test]
fn an_archive_of_others_sends_hears_what_is_kept_and_keeps_what_the_node_made() {
    const TEST: &str = "an_archive_of_others_sends_hears_what_is_kept_and_keeps_what_the_node_made";
    let Some(program) = archive(TEST) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let sent: Vec<Sent> = (0..2).flat_map(|index| slices(&study(81, index, 6))).collect();
    let places = free();
    let node = Served::start(folder.path(), &configured(places[0], ""));
    let orthanc = Orthanc::start(&program, places, &node, None);
    orthanc.done("POST", &format!("{NODE}/echo"), b"{}");
    assert_eq!(orthanc.commitment(named(&sent[..2])), [BTreeSet::new(), uids(&sent[..2])], "nothing is kept yet");
    let names: Vec<String> = sent.iter().map(|slice| orthanc.keep(&slice.file)).collect();
    orthanc.send(&names);
    assert_eq!(orthanc.commitment(named(&sent)), [uids(&sent), BTreeSet::new()]);
    let stranger = (sent[0].class.as_str(), "1.2.3");
    let mixed = named(&sent).chain([stranger]);
    assert_eq!(orthanc.commitment(mixed), [uids(&sent), BTreeSet::from(["1.2.3".to_owned()])]);
    node.caught_up();
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(kept(folder.path()), uids(&sent));
    let tree = folder.path().join("data/results");
    assert_eq!(results(&tree), batch(&sent));
    // What the node made comes back as it was.
    let made: Vec<_> =
        files(&tree).into_iter().filter(|path| path.extension().is_some_and(|dcm| dcm == "dcm")).collect();
    assert!(made.iter().any(|path| path.ends_with("segmentation.dcm")), "{made:?}");
    for path in made {
        let before = fs::read(&path).expect("a file");
        let (status, after) = orthanc.ask("GET", &format!("/instances/{}/file", orthanc.keep(&before)), b"");
        assert!(status == 200 && before == after, "{} comes back changed", path.display());
    }
}

#[test]
fn an_archive_of_others_sends_over_tls_and_is_not_heard_without() {
    const TEST: &str = "an_archive_of_others_sends_over_tls_and_is_not_heard_without";
    let Some((program, (_, python))) = archive(TEST).zip(peers(TEST)) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    write_certificates(&python, folder.path());
    let sent = slices(&study(82, 0, 4));
    let places = free();
    // Both listeners take nothing but TLS, with certificates on both sides: the report of the commitment comes over it too.
    let tls = "[dicom.peer.tls]\nca = 'ca.pem'\n\
               [dicom.tls]\ncertificate = 'node.pem'\nkey = 'node.key'\nclient_ca = 'ca.pem'\n";
    let node = Served::start(folder.path(), &configured(places[0], tls));
    let orthanc = Orthanc::start(&program, places, &node, Some(folder.path()));
    orthanc.done("POST", &format!("{NODE}/echo"), b"{}");
    assert_eq!(orthanc.ask("POST", &format!("{PLAIN}/echo"), b"{}").0, 500, "without TLS nobody answers");
    let names: Vec<String> = sent.iter().map(|slice| orthanc.keep(&slice.file)).collect();
    orthanc.send(&names);
    assert_eq!(orthanc.commitment(named(&sent)), [uids(&sent), BTreeSet::new()]);
    node.caught_up();
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(kept(folder.path()), uids(&sent));
    assert_eq!(results(&folder.path().join("data/results")), batch(&sent));
}
