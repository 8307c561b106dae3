//! A node without its listeners: the graph in motion with its model, its data folder and its way out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use graphs::stages::{Compute, Stages};
use kernels::Device;
use kernels::executor::{Fault, Urgency};
use operators::dicom::Instance;
use operators::event::{SlicesReceived, StoreMeasured, Telemetry};
use operators::model::Model;
use operators::outcome::Salt;
use operators::record::{Change, Method, MethodConfig, Role, SeriesKey, Sign, Tick, Truth};
use operators::store::{self, Store};

use crate::collector::{Collected, Collector, Current, Views};
use crate::data::{DataFolder, Entry, Event, Journal, MethodEntry, random};
use crate::engine::Engine;

/// What a node runs on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Devices and queues.
    pub compute: Compute,
    /// Worker threads of the dataflow.
    pub workers: usize,
    /// Bytes of blocks in memory at most.
    pub memory_bytes: Option<usize>,
    /// Where nothing is forgotten, if anywhere.
    pub data: Option<PathBuf>,
    /// What is known to be true of some slices.
    pub truths: Vec<Truth>,
}

/// A running node.
pub struct Node {
    engine: Engine,
    telemetry: Telemetry,
    collector: JoinHandle<anyhow::Result<Collected>>,
    durable: Option<Durable>,
    method: Arc<Method>,
    shadow: Option<Arc<Method>>,
    /// Where blocks go that memory has no room for, if the node has no data folder.
    _overflow: Option<tempfile::TempDir>,
}

/// What an instance was read from.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// The name of the input; its ending tells the form.
    pub input: &'a Path,
    /// Its content.
    pub bytes: &'a [u8],
}

/// What a node with a data folder writes to.
struct Durable {
    data: DataFolder,
    journal: Journal,
}

impl Node {
    /// Starts a node whose results `model` makes. With a data folder it goes on where the last one ended: what was
    /// received is there, what was computed is found, what was published is not published again. `watch` sees each result.
    ///
    /// # Errors
    ///
    /// Returns an error if the device, the store, the data folder or a thread cannot be used.
    pub fn start(
        model: Model,
        settings: &Settings,
        telemetry: Telemetry,
        watch: impl FnMut(&Current) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let limits = store::Limits { memory_bytes: settings.memory_bytes.unwrap_or(usize::MAX) };
        let data = settings.data.as_deref().map(DataFolder::create).transpose()?;
        let overflow = (data.is_none() && settings.memory_bytes.is_some()).then(tempfile::tempdir).transpose()?;
        let store = match (&data, &overflow) {
            (Some(data), _) => Store::open(limits, &data.store())?,
            (None, Some(folder)) => Store::spilling(limits, folder.path())?,
            (None, None) => Store::unbounded(),
        };
        let fault = Fault::default();
        let stages = Stages::start(settings.compute, store, telemetry.clone(), fault.clone())?;
        let (log, entries) = data.as_ref().map(DataFolder::log).transpose()?.unzip();
        let entries = entries.unwrap_or_default();
        let journal = log.map(|log| Journal::new(log, &entries));
        let (mut engine, outputs) = Engine::start(stages.clone(), settings.workers, telemetry.clone(), fault, 0)?;
        let salt = data.as_ref().map_or_else(|| Ok(Salt::new(&random()?)), DataFolder::salt)?;
        let views = Views::start(salt, model.card().gate, settings.truths.iter().cloned())?;
        let collector = Collector { telemetry: telemetry.clone(), journal: journal.clone(), views };
        let collector = std::thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || collector.collect(&outputs, watch))?;

