//! The way out of the graph: the newest result of each series, and the refused inputs.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, select};
use graphs::views::{Board, Snapshot};
use operators::event::{InstanceRejected, ResultPublished, Telemetry};
use operators::observed::Observed;
use operators::outcome::{Measures, Salt, ppm};
use operators::publish::Publication;
use operators::record::{Rejection, Role, SeriesKey, Truth};
use operators::report::{Latency, Report, report};

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

/// Takes outputs as they come.
pub struct Collector {
    /// Hears of each result and each refusal.
    pub telemetry: Telemetry,
    /// Where versions are noted, if anywhere.
    pub journal: Option<Journal>,
    /// The views across studies.
    pub views: Views,
}

impl Collector {
    /// Collects outputs until the graph ends. `watch` sees each new result. What comes over `marks` is answered once all
    /// outputs are taken that came before it.
    ///
    /// # Errors
    ///
    /// Returns an error if a version cannot be noted in the log, or the views have stopped.
    pub fn collect(
        mut self,
        outputs: &Receiver<Output>,
        marks: &Receiver<Sender<()>>,
        mut watch: impl FnMut(&Current),
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
                    // It fails only when nobody waits any more.
                    mark.send(()).ok();
                } else {
                    marks = crossbeam_channel::never();
                },
            }
        }
        collected.views = self.views.board.finish()?;
        Ok(collected)
    }

    fn take(
        &mut self,
        output: Output,
        collected: &mut Collected,
        watch: &mut impl FnMut(&Current),
    ) -> anyhow::Result<()> {
        match output {
            Output::Published(publication, arrived) => {
                let current = self.current(publication, arrived, collected)?;
                self.views.publish(&current)?;
                watch(&current);
                let series = match current.publication.role {
                    Role::Active => &mut collected.series,
                    Role::Shadow => &mut collected.shadows,
                };
                series.insert(current.publication.key.clone(), current);
            }
            Output::Rejected(rejection, diff) => {
                if diff > 0 {
                    self.telemetry.emit(InstanceRejected { reason: rejection.reason });
                }
                *collected.rejections.entry(rejection).or_default() += diff;
                collected.rejections.retain(|_, count| *count != 0);
            }
        }
        Ok(())
    }

    fn current(
        &mut self,
        publication: Publication,
        arrived: Instant,
        collected: &Collected,
    ) -> anyhow::Result<Current> {
        let last = arrived.elapsed().as_secs_f64();
        let series = match publication.role {
            Role::Active => &collected.series,
            Role::Shadow => &collected.shadows,
        };
        let first = series.get(&publication.key).map_or(last, |before| before.latency.first);
        let mut current = Current { publication, latency: Latency { first, last } };
        if let Some(journal) = &mut self.journal
            && let Some(latency) = journal.note(&current).context("a version cannot be noted")?
        {
            // It was published before the graph was started again.
            current.latency = latency;
            return Ok(current);
        }
        if current.publication.role == Role::Active {
            self.telemetry.emit(ResultPublished { status: current.publication.status, seconds: last });
        }
        Ok(current)
    }
}
