//! What `hemoflow bench kernels` and `bench models` say is whole and agrees with itself. No time is judged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{assert_exit, complaints, hemoflow, json as read};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

#[track_caller]
fn assert_near(actual: f64, expected: f64) {
    assert!((actual - expected).abs() <= 1e-9 * expected.abs().max(1e-9), "{actual} is not {expected}");
}

/// Measurements in their order, at least one of them.
#[track_caller]
fn assert_spread(spread: &Value) {
    let [p10, median, p90, p99] = ["p10", "median", "p90", "p99"].map(|name| number(&spread[name]));
    assert!(p10 > 0.0 && p10 <= median && median <= p90 && p90 <= p99 && number(&spread["count"]) >= 1.0, "{spread}");
}

fn run(arguments: &[&str]) -> (Value, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, trace) = (folder.path().display().to_string(), folder.path().join("trace.json").display().to_string());
    let output = hemoflow([arguments, &["--quick", "--json", "--out", &out, "--trace", &trace]].concat());
    assert_exit(&output, 0);
    (serde_json::from_slice(&output.stdout).expect("JSON"), folder)
}

/// Complete events in the order of their starts, on each track one inside or after the other: how many launches.
fn launches_of(trace: &Path) -> usize {
    let document = read(trace);
    let events: Vec<&Value> = list(&document["traceEvents"]).iter().filter(|event| event["ph"] == "X").collect();
    let mut open: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    let mut last = 0.0;
    for event in &events {
        let [start, took] = [&event["ts"], &event["dur"]].map(number);
        assert!(start >= last && took > 0.0, "{event}");
        last = start;
        let ends = open.entry(event["tid"].as_u64().expect("a track")).or_default();
        // A nanosecond is the finest that the clock tells.
        ends.retain(|end| *end > start + 1e-3);
        assert!(ends.iter().all(|end| start + took <= end + 1e-3), "{event} ends after what holds it");
        ends.push(start + took);
    }
    events.iter().filter(|event| event["cat"] == "launch").count()
}

#[test]
fn figures_of_kernels_agree_with_each_other() {
    let (figures, folder) = run(&["bench", "kernels", "--sizes", "64", "--seconds", "60"]);
    assert_eq!(read(&folder.path().join("kernels.json")), figures);
    assert!(list(&figures["skipped"]).is_empty(), "{}", figures["skipped"]);
    let rows = list(&figures["kernels"]);
    let mut seen: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for row in rows {
        let [ours, copy] = [&row["milliseconds"], &row["copy"]["milliseconds"]];
        assert_spread(ours);
        assert_spread(copy);
        let [median, bytes] = [&ours["median"], &row["bytes"]].map(number);
        assert_near(number(&row["gigabytes_per_second"]), bytes / median / 1e6);
        assert_near(number(&row["share_of_copy"]), number(&copy["median"]) / median);
        if let Some(reference) = row.get("reference") {
            assert_near(number(&reference["ratio"]), number(&reference["milliseconds"]) / median);
        }
        seen.entry(row["kernel"].as_str().expect("a name")).or_default().push(row["batch"].as_u64().expect("a batch"));
    }
    assert!(["window/to-256", "cam/normalized", "fuse", "pack"].iter().all(|name| seen.contains_key(name)), "{seen:?}");
    assert!(seen.values().all(|batches| *batches == [1, 8]), "{seen:?}");
    // Bytes grow with the batch, and the trace holds each sample of each kernel and copy.
    let grows = |pair: &[Value]| {
        pair[0]["kernel"] != pair[1]["kernel"] || number(&pair[0]["bytes"]) < number(&pair[1]["bytes"])
    };
    assert!(rows.windows(2).all(grows));
    let samples = |row: &Value| number(&row["milliseconds"]["count"]) + number(&row["copy"]["milliseconds"]["count"]);
    assert_near(launches_of(&folder.path().join("trace.json")) as f64, rows.iter().map(samples).sum());
}

#[test]
fn what_does_not_fit_is_left_out_by_name_and_no_kernel_is_refused() {
    let (figures, _folder) = run(&["bench", "kernels", "--only", "distance", "--sizes", "64", "--memory", "100K"]);
    assert_eq!(list(&figures["kernels"]).len(), 1);
    let skipped = &list(&figures["skipped"])[0];
    assert_eq!(skipped["batch"], 8);
    assert!(skipped["reason"].as_str().expect("words").contains("--memory"), "{skipped}");
    let output = hemoflow(["bench", "kernels", "--only", "winter"]);
    assert_exit(&output, 1);
    assert!(complaints(&output).contains("winter") && complaints(&output).contains("window/to-256"));
    assert_exit(&hemoflow(["bench", "kernels", "--sizes", "33"]), 1);
    assert_exit(&hemoflow(["bench", "kernels", "--batches", "0"]), 2);
}

