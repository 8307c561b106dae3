//! `hemoflow doctor`: what it finds of a node, of its surroundings and of peers of others.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::serve::configuration;
use crate::support::certificates::write_certificates;
use crate::support::node::{Served, peers};
use crate::support::others::{Others, nowhere};
use crate::support::{assert_exit, complaints, program};

/// What was found, and how the doctor ended.
struct Examined {
    findings: Vec<Value>,
    status: i32,
}

impl Examined {
    /// Asks the doctor about a configuration in `folder`.
    fn of(folder: &Path, configuration: &str) -> Self {
        let file = folder.join("doctor.toml");
        fs::write(&file, configuration).expect("written");
        let output = program(["doctor", "--json"]).arg(&file).output().expect("the program starts");
        let said = complaints(&output);
        let findings: Vec<Value> =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
        for finding in &findings {
            let mut fields: Vec<&str> = finding.as_object().expect("an object").keys().map(String::as_str).collect();
            fields.sort_unstable();
            assert_eq!(fields, ["check", "detail", "mend", "state", "subject"]);
            assert_eq!(finding["mend"].is_null(), finding["state"] == "ok", "what is wrong has a mend: {finding}");
        }
        Self { findings, status: output.status.code().expect("an end") }
    }

    /// The findings of a check whose subject begins so.
    fn of_check(&self, check: &str, subject: &str) -> Vec<&Value> {
        let begins = |found: &Value| found["subject"].as_str().is_some_and(|text| text.starts_with(subject));
        self.findings.iter().filter(|found| found["check"] == check && begins(found)).collect()
    }

    /// State and detail of them.
    fn all(&self, check: &str, subject: &str) -> Vec<(&str, &str)> {
        let found = self.of_check(check, subject).into_iter();
        found.map(|found| (found["state"].as_str().expect("text"), found["detail"].as_str().expect("text"))).collect()
    }

    /// The one of them.
    #[track_caller]
    fn one(&self, check: &str, subject: &str) -> (&str, &str) {
        let all = self.all(check, subject);
        let [one] = &all[..] else { panic!("{check} {subject}: {:#?}", self.findings) };
        *one
    }

    /// What mends it.
    #[track_caller]
    fn mend(&self, check: &str, subject: &str) -> &str {
        let found = self.of_check(check, subject);
        found.first().expect("a finding")["mend"].as_str().expect("a mend")
    }

    /// The findings that are not ok, but for devices that nobody asked for.
    fn worse(&self) -> Vec<&Value> {
        self.findings.iter().filter(|found| found["state"] != "ok" && found["check"] != "device").collect()
    }
}

/// A node that takes free ports and lets CT1 in; `http` and `more` are added.
fn listening(http: &str, more: &str) -> String {
    let listening = format!("address = '127.0.0.1:0'\n{http}[metrics]");
    let configuration =
        configuration("").replace("any_peer = true\n", "").replace("address = 'off'\n[metrics]", &listening);
    format!("{configuration}[[dicom.peer]]\nae_title = 'CT1'\n{more}")
}

/// The same with the ports that the node took.
fn listens(node: &Served, http: &str, more: &str) -> String {
    let web = node.http.split("://").nth(1).expect("HTTP");
    let [dicom, metrics] = [node.dicom, node.metrics].map(|address| address.to_string());
    let text = listening(http, more);
    let parts: Vec<&str> = text.split("127.0.0.1:0").collect();
    let [before, dicom_on, web_on, metrics_on] = parts[..] else { panic!("three addresses: {text}") };
    [before, &dicom, dicom_on, web, web_on, &metrics, metrics_on].concat()
}

/// A peer of this title that listens there.
fn peer(title: &str, address: impl std::fmt::Display) -> String {
    format!("[[dicom.peer]]\nae_title = '{title}'\naddress = '{address}'\n")
}