        let durable = data.zip(journal).map(|(data, journal)| Durable { data, journal });
        let used = match &durable {
            Some(durable) => replay(&durable.data, &entries, &mut engine, settings.compute.device)?,
            None => BTreeMap::new(),
        };
        let (method, entry) = load(&stages, durable.as_ref(), model)?;
        let mut node = Self { engine, telemetry, collector, durable, method, shadow: None, _overflow: overflow };
        if used.get(&Role::Active).is_none_or(|used| used.method != node.method.digest) {
            node.write(vec![Event::Used { role: Role::Active, method: entry }])?;
            node.engine.activate(node.method.digest)?;
        }
        if used.contains_key(&Role::Shadow) {
            node.write(vec![Event::Used { role: Role::Shadow, method: None }])?;
            node.engine.shadow(None)?;
        }
        Ok(node)
    }

    /// What makes the results.
    #[must_use]
    pub fn method(&self) -> &Arc<Method> {
        &self.method
    }

    /// The stages that the node runs on.
    #[must_use]
    pub fn stages(&self) -> &Stages {
        self.engine.stages()
    }

    fn write(&self, events: Vec<Event>) -> anyhow::Result<()> {
        let Some(durable) = &self.durable else { return Ok(()) };
        durable.journal.write(self.engine.next_tick(), events)
    }

    /// Lets another model make the results. Old ones stay until new ones replace them.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed or the log cannot be written.
    pub fn activate(&mut self, model: Model) -> anyhow::Result<Tick> {
        let (method, entry) = load(self.stages(), self.durable.as_ref(), model)?;
        self.write(vec![Event::Used { role: Role::Active, method: entry }])?;
        self.method = method;
        self.engine.activate(self.method.digest)
    }

    /// Lets a model stand beside the active one.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed or the log cannot be written.
    pub fn shadow(&mut self, model: Model) -> anyhow::Result<Tick> {
        let (method, entry) = load(self.stages(), self.durable.as_ref(), model)?;
        self.write(vec![Event::Used { role: Role::Shadow, method: entry }])?;
        self.engine.shadow(Some(self.shadow.insert(method).digest))
    }

    /// Lets an instance arrive; a node with a data folder keeps its `payload`. A series that cannot wait is `stat`.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed, the data folder cannot be written, or there is nothing to keep in it.
    pub fn arrive(&mut self, instance: &Instance, payload: Option<Payload<'_>>, stat: bool) -> anyhow::Result<Tick> {
        self.telemetry.emit(SlicesReceived { slices: instance.frames.len() });
        if let Some(durable) = &self.durable {
            let Payload { input, bytes } = payload.context("an instance without its content cannot be kept")?;
            let payload = Some(durable.data.payloads().keep(input, bytes)?);
            self.write(vec![Event::Changed { change: instance.arrival(), payload, stat }])?;
        }
        self.engine.arrive(instance, if stat { Urgency::Stat } else { Urgency::Routine })
    }

    /// Sends a change that brings no pixels.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed or the log cannot be written.
    pub fn send(&mut self, change: Change) -> anyhow::Result<Tick> {
        self.write(vec![Event::Changed { change: change.clone(), payload: None, stat: false }])?;
        self.engine.send(change)
    }

    /// Says that all instances of a series were sent.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed or the log cannot be written.
    pub fn complete(&mut self, key: &SeriesKey) -> anyhow::Result<Tick> {
        self.send(Change::Signed { key: key.clone(), sign: Sign::Requested })
    }

    /// Waits until all that was sent has had its effect.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn settle(&self) -> anyhow::Result<()> {
        self.engine.settle()?;
        self.telemetry.emit(StoreMeasured { usage: &self.stages().store.usage() });
        Ok(())
    }

    /// Waits for all effects, ends the graph, and brings all blocks to the data folder.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed or a block or a version could not be written.
    pub fn finish(self) -> anyhow::Result<Collected> {
        self.settle()?;
        let store = self.stages().store.clone();
        self.engine.finish()?;
        let collected = self.collector.join().map_err(|_| anyhow!("the collector panicked"))??;
        store.flush().context("the store")?;
        Ok(collected)
    }
}

/// Makes a model ready, with the numbers that its card gives, and keeps it where nothing is forgotten.
fn load(
    stages: &Stages,
    durable: Option<&Durable>,
    model: Model,
) -> anyhow::Result<(Arc<Method>, Option<MethodEntry>)> {
    let config = MethodConfig { mask_gate: model.card().gate, ..MethodConfig::default() };
    let named = Method::new(model.digest(), model.name(), config.clone())?;
    let entry = durable.map(|durable| durable.data.keep_model(&model, &named)).transpose()?;
    Ok((stages.load(model, config)?, entry))
}

/// Does again what `entries` say, each at its own tick, and gives the methods in use at their end.
///
/// # Errors
///
/// Returns an error that names the tick whose payload or model cannot be used, or says that the graph has failed.
pub fn replay(
    data: &DataFolder,
    entries: &[Entry],
    engine: &mut Engine,
    device: Device,
) -> anyhow::Result<BTreeMap<Role, MethodEntry>> {
    let mut used = BTreeMap::new();
    for entry in entries {
        engine.skip_to(entry.tick);
        again(data, entry, engine, device).with_context(|| format!("the log at tick {}", entry.tick))?;
        match &entry.event {
            Event::Used { role, method: Some(method) } => used.insert(*role, method.clone()),
            Event::Used { role, method: None } => used.remove(role),
            Event::Changed { .. } | Event::Published(_) => None,
        };
    }
    Ok(used)
}

fn again(data: &DataFolder, entry: &Entry, engine: &mut Engine, device: Device) -> anyhow::Result<()> {
    match &entry.event {
        Event::Changed { change: Change::Arrived { instance, .. }, payload: Some(payload), stat } => {
            let instance = data.payloads().instance(payload, instance)?;
            engine.arrive(&instance, if *stat { Urgency::Stat } else { Urgency::Routine })?;
        }
        Event::Changed { change, .. } => {
            engine.send(change.clone())?;
        }
        Event::Used { role, method } => {
            if let Some(method) = method {
                let (model, config) = data.model(method, device)?;
                engine.stages().load(model, config)?;
            }
            match (role, method) {
                (Role::Active, Some(method)) => engine.activate(method.method)?,
                (Role::Shadow, method) => engine.shadow(method.as_ref().map(|method| method.method))?,
                (Role::Active, None) => entry.tick,
            };
        }
        Event::Published(_) => {}
    }
    Ok(())
}
