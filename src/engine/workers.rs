//! What the worker threads do: they install the lanes, run them, and tell how far each is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use graphs::hemorrhage;
use graphs::stages::Stages;
use kernels::executor::Urgency;
use operators::event::{FrontierMoved, Telemetry};
use operators::plumbing::{self, Burst, Door};
use operators::record::{Rejection, Tick};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Map;
use timely::worker::Worker;

use super::{Input, Output};

/// When the changes arrived that some lane is not done with.
#[derive(Clone, Default)]
pub(super) struct Arrivals(Arc<Mutex<BTreeMap<Tick, Instant>>>);

impl Arrivals {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<Tick, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when the oldest change at `frontier` or later waits.
    fn oldest(&self, frontier: Tick) -> Option<Instant> {
        self.lock().range(frontier..).next().map(|(_, at)| *at)
    }
}

/// Ticks at which series go or come back whole: what is refused of them then was refused before, and stays so.
#[derive(Clone, Default)]
pub(super) struct Mute(Arc<Mutex<BTreeSet<Tick>>>);

impl Mute {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeSet<Tick>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ticks that are behind a lane.
#[derive(Clone, Default)]
pub(super) struct Progress(Arc<(Mutex<Tick>, Condvar)>);

impl Progress {
    pub(super) fn pass(&self, frontier: Tick) {
        let (passed, changed) = &*self.0;
        *passed.lock().unwrap_or_else(PoisonError::into_inner) = frontier;
        changed.notify_all();
    }

    pub(super) fn passed(&self) -> Tick {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `tick` is behind, or half a second.
    pub(super) fn wait_for(&self, tick: Tick) -> bool {
        let (passed, changed) = &*self.0;
        let guard = passed.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, Duration::from_millis(500), |passed| *passed <= tick);
        *waited.unwrap_or_else(PoisonError::into_inner).0 > tick
    }
}

/// What a worker needs to install a lane.
#[derive(Clone)]
pub(super) struct Installed {
    pub(super) urgency: Urgency,
    pub(super) records: Receiver<Burst<Input>>,
    pub(super) door: Door,
    pub(super) progress: Progress,
    pub(super) stages: Stages,
}

/// Where outputs go, and what is known of the ticks that they come from.
pub(super) struct WayOut {
    pub(super) output: Sender<Output>,
    pub(super) arrivals: Arrivals,
    pub(super) mute: Mute,
}

/// Installs the lanes on a worker and runs it until they end.
pub(super) fn run(
    worker: &mut Worker,
    lanes: &[Installed],
    way_out: &WayOut,
    telemetry: &Telemetry,
    left: &AtomicBool,
) {
    let first = worker.index() == 0;
    let probes: Vec<ProbeHandle<Tick>> = lanes.iter().map(|lane| install(worker, lane, way_out)).collect();
    let frontier_of =
        |probe: &ProbeHandle<Tick>| probe.with_frontier(|frontier| frontier.first().copied()).unwrap_or(Tick::MAX);
    let mut compacted = 0;
    while !probes.iter().all(ProbeHandle::done) {
        worker.step_or_park(Some(Duration::from_millis(100)));
        if left.load(Ordering::Acquire) {
            let installed = worker.installed_dataflows();
            return installed.into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
        }
        if !first {
            continue;
        }
        let frontiers: Vec<Tick> = probes.iter().map(frontier_of).collect();
        let behind = frontiers.iter().copied().min().unwrap_or(Tick::MAX);
        if behind > compacted {
            compacted = behind;
            if let Some(lane) = lanes.first() {
                lane.stages.store.compact(behind);
            }
            let (mut waiting, mut mute) = (way_out.arrivals.lock(), way_out.mute.lock());
            *waiting = waiting.split_off(&behind);
            *mute = mute.split_off(&behind);
        }
        for (lane, frontier) in lanes.iter().zip(frontiers) {
            if frontier > lane.progress.passed() {
                lane.progress.pass(frontier);
            }
            let lag = way_out.arrivals.oldest(frontier).map_or(Duration::ZERO, |at| at.elapsed());
            telemetry.emit(FrontierMoved { lane: lane.urgency, lag });
        }
    }
    for lane in lanes {
        lane.progress.pass(Tick::MAX);
    }
}

/// Installs one lane.
fn install(worker: &mut Worker, lane: &Installed, way_out: &WayOut) -> ProbeHandle<Tick> {
    let inputs = (worker.index() == 0).then(|| lane.records.clone());
    let probe = ProbeHandle::new();
    worker.dataflow::<Tick, _, _>(|scope| {
        let inputs = plumbing::source(scope, "Inputs", inputs, &lane.door);
        let changes = inputs.clone().flat_map(Input::change);
        let graph = hemorrhage::install(changes, inputs.flat_map(Input::usage), &lane.stages);
        let WayOut { output, arrivals, mute } = way_out;
        let (published, rejected, arrivals, mute) = (output.clone(), output.clone(), arrivals.clone(), mute.clone());
        // Sending fails only when nobody listens any more.
        let publications = graph.publications.map(move |publication| {
            let arrived = arrivals.lock().get(&publication.tick).copied().unwrap_or_else(Instant::now);
            published.send(Output::Published(publication, arrived)).ok();
        });
        publications.probe_with(&probe);
        // What the background refuses, the lane of the series has refused as well.
        let heard = lane.urgency != Urgency::Background;
        let rejections = graph.rejections.inspect(move |(rejection, tick, diff): &(Rejection, Tick, isize)| {
            if heard && !mute.lock().contains(tick) {
                rejected.send(Output::Rejected(rejection.clone(), *diff)).ok();
            }
        });
        rejections.probe_with(&probe);
    });
    probe
}
