//! A node without its listeners: the graph in motion with its model, its data folder and its way out.

mod changes;
mod collecting;
mod forget;
mod replay;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;
use graphs::stages::{Compute, Stages};
use kernels::executor::Fault;
use operators::event::{StoreMeasured, Telemetry};
use operators::model::Model;
use operators::outcome::Salt;
use operators::record::{Digest, Method, MethodConfig, Role, SeriesKey, Tick, Truth};
use operators::store::{self, Store, StoreError};

use crate::book::{Book, Followed};
use crate::collector::{Collected, Collector, Views, Watch};
use crate::data::{DataFolder, Event, Journal, MethodEntry, random};
use crate::engine::Engine;
use crate::residents::Residents;

pub use changes::Payload;
use collecting::Collecting;
pub(crate) use replay::replay;

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
    /// Series that the graph holds at most. Those that changed longest ago are let go, and come back from the data folder
    /// when something changes them.
    pub series: Option<usize>,
    /// What is known to be true of some slices.
    pub truths: Vec<Truth>,
    /// Whether a version is on the disk before it is shown.
    pub synced: bool,
    /// Whether [`Node::finish`] gives what was collected: the newest result of each series stays in memory for it.
    pub collects: bool,
    /// How evidence becomes masks. What a model's card tells is the card's ([`MethodConfig::of`]).
    pub method: MethodConfig,
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
    numbers: MethodConfig,
    shadow: Option<Digest>,
    /// Entries of the log that were done again.
    replayed: usize,
    views: graphs::views::Reader,
    /// Whether the store was rid of what no replay needs.
    swept: AtomicBool,
    /// Where blocks go that memory has no room for, if the node has no data folder.
    _overflow: Option<tempfile::TempDir>,
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

/// What a node with a data folder writes to.
struct Durable {
    data: DataFolder,
    journal: Journal,
    residents: Residents,
    /// Series that the graph holds at most.
    series: usize,
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
    pub fn start(model: Model, settings: &Settings, telemetry: Telemetry, watch: impl Watch) -> anyhow::Result<Self> {
        if settings.series.is_some() && settings.data.is_none() {
            bail!("series can be let go only where a data folder brings them back");
        }
        let limits = store::Limits { memory_bytes: settings.memory_bytes.unwrap_or(usize::MAX) };
        let data = settings.data.as_deref().map(DataFolder::create).transpose()?;
        // First, for who has the log open has the folder.
        // What is true of slices is not in the book.
        let whole = !settings.truths.is_empty();
        let (log, book, entries) = match data.as_ref().map(|data| data.log_and_book(whole)).transpose()? {
            Some((log, book, entries)) => (Some(log), book, entries),
            None => (None, Book::default(), Vec::new()),
        };
        let journal = log.map(|log| Journal::new(log, book.clone(), &entries, settings.synced)).transpose()?;
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
        let reader = views.board.reader();
        let mut collector = Collector::new(telemetry.clone(), journal.clone(), views, settings.collects);
        collector.recall(&book)?;
        let series = settings.series.unwrap_or(usize::MAX);
        let durable =
            data.zip(journal).map(|(data, journal)| Durable { data, journal, residents: Residents::default(), series });
        let numbers = settings.method.clone();
        let (method, entry) = load(&stages, durable.as_ref(), model, &numbers)?;
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
            numbers,
            shadow: None,
            replayed: entries.len(),
            views: reader,
            swept: AtomicBool::new(false),
            _overflow: overflow,
        };
        let mut left = Vec::new();
        let used = match &mut node.durable {
            Some(durable) => {
                let replayed = replay(&durable.data, book, &entries, &mut node.engine, settings.compute.device)?;
                durable.residents = replayed.residents;
                left = replayed.left;
                replayed.used
            }
            None => BTreeMap::new(),
        };
        // Whoever does the log again from its beginning must let them go where this start did.
        left.iter().try_for_each(|key| node.release(key))?;
        node.shadow = used.get(&Role::Shadow).map(|used| used.method);
        if used.get(&Role::Active).is_none_or(|used| used.method != node.method.digest) {
            node.write(node.engine.next_tick(), Event::Used { role: Role::Active, method: entry })?;
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

    fn write(&self, tick: Tick, event: Event) -> anyhow::Result<()> {
        self.unhurt()?;
        self.durable.as_ref().map_or(Ok(()), |durable| durable.journal.write(tick, vec![event]))
    }

    /// The data folder, if there is one.
    #[must_use]
    pub fn data(&self) -> Option<&DataFolder> {
        self.durable.as_ref().map(|durable| &durable.data)
    }

    /// The series that the graph holds, those first that changed longest ago.
    #[must_use]
    pub fn residents(&self) -> Vec<SeriesKey> {
        self.durable.as_ref().map(|durable| durable.residents.keys().cloned().collect()).unwrap_or_default()
    }

    /// Tells what has failed, if anything has.
    ///
    /// # Errors
    ///
    /// Returns what has failed: the graph, an executor, the log, or the disk under the store.
    pub fn sound(&self) -> anyhow::Result<()> {
        self.unhurt()
    }

    /// What all results say together, as far as the views have come; all of it once [`Node::settle`] has returned.
    #[must_use]
    pub fn views(&self) -> graphs::views::Reader {
        self.views.clone()
    }

    /// Entries of the log that were done again when the node started.
    #[must_use]
    pub fn replayed(&self) -> usize {
        self.replayed
    }

    /// How far the log has followed the inbox.
    #[must_use]
    pub fn followed(&self) -> Followed {
        self.durable.as_ref().map(|durable| durable.journal.followed()).unwrap_or_default()
    }

    /// Entries of the log so far.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.durable.as_ref().map(|durable| durable.journal.entries()).unwrap_or_default()
    }

