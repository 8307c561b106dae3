//! `hemoflow explain`: what was said of a study, when, from which slices, by which model, and what changed.
//!
//! The log says what entered and what was published. The study is streamed again up to the tick that is asked for, through
//! the same graph, and every version that comes out is compared with the published one by the bytes of its `result.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;
use graphs::catalogue;
use graphs::stages::{Compute, Stages};
use kernels::Device;
use kernels::executor::Fault;
use operators::event::{Metrics, Telemetry};
use operators::record::{Change, Digest, Rejection, Role, SeriesKey, Sign, Slice, Tick};
use operators::report::Report;
use operators::store::{Limits, Store};
use prometheus::Registry;
use serde::Serialize;

use super::Exit;
use super::selected::{self, Selected};
use crate::arguments::Explain;
use crate::book::Book;
use crate::collector::Current;
use crate::config::Config;
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
    /// What is present, but could not be read.
    refused: Vec<Rejection>,
    /// Which series were taken, and why the others were not.
    selection: Vec<Selected>,
}

#[derive(Debug, Serialize)]
struct SeriesExplanation {
    series_uid: String,
    role: Role,
    versions: Vec<Version>,
    /// The slices present at the tick.
    slices: Vec<SliceExplanation>,
    /// The result at the tick, as it was published.
    result: Option<Report>,
}

#[derive(Debug, Serialize)]
struct Version {
    version: u64,
    tick: Tick,
    /// When it was published, by the clock of the machine.
    published_at: String,
    status: &'static str,
    slices: u32,
    probability: f32,
    volume_ml: f64,
    /// SHA-256 of the weights.
    model_sha256: Option<String>,
    /// Names the weights and the numbers of the method.
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
    /// Names what the slice holds.
    sha256: String,
    /// The tick since which it is present.
    since_tick: Option<Tick>,
}

/// Tells the history of a study. Series are said to be taken by the rules of the configuration `config`.
pub(super) fn explain(
    arguments: &Explain,
    config: Option<&Path>,
    device: Device,
    console: &mut Console,
) -> anyhow::Result<Exit> {
    let data = DataFolder::existing(&arguments.data)?;
    let at = arguments.at.unwrap_or(Tick::MAX);
    let entries = data.entries()?;
    let selection = selected::selected(&data, &entries, &arguments.study, at, &Config::load(config)?.selection)?;
    let history: Vec<Entry> =
        entries.into_iter().filter(|entry| entry.tick <= at && concerns(entry, &arguments.study)).collect();
    let changed = history.iter().any(|entry| matches!(entry.event, Event::Changed { .. }));
    if !changed && selection.is_empty() {
        let until = arguments.at.map_or_else(String::new, |at| format!(" up to tick {at}"));
        bail!("{} holds nothing of the study {}{until}", arguments.data.display(), arguments.study);
    }
    let (streamed, refused) = if changed { stream(&data, &history, device)? } else { Default::default() };
    let mut explanation = explanation(&arguments.study, at, &history, &streamed, refused)?;
    explanation.selection = selection;
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
        Event::Forgotten { .. } => false,
    }
}

type Streamed = BTreeMap<(SeriesKey, Role), BTreeMap<u64, Current>>;

/// Streams a history, and gives every version that comes out with the latency that it was published with, and what is
/// refused in the end.
fn stream(data: &DataFolder, history: &[Entry], device: Device) -> anyhow::Result<(Streamed, Vec<Rejection>)> {
    let telemetry = Telemetry::new(Metrics::register(&Registry::new())?);
    let fault = Fault::default();
    let store =
        Store::open(Limits { memory_bytes: usize::MAX }, &data.store()).map(Store::keeping).unwrap_or_else(|error| {
            tracing::info!("computing again what the store would give: {error}");
            Store::unbounded()
        });
    let stages = Stages::start(Compute::on(device), store, telemetry.clone(), fault.clone())?;
    let (mut engine, outputs) = Engine::start(stages, 1, telemetry, fault, 0)?;
    replay(data, Book::default(), history, &mut engine, device)?;
    engine.finish()?;
    let mut published: BTreeMap<(SeriesKey, Role, u64), &Published> = BTreeMap::new();
    for entry in history {
        if let Event::Published(version) = &entry.event {
            published.insert((version.key.clone(), version.role, version.version), version);
        }
    }
    let (mut streamed, mut refused) = (Streamed::new(), BTreeMap::<Rejection, isize>::new());
    for output in outputs {
        match output {
            Output::Published(publication, _) => {
                let named = (publication.key.clone(), publication.role, publication.version);
                let latency = published.get(&named).map(|published| published.latency()).unwrap_or_default();
                let (key, role, version) = named;
                let current = Current { publication, latency };
                streamed.entry((key, role)).or_default().insert(version, current);
            }
            Output::Rejected(rejection, diff) => *refused.entry(rejection).or_default() += diff,
        }
    }
    refused.retain(|_, count| *count > 0);
    Ok((streamed, refused.into_keys().collect()))
}

