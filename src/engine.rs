//! The graph in motion: worker threads, a way in for changes and a way out for results.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use crossbeam_channel::{Receiver, Sender};
use graphs::hemorrhage::hemorrhage;
use graphs::stages::Stages;
use kernels::executor::Fault;
use operators::dicom::Instance;
use operators::plumbing::{self, Waker};
use operators::publish::Publication;
use operators::record::{Change, Rejection, Tick};
use timely::dataflow::ProbeHandle;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Map;

/// Changes under way at most; more wait at the door.
const UNDER_WAY: Tick = 96;

/// What comes out of the graph.
#[derive(Clone, Debug)]
pub enum Output {
    /// A result of a series.
    Published(Publication),
    /// A refused input, or with -1 one that is taken back.
    Rejected(Rejection, isize),
}

/// The ticks that are behind the graph.
#[derive(Clone, Default)]
struct Progress(Arc<(Mutex<Tick>, Condvar)>);

impl Progress {
    fn pass(&self, frontier: Tick) {
        let (passed, changed) = &*self.0;
        *passed.lock().unwrap_or_else(PoisonError::into_inner) = frontier;
        changed.notify_all();
    }

    /// Waits until `tick` is behind, or half a second.
    fn wait_for(&self, tick: Tick) -> bool {
        let (passed, changed) = &*self.0;
        let guard = passed.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(guard, Duration::from_millis(500), |passed| *passed <= tick);
        *waited.unwrap_or_else(PoisonError::into_inner).0 > tick
    }
}

/// A running graph.
pub struct Engine {
    changes: Sender<(Tick, Change)>,
    waker: Waker,
    progress: Progress,
    stages: Stages,
    fault: Fault,
    next: Tick,
    workers: JoinHandle<anyhow::Result<()>>,
}

impl Engine {
    /// Starts `workers` threads; outputs come over the channel that is returned with the engine.
    ///
    /// # Errors
    ///
    /// Returns an error if the threads cannot be started.
    pub fn start(stages: Stages, workers: usize, fault: Fault) -> anyhow::Result<(Self, Receiver<Output>)> {
        let (changes, inputs) = crossbeam_channel::bounded(256);
        let (output, outputs) = crossbeam_channel::unbounded();
        let (waker, progress) = (Waker::default(), Progress::default());
        let install = {
            let (stages, waker, progress) = (stages.clone(), waker.clone(), progress.clone());
            move |worker: &mut timely::worker::Worker| {
                let first = worker.index() == 0;
                let inputs = first.then(|| inputs.clone());
                let probe = ProbeHandle::new();
                worker.dataflow::<Tick, _, _>(|scope| {
                    let changes = plumbing::source(scope, "Changes", inputs, &waker);
                    let graph = hemorrhage(changes, &stages);
                    let (published, rejected) = (output.clone(), output.clone());
                    // Sending fails only when nobody listens any more.
                    let publications = graph.publications.map(move |publication| {
                        published.send(Output::Published(publication)).ok();
                    });
                    publications.probe_with(&probe);
                    let rejections =
                        graph.rejections.inspect(move |(rejection, _, diff): &(Rejection, Tick, isize)| {
                            rejected.send(Output::Rejected(rejection.clone(), *diff)).ok();
                        });
                    rejections.probe_with(&probe);
                });
                let mut passed = 0;
                while !probe.done() {
                    worker.step_or_park(Some(Duration::from_millis(100)));
                    let frontier = probe.with_frontier(|frontier| frontier.first().copied());
                    let frontier = frontier.unwrap_or(Tick::MAX);
                    if first && frontier > passed {
                        passed = frontier;
                        stages.compact(frontier);
                        progress.pass(frontier);
                    }
                }
                progress.pass(Tick::MAX);
            }
        };
        let workers = std::thread::Builder::new().name("workers".to_owned()).spawn(move || {
            let guards = timely::execute(timely::Config::process(workers), install)
                .map_err(|reason| anyhow!("the workers cannot be started: {reason}"))?;
            let ended: Result<Vec<()>, String> = guards.join().into_iter().collect();
            ended.map(|_| ()).map_err(|reason| anyhow!("a worker failed: {reason}"))
        })?;
        Ok((Self { changes, waker, progress, stages, fault, next: 0, workers }, outputs))
    }

    /// Lets an instance arrive and returns its tick. Waits while too much is under way.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn arrive(&mut self, instance: &Instance) -> anyhow::Result<Tick> {
        for frame in &instance.frames {
            // Held until the graph has taken the arrival in.
            self.stages.pixels.hold(frame.slice.digest, 1, self.next);
            self.stages.pixels.put(frame.slice.digest, Arc::new(frame.pixels.clone()));
        }
        let slices = instance.frames.iter().map(|frame| frame.slice.clone()).collect();
        self.send(Change::Arrived { key: instance.key.clone(), instance: instance.uid.clone(), slices })
    }

    /// Sends a change and returns its tick. Waits while too much is under way.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn send(&mut self, change: Change) -> anyhow::Result<Tick> {
        let tick = self.next;
        self.next += 1;
        self.changes.send((tick, change)).map_err(|_| anyhow!("the graph has stopped"))?;
        self.waker.wake();
        if let Some(oldest) = tick.checked_sub(UNDER_WAY) {
            self.wait_for(oldest)?;
        }
        Ok(tick)
    }

    /// The tick that the next change will have.
    #[must_use]
    pub fn next_tick(&self) -> Tick {
        self.next
    }

    /// Waits until all that was sent has had its effect on the outputs.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn settle(&self) -> anyhow::Result<()> {
        self.next.checked_sub(1).map_or(Ok(()), |last| self.wait_for(last))
    }

    fn wait_for(&self, tick: Tick) -> anyhow::Result<()> {
        while !self.progress.wait_for(tick) {
            if let Some(message) = self.fault.message() {
                bail!("{message}");
            }
            if self.workers.is_finished() {
                bail!("a worker stopped");
            }
            self.waker.wake();
        }
        Ok(())
    }

    /// Waits for all effects, then ends the workers.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn finish(self) -> anyhow::Result<()> {
        self.settle()?;
        drop(self.changes);
        self.waker.wake();
        self.workers.join().map_err(|_| anyhow!("the worker threads panicked"))?.context("the graph")
    }
}
