//! A graph with its model, ready for slices: what `run`, `demo` and `evaluate` share.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow, bail};
use graphs::stages::Stages;
use kernels::Device;
use kernels::executor::Fault;
use operators::dicom::Instance;
use operators::event::{Metrics, SlicesReceived, Telemetry};
use operators::model::Model;
use operators::record::{Change, Digest, Method, MethodConfig, Rejection, SeriesKey, Tick};
use operators::report::{ModelName, Report, report};
use prometheus::Registry;

use crate::arguments::Inference;
use crate::collector::{Arrivals, Collected, Current, collect};
use crate::engine::Engine;
use crate::http::metrics::{self, Server};

/// A running graph with its model.
pub(super) struct Running {
    engine: Engine,
    arrivals: Arrivals,
    telemetry: Telemetry,
    collector: JoinHandle<Collected>,
    model: ModelInUse,
    server: Option<Server>,
}

/// What reports say of the model.
#[derive(Clone, Debug)]
pub(super) struct ModelInUse {
    pub(super) name: ModelName,
    pub(super) method: Digest,
    pub(super) max_gap_mm: f64,
    pub(super) mask_gate: f32,
}

impl ModelInUse {
    /// The report of a series' newest result.
    pub(super) fn report(&self, current: &Current) -> Report {
        report(&current.publication, &self.name, self.max_gap_mm, current.latency)
    }
}

/// The folder of the shipped model: `models` in the current folder, or beside the program or above it.
fn shipped_model() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().ok();
    let above = program.iter().flat_map(|program| program.ancestors().skip(1)).map(Path::to_owned);
    std::iter::once(PathBuf::from("."))
        .chain(above)
        .map(|folder| folder.join("models"))
        .find(|folder| folder.join("hemoflow.json").is_file())
        .ok_or_else(|| {
            anyhow!("no shipped model: there is no models/hemoflow.json here or above the program; say --model")
        })
}

/// Loads the model at `path`, or the shipped one.
pub(super) fn load_model(path: Option<&Path>, device: Device) -> anyhow::Result<Model> {
    let path = path.map_or_else(shipped_model, |path| Ok(path.to_owned()))?;
    Model::load(&path, device).with_context(|| format!("the model {} cannot be loaded", path.display()))
}

impl Running {
    /// Loads the model, starts the graph, and serves metrics if asked to. `watch` sees each new result.
    pub(super) fn start(
        inference: &Inference,
        device: Device,
        watch: impl FnMut(&Current) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let model = load_model(inference.model.as_deref(), device)?;
        Self::with(model, inference, device, watch)
    }

    /// Starts the graph with a model that was loaded before.
    pub(super) fn with(
        model: Model,
        inference: &Inference,
        device: Device,
        watch: impl FnMut(&Current) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let card = model.card();
        let config = MethodConfig { mask_gate: card.gate, ..MethodConfig::default() };
        let name =
            ModelName { name: card.name.clone(), version: card.version.clone(), sha256: card.sha256.to_string() };
        let method = Method::new(model.digest(), config.clone())?.digest;
        let in_use = ModelInUse { name, method, max_gap_mm: config.max_gap_mm, mask_gate: config.mask_gate };
        let registry = Registry::new();
        let telemetry = Telemetry::new(Metrics::register(&registry)?);
        let facts = [&in_use.name.name, &in_use.name.version, &in_use.name.sha256].map(String::as_str);
        Metrics::register_facts(&registry, [env!("CARGO_PKG_VERSION"), env!("HEMOFLOW_FEATURES")], facts)?;
        let server = inference.metrics.map(|address| metrics::serve(address, registry)).transpose()?;
        if let Some(server) = &server {
            tracing::info!("metrics at http://{}/metrics", server.address());
        }
        let fault = Fault::default();
        let stages = Stages::start(model, config, device, telemetry.clone(), fault.clone())?;
        let (engine, outputs) = Engine::start(stages, inference.workers.into(), fault)?;
        let arrivals = Arrivals::default();
        let collector = std::thread::Builder::new().name("collector".to_owned()).spawn({
            let (arrivals, telemetry) = (arrivals.clone(), telemetry.clone());
            move || collect(&outputs, &arrivals, &telemetry, watch)
        })?;
        Ok(Self { engine, arrivals, telemetry, collector, model: in_use, server })
    }

    /// What reports say of the model.
    pub(super) fn model(&self) -> &ModelInUse {
        &self.model
    }

    /// Lets an instance arrive.
    pub(super) fn arrive(&mut self, instance: &Instance) -> anyhow::Result<Tick> {
        self.arrivals.note(self.engine.next_tick(), Some(&instance.key));
        self.telemetry.emit(SlicesReceived { slices: instance.frames.len() });
        self.engine.arrive(instance)
    }

    /// Refuses an input.
    pub(super) fn refuse(&mut self, rejection: Rejection) -> anyhow::Result<Tick> {
        self.send(Change::Refused(rejection), None)
    }

    /// Says that all instances of a series were sent.
    pub(super) fn complete(&mut self, key: &SeriesKey) -> anyhow::Result<Tick> {
        self.send(Change::Completed { key: key.clone() }, Some(key))
    }

    /// Sends a change of a series.
    pub(super) fn send(&mut self, change: Change, key: Option<&SeriesKey>) -> anyhow::Result<Tick> {
        self.arrivals.note(self.engine.next_tick(), key);
        self.engine.send(change)
    }

    /// Waits for all effects and ends the graph. Metrics are served until the server is dropped.
    pub(super) fn finish(self) -> anyhow::Result<(Collected, Option<Server>)> {
        self.engine.finish()?;
        match self.collector.join() {
            Ok(collected) => Ok((collected, self.server)),
            Err(_) => bail!("the collector panicked"),
        }
    }
}
