//! `hemoflow explain`: what was said of a study, when, from which slices, by which model, and what changed.
//!
//! The log says what entered and what was published. The study is streamed again up to the tick that is asked for, through
//! the same graph, and every version that comes out is compared with the published one by the bytes of its `result.json`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use graphs::catalogue;
use graphs::stages::{Compute, Stages};
use kernels::Device;
use kernels::executor::Fault;
use operators::event::{Metrics, Telemetry};
use operators::publish::Publication;
use operators::record::{Change, Role, SeriesKey, Tick};
use operators::report::Report;
use operators::store::{Limits, Store};
use prometheus::Registry;
use serde::Serialize;

use super::Exit;
use crate::arguments::Explain;
use crate::collector::Current;
use crate::console::Console;
use crate::data::{DataFolder, Entry, Event, Published, published_as};
use crate::engine::{Engine, Output};
use crate::node::replay;
use crate::result_tree::ResultTree;

/// What is known of a study.
#[derive(Debug, Serialize)]
struct Explanation {
    study_uid: String,
    /// The tick that was asked for, or the last one that touched the study.
    tick: Tick,
    /// The operators that made the results, as the graph names them.
    operators: Vec<String>,
    series: Vec<SeriesExplanation>,
}

#[derive(Debug, Serialize)]
struct SeriesExplanation {
    series_uid: String,
    role: Role,
    versions: Vec<Version>,
    slices: Vec<SliceExplanation>,
    /// The result at the tick, as it was published.
    result: Option<Report>,
}

