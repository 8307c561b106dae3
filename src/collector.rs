//! The way out of the graph: the newest result of each series, and the refused inputs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, select};
use graphs::views::{Board, Snapshot};
use operators::event::{InstanceRejected, ResultPublished, Telemetry};
use operators::observed::Observed;
use operators::outcome::{Measures, Salt, ppm};
use operators::publish::Publication;
use operators::record::{Digest, Rejection, Role, SeriesKey, Truth};
use operators::report::{Latency, Report, report};

use crate::book::Book;
use crate::data::Journal;
use crate::engine::Output;

/// The newest result of a series.
#[derive(Clone, Debug)]
pub struct Current {
    /// The result.
    pub publication: Publication,
    /// How long it, and the first one, took.
    pub latency: Latency,
}

impl Current {
    /// The result as other programs read it.
    #[must_use]
    pub fn report(&self) -> Report {
        report(&self.publication, self.latency)
    }
}

/// What came out of a graph.
#[derive(Debug, Default)]
pub struct Collected {
    /// The newest result of each series, by the active method.
    pub series: BTreeMap<SeriesKey, Current>,
    /// The newest result of each series by the method that stands beside it.
    pub shadows: BTreeMap<SeriesKey, Current>,
    /// The refused inputs that were not taken back.
    pub rejections: BTreeMap<Rejection, isize>,
    /// What all results say together.
    pub views: Snapshot,
}

/// The views across studies, as results change them.
pub struct Views {
    /// What was said of each series.
    pub observed: Observed,
    /// What follows for all.
    pub board: Board,
}

impl Views {
    /// Views that know these truths. A slice at or above `gate` is a finding.
    ///
    /// # Errors
    ///
    /// Returns an error if the thread of the views cannot be started.
    pub fn start(salt: Salt, gate: f32, truths: impl IntoIterator<Item = Truth>) -> anyhow::Result<Self> {
        let mut observed = Observed::new(salt, |_| None);
        let mut board = Board::start(ppm(gate))?;
        for truth in truths {
            board.send(observed.learn(truth, 1))?;
        }
        Ok(Self { observed, board })
    }

    fn publish(&mut self, current: &Current) -> anyhow::Result<()> {
        let diffs = self.observed.publish(&current.publication, &Measures::from(&current.report()));
        if !diffs.is_empty() {
            self.board.send(diffs)?;
        }
        Ok(())
    }
}

/// Who sees what comes out of a graph, as it does.
pub trait Watch: Send + 'static {
    /// A new result.
    fn result(&mut self, current: &Current);

    /// A refused input, or with -1 one that is taken back.
    fn rejection(&mut self, _rejection: &Rejection, _diff: isize) {}
}

impl<F: FnMut(&Current) + Send + 'static> Watch for F {
    fn result(&mut self, current: &Current) {
        self(current);
    }
}

/// Both see it.
impl<A: Watch, B: Watch> Watch for (A, B) {
    fn result(&mut self, current: &Current) {
        self.0.result(current);
        self.1.result(current);
    }

    fn rejection(&mut self, rejection: &Rejection, diff: isize) {
        self.0.rejection(rejection, diff);
        self.1.rejection(rejection, diff);
    }
}

impl Watch for Arc<Mutex<Collected>> {
    fn result(&mut self, current: &Current) {
        self.lock().unwrap_or_else(PoisonError::into_inner).result(current.clone());
    }

    fn rejection(&mut self, rejection: &Rejection, diff: isize) {
        self.lock().unwrap_or_else(PoisonError::into_inner).rejection(rejection.clone(), diff);
    }
}

impl Collected {
    fn result(&mut self, current: Current) {
        let series = match current.publication.role {
            Role::Active => &mut self.series,
            Role::Shadow => &mut self.shadows,
        };
        series.insert(current.publication.key.clone(), current);
    }

    fn rejection(&mut self, rejection: Rejection, diff: isize) {
        *self.rejections.entry(rejection).or_default() += diff;
        self.rejections.retain(|_, count| *count != 0);
    }
}

/// Asks a collector to take all outputs that came before, and to forget series then.
pub struct Mark {
    /// Told once that is done.
    pub done: Sender<()>,
    /// The series.
    pub forget: BTreeSet<SeriesKey>,
}

/// Takes outputs as they come.
pub struct Collector {
    telemetry: Telemetry,
    journal: Option<Journal>,
    views: Views,
    collects: bool,
    /// Seconds to the first result of each series, by the digest of its key.
    first: HashMap<(Digest, Role), f64>,
}

