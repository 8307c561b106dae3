//! A node without its listeners: the graph in motion with its model, its data folder and its way out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow, bail};
use crossbeam_channel::{Receiver, Sender};
use graphs::stages::{Compute, Stages};
use kernels::Device;
use kernels::executor::{Fault, Urgency};
use operators::dicom::Instance;
use operators::event::{SlicesReceived, StoreMeasured, Telemetry};
use operators::model::Model;
use operators::outcome::Salt;
use operators::record::{Change, Digest, Method, MethodConfig, Role, SeriesKey, Sign, Tick, Truth};
use operators::store::{self, Store, StoreError};

use crate::collector::{Collected, Collector, Current, Views};
use crate::data::{DataFolder, Entry, Event, Journal, MethodEntry, random};
use crate::engine::{Engine, Output};

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

/// A running node. Dropped without [`Node::finish`], it leaves what is under way, as if the process had been killed, and
/// ends its threads: the data folder is free then.
pub struct Node {
    // What ends first stands first: who asks before who answers, and all before the store.
    engine: Engine,
    collector: Collecting,
    durable: Option<Durable>,
    _executors: Executors,
    telemetry: Telemetry,
    fault: Fault,
    method: Arc<Method>,
    shadow: Option<Digest>,
    /// Whether the store was rid of what no replay needs.
    swept: AtomicBool,
    /// Where blocks go that memory has no room for, if the node has no data folder.
    _overflow: Option<tempfile::TempDir>,
}

/// The thread of the collector. It ends when the engine does.
struct Collecting {
    thread: Option<JoinHandle<anyhow::Result<Collected>>>,
    marks: Sender<Sender<()>>,
}

