//! A node with its model and its metrics: what `run`, `demo` and `evaluate` share.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graphs::stages::Compute;
use kernels::Device;
use operators::event::{Metrics, Telemetry};
use operators::model::Model;
use operators::record::Truth;
use prometheus::Registry;

use crate::arguments::{Inference, Keep};
use crate::collector::{Collected, Watch};
use crate::http::metrics::{self, Server};
use crate::node::{Node, Settings};

/// A running node, and the server of its metrics.
pub(super) struct Running {
    pub(super) node: Node,
    server: Option<Server>,
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
    /// Loads the model, starts the node, and serves metrics if asked to. `watch` sees each new result.
    pub(super) fn start(
        inference: &Inference,
        keep: &Keep,
        truths: Vec<Truth>,
        device: Device,
        watch: impl Watch,
    ) -> anyhow::Result<Self> {
        let model = load_model(inference.model.as_deref(), device)?;
        Self::with(model, inference, keep, truths, watch)
    }

    /// Starts the node with a model that was loaded before.
    pub(super) fn with(
        model: Model,
        inference: &Inference,
        keep: &Keep,
        truths: Vec<Truth>,
        watch: impl Watch,
    ) -> anyhow::Result<Self> {
        let model = model.with_precision(inference.precision)?;
        let registry = Registry::new();
        let telemetry = Telemetry::new(Metrics::register(&registry)?);
        let name = model.name();
        let facts = [&name.name, &name.version, &name.sha256].map(String::as_str);
        Metrics::register_facts(&registry, [env!("CARGO_PKG_VERSION"), env!("HEMOFLOW_FEATURES")], facts)?;
        let server = inference.metrics.map(|address| metrics::serve(address, registry)).transpose()?;
        if let Some(server) = &server {
            tracing::info!("metrics at http://{}/metrics", server.address());
        }
        let settings = Settings {
            compute: Compute::on(model.device()),
            workers: inference.workers.into(),
            memory_bytes: inference.memory,
            series: keep.series,
            data: keep.data.clone(),
            truths,
            synced: false,
            collects: true,
            method: inference.method.clone().unwrap_or_default(),
        };
        Ok(Self { node: Node::start(model, &settings, telemetry, watch)?, server })
    }

    /// Waits for all effects and ends the graph. Metrics are served until the server is dropped.
    pub(super) fn finish(self) -> anyhow::Result<(Collected, Option<Server>)> {
        Ok((self.node.finish()?, self.server))
    }
}
