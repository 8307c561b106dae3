//! The way out of the graph: the newest result of each series, and the refused inputs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam_channel::Receiver;
use operators::event::{InstanceRejected, ResultPublished, Telemetry};
use operators::publish::Publication;
use operators::record::{Rejection, SeriesKey, Tick};
use operators::report::Latency;

use crate::engine::Output;

/// When changes arrived: by tick until a result tells of it, and the first of each series.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    at_tick: BTreeMap<Tick, Instant>,
    first: HashMap<SeriesKey, Instant>,
}

impl Arrivals {
    /// Notes that a change arrives now; `key` is its series, if it has one.
    pub fn note(&self, tick: Tick, key: Option<&SeriesKey>) {
        let now = Instant::now();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.at_tick.insert(tick, now);
        if let Some(key) = key {
            seen.first.entry(key.clone()).or_insert(now);
        }
    }

    /// From the arrival of the series, and of the change at `tick`, until now, seconds.
    fn latency(&self, tick: Tick, key: &SeriesKey) -> Latency {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |instant: Option<&Instant>| instant.map_or(0.0, |instant| instant.elapsed().as_secs_f64());
        Latency { first: since(seen.first.get(key)), last: since(seen.at_tick.get(&tick)) }
    }
}

/// The newest result of a series.
#[derive(Clone, Debug)]
pub struct Current {
    /// The result.
    pub publication: Publication,
    /// How long it, and the first one, took.
    pub latency: Latency,
}

/// What came out of a graph.
#[derive(Debug, Default)]
pub struct Collected {
    /// The newest result of each series.
    pub series: BTreeMap<SeriesKey, Current>,
    /// The refused inputs that were not taken back.
    pub rejections: BTreeMap<Rejection, isize>,
}

impl Collected {
    fn take(&mut self, output: Output, arrivals: &Arrivals, telemetry: &Telemetry) -> Option<&Current> {
        match output {
            Output::Published(publication) => {
                let mut latency = arrivals.latency(publication.tick, &publication.key);
                if let Some(before) = self.series.get(&publication.key) {
                    latency.first = before.latency.first;
                }
                telemetry.emit(ResultPublished { status: publication.status, seconds: latency.last });
                let key = publication.key.clone();
                self.series.insert(key.clone(), Current { publication, latency });
                self.series.get(&key)
            }
            Output::Rejected(rejection, diff) => {
                if diff > 0 {
                    telemetry.emit(InstanceRejected { reason: rejection.reason });
                }
                *self.rejections.entry(rejection).or_default() += diff;
                self.rejections.retain(|_, count| *count > 0);
                None
            }
        }
    }
}

/// Collects outputs until the graph ends. `watch` sees each new result.
pub fn collect(
    outputs: &Receiver<Output>,
    arrivals: &Arrivals,
    telemetry: &Telemetry,
    mut watch: impl FnMut(&Current),
) -> Collected {
    let mut collected = Collected::default();
    for output in outputs {
        if let Some(current) = collected.take(output, arrivals, telemetry) {
            watch(current);
        }
    }
    collected
}