#[test]
fn a_healthy_node_is_well_inside_and_out_and_its_ports_are_free_when_it_has_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Served::start(folder.path(), &listening("", ""));
    node.caught_up();
    let configuration = listens(&node, "", "");
    let examined = Examined::of(folder.path(), &configuration);
    assert_eq!((examined.status, examined.worse()), (0, Vec::new()));
    let (_, detail) = examined.one("dicom", &node.dicom.to_string());
    assert!(detail.contains("HEMOFLOW answers the C-ECHO of CT1"), "{detail}");
    let health = examined.all("http", "127.0.0.1:");
    assert!(health.len() == 2 && health[0].1.starts_with("/livez") && health[1].1.starts_with("/readyz"), "{health:?}");
    assert!(examined.one("metrics", &node.metrics.to_string()).1.starts_with("/metrics"));
    assert!(examined.one("node", "").1.starts_with("a node runs"));
    // Lines for people, as many.
    let output = program(["doctor"]).arg(folder.path().join("doctor.toml")).output().expect("the program starts");
    assert_exit(&output, 0);
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(lines.lines().count(), examined.findings.len());
    assert!(lines.lines().all(|line| line.starts_with("ok ") || line.starts_with("warning  device ")), "{lines}");

    // One that is listed since, of which the node does not know.
    let examined = Examined::of(folder.path(), &format!("{configuration}[[dicom.peer]]\nae_title = 'CT2'\n"));
    let states: Vec<&str> = examined.all("dicom", "127.0.0.1:").into_iter().map(|(state, _)| state).collect();
    assert_eq!((examined.status, states), (1, vec!["ok", "wrong"]));
    // Another title of its own.
    let examined = Examined::of(folder.path(), &configuration.replace("[dicom]\n", "[dicom]\nae_title = 'ELSE'\n"));
    let (state, detail) = examined.one("dicom", "127.0.0.1:");
    assert!(state == "wrong" && detail.contains("called AE title not recognized"), "{detail}");
    // No peer that calls from here.
    let elsewhere = configuration.replace("ae_title = 'CT1'\n", "ae_title = 'CT1'\nfrom = '192.0.2.7'\n");
    let examined = Examined::of(folder.path(), &elsewhere);
    let (state, detail) = examined.one("dicom", "127.0.0.1:");
    assert!(state == "ok" && detail.contains("refuses who is not listed"), "{detail}");
    // A node, but one of another data folder.
    let examined = Examined::of(folder.path(), &configuration.replace("data = 'data'", "data = 'other'"));
    assert!(examined.all("dicom", "").iter().all(|(state, _)| *state == "wrong"), "{:#?}", examined.findings);

    assert!(node.drain().0.success());
    let examined = Examined::of(folder.path(), &configuration);
    assert_eq!((examined.status, examined.worse()), (0, Vec::new()));
    for check in ["dicom", "http", "metrics"] {
        assert!(examined.one(check, "127.0.0.1:").1.starts_with("is free"), "{:#?}", examined.findings);
    }
    assert!(examined.one("node", "").1.starts_with("no node runs"));
    assert!(!folder.path().join("other").exists(), "nothing is made");
}

