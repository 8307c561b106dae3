//! STOW-RS with the node as a program: what it tells as stored it keeps, and whom and what it refuses.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use hemoflow::operators::record::Digest;
use serde_json::Value;

use crate::serve::{batch, configuration, done, kept, results};
use crate::support::node::{Served, certificates, peers};
use crate::support::slices::{Sent, slices, study};
use crate::support::{assert_exit, phantoms, run};

const MULTIPART: &str = "Content-Type: multipart/related; type=\"application/dicom\"; boundary=\"b/1\"";
const TOKEN: &str = "Authorization: Bearer secret";
const STUDIES: &str = "/dicom-web/studies";

/// A node that knows one token and listens for HTTP; `http` says more of that, and `more` of limits.
fn configured(http: &str, more: &str) -> String {
    let digest = Digest::of(b"secret");
    let listening =
        format!("address = '127.0.0.1:0'\n{http}[[http.token]]\nname = 'pacs'\nsha256 = '{digest}'\n[metrics]");
    configuration(more).replace("address = 'off'\n[metrics]", &listening)
}

/// What was answered.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn read(mut stream: TcpStream) -> Self {
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{}: {error}", self.body))
    }

    /// The instances in a sequence of the answer.
    fn instances(&self, sequence: &str) -> Vec<String> {
        let items = self.json()[sequence]["Value"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["00081155"]["Value"][0].as_str().expect("a UID").to_owned()).collect()
    }
}

fn connect(node: &Served) -> TcpStream {
    TcpStream::connect(node.http.strip_prefix("http://").expect("HTTP")).expect("it listens")
}

fn head(method: &str, path: &str, fields: &[&str], length: usize) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n")
}

fn ask(node: &Served, method: &str, path: &str, fields: &[&str], body: &[u8]) -> Reply {
    let mut stream = connect(node);
    stream.write_all(head(method, path, fields, body.len()).as_bytes()).expect("sent");
    // It may have answered and gone before all was sent.
    stream.write_all(body).ok();
    Reply::read(stream)
}

fn store(node: &Served, path: &str, body: &[u8]) -> Reply {
    ask(node, "POST", path, &[MULTIPART, TOKEN], body)
}

/// A body with these parts.
fn related<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut body = Vec::new();
    for (media, content) in parts {
        body.extend_from_slice(format!("--b/1\r\nContent-Type: {media}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b/1--\r\n");
    body
}

fn files(slices: &[Sent]) -> Vec<u8> {
    related(slices.iter().map(|slice| ("application/dicom", slice.file.as_slice())))
}

fn uids(slices: &[Sent]) -> Vec<String> {
    slices.iter().map(|slice| slice.instance.clone()).collect()
}

#[test]
fn what_is_told_as_stored_is_kept_and_the_results_equal_a_batch_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let study = study(61, 0, 8);
    let sent = slices(&study);
    let node = Served::start(folder.path(), &configured("", ""));
    // Junk between good ones fails alone.
    let parts = sent.iter().map(|slice| ("application/dicom", slice.file.as_slice()));
    let junk = [("application/dicom", &b"no DICOM"[..]), ("text/plain", sent[0].file.as_slice())];
    let reply = store(&node, STUDIES, &related(parts.clone().take(3).chain(junk).chain(parts.skip(3))));
    assert_eq!(reply.status, 202, "{}", reply.body);
    assert!(reply.head.contains("content-type: application/dicom+json"), "{}", reply.head);
    assert_eq!(reply.instances("00081199"), uids(&sent));
    assert_eq!(reply.json()["0008119A"]["Value"].as_array().map(Vec::len), Some(2));
    let url = reply.json()["00081199"]["Value"][0]["00081190"]["Value"][0].as_str().expect("a URL").to_owned();
    assert!(url.starts_with("http://node/dicom-web/studies/") && url.ends_with(&sent[0].instance), "{url}");
    // Once more, with its study in the path: no effect.
    let path = format!("{STUDIES}/{}", url.split('/').nth(5).expect("a study"));
    let reply = store(&node, &path, &files(&sent));
    assert_eq!((reply.status, reply.instances("00081199")), (200, uids(&sent)));
    node.caught_up();
    assert!(node.metric("hemoflow_instances_acknowledged_total{via=\"stow\"}") > 15.5);
    assert_eq!(ask(&node, "GET", "/livez", &[], b"").status, 200);
    let ready = ask(&node, "GET", "/readyz", &[], b"");
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (200, Some(true)), "{}", ready.body);
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(kept(folder.path()), uids(&sent).into_iter().collect::<BTreeSet<_>>());
    assert_eq!(results(&folder.path().join("data/results")), batch(&sent));
}