/// The operators of the graph by name, in its order, without those that only move records.
fn operators() -> anyhow::Result<Vec<String>> {
    const MOVERS: [&str; 6] = ["Dataflow", "FlatMap", "AsCollection", "Concatenate", "Exchange", "Join"];
    let tree = catalogue()?.into_iter().find(|(name, _)| *name == "hemorrhage").map(|(_, tree)| tree);
    let mut operators: Vec<String> = Vec::new();
    for name in tree.iter().flat_map(|tree| tree.lines()).map(str::trim) {
        let moves = MOVERS.contains(&name) || name.starts_with("Arrange");
        if !moves && operators.iter().all(|known| known != name) {
            operators.push(name.to_owned());
        }
    }
    Ok(operators)
}

fn explanation(
    study: &str,
    at: Tick,
    history: &[Entry],
    streamed: &Streamed,
    refused: Vec<Rejection>,
) -> anyhow::Result<Explanation> {
    let last = history.iter().map(|entry| entry.tick).max().unwrap_or_default();
    let models: BTreeMap<Digest, &str> = history
        .iter()
        .filter_map(|entry| match &entry.event {
            Event::Used { method: Some(method), .. } => Some((method.method, method.sha256.as_str())),
            Event::Used { method: None, .. }
            | Event::Changed { .. }
            | Event::Published(_)
            | Event::Forgotten { .. } => None,
        })
        .collect();
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
                published_at: clock(entry.unix_ms),
                status: published.status.word(),
                slices: published.slices,
                probability: published.probability,
                volume_ml: published.volume_ml,
                model_sha256: models.get(&published.method).map(|&sha256| sha256.to_owned()),
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
                since_tick: present_since(history, slice),
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
    Ok(Explanation {
        study_uid: study.to_owned(),
        tick: at.min(last),
        operators: operators()?,
        series,
        refused,
        selection: Vec::new(),
    })
}

/// The tick since which a slice is present: that of the first arrival with it since there was another or none.
fn present_since(history: &[Entry], slice: &Slice) -> Option<Tick> {
    let mut since = None;
    for entry in history {
        let Event::Changed { change, .. } = &entry.event else { continue };
        match change {
            Change::Arrived { instance, slices, .. } if *instance == slice.instance => {
                since = slices.contains(slice).then_some(since.unwrap_or(entry.tick));
            }
            Change::Withdrawn { instance, .. } if *instance == slice.instance => since = None,
            Change::Arrived { .. }
            | Change::Withdrawn { .. }
            | Change::Signed { .. }
            | Change::Released { .. }
            | Change::Returned { .. }
            | Change::Remembered { .. }
            | Change::Forgotten { .. }
            | Change::Refused(_) => {}
        }
    }
    since
}

/// A time of the machine's clock: `2025-01-31T04:05:06.789Z`.
fn clock(unix_ms: i64) -> String {
    let (days, ms) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
    // Days since 0000-03-01, in eras of 400 years: leap days come last in each year.
    let day = days + 719_468;
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = 400 * era + year + i64::from(month <= 2);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", ms % 1000)
}

/// What another content of an instance is.
fn difference(before: &[Slice], after: &[Slice]) -> &'static str {
    let places = |slices: &[Slice]| slices.iter().map(|slice| slice.geometry.clone()).collect::<Vec<_>>();
    if before.len() != after.len() {
        "another number of frames"
    } else if places(before) != places(after) {
        "another place"
    } else {
        "other pixels or attributes"
    }
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
                        | Change::Returned { .. }
                        | Change::Remembered { .. }
                        | Change::Forgotten { .. }
                        | Change::Refused(_) => None,
                    }
                });
                match before.last().flatten() {
                    None => format!("{instance} arrived{}", place(slices)),
                    Some(before) if before == slices => format!("{instance} arrived again, the same"),
                    Some(before) => {
                        format!("{instance} was replaced: {}{}", difference(before, slices), place(slices))
                    }
                }
            }
            Change::Withdrawn { instance, .. } => format!("{instance} was withdrawn"),
            Change::Signed { sign, .. } => format!("complete: {}", sign_words(*sign)),
            Change::Released { .. } => "the series was let go".to_owned(),
            Change::Returned { .. } | Change::Remembered { .. } => "the series came back".to_owned(),
            Change::Forgotten { .. } => "the series was forgotten".to_owned(),
            Change::Refused(rejection) => format!("{} was refused: {}", rejection.input, rejection.reason),
        }),
        Event::Used { role: used, method } if *used == role => Some(match method {
            Some(method) => format!("the model became {}", method.sha256),
            None => "the model was taken away".to_owned(),
        }),
        Event::Changed { .. } | Event::Used { .. } | Event::Published(_) | Event::Forgotten { .. } => None,
    };
    history.iter().filter(|entry| within(entry.tick)).filter_map(line).collect()
}

