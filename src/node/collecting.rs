//! The thread that takes what comes out of the graph, as the node sees it.

use std::collections::BTreeSet;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use crossbeam_channel::{Receiver, Sender};
use kernels::executor::Fault;
use operators::record::SeriesKey;

use crate::collector::{Collected, Collector, Mark, Watch};
use crate::engine::Output;

/// The thread of the collector. It ends when the engine does.
pub(super) struct Collecting {
    thread: Option<JoinHandle<anyhow::Result<Collected>>>,
    marks: Sender<Mark>,
}

impl Collecting {
    /// Starts the thread. What fails in it is reported to `fault`.
    pub(super) fn start(
        collector: Collector,
        outputs: Receiver<Output>,
        fault: Fault,
        watch: impl Watch,
    ) -> anyhow::Result<Self> {
        let (marks, marked) = crossbeam_channel::unbounded();
        let collect = move || {
            let collected = collector.collect(&outputs, &marked, watch);
            collected.inspect_err(|error| fault.report(format!("{error:#}")))
        };
        let thread = std::thread::Builder::new().name("collector".to_owned()).spawn(collect)?;
        Ok(Self { thread: Some(thread), marks })
    }

    /// Waits until all that has come out of the graph is taken, or the collector has failed.
    pub(super) fn catch_up(&self) {
        self.forget(BTreeSet::new());
    }

    /// The same, and series are forgotten then.
    pub(super) fn forget(&self, forget: BTreeSet<SeriesKey>) {
        let (done, wait) = crossbeam_channel::bounded(1);
        // Both fail only when the collector has ended, which a fault tells.
        self.marks.send(Mark { done, forget }).ok();
        wait.recv().ok();
    }

    pub(super) fn join(&mut self) -> anyhow::Result<Collected> {
        let thread = self.thread.take().context("the collector has ended before")?;
        thread.join().map_err(|_| anyhow!("the collector panicked"))?
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.join().map_or_else(|error| tracing::warn!("{error:#}"), drop);
        }
    }
}