impl Collector {
    /// A collector. `telemetry` hears of each result and each refusal, `journal` notes the versions, if there is one, and
    /// what comes out stays until the end if the collector `collects`.
    #[must_use]
    pub fn new(telemetry: Telemetry, journal: Option<Journal>, views: Views, collects: bool) -> Self {
        Self { telemetry, journal, views, collects, first: HashMap::new() }
    }

    /// Takes what a book says of the results that were published before.
    ///
    /// # Errors
    ///
    /// Returns an error if the book is broken or the views have stopped.
    pub(crate) fn recall(&mut self, book: &Book) -> anyhow::Result<()> {
        for key in book.keys() {
            for (role, result) in book.series(key)?.results {
                self.first.insert((key.digest(), role), result.first_seconds);
                if let Some(outcome) = result.outcome {
                    self.views.board.send(self.views.observed.recall(outcome))?;
                }
            }
        }
        Ok(())
    }

    /// Collects outputs until the graph ends; `watch` sees each. What comes over `marks` is answered once all
    /// outputs are taken that came before it.
    ///
    /// # Errors
    ///
    /// Returns an error if a version cannot be noted in the log, or the views have stopped.
    pub fn collect(
        mut self,
        outputs: &Receiver<Output>,
        marks: &Receiver<Mark>,
        mut watch: impl Watch,
    ) -> anyhow::Result<Collected> {
        let mut collected = Collected::default();
        let mut marks = marks.clone();
        loop {
            select! {
                recv(outputs) -> output => match output {
                    Ok(output) => self.take(output, &mut collected, &mut watch)?,
                    Err(_) => break,
                },
                recv(marks) -> mark => if let Ok(mark) = mark {
                    outputs.try_iter().try_for_each(|output| self.take(output, &mut collected, &mut watch))?;
                    self.forget(&mark.forget, &mut collected)?;
                    self.views.board.settle()?;
                    // It fails only when nobody waits any more.
                    mark.done.send(()).ok();
                } else {
                    marks = crossbeam_channel::never();
                },
            }
        }
        collected.views = self.views.board.finish()?;
        Ok(collected)
    }

    /// Forgets series: what the views say of them goes, and what was collected.
    fn forget(&mut self, keys: &BTreeSet<SeriesKey>, collected: &mut Collected) -> anyhow::Result<()> {
        for key in keys {
            for role in Role::ALL {
                self.first.remove(&(key.digest(), role));
                let diffs = self.views.observed.retract(key, role);
                if !diffs.is_empty() {
                    self.views.board.send(diffs)?;
                }
            }
            collected.series.remove(key);
            collected.shadows.remove(key);
        }
        self.journal.iter_mut().for_each(|journal| journal.forget_published(keys));
        Ok(())
    }

    fn take(&mut self, output: Output, collected: &mut Collected, watch: &mut impl Watch) -> anyhow::Result<()> {
        match output {
            Output::Published(publication, arrived) => {
                let current = self.current(publication, arrived)?;
                self.views.publish(&current)?;
                watch.result(&current);
                if self.collects {
                    collected.result(current);
                }
            }
            Output::Rejected(rejection, diff) => {
                if diff > 0 {
                    self.telemetry.emit(InstanceRejected { reason: rejection.reason });
                }
                watch.rejection(&rejection, diff);
                if self.collects {
                    collected.rejection(rejection, diff);
                }
            }
        }
        Ok(())
    }

    fn current(&mut self, publication: Publication, arrived: Instant) -> anyhow::Result<Current> {
        let last = arrived.elapsed().as_secs_f64();
        let named = (publication.key.digest(), publication.role);
        let first = *self.first.entry(named).or_insert(last);
        let mut current = Current { publication, latency: Latency { first, last } };
        let outcome = self.views.observed.outcome(&current.publication, &Measures::from(&current.report()));
        if let Some(journal) = &mut self.journal
            && let Some(latency) = journal.note(&current, outcome).context("a version cannot be noted")?
        {
            // It was published before the graph was started again.
            current.latency = latency;
            self.first.insert(named, latency.first);
            return Ok(current);
        }
        if current.publication.role == Role::Active {
            self.telemetry.emit(ResultPublished { status: current.publication.status, seconds: last });
        }
        Ok(current)
    }
}
