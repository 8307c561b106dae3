//! Metrics: served while the program works, and every one documented.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use hemoflow::operators::train::{Progress, TrainingMetrics};

use crate::support::program;

/// Starts a small demo that stays up, reads where its metrics are, and gives what they say once all results are out.
fn scrape() -> String {
    let out = tempfile::tempdir().expect("a folder");
    let mut command = program(["demo", "--studies", "1", "--hold", "--metrics", "127.0.0.1:0", "--out"]);
    let mut child = command.arg(out.path()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
    let said = BufReader::new(child.stderr.take().expect("standard error"));
    let mut address = None;
    for line in said.lines() {
        let line = line.expect("text");
        if let Some((_, rest)) = line.split_once("http://") {
            address = rest.split('/').next().map(str::to_owned);
        }
        if line.contains("staying up") {
            break;
        }
    }
    let mut stream = TcpStream::connect(address.expect("it says where")).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_is_served() {
    let metrics = scrape();
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let served: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
    let page = include_str!("../docs/telemetry.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `hemoflow_")?.split('`').next());
    let documented: BTreeSet<String> = rows.map(|name| format!("hemoflow_{name}")).collect();
    let unseen = ["hemoflow_instances_rejected_total", "hemoflow_instances_turned_away_total"];
    let documented = documented.iter().map(String::as_str).filter(|name| !name.starts_with("hemoflow_training_"));
    let expected: BTreeSet<&str> = documented.filter(|name| !unseen.contains(name)).collect();
    assert_eq!(served, expected, "a counter without a label value is not served before its first event");
    for stage in ["Decode", "Encode", "Classify"] {
        let name = format!("hemoflow_stage_duration_seconds_count{{stage=\"{stage}\"}}");
        assert!(metrics.contains(&name), "{name} is missing");
    }
    assert!(metrics.contains("hemoflow_results_published_total{status=\"final\"}"));
    assert!(!metrics.contains("2.25."), "a label holds an identifier");
}

#[test]
fn every_metric_of_a_training_is_documented() {
    let registry = prometheus::Registry::new();
    let metrics = TrainingMetrics::register(&registry).expect("new names");
    let progress = Progress { stage: "head", epoch: 2, epochs: 5, loss: 0.5, score: Some(0.75) };
    metrics.tell(&progress);
    let page = include_str!("../docs/telemetry.md");
    let served: Vec<(String, f64)> = registry
        .gather()
        .iter()
        .map(|family| (family.name().to_owned(), family.get_metric()[0].get_gauge().get_value()))
        .collect();
    assert_eq!(served.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [2.0, 5.0, 0.5, 0.75]);
    for (name, _) in &served {
        assert!(name.starts_with("hemoflow_training_") && page.contains(&format!("| `{name}` |")), "{name}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `hemoflow_training_")).count();
    assert_eq!(rows, served.len());
}