#[test]
fn each_mismatch_with_a_peer_is_named() {
    let Some((dcmtk, python)) = peers("each_mismatch_with_a_peer_is_named") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let others = Others::start(&python, None);
    let refusing = nowhere();
    let mut refuser = Command::new(dcmtk.join("storescp"));
    refuser.args(["--refuse", &refusing.port().to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut refuser = refuser.spawn().expect("it starts");
    while TcpStream::connect(refusing).is_err() {
        assert!(refuser.try_wait().expect("a process").is_none(), "storescp ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    let cases = [
        ("GOOD", others.address("good"), "ok", "answers the C-ECHO of NODE", ""),
        (
            "PICKY",
            others.address("picky"),
            "wrong",
            "permanently, by the service user: calling AE title not recognized",
            "list NODE",
        ),
        (
            "ALIAS",
            others.address("other"),
            "wrong",
            "permanently, by the service user: called AE title not recognized",
            "who listens there does not call itself ALIAS",
        ),
        (
            "STORAGE",
            others.address("storage"),
            "warning",
            "no presentation context for Verification is accepted: abstract syntax not supported",
            "nothing, if STORAGE does without",
        ),
        (
            "RUDE",
            others.address("rude"),
            "wrong",
            "the association is aborted, by the service user",
            "look into the log of RUDE",
        ),
        ("ILL", others.address("ill"), "wrong", "the answer has the status 0122", "look into the log of ILL"),
        (
            "REFUSER",
            refusing,
            "wrong",
            "permanently, by the service user: no reason given",
            "look into the log of REFUSER",
        ),
        ("AWAY", nowhere(), "wrong", "the connection is refused: nothing listens there", "start AWAY"),
    ];
    let listed: String = cases.iter().map(|(title, address, ..)| peer(title, address)).collect();
    let node = configuration("").replace("any_peer = true", "ae_title = 'NODE'");
    let examined = Examined::of(folder.path(), &format!("{node}{listed}"));
    refuser.kill().expect("it runs");
    refuser.wait().expect("an end");
    assert_eq!(examined.status, 1);
    for (title, address, state, detail, mend) in cases {
        let subject = format!("{title} at {address}");
        let found = examined.one("peer", &subject);
        assert_eq!((found.0, found.1.ends_with(detail)), (state, true), "{title}: {}", found.1);
        if state != "ok" {
            assert!(examined.mend("peer", &subject).starts_with(mend), "{title}: {}", examined.mend("peer", &subject));
        }
    }
    // Without those that are wrong, a warning is no failure.
    let kept = peer("GOOD", others.address("good")) + &peer("STORAGE", others.address("storage"));
    assert_eq!(Examined::of(folder.path(), &format!("{node}{kept}")).status, 0);
}

#[test]
fn what_a_node_cannot_have_is_wrong_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "").expect("written");
    // They take connections, and say nothing.
    let [taken, web] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let [address, web_address] = [&taken, &web].map(|taken| taken.local_addr().expect("an address").to_string());
    let text = format!(
        "[node]\ndata = 'file/data'\nresults = 'file'\nmodel = 'no-model'\n[dicom]\naddress = '{address}'\ntimeout_seconds = 1\n\
         [[dicom.peer]]\nae_title = 'CT1'\naddress = '{address}'\n\
         [http]\naddress = '{web_address}'\n[metrics]\naddress = 'off'\n[limits]\nfree_disk = '1000000G'\n"
    );
    let examined = Examined::of(folder.path(), &text);
    assert_eq!(examined.status, 1);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let expected: [(&str, &str, &str); 7] = [
        ("configuration", "node.model", "is not there"),
        ("model", &path("no-model"), "no-model"),
        ("folder", &path("file/data"), "cannot be reached"),
        ("disk", &path("file/data"), "must stay free"),
        ("dicom", &address, "is taken by somebody who does not answer as a node does: there is no answer in 1 s"),
        ("http", &web_address, "is taken by somebody who does not answer as a node does: there is no answer in 1 s"),
        ("peer", &format!("CT1 at {address}"), "there is no answer in 1 s"),
    ];
    for (check, subject, detail) in expected {
        let found = examined.one(check, subject);
        assert!(found.0 == "wrong" && found.1.contains(detail), "{check} {subject}: {found:?}");
    }
    assert!(examined.all("folder", &path("file")).contains(&("wrong", "is no folder")), "{:#?}", examined.findings);
    assert!(
        examined.mend("dicom", "").contains(&format!("sport = :{}", taken.local_addr().expect("an address").port()))
    );
    assert_eq!(examined.one("device", "cpu").0, "ok", "the rest is looked at all the same");
}

#[test]
fn without_a_configuration_that_can_be_read_the_machine_is_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let examined = Examined::of(folder.path(), "[dicom]\nae_titel = 'A'\n");
    let (state, detail) = examined.one("configuration", "");
    assert!(state == "wrong" && detail.starts_with("dicom.ae_titel: "), "{detail}");
    assert_eq!((examined.status, examined.one("device", "cpu").0, examined.one("model", "shipped").0), (1, "ok", "ok"));
    let output = program(["doctor", "no/such/file"]).output().expect("the program starts");
    assert_exit(&output, 1);
    let output = program(["--device", "cuda:9999", "doctor", "--json"]).output().expect("the program starts");
    assert_exit(&output, 1);
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let device = findings.iter().find(|found| found["subject"] == "cuda:9999").expect("it was asked for");
    assert_eq!(device["state"], "wrong");
}

