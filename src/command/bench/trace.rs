//! What was timed, as Chrome trace events: a file that Perfetto and `chrome://tracing` open.
//!
//! One complete event (`"ph": "X"`) for each timed launch, on the track of what it ran on, inside one event for its case.
//! Source: Trace Event Format, "JSON Object Format" and "Complete Events".

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Value, json};

/// What has been timed so far.
#[derive(Debug)]
pub(super) struct Trace {
    start: Instant,
    events: Vec<Event>,
}

/// A line of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Track {
    /// What is measured.
    Measured = 1,
    /// The copies of as many bytes.
    Copy = 2,
    /// What it is compared with: plain Rust, or burn.
    Compared = 3,
}

const TRACKS: [(Track, &str); 3] =
    [(Track::Measured, "measured"), (Track::Copy, "copy of as many bytes"), (Track::Compared, "compared with")];

#[derive(Debug, Serialize)]
struct Event {
    name: String,
    cat: &'static str,
    ph: &'static str,
    /// Microseconds from the start.
    ts: f64,
    /// Microseconds.
    dur: f64,
    pid: u32,
    tid: u32,
    args: Value,
}

impl Trace {
    /// A trace that starts now.
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), events: Vec::new() }
    }

    /// Adds what began at `start` and took so long.
    #[allow(clippy::as_conversions, reason = "the number of a track")]
    pub(super) fn add(
        &mut self,
        track: Track,
        kind: &'static str,
        name: &str,
        (start, took): (Instant, Duration),
        args: Value,
    ) {
        let since = start.saturating_duration_since(self.start);
        self.events.push(Event {
            name: name.to_owned(),
            cat: kind,
            ph: "X",
            ts: since.as_secs_f64() * 1e6,
            dur: took.as_secs_f64() * 1e6,
            pid: 1,
            tid: track as u32,
            args,
        });
    }

    /// The events in the order of their starts, what holds others before them; first the names of the tracks.
    fn document(mut self, setting: &impl Serialize) -> anyhow::Result<Value> {
        self.events.sort_by(|a, b| a.ts.total_cmp(&b.ts).then(b.dur.total_cmp(&a.dur)));
        let name = |what: &str, tid: u32, name: &str| json!({ "name": what, "ph": "M", "pid": 1, "tid": tid, "args": { "name": name } });
        let mut events = vec![name("process_name", 0, "hemoflow bench")];
        #[allow(clippy::as_conversions, reason = "the number of a track")]
        events.extend(TRACKS.map(|(track, text)| name("thread_name", track as u32, text)));
        for event in &self.events {
            events.push(serde_json::to_value(event)?);
        }
        Ok(json!({ "displayTimeUnit": "ns", "otherData": serde_json::to_value(setting)?, "traceEvents": events }))
    }

    /// Writes the file.
    pub(super) fn write(self, path: &Path, setting: &impl Serialize) -> anyhow::Result<()> {
        let document = self.document(setting)?;
        fs::write(path, document.to_string()).with_context(|| format!("{} cannot be written", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_in_order_and_what_holds_others_comes_first() {
        let mut trace = Trace::new();
        let at = |milliseconds| trace.start + Duration::from_millis(milliseconds);
        let took = Duration::from_millis;
        let (case, launches) = ((at(1), took(9)), [(at(1), took(2)), (at(6), took(3))]);
        trace.add(Track::Measured, "launch", "second", launches[1], json!({}));
        trace.add(Track::Measured, "launch", "first", launches[0], json!({ "bytes": 8 }));
        trace.add(Track::Measured, "case", "case", case, json!({}));
        let document = trace.document(&"here").expect("a document");
        let events = document["traceEvents"].as_array().expect("events");
        let names: Vec<&str> = events.iter().filter(|e| e["ph"] == "X").filter_map(|e| e["name"].as_str()).collect();
        assert_eq!(names, ["case", "first", "second"]);
        assert_eq!((&events[0]["ph"], events.len()), (&json!("M"), 1 + TRACKS.len() + 3));
        assert_eq!(events[5]["args"]["bytes"], 8);
    }
}