#[derive(Debug, Serialize)]
struct Version {
    version: u64,
    tick: Tick,
    status: &'static str,
    slices: u32,
    probability: f32,
    volume_ml: f64,
    method: String,
    result_sha256: String,
    /// Whether the same bytes came out again.
    reproduced: bool,
    changes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SliceExplanation {
    sop_uid: String,
    frame: u32,
    position_mm: f64,
    sha256: String,
    arrived_at: Option<Tick>,
}

/// Tells the history of a study.
pub(super) fn explain(arguments: &Explain, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let data = DataFolder::existing(&arguments.data)?;
    let at = arguments.at.unwrap_or(Tick::MAX);
    let history: Vec<Entry> =
        data.entries()?.into_iter().filter(|entry| entry.tick <= at && concerns(entry, &arguments.study)).collect();
    if !history.iter().any(|entry| matches!(entry.event, Event::Changed { .. })) {
        let until = arguments.at.map_or_else(String::new, |at| format!(" up to tick {at}"));
        bail!("{} holds nothing of the study {}{until}", arguments.data.display(), arguments.study);
    }
    let streamed = stream(&data, &history, device)?;
    let explanation = explanation(&arguments.study, at, &history, &streamed)?;
    tell(&explanation, console)?;
    if let Some(out) = &arguments.out {
        let tree = ResultTree::create(out, false)?;
        let mut reports = Vec::new();
        for current in streamed.into_values().filter_map(|mut versions| Some(versions.pop_last()?.1)) {
            if current.publication.role == Role::Active {
                let report = current.report();
                tree.write(&report, &current.publication)?;
                reports.push(report);
            }
        }
        tree.finish(&reports, &[])?;
    }
    let all = explanation.series.iter().flat_map(|series| &series.versions).all(|version| version.reproduced);
    Ok(if all { Exit::Done } else { Exit::Failed })
}

/// Whether an entry is about the study, or about all.
fn concerns(entry: &Entry, study: &str) -> bool {
    match &entry.event {
        Event::Changed { change, .. } => change.key().is_some_and(|key| key.study.as_str() == study),
        Event::Published(published) => published.key.study.as_str() == study,
        Event::Used { .. } => true,
    }
}

type Streamed = BTreeMap<(SeriesKey, Role), BTreeMap<u64, Current>>;

/// Streams a history, and gives every version that comes out with the latency that it was published with.
fn stream(data: &DataFolder, history: &[Entry], device: Device) -> anyhow::Result<Streamed> {
    let telemetry = Telemetry::new(Metrics::register(&Registry::new())?);
    let fault = Fault::default();
    let store = Store::open(Limits { memory_bytes: usize::MAX }, &data.store()).unwrap_or_else(|error| {
        tracing::info!("computing again what the store would give: {error}");
        Store::unbounded()
    });
    let stages = Stages::start(Compute::on(device), store, telemetry.clone(), fault.clone())?;
    let (mut engine, outputs) = Engine::start(stages, 1, telemetry, fault, 0)?;
    replay(data, history, &mut engine, device)?;
    engine.finish()?;
    let mut published: BTreeMap<(SeriesKey, Role, u64), &Published> = BTreeMap::new();
    for entry in history {
        if let Event::Published(version) = &entry.event {
            published.insert((version.key.clone(), version.role, version.version), version);
        }
    }
    let mut streamed = Streamed::new();
    for output in outputs {
        if let Output::Published(publication, _) = output {
            let Publication { key, role, version, .. } = &publication;
            let (key, role, version) = (key.clone(), *role, *version);
            let latency = published.get(&(key.clone(), role, version)).map(|published| published.latency());
            let current = Current { publication, latency: latency.unwrap_or_default() };
            streamed.entry((key, role)).or_default().insert(version, current);
        }
    }
    Ok(streamed)
}

fn explanation(study: &str, at: Tick, history: &[Entry], streamed: &Streamed) -> anyhow::Result<Explanation> {
    let last = history.iter().map(|entry| entry.tick).max().unwrap_or_default();
    let operators = catalogue()?.into_iter().find(|(name, _)| *name == "hemorrhage").map(|(_, tree)| tree);
    let operators = operators.iter().flat_map(|tree| tree.lines()).map(|line| line.trim().to_owned());
    let mut series = Vec::new();
    for ((key, role), versions) in streamed {
        let mut told = Vec::new();
        let mut since = None;
        for entry in history {
            let Event::Published(published) = &entry.event else { continue };
            if published.key != *key || published.role != *role {
                continue;
            }
            let again = versions.get(&published.version).map(published_as).transpose()?;
            told.push(Version {
                version: published.version,
                tick: entry.tick,
                status: published.status.word(),
                slices: published.slices,
                probability: published.probability,
                volume_ml: published.volume_ml,
                method: published.method.to_string(),
                result_sha256: published.result.to_string(),
                reproduced: again == Some(published.result),
                changes: changes(history, key, *role, since, entry.tick),
            });
            since = Some(entry.tick);
        }
        let newest = versions.last_key_value().map(|(_, current)| current);
        let slices = newest.iter().flat_map(|current| &current.publication.slices).map(|published| {
            let slice = &published.slice;
            SliceExplanation {
                sop_uid: slice.instance.to_string(),
                frame: slice.frame,
                position_mm: slice.geometry.along_mm(),
                sha256: slice.digest.to_string(),
                arrived_at: history.iter().rev().find(|entry| brings(entry, slice)).map(|entry| entry.tick),
            }
        });
        series.push(SeriesExplanation {
            series_uid: key.series.to_string(),
            role: *role,
            slices: slices.collect(),
            versions: told,
            result: newest.map(Current::report),
        });
    }
    Ok(Explanation { study_uid: study.to_owned(), tick: at.min(last), operators: operators.collect(), series })
}

fn brings(entry: &Entry, slice: &operators::record::Slice) -> bool {
    matches!(&entry.event, Event::Changed { change, .. } if change.slices().contains(slice))
}

/// What happened to a series after `since` up to `until`, a line each.
fn changes(history: &[Entry], key: &SeriesKey, role: Role, since: Option<Tick>, until: Tick) -> Vec<String> {
    let within = |tick: Tick| since.is_none_or(|since| tick > since) && tick <= until;
    let line = |entry: &Entry| match &entry.event {
        Event::Changed { change, .. } if change.key() == Some(key) => Some(match change {
            Change::Arrived { instance, slices, .. } => {
                let before = history.iter().take_while(|before| before.tick < entry.tick).filter_map(|before| {
                    let Event::Changed { change, .. } = &before.event else { return None };
                    match change {
                        Change::Arrived { instance: other, slices, .. } if other == instance => Some(Some(slices)),
                        Change::Withdrawn { instance: other, .. } if other == instance => Some(None),
                        Change::Arrived { .. }
                        | Change::Withdrawn { .. }
                        | Change::Signed { .. }
                        | Change::Released { .. }
                        | Change::Refused(_) => None,
                    }
                });
                match before.last().flatten() {
                    None => format!("{instance} arrived"),
                    Some(before) if before == slices => format!("{instance} arrived again, the same"),
                    Some(_) => format!("{instance} was replaced"),
                }
            }
            Change::Withdrawn { instance, .. } => format!("{instance} was withdrawn"),
            Change::Signed { sign, .. } => format!("complete: {}", sign_words(*sign)),
            Change::Released { .. } => "the series was let go".to_owned(),
            Change::Refused(rejection) => format!("{} was refused: {}", rejection.input, rejection.reason),
        }),
        Event::Used { role: used, method } if *used == role => Some(match method {
            Some(method) => format!("the model became {}", method.sha256),
            None => "the model was taken away".to_owned(),
        }),
        Event::Changed { .. } | Event::Used { .. } | Event::Published(_) => None,
    };
    history.iter().filter(|entry| within(entry.tick)).filter_map(line).collect()
}

fn sign_words(sign: operators::record::Sign) -> String {
    use operators::record::Sign;
    match sign {
        Sign::AssociationEnded => "the association ended".to_owned(),
        Sign::Quiet => "nothing came for a while".to_owned(),
        Sign::Requested => "it was requested".to_owned(),
        Sign::Expected { instances } => format!("once {instances} instances are present"),
        Sign::Coverage { um } => format!("once {} mm are covered without a gap", um / 1000),
    }
}

fn tell(explanation: &Explanation, console: &mut Console) -> anyhow::Result<()> {
    console.line(format!("study {} at tick {}", explanation.study_uid, explanation.tick))?;
    for series in &explanation.series {
        console.line(format!("\nseries {}, {} model", series.series_uid, series.role.word()))?;
        if let Some(result) = &series.result {
            let model = &result.model;
            console.line(format!("model {} {}, sha256 {}", model.name, model.version, model.sha256))?;
        }
        console.line(
            "\nversion    tick  status       slices  probability       mL  result.json       reproduced  because",
        )?;
        for version in &series.versions {
            let Version { status, slices, probability, volume_ml, .. } = version;
            console.line(format!(
                "{:>7}  {:>6}  {status:<11}  {slices:>6}  {probability:>11.3}  {volume_ml:>7.2}  {}  {:<10}  {}",
                version.version,
                version.tick,
                version.result_sha256.get(..16).context("a digest")?,
                if version.reproduced { "yes" } else { "NO" },
                version.changes.join("; "),
            ))?;
        }
        console.line("\nposition mm  since tick  sha256            slice")?;
        for slice in &series.slices {
            let since = slice.arrived_at.map_or_else(|| "-".to_owned(), |tick| tick.to_string());
            let (position, sha256) = (slice.position_mm, slice.sha256.get(..16).context("a digest")?);
            console
                .line(format!("{position:>11.2}  {since:>10}  {sha256}  {} frame {}", slice.sop_uid, slice.frame))?;
        }
    }
    console.line(format!("\noperators: {}", explanation.operators.join(" ")))?;
    console.json(explanation)?;
    Ok(())
}
