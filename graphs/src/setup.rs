//! Opening stages: the desks of the graphs, and those of whoever adds operators, on executors that start together.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use kernels::executor::{Builder, Fault, Limits, Ran, Urgency};
use operators::event::{StageRan, Telemetry};
use operators::plumbing::{Stage, Task};
use operators::store::{Block, Store};

use crate::stages::{Compute, StageError, Stages};

/// Called with the name of a stage on the thread that is about to run a batch of it; the batch runs when it returns.
pub(crate) type Gate = Arc<dyn Fn(&'static str) + Send + Sync>;

/// Opens desks under one store, limits and telemetry.
pub(crate) struct Opener {
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    pub(crate) telemetry: Telemetry,
    pub(crate) gate: Gate,
}

impl Opener {
    pub(crate) fn stage<Q, A>(
        &self,
        executor: &mut Builder,
        name: &'static str,
        run: impl Fn(Vec<Q>) -> Result<Vec<A>, StageError> + Send + Sync + 'static,
    ) -> Stage<Q, A>
    where
        Q: Send + 'static,
        A: Block,
    {
        let ran = {
            let telemetry = self.telemetry.clone();
            move |ran: Ran<'_>| {
                telemetry.emit(StageRan { stage: name, duration: ran.duration, waited: ran.waited });
            }
        };
        let gate = Arc::clone(&self.gate);
        let run = move |tasks| {
            gate(name);
            let blocks = run(tasks).map_err(|error| chain(&error))?;
            Ok::<Vec<Arc<A>>, String>(blocks.into_iter().map(Arc::new).collect())
        };
        Stage {
            name,
            desk: executor.desk(name, self.limits, run, ran),
            urgency: Urgency::Routine,
            shelf: self.store.named_shelf(name),
            telemetry: self.telemetry.clone(),
        }
    }
}

/// An error with its sources, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    line
}

/// Stages whose executors have not started: other stages can be opened beside them.
///
/// # Examples
///
/// `graphs/examples/own_operator` opens one, and `docs/adding-an-operator.md` walks through it.
pub struct Setup {
    stages: Stages,
    opener: Opener,
    device: Builder,
    host: Builder,
    host_threads: NonZeroUsize,
}

impl Setup {
    /// The stages of the graphs, on compute that does not work yet.
    ///
    /// # Errors
    ///
    /// Returns [`StageError`] if the device cannot be used.
    pub fn new(compute: Compute, store: Store, telemetry: Telemetry) -> Result<Self, StageError> {
        Self::gated(compute, store, telemetry, |_| {})
    }

    /// The same for executors that do not have their device to themselves: `gate` is called with the name of a stage on the
    /// thread that is about to run a batch of it, and the batch runs when it returns. Whatever waits meanwhile waits
    /// in the queues, and when they are full at the inputs.
    ///
    /// # Errors
    ///
    /// Returns [`StageError`] if the device cannot be used.
    pub fn gated(
        compute: Compute,
        store: Store,
        telemetry: Telemetry,
        gate: impl Fn(&'static str) + Send + Sync + 'static,
    ) -> Result<Self, StageError> {
        let opener = Opener { store, limits: compute.limits, telemetry, gate: Arc::new(gate) };
        let (mut device, mut host) = (Builder::new("device"), Builder::new("host"));
        let stages = Stages::open(&compute.device.client()?, &opener, &mut device, &mut host);
        Ok(Self { stages, opener, device, host, host_threads: compute.host_threads })
    }

    /// The stages, to install graphs with and to find shelves on.
    #[must_use]
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Opens a stage on the executor of networks and kernels. `name` names the operator, the shelf and the metrics; `run`
    /// gives one block for each task, in order, and its error stops all work.
    pub fn on_device<Q: Task, A: Block>(
        &mut self,
        name: &'static str,
        run: impl Fn(Vec<Q>) -> Result<Vec<A>, StageError> + Send + Sync + 'static,
    ) -> Stage<Q, A> {
        self.opener.stage(&mut self.device, name, run)
    }

    /// Opens a stage on the executor of the host, as [`Setup::on_device`] does. Several threads may `run` at once.
    pub fn on_host<Q: Task, A: Block>(
        &mut self,
        name: &'static str,
        run: impl Fn(Vec<Q>) -> Result<Vec<A>, StageError> + Send + Sync + 'static,
    ) -> Stage<Q, A> {
        self.opener.stage(&mut self.host, name, run)
    }

    /// Starts the executors. What fails later is reported to `fault`.
    ///
    /// # Errors
    ///
    /// Returns [`StageError`] if a thread cannot be started.
    pub fn start(self, fault: Fault) -> Result<Stages, StageError> {
        let mut threads = self.device.start(NonZeroUsize::MIN, fault.clone())?;
        threads.extend(self.host.start(self.host_threads, fault.clone())?);
        Ok(Stages { fault, threads: Arc::new(Mutex::new(threads)), ..self.stages })
    }
}