#[test]
fn whom_and_what_the_node_refuses() {
    let folder = tempfile::tempdir().expect("a folder");
    let sent = slices(&study(62, 0, 2));
    let limits = "instance_bytes = '32K'\nassociation_instances = 3\n";
    let node = Served::start(folder.path(), &configured("", limits));
    let body = files(&sent);
    let large = related([("application/dicom", vec![0; 40 << 10].as_slice())]);
    let reply = ask(&node, "POST", STUDIES, &[MULTIPART], &body);
    assert_eq!(reply.status, 401, "nothing is shown");
    assert!(reply.head.contains("www-authenticate: bearer"), "{}", reply.head);
    let cases: [(u16, &str, &[&str], &[u8]); 13] = [
        (401, STUDIES, &[MULTIPART, "Authorization: Bearer wrong"], &body),
        (401, STUDIES, &[MULTIPART, "Authorization: Basic c2VjcmV0"], &body),
        (415, STUDIES, &[TOKEN], &body),
        (415, STUDIES, &[TOKEN, "Content-Type: application/dicom"], &sent[0].file),
        (415, STUDIES, &[TOKEN, "Content-Type: multipart/related; type=\"application/dicom\""], &body),
        (
            415,
            STUDIES,
            &[TOKEN, "Content-Type: multipart/related; type=\"application/dicom+json\"; boundary=\"b/1\""],
            &body,
        ),
        (400, "/dicom-web/studies/..%2f1", &[TOKEN, MULTIPART], &body),
        (400, STUDIES, &[TOKEN, MULTIPART], b"--b/1 nonsense\r\n\r\n"),
        (400, STUDIES, &[TOKEN, MULTIPART], b"--b/1--\r\n"),
        (400, STUDIES, &[TOKEN, MULTIPART], b""),
        (409, "/dicom-web/studies/1.2.3", &[TOKEN, MULTIPART], &body),
        (413, STUDIES, &[TOKEN, MULTIPART], &large),
        (404, "/dicom-web/", &[TOKEN, MULTIPART], b""),
    ];
    for (status, path, fields, body) in cases {
        let reply = ask(&node, "POST", path, fields, body);
        assert_eq!(reply.status, status, "{path} {fields:?}: {}", reply.body);
    }
    let reply = store(&node, "/dicom-web/studies/1.2.3", &body);
    assert_eq!(reply.instances("00081198"), uids(&sent), "those of another study are named");
    // One more than may come in one request, the first three of which are none.
    let many = related([("application/dicom", &b"junk"[..]); 4]);
    assert_eq!(store(&node, STUDIES, &many).status, 413);
    // A list of tokens that is read again holds from then on.
    assert_eq!(store(&node, STUDIES, &files(&sent[..1])).status, 200);
    let [secret, other] = [&b"secret"[..], b"other"].map(|token| Digest::of(token).to_string());
    node.reload(folder.path(), &configured("", limits).replace(&secret, &other));
    node.until("the token is known no more", || store(&node, STUDIES, &files(&sent[..1])).status == 401);
    let (status, said) = node.drain();
    assert!(status.success(), "{said}");
    assert_eq!(kept(folder.path()), BTreeSet::from([sent[0].instance.clone()]));
}