impl Collecting {
    /// Starts the thread. What fails in it is reported to `fault`.
    fn start(
        collector: Collector,
        outputs: Receiver<Output>,
        fault: Fault,
        watch: impl FnMut(&Current) + Send + 'static,
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
    fn catch_up(&self) {
        let (done, wait) = crossbeam_channel::bounded(1);
        // Both fail only when the collector has ended, which a fault tells.
        self.marks.send(done).ok();
        wait.recv().ok();
    }

    fn join(&mut self) -> anyhow::Result<Collected> {
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

/// The executors, which end once nobody can ask any more.
struct Executors(Option<Stages>);

impl Drop for Executors {
    fn drop(&mut self) {
        if let Some(stages) = self.0.take() {
            stages.end();
        }
    }
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
    /// received is there, what was computed is found, what was published is not published again, and the model that stood
    /// beside the active one stands there. `watch` sees each result.
    ///
    /// # Errors
    ///
    /// Returns an error if the device, the store or a thread cannot be used, if the data folder is in use by somebody
    /// else, or if it lacks something that its log names.
    pub fn start(
        model: Model,
        settings: &Settings,
        telemetry: Telemetry,
        watch: impl FnMut(&Current) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let limits = store::Limits { memory_bytes: settings.memory_bytes.unwrap_or(usize::MAX) };
        let data = settings.data.as_deref().map(DataFolder::create).transpose()?;
        // First, for who has the log open has the folder.
        let (log, entries) = data.as_ref().map(DataFolder::log).transpose()?.unzip();
        let entries = entries.unwrap_or_default();
        let journal = log.map(|log| Journal::new(log, &entries));
        let overflow = (data.is_none() && settings.memory_bytes.is_some()).then(tempfile::tempdir).transpose()?;
        let store = match (&data, &overflow) {
            (Some(data), _) => Store::open(limits, &data.store())?.keeping(),
            (None, Some(folder)) => Store::spilling(limits, folder.path())?,
            (None, None) => Store::unbounded(),
        };
        let fault = Fault::default();
        // Declared before the stages, and so dropped behind them if the start fails: until then somebody can still ask.
        let mut executors = Executors(None);
        let stages = Stages::start(settings.compute, store, telemetry.clone(), fault.clone())?;
        executors.0 = Some(stages.clone());
        let salt = data.as_ref().map_or_else(|| Ok(Salt::new(&random()?)), DataFolder::salt)?;
        let views = Views::start(salt, model.card().gate, settings.truths.iter().cloned())?;
        let collector = Collector { telemetry: telemetry.clone(), journal: journal.clone(), views };
        let durable = data.zip(journal).map(|(data, journal)| Durable { data, journal });
        let (method, entry) = load(&stages, durable.as_ref(), model)?;
        let (engine, outputs) = Engine::start(stages, settings.workers, telemetry.clone(), fault.clone(), 0)?;
        let collector = Collecting::start(collector, outputs, fault.clone(), watch)?;
        let mut node = Self {
            engine,
            collector,
            durable,
            _executors: executors,
            telemetry,
            fault,
            method,
            shadow: None,
            swept: AtomicBool::new(false),
            _overflow: overflow,
        };
        let used = match &node.durable {
            Some(durable) => replay(&durable.data, &entries, &mut node.engine, settings.compute.device)?,
            None => BTreeMap::new(),
        };
        node.shadow = used.get(&Role::Shadow).map(|used| used.method);
        if used.get(&Role::Active).is_none_or(|used| used.method != node.method.digest) {
            node.write(vec![Event::Used { role: Role::Active, method: entry }])?;
            node.engine.activate(node.method.digest)?;
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
        self.unhurt()?;
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

    /// Lets a model stand beside the active one, or none. The one that stands there already is not taken for another.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed or the log cannot be written.
    pub fn shadow(&mut self, model: Option<Model>) -> anyhow::Result<()> {
        let loaded = model.map(|model| load(self.stages(), self.durable.as_ref(), model)).transpose()?;
        let (method, entry) = loaded.unzip();
        let method = method.map(|method| method.digest);
        if method != self.shadow {
            self.write(vec![Event::Used { role: Role::Shadow, method: entry.flatten() }])?;
            self.shadow = method;
            self.engine.shadow(method)?;
        }
        Ok(())
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
            self.unhurt()?;
            let payload = Some(durable.data.payloads().keep(input, bytes)?);
            self.write(vec![Event::Changed { change: instance.arrival(), payload, stat }])?;
        }
        self.engine.arrive(instance, if stat { Urgency::Stat } else { Urgency::Routine })
    }

    /// Sends a change that brings no pixels: no arrival, and no release.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed or the log cannot be written.
    pub fn send(&mut self, change: Change) -> anyhow::Result<Tick> {
        if let Change::Released { key } = &change {
            bail!("the series {} cannot be let go: nothing would bring it back for a late slice", key.series);
        }
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

    /// Waits until all that was sent has had its effect: what was published is in the log, and `watch` has seen it. The
    /// first time, the data folder is rid of blocks that are of no use any more.
    ///
    /// # Errors
    ///
    /// Returns an error that says what has failed: the graph, an executor, the log, or the disk under the store.
    pub fn settle(&self) -> anyhow::Result<()> {
        self.engine.settle()?;
        self.collector.catch_up();
        self.unhurt()?;
        let store = &self.stages().store;
        if self.durable.is_some() && !self.swept.swap(true, Ordering::Relaxed) {
            let count = store.sweep()?;
            tracing::debug!("{count} blocks of no use were removed");
        }
        self.telemetry.emit(StoreMeasured { usage: &store.usage() });
        Ok(())
    }

    /// Tells what has failed, if anything has.
    fn unhurt(&self) -> anyhow::Result<()> {
        if let Some(message) = self.fault.message() {
            bail!("{message}");
        }
        let fault = self.stages().store.fault();
        fault.map_or(Ok(()), |fault| Err(StoreError::Faulty { fault }.into()))
    }

    /// Waits for all effects, ends the graph, and brings all blocks to the data folder.
    ///
    /// # Errors
    ///
    /// Returns an error that says what has failed, as [`Node::settle`] does.
    pub fn finish(mut self) -> anyhow::Result<Collected> {
        self.settle()?;
        let store = self.stages().store.clone();
        self.engine.finish()?;
        let collected = self.collector.join()?;
        store.flush()?;
        self.telemetry.emit(StoreMeasured { usage: &store.usage() });
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
    let mut again = Again { data, engine, device, payload: Default::default() };
    for entry in entries {
        again.happen(entry).with_context(|| format!("the log at tick {}", entry.tick))?;
        match &entry.event {
            Event::Used { role, method: Some(method) } => used.insert(*role, method.clone()),
            Event::Used { role, method: None } => used.remove(role),
            Event::Changed { .. } | Event::Published(_) => None,
        };
    }
    Ok(used)
}

/// A replay.
struct Again<'a> {
    data: &'a DataFolder,
    engine: &'a mut Engine,
    device: Device,
    /// The payload that was read last: a volume is one for many instances.
    payload: (String, Vec<Instance>),
}

impl Again<'_> {
    fn happen(&mut self, entry: &Entry) -> anyhow::Result<()> {
        match &entry.event {
            Event::Changed { change: change @ Change::Arrived { .. }, payload: Some(payload), stat } => {
                if self.payload.0 != *payload {
                    self.payload = (payload.clone(), self.data.payloads().instances(payload)?);
                }
                let instance = self.payload.1.iter().find(|instance| instance.arrival() == *change);
                let instance = instance.with_context(|| format!("the payload {payload} is not what arrived"))?;
                self.engine.skip_to(entry.tick);
                self.engine.arrive(instance, if *stat { Urgency::Stat } else { Urgency::Routine })?;
            }
            Event::Changed { change, .. } => {
                self.engine.skip_to(entry.tick);
                self.engine.send(change.clone())?;
            }
            Event::Used { role, method } => {
                if let Some(method) = method {
                    let (model, config) = self.data.model(method, self.device)?;
                    self.engine.stages().load(model, config)?;
                }
                self.engine.skip_to(entry.tick);
                match (role, method) {
                    (Role::Active, Some(method)) => self.engine.activate(method.method)?,
                    (Role::Shadow, method) => self.engine.shadow(method.as_ref().map(|method| method.method))?,
                    (Role::Active, None) => bail!("there is always an active model"),
                };
            }
            Event::Published(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use operators::completeness::{Completeness, Status};
    use operators::event::Metrics;
    use operators::publish::Publication;
    use operators::record::{ModelName, SeriesUid, StudyUid};

    use super::*;
    use crate::data::Log;

    fn publication() -> Publication {
        let key = SeriesKey { study: StudyUid::new("1").expect("a UID"), series: SeriesUid::new("2").expect("a UID") };
        let name = ModelName { name: "none".to_owned(), version: "1".to_owned(), sha256: String::new() };
        let method = Method::new(Digest::of(b"none"), name, MethodConfig::default()).expect("numbers");
        let (method, status, completeness) = (Arc::new(method), Status::Withdrawn, Completeness::default());
        let (role, version, tick, slices) = (Role::Active, 1, 0, Vec::new());
        Publication { key, role, method, version, tick, status, completeness, slices }
    }

    #[test]
    fn a_version_that_cannot_be_noted_is_a_fault_that_names_the_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::unwritable(&folder.path().join("log"));
        let telemetry = Telemetry::new(Metrics::register(&prometheus::Registry::new()).expect("metrics"));
        let views = Views::start(Salt::new(b"salt"), 0.5, []).expect("views");
        let collector = Collector { telemetry, journal: Some(Journal::new(log, &[])), views };
        let (output, outputs) = crossbeam_channel::unbounded();
        let fault = Fault::default();
        let mut collecting = Collecting::start(collector, outputs, fault.clone(), |_| {}).expect("a thread");
        collecting.catch_up();
        assert_eq!(fault.message(), None, "nothing was written yet");
        output.send(Output::Published(publication(), Instant::now())).expect("it listens");
        collecting.catch_up();
        // It fails whether the mark came before the end of the thread or after.
        let error = format!("{:#}", collecting.join().expect_err("the log cannot be written"));
        assert!(error.contains("cannot write the log"), "{error}");
        assert_eq!(fault.message(), Some(error.as_str()));
    }
}