/// Where an instance lies.
fn place(slices: &[Slice]) -> String {
    match slices {
        [slice] => format!(" at {:.2} mm", slice.geometry.along_mm()),
        slices => format!(" with {} frames", slices.len()),
    }
}

fn sign_words(sign: Sign) -> String {
    match sign {
        Sign::AssociationEnded => "the association ended".to_owned(),
        Sign::Quiet => "nothing came for a while".to_owned(),
        Sign::Requested => "it was requested".to_owned(),
        Sign::Expected { instances } => format!("once {instances} instances are present"),
        Sign::Coverage { um } => format!("once {} mm are covered without a gap", um / 1000),
    }
}

/// A name that is too long for a table by the part that tells it apart, which can be searched for.
fn short(name: &str) -> String {
    const WIDTH: usize = 20;
    let hex = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    match name.len().checked_sub(WIDTH) {
        Some(1..) if hex => name.get(..16).unwrap_or(name).to_owned(),
        Some(cut @ 1..) => name.get(cut..).map_or_else(|| name.to_owned(), |end| format!("…{end}")),
        _ => name.to_owned(),
    }
}

fn shortened(text: &str) -> String {
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

fn tell(explanation: &Explanation, console: &mut Console) -> anyhow::Result<()> {
    console.line(format!("study {} at tick {}", explanation.study_uid, explanation.tick))?;
    for series in &explanation.series {
        tell_series(series, console)?;
    }
    if !explanation.refused.is_empty() {
        console.line("\nrefused, so in no result:")?;
    }
    for Rejection { input, reason, detail } in &explanation.refused {
        console.line(format!("  {input}: {reason}: {detail}"))?;
    }
    selected::tell(&explanation.selection, console)?;
    console.line(format!("\noperators: {}", explanation.operators.join(", ")))?;
    console.json(explanation)?;
    Ok(())
}

fn tell_series(series: &SeriesExplanation, console: &mut Console) -> anyhow::Result<()> {
    console.line(format!("\nseries {}, {} model", series.series_uid, series.role.word()))?;
    if let Some(result) = &series.result {
        let model = &result.model;
        console.line(format!("model {} {}, sha256 {}", model.name, model.version, model.sha256))?;
        let completeness = &result.completeness;
        let gaps: Vec<String> = completeness
            .gaps
            .iter()
            .map(|gap| format!("{:.2} mm after {:.2} mm", gap.width_mm, gap.after_mm))
            .collect();
        let expected = completeness.expected.map_or_else(String::new, |expected| format!(" of {expected}"));
        console.line(format!(
            "{}: probability {:.3}, {:.2} mL, priority {}; {}{expected} slices cover {:.1} mm, {}",
            result.status.word(),
            result.probability,
            result.volume_ml.segmentation,
            result.priority.word(),
            completeness.slices,
            completeness.coverage_mm,
            if gaps.is_empty() { "no gap".to_owned() } else { format!("gaps: {}", gaps.join(", ")) },
        ))?;
    }
    console.line(
        "\nversion    tick  published (UTC)           status       slices  probability       mL  model             \
         result.json       reproduced",
    )?;
    for version in &series.versions {
        let Version { status, slices, probability, volume_ml, published_at, .. } = version;
        console.line(format!(
            "{:>7}  {:>6}  {published_at}  {status:<11}  {slices:>6}  {probability:>11.3}  {volume_ml:>7.2}  {:<16}  {}  {}",
            version.version,
            version.tick,
            version.model_sha256.as_deref().map_or_else(|| "-".to_owned(), short),
            short(&version.result_sha256),
            if version.reproduced { "yes" } else { "NO" },
        ))?;
        for change in &version.changes {
            console.line(format!("{:15}  {}", "", shortened(change)))?;
        }
    }
    if !series.slices.is_empty() {
        console.line("\nposition mm  since tick  sha256            slice")?;
    }
    for slice in &series.slices {
        let since = slice.since_tick.map_or_else(|| "-".to_owned(), |tick| tick.to_string());
        let (position, sha256) = (slice.position_mm, short(&slice.sha256));
        console.line(format!("{position:>11.2}  {since:>10}  {sha256}  {} frame {}", slice.sop_uid, slice.frame))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_shows_leap_days_and_the_past() {
        assert_eq!(clock(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(clock(951_827_696_789), "2000-02-29T12:34:56.789Z");
        assert_eq!(clock(1_735_689_599_999), "2024-12-31T23:59:59.999Z");
        assert_eq!(clock(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(clock(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn names_are_shortened_to_what_tells_them_apart() {
        assert_eq!(shortened("1.2.3 arrived"), "1.2.3 arrived");
        assert_eq!(shortened("2.25.74059469366482927813439521664348320940 arrived"), "…13439521664348320940 arrived");
        let sha256 = "446d9d2bbcd0b19130822ac926011b5581c7fe292a140c5ea36b1d361c37509d";
        assert_eq!(short(sha256), "446d9d2bbcd0b191");
    }
}