#[test]
fn a_request_that_is_cut_off_leaves_whole_instances_only_and_more_are_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let sent = slices(&study(63, 0, 5));
    let node = Served::start(folder.path(), &configured("", ""));
    let (body, whole) = (files(&sent), files(&sent[..2]).len() - b"--b/1--\r\n".len());
    let mut stream = connect(&node);
    stream.write_all(head("POST", STUDIES, &[MULTIPART, TOKEN], body.len()).as_bytes()).expect("sent");
    stream.write_all(&body[..whole + sent[2].file.len() / 2]).expect("sent");
    stream.shutdown(Shutdown::Both).expect("a socket");
    let acknowledged = || node.metric("hemoflow_instances_acknowledged_total{via=\"stow\"}");
    node.until("two instances are kept", || acknowledged() > 1.5);
    let reply = store(&node, STUDIES, &files(&sent[3..]));
    assert_eq!((reply.status, reply.instances("00081199")), (200, uids(&sent[3..])));
    node.caught_up();
    assert!(node.drain().0.success());
    let mut expected = uids(&sent);
    expected.remove(2);
    assert_eq!(kept(folder.path()), expected.into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn a_node_without_room_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let configuration = configured("", "").replace("free_disk = 0", "free_disk = '1000000G'");
    let node = Served::start(folder.path(), &configuration);
    let reply = store(&node, STUDIES, &files(&slices(&study(64, 0, 1))));
    assert_eq!(reply.status, 507, "{}", reply.body);
    assert!(reply.head.contains("retry-after: "), "{}", reply.head);
    node.caught_up();
    let ready = ask(&node, "GET", "/readyz", &[], b"");
    assert_eq!((ready.status, ready.json()["reasons"][0].as_str()), (503, Some("disk")), "{}", ready.body);
    assert_eq!(ask(&node, "GET", "/livez", &[], b"").status, 200);
    assert!(node.drain().0.success());
    assert!(kept(folder.path()).is_empty());
}

#[test]
fn a_client_of_others_stores_with_a_token_and_with_a_certificate() {
    let Some((_, python)) = peers("a_client_of_others_stores_with_a_token_and_with_a_certificate") else { return };
    let data = phantoms(1, 6, 65);
    let dicom = data.path().join("dicom");
    let folder = tempfile::tempdir().expect("a folder");
    certificates(&python, folder.path());
    let script = r#"
import sys
from pathlib import Path
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
url, dicom, how, folder = sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
datasets = [dcmread(path) for path in sorted(dicom.rglob("*.dcm"))]
session = requests.Session()
session.trust_env = False
session.verify = str(folder / "ca.pem")
if how == "token":
    session.headers["Authorization"] = "Bearer secret"
elif how == "certificate":
    session.cert = (str(folder / "client.pem"), str(folder / "client.key"))
try:
    # Whole, and in small chunks with the study in the path.
    for size, study in ((10**9, None), (10**4, datasets[0].StudyInstanceUID)):
        client = DICOMwebClient(f"{url}/dicom-web", session=session, chunk_size=size)
        client.set_http_retry_params(retry=False)
        answer = client.store_instances(datasets, study_instance_uid=study)
        stored = {item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence}
        assert stored == {dataset.SOPInstanceUID for dataset in datasets}, answer
        assert "FailedSOPSequence" not in answer, answer
except requests.exceptions.RequestException as error:
    assert how == "nothing", error
else:
    assert how != "nothing", "let in"
"#;
    let client = |node: &Served, how: &str| {
        let mut command = Command::new(&python);
        command.args(["-c", script, &node.http]).arg(&dicom).arg(how).arg(folder.path());
        done(&command.output().expect("it starts"));
    };
    let tls = "[http.tls]\ncertificate = 'node.pem'\nkey = 'node.key'\n";
    let mutual = format!("{tls}client_ca = 'ca.pem'\n");
    for (tls, how) in [
        ("", "token"),
        (tls, "token"),
        (tls, "nothing"),
        (mutual.as_str(), "certificate"),
        (mutual.as_str(), "nothing"),
    ] {
        let node = Served::start(folder.path(), &configured(tls, ""));
        assert_eq!(node.http.starts_with("https://"), !tls.is_empty());
        client(&node, how);
        node.caught_up();
        let (status, said) = node.drain();
        assert!(status.success(), "{said}");
    }
    let (tree, output) = run(&[&dicom]);
    assert_exit(&output, 0);
    assert_eq!(results(&folder.path().join("data/results")), results(tree.path()));
}