    /// Waits for all effects, and keeps what the log has come to: the next start reads only what comes behind it, and holds
    /// the series of before as if they had been let go.
    ///
    /// # Errors
    ///
    /// Returns an error that says what has failed, as [`Node::settle`] does, or names the file that cannot be written.
    pub fn keep_book(&self) -> anyhow::Result<()> {
        self.settle()?;
        self.durable.as_ref().map_or(Ok(()), |durable| durable.journal.keep_book(&durable.data))
    }

    /// Lets another model make the results. Old ones stay until new ones replace them.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed or the log cannot be written.
    pub fn activate(&mut self, model: Model) -> anyhow::Result<Tick> {
        let (method, entry) = load(self.stages(), self.durable.as_ref(), model, &self.numbers)?;
        self.write(self.engine.next_tick(), Event::Used { role: Role::Active, method: entry })?;
        self.method = method;
        self.engine.activate(self.method.digest)
    }

    /// Lets a model stand beside the active one, or none. The one that stands there already is not taken for another.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed or the log cannot be written.
    pub fn shadow(&mut self, model: Option<Model>) -> anyhow::Result<()> {
        let loaded = model.map(|model| load(self.stages(), self.durable.as_ref(), model, &self.numbers)).transpose()?;
        let (method, entry) = loaded.unzip();
        let method = method.map(|method| method.digest);
        if method != self.shadow {
            self.write(self.engine.next_tick(), Event::Used { role: Role::Shadow, method: entry.flatten() })?;
            self.shadow = method;
            self.engine.shadow(method)?;
        }
        Ok(())
    }

    /// Where what happens is told.
    #[must_use]
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
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
    numbers: &MethodConfig,
) -> anyhow::Result<(Arc<Method>, Option<MethodEntry>)> {
    let config = numbers.clone().of(model.card());
    let named = Method::new(model.digest(), model.name(), config.clone())?;
    let entry = durable.map(|durable| durable.data.keep_model(&model, &named)).transpose()?;
    Ok((stages.load(model, config)?, entry))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use operators::completeness::{Completeness, Status};
    use operators::event::Metrics;
    use operators::publish::Publication;
    use operators::record::{ModelName, SeriesUid, StudyUid};

    use super::*;
    use crate::collector::Current;
    use crate::data::Log;
    use crate::engine::Output;

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
        let collector = Collector::new(
            telemetry,
            Some(Journal::new(log, Book::default(), &[], false).expect("a journal")),
            views,
            true,
        );
        let (output, outputs) = crossbeam_channel::unbounded();
        let fault = Fault::default();
        let mut collecting = Collecting::start(collector, outputs, fault.clone(), |_: &Current| {}).expect("a thread");
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