#[test]
fn a_node_with_tls_is_called_by_its_own_certificate_and_an_expired_one_is_found() {
    let test = "a_node_with_tls_is_called_by_its_own_certificate_and_an_expired_one_is_found";
    let Some((_, python)) = peers(test) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    write_certificates(&python, folder.path());
    let tls = |name: &str, authority: &str| {
        let client_ca = if authority.is_empty() { String::new() } else { format!("client_ca = '{authority}'\n") };
        format!("tls]\ncertificate = '{name}.pem'\nkey = '{name}.key'\n{client_ca}")
    };
    for (authority, state) in [("", "ok"), ("ca.pem", "ok"), ("other-ca.pem", "warning")] {
        let (http, dicom) = (format!("[http.{}", tls("node", authority)), format!("[dicom.{}", tls("node", authority)));
        let node = Served::start(folder.path(), &listening(&http, &dicom));
        node.caught_up();
        let examined = Examined::of(folder.path(), &listens(&node, &http, &dicom));
        assert_eq!(examined.status, 0, "{authority}: {:#?}", examined.worse());
        for check in ["dicom", "http"] {
            let found = examined.all(check, "127.0.0.1:");
            assert!(found.iter().all(|found| found.0 == state), "{authority} {check}: {found:?}");
        }
        assert_eq!(examined.all("certificate", "").len(), 2);
        // Another certificate lies there since the node was started, and one that has expired.
        if authority.is_empty() {
            let examined = Examined::of(folder.path(), &listens(&node, &http, &dicom).replace("'node.", "'old."));
            assert!(examined.all("certificate", "").contains(&("wrong", "has expired on 2002-01-01")));
            for check in ["dicom", "http"] {
                let (state, detail) = examined.one(check, "127.0.0.1:");
                assert!(state == "wrong" && detail.contains("does not show the certificate"), "{detail}");
            }
        }
        assert!(node.drain().0.success());
    }
    // A key that is not that of the certificate.
    let dicom = format!("[dicom.{}", tls("node", "")).replace("node.key", "client.key");
    let examined = Examined::of(folder.path(), &listening("", &dicom));
    assert_eq!((examined.status, examined.one("certificate", "").0), (1, "wrong"));
}

#[test]
fn a_peer_behind_tls_is_called_as_its_section_says() {
    let Some((_, python)) = peers("a_peer_behind_tls_is_called_as_its_section_says") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    write_certificates(&python, folder.path());
    let others = Others::start(&python, Some(folder.path()));
    let trusting = "[dicom.peer.tls]\nca = 'ca.pem'\n";
    let named = |name: &str| format!("{trusting}name = '{name}'\n");
    let cases = [
        ("TLS", "tls", trusting.to_owned(), "ok"),
        ("NAMED", "tls", named("peer.example.org"), "ok"),
        ("MUTUAL", "mutual", trusting.to_owned(), "ok"),
        ("MISNAMED", "tls", named("pacs.example.org"), "TLS fails: "),
        ("STRANGE", "tls", trusting.replace("ca.pem", "other-ca.pem"), "TLS fails: "),
        ("FILELESS", "tls", trusting.replace("ca.pem", "node.key"), "node.key"),
        ("PLAIN", "good", trusting.to_owned(), "TLS fails: "),
        ("COVERED", "tls", String::new(), ""),
    ];
    let listed = cases.iter().map(|(title, name, tls, _)| peer(title, others.address(name)) + tls);
    let node = configuration("").replace("any_peer = true\n", "") + &listed.collect::<String>();
    let own = "[dicom.tls]\ncertificate = 'node.pem'\nkey = 'node.key'\n";
    let examined = Examined::of(folder.path(), &format!("{node}{own}"));
    for (title, _, _, expected) in &cases {
        let (state, detail) = examined.one("peer", title);
        let right = if *expected == "ok" { state == "ok" } else { state == "wrong" && detail.contains(expected) };
        assert!(right, "{title}: {state}: {detail}");
    }
    assert!(examined.mend("peer", "COVERED").contains("over TLS only"), "{}", examined.mend("peer", "COVERED"));
    // Without a certificate of its own, the node is not let in by who wants one.
    let examined = Examined::of(folder.path(), &node);
    let states = ["TLS", "MUTUAL"].map(|title| examined.one("peer", title).0);
    assert_eq!(states, ["ok", "wrong"]);
}
