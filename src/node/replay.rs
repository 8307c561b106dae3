//! A replay: what a data folder holds, done again by a graph that has just started.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, bail};
use kernels::Device;
use kernels::executor::Urgency;
use operators::record::{Change, Role, SeriesKey, Tick};

use crate::book::{Book, Kept};
use crate::data::{DataFolder, Entry, Event, Loader, MethodEntry};
use crate::engine::Engine;
use crate::residents::Residents;

/// What a replay leaves.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// The methods in use.
    pub(crate) used: BTreeMap<Role, MethodEntry>,
    /// The series that the graph holds, and those that were let go.
    pub(crate) residents: Residents,
    /// The series that were held when the book was kept, and are not any more.
    pub(crate) left: Vec<SeriesKey>,
}

/// Takes up what `book` says, and does again what `entries` say, each at its own tick.
///
/// # Errors
///
/// Returns an error that names the tick whose payload or model cannot be used, or says that the graph has failed.
pub(crate) fn replay(
    data: &DataFolder,
    book: Book,
    entries: &[Entry],
    engine: &mut Engine,
    device: Device,
) -> anyhow::Result<Replayed> {
    let loader = Loader::of(data.payloads());
    let mut again = Again { data, engine, device, loader, book, replayed: Replayed::default() };
    let changed = entries.iter().filter_map(|entry| match &entry.event {
        Event::Changed { change, .. } => change.key(),
        Event::Used { .. } | Event::Published(_) | Event::Forgotten { .. } => None,
    });
    again.take_up(&changed.collect()).context("the snapshot")?;
    for entry in entries {
        again.happen(entry).with_context(|| format!("the log at tick {}", entry.tick))?;
    }
    again.replayed.left.retain(|key| again.replayed.residents.is_away(key));
    Ok(again.replayed)
}

/// A replay.
struct Again<'a> {
    data: &'a DataFolder,
    engine: &'a mut Engine,
    device: Device,
    loader: Loader,
    /// What the log has come to so far.
    book: Book,
    replayed: Replayed,
}

impl Again<'_> {
    /// Takes up what the book says: every series as if it had been let go, but those that it held and that are `touched` next.
    fn take_up(&mut self, touched: &HashSet<&SeriesKey>) -> anyhow::Result<()> {
        let Some(tick) = self.book.next.checked_sub(1) else { return Ok(()) };
        let (mut uses, mut known) = (BTreeMap::new(), Vec::new());
        for (role, method) in &self.book.used {
            let (model, config) = self.data.model(method, self.device)?;
            self.engine.stages().load(model, config)?;
            uses.insert(*role, method.method);
        }
        let mut held = Vec::new();
        for key in self.book.keys() {
            let series = self.book.series(key)?;
            // What changes it next was not preceded by its coming back.
            if !series.away && touched.contains(key) {
                let kept: Vec<Kept> = series.present.values().cloned().collect();
                held.extend(self.loader.all(&kept)?);
                self.replayed.residents.hold(key, tick);
            } else {
                self.replayed.residents.leave(key);
            }
            let results = series.results.into_iter().map(|(role, result)| (role, result.version, result.method));
            known.push(Change::Remembered { key: key.clone(), results: results.collect() });
            known.extend(series.signs.into_iter().map(|sign| Change::Signed { key: key.clone(), sign }));
        }
        self.replayed.used = self.book.used.clone();
        self.replayed.left = self.book.residents()?;
        self.engine.take_up(tick, &uses, &known, &held)?;
        Ok(())
    }

    fn happen(&mut self, entry: &Entry) -> anyhow::Result<()> {
        self.again(entry)?;
        self.book.apply(entry)
    }

    fn again(&mut self, entry: &Entry) -> anyhow::Result<()> {
        match &entry.event {
            Event::Changed { change, payload, stat, .. } => {
                if self.come_back(change, entry.tick)? {
                    self.engine.skip_to(entry.tick);
                    self.change(change, payload.as_deref(), *stat)?;
                    self.replayed.residents.note(change, entry.tick);
                } else {
                    // Its tick is taken all the same.
                    self.engine.skip_to(entry.tick + 1);
                }
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
                match method {
                    Some(method) => self.replayed.used.insert(*role, method.clone()),
                    None => self.replayed.used.remove(role),
                };
            }
            Event::Published(_) => {}
            // What was forgotten is not in the log; nothing that comes later has a tick of before.
            Event::Forgotten { .. } => self.engine.skip_to(entry.tick + 1),
        }
        Ok(())
    }

    /// Brings the series of a change back, if it was let go, at the tick before. Says whether the change changes anything.
    fn come_back(&mut self, change: &Change, tick: Tick) -> anyhow::Result<bool> {
        let Some(key) = change.key().filter(|key| self.replayed.residents.is_away(key)) else { return Ok(true) };
        let Some(back) = self.book.series(key)?.comeback(change) else { return Ok(false) };
        let instances = self.loader.all(&back)?;
        if !instances.is_empty() {
            self.engine.skip_to(tick.saturating_sub(1));
            self.engine.bring_back(key, &instances)?;
        }
        Ok(true)
    }

    fn change(&mut self, change: &Change, payload: Option<&str>, stat: bool) -> anyhow::Result<Tick> {
        match (change, payload) {
            (Change::Arrived { .. }, Some(payload)) => {
                let instance = self.loader.instance(payload, change)?;
                self.engine.arrive(&instance, if stat { Urgency::Stat } else { Urgency::Routine })
            }
            (Change::Released { key }, _) => self.engine.release(key),
            (change, _) => self.engine.send(change.clone()),
        }
    }
}