#[test]
fn figures_of_networks_agree_with_each_other() {
    let (figures, folder) = run(&["bench", "models", "--seconds", "60"]);
    assert_eq!(read(&folder.path().join("models.json")), figures);
    let rows = list(&figures["networks"]);
    for row in rows {
        assert_spread(&row["milliseconds"]);
        let [batch, median] = [&row["batch"], &row["milliseconds"]["median"]].map(number);
        assert_near(number(&row["slices_per_second"]), batch / median * 1e3);
        // Only the whole stage has kernels of its own; burn is there to compare where another engine runs.
        assert_eq!(row.get("kernels").is_some(), row["network"] == "encode", "{row}");
        assert_eq!(row.get("burn").is_some(), row["network"] != "head", "{row}");
        if let Some(kernels) = row.get("kernels") {
            assert_spread(&kernels["milliseconds"]);
            assert_near(number(&kernels["share_of_time"]), number(&kernels["milliseconds"]["median"]) / median);
        }
        if let Some(burn) = row.get("burn") {
            assert_spread(&burn["milliseconds"]);
            assert_near(number(&burn["ratio"]), number(&burn["milliseconds"]["median"]) / median);
        }
    }
    let names: Vec<&str> = rows.iter().filter_map(|row| row["network"].as_str()).collect();
    assert_eq!(names, ["encode", "encoder", "head", "segmenter"].repeat(2));
    assert!(launches_of(&folder.path().join("trace.json")) >= rows.len());
    assert_exit(&hemoflow(["bench", "models", "--quick", "--arch", "resnet19"]), 1);
}

fn python(script: &str, arguments: &[&str]) -> Option<std::process::Output> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers").join(script);
    Command::new("python3").arg("-B").arg(script).args(arguments).output().ok()
}

#[test]
fn the_table_of_peers_holds_ratios() {
    let (ours, folder) = run(&["bench", "kernels", "--only", "distance", "--sizes", "64"]);
    // A peer that takes three times as long beside a copy that takes twice as long.
    let slower = |row: &Value| {
        let mut row = row.clone();
        row["peer"] = json!("tortoise");
        row["threads"] = json!(1);
        row["milliseconds"]["median"] = json!(number(&row["milliseconds"]["median"]) * 3.0);
        row["copy"]["milliseconds"]["median"] = json!(number(&row["copy"]["milliseconds"]["median"]) * 2.0);
        row
    };
    let peers = json!({ "peers": list(&ours["kernels"]).iter().map(slower).collect::<Vec<_>>() });
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("peers.json"), peers.to_string()).expect("written");
    let Some(output) = python("table.py", &[&path("kernels.json"), &path("peers.json")]) else {
        eprintln!("skipped: the_table_of_peers_holds_ratios: no python3");
        return;
    };
    assert_exit(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 + 2, "{text}");
    assert!(lines[0].contains("tortoise, 1 thread"), "{text}");
    assert!(lines[2].starts_with("| distance | 64 | 1 |") && lines[2].contains("| 3.00 ("), "{text}");
    let by_copy = python("table.py", &[&path("kernels.json"), &path("peers.json"), "--by", "copy"]).expect("python3");
    assert!(String::from_utf8_lossy(&by_copy.stdout).contains("| 1.50 ("));
    let by_cpu = python("table.py", &[&path("kernels.json"), &path("peers.json"), "--by", "cpu"]).expect("python3");
    assert!(String::from_utf8_lossy(&by_cpu.stdout).contains("| 1.00 ("));
    fs::write(path("text.json"), "no JSON").expect("written");
    let refused = python("table.py", &[&path("text.json")]).expect("python3");
    assert_exit(&refused, 1);
    assert!(complaints(&refused).contains("text.json"));
}

#[test]
fn a_peer_agrees_with_its_definition_and_meets_our_rows() {
    let arguments = ["--sizes", "64", "--batches", "1,8", "--peers", "numpy", "--threads", "1"];
    let rest = ["--seconds", "20", "--only", "window,cam,fuse,histogram,overlap,pack"];
    let output = python("cpu.py", &[&arguments[..], &rest].concat());
    let Some(output) = output.filter(|output| !complaints(output).contains("numpy is missing")) else {
        eprintln!("skipped: a_peer_agrees_with_its_definition_and_meets_our_rows: no python3 with numpy");
        return;
    };
    assert_exit(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(list(&report["skipped"]).is_empty(), "{}", report["skipped"]);
    let (ours, _folder) = run(&["bench", "kernels", "--sizes", "64", "--seconds", "60"]);
    let case = |row: &Value| (row["kernel"].to_string(), row["size"].as_u64(), row["batch"].as_u64());
    let ours: BTreeMap<_, u64> =
        list(&ours["kernels"]).iter().map(|row| (case(row), row["bytes"].as_u64().expect("bytes"))).collect();
    for row in list(&report["peers"]) {
        assert_spread(&row["milliseconds"]);
        // The same problem moves the same bytes.
        if let Some(bytes) = ours.get(&case(row)) {
            assert_eq!(row["bytes"].as_u64(), Some(*bytes), "{row}");
        }
    }
    assert!(list(&report["peers"]).iter().filter(|row| ours.contains_key(&case(row))).count() >= 12);
}

#[test]
fn what_is_acknowledged_under_load_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().display().to_string();
    let arguments = ["bench", "ingest", "--only", "long,crowd,commits", "--instances", "24", "--associations", "5"];
    let output = hemoflow([&arguments[..], &["--json", "--out", &out, "--folder", &out]].concat());
    assert_exit(&output, 0);
    let figures: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(figures, read(&folder.path().join("ingest.json")));
    assert!(figures["pairs"].is_null() && number(&figures["commits"]["ratio"]) > 0.0, "{figures}");
    let own = list(&figures["crowd"]["rows"]).iter().filter(|row| !row["kept"].is_null());
    let own: Vec<[Option<u64>; 2]> = own.map(|row| [row["acknowledged"].as_u64(), row["kept"].as_u64()]).collect();
    assert_eq!(own, [[Some(24); 2]; 2]);
    assert!(list(&figures["long"]["rows"]).iter().all(|row| number(&row["last_tenth_to_first"]) > 0.0), "{figures}");
}
