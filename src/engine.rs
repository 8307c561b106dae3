//! The graph in motion: worker threads, lanes of different urgency, a way in for changes and a way out for results.
//!
//! A result is published once its tick is complete, so whatever is slow holds back what came after it. Series that cannot
//! wait therefore have a dataflow of their own, and so do models that only stand beside the active one: three lanes, each
//! the same graph with its own frontier, over one store and one set of executors, which take the most urgent work first.

mod workers;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use crossbeam_channel::{Receiver, Sender};
use graphs::stages::Stages;
use kernels::executor::{Fault, Urgency};
use operators::dicom::Instance;
use operators::event::Telemetry;
use operators::plumbing::{Burst, Door};
use operators::publish::Publication;
use operators::record::{Change, Digest, Rejection, Role, SeriesKey, Tick, Use};
use timely::worker::Worker;

use workers::{Arrivals, Installed, Mute, Progress, WayOut, run};

/// Ticks under way in a lane at most; more wait at the door.
const UNDER_WAY: usize = 96;

/// What enters a lane.
#[derive(Clone, Debug)]
enum Input {
    Change(Change),
    Use(Use),
}

impl Input {
    fn change(self) -> Option<Change> {
        if let Self::Change(change) = self { Some(change) } else { None }
    }

    fn usage(self) -> Option<Use> {
        if let Self::Use(usage) = self { Some(usage) } else { None }
    }
}

/// What comes out of the graph.
#[derive(Clone, Debug)]
pub enum Output {
    /// A result of a series, and when the change arrived that it is the first to hold.
    Published(Publication, Instant),
    /// A refused input, or with -1 one that is taken back.
    Rejected(Rejection, isize),
}

/// One dataflow: its way in and how far it is.
struct Lane {
    records: Sender<Burst<Input>>,
    door: Door,
    progress: Progress,
    under_way: VecDeque<Tick>,
}

/// A running graph. Dropped without [`Engine::finish`], it leaves what is under way and ends its workers all the same.
pub struct Engine {
    lanes: BTreeMap<Urgency, Lane>,
    /// The lane of each series that ever had an instance, by the digest of its key.
    homes: HashMap<Digest, Urgency>,
    uses: BTreeMap<Role, Use>,
    arrivals: Arrivals,
    mute: Mute,
    stages: Stages,
    fault: Fault,
    next: Tick,
    /// Whether the workers are to leave what is under way.
    left: Arc<AtomicBool>,
    workers: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Engine {
    /// Starts `workers` threads, which read with nothing until [`Engine::activate`]; outputs come over the channel that is
    /// returned with the engine. The first tick is `first`.
    ///
    /// # Errors
    ///
    /// Returns an error if the threads cannot be started.
    pub fn start(
        stages: Stages,
        workers: usize,
        telemetry: Telemetry,
        fault: Fault,
        first: Tick,
    ) -> anyhow::Result<(Self, Receiver<Output>)> {
        let (output, outputs) = crossbeam_channel::unbounded();
        let (arrivals, mute) = (Arrivals::default(), Mute::default());
        let (mut lanes, mut installed) = (BTreeMap::new(), Vec::new());
        for urgency in Urgency::ALL {
            let (sender, records) = crossbeam_channel::unbounded();
            let (door, progress) = (Door::default(), Progress::default());
            let stages = stages.with_urgency(urgency);
            installed.push(Installed { urgency, records, door: door.clone(), progress: progress.clone(), stages });
            lanes.insert(urgency, Lane { records: sender, door, progress, under_way: VecDeque::new() });
        }
        let left = Arc::<AtomicBool>::default();
        let run = {
            let (way_out, left) =
                (WayOut { output, arrivals: arrivals.clone(), mute: mute.clone() }, Arc::clone(&left));
            move |worker: &mut Worker| run(worker, &installed, &way_out, &telemetry, &left)
        };
        let workers = std::thread::Builder::new().name("workers".to_owned()).spawn(move || {
            let guards = timely::execute(timely::Config::process(workers), run)
                .map_err(|reason| anyhow!("the workers cannot be started: {reason}"))?;
            let ended: Result<Vec<()>, String> = guards.join().into_iter().collect();
            ended.map(|_| ()).map_err(|reason| anyhow!("a worker failed: {reason}"))
        })?;
        let (homes, uses) = (HashMap::new(), BTreeMap::new());
        let workers = Some(workers);
        Ok((Self { lanes, homes, uses, arrivals, mute, stages, fault, next: first, left, workers }, outputs))
    }

    /// The stages that the graph runs on.
    #[must_use]
    pub fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Lets the results be made by `method`, which is loaded. Those of the method before stay until new ones replace them.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn activate(&mut self, method: Digest) -> anyhow::Result<Tick> {
        self.reuse(Role::Active, Some(method), &[Urgency::Stat, Urgency::Routine])
    }

    /// Lets `method` stand beside the active one, or nothing. Its work never delays that of the active one; once
    /// [`Engine::settle`] returns, activating it costs no work on a device.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn shadow(&mut self, method: Option<Digest>) -> anyhow::Result<Tick> {
        self.reuse(Role::Shadow, method, &[Urgency::Background])
    }

    /// Takes up, at `tick`, what was before the graph was started: the methods in use, series that were let go, and those of
    /// them that come back at once: `held` are all their instances.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn take_up(
        &mut self,
        tick: Tick,
        uses: &BTreeMap<Role, Digest>,
        known: &[Change],
        held: &[Instance],
    ) -> anyhow::Result<Tick> {
        self.skip_to(tick);
        let come = self.hand_in(held, Urgency::Routine);
        let back: BTreeSet<&SeriesKey> = held.iter().map(|instance| &instance.key).collect();
        let back = back.into_iter().map(|key| Change::Returned { key: key.clone() });
        let known: Vec<Change> = known.iter().cloned().chain(come).chain(back).collect();
        let lanes = |role: Role| -> &[Urgency] {
            match role {
                Role::Active => &[Urgency::Stat, Urgency::Routine],
                Role::Shadow => &[Urgency::Background],
            }
        };
        // A lane that never makes a result of a role must not remember one: it would take it back.
        let known_in = |lane: Urgency| {
            let home = |change: &Change| change.key().and_then(|key| self.homes.get(&key.digest()));
            // A series that comes back has its home among those that can wait.
            let there = known.iter().filter(|change| lane != Urgency::Stat || home(change).is_none());
            let known = there.cloned().map(|mut change| {
                if let Change::Remembered { results, .. } = &mut change {
                    results.retain(|(role, _, _)| lanes(*role).contains(&lane));
                }
                (Input::Change(change), 1)
            });
            known.collect::<Vec<_>>()
        };
        let mut updates: Vec<_> = Urgency::ALL.into_iter().map(|lane| (lane, known_in(lane))).collect();
        for (role, method) in uses {
            let by = Use { role: *role, method: *method };
            self.uses.insert(*role, by);
            let theirs = updates.iter_mut().filter(|(lane, _)| lanes(*role).contains(lane));
            theirs.for_each(|(_, updates)| updates.push((Input::Use(by), 1)));
        }
        self.put(&updates)
    }

    fn reuse(&mut self, role: Role, method: Option<Digest>, lanes: &[Urgency]) -> anyhow::Result<Tick> {
        let by = method.map(|method| Use { role, method });
        let before = match by {
            Some(by) => self.uses.insert(role, by),
            None => self.uses.remove(&role),
        };
        let went = before.map(|by| (Input::Use(by), -1));
        let updates: Vec<_> = went.into_iter().chain(by.map(|by| (Input::Use(by), 1))).collect();
        self.put(&lanes.iter().map(|lane| (*lane, updates.clone())).collect::<Vec<_>>())
    }

    /// Lets an instance arrive and returns its tick. Waits while too much is under way. The urgency of a series is that of
    /// the first change that names it.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn arrive(&mut self, instance: &Instance, urgency: Urgency) -> anyhow::Result<Tick> {
        self.arrive_together(std::slice::from_ref(instance), urgency)
    }

    /// Lets instances arrive at one tick.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn arrive_together(&mut self, instances: &[Instance], urgency: Urgency) -> anyhow::Result<Tick> {
        let changes = self.hand_in(instances, urgency);
        self.change(changes)
    }

    /// Lets a series go: what was published and refused of it stays, what it was made of is forgotten.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn release(&mut self, key: &SeriesKey) -> anyhow::Result<Tick> {
        self.mute.lock().insert(self.next);
        self.change(vec![Change::Released { key: key.clone() }])
    }

    /// Forgets series: what was published and refused of them stays, nothing of them is remembered.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn forget<'a>(&mut self, keys: impl IntoIterator<Item = &'a SeriesKey>) -> anyhow::Result<Tick> {
        self.mute.lock().insert(self.next);
        let mut updates = Vec::new();
        for key in keys {
            self.homes.remove(&key.digest());
            updates.push((Input::Change(Change::Forgotten { key: key.clone() }), 1));
        }
        // What was said of a series before its first instance is known everywhere.
        self.put(&Urgency::ALL.map(|lane| (lane, updates.clone())))
    }

    /// Brings a series that was let go back: `instances` are all that it had then.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn bring_back(&mut self, key: &SeriesKey, instances: &[Instance]) -> anyhow::Result<Tick> {
        let mut changes = self.hand_in(instances, Urgency::Routine);
        changes.push(Change::Returned { key: key.clone() });
        self.mute.lock().insert(self.next);
        self.change(changes)
    }

    /// Puts the pixels of instances on the shelf and gives their arrivals.
    fn hand_in(&mut self, instances: &[Instance], urgency: Urgency) -> Vec<Change> {
        let mut changes = Vec::new();
        for instance in instances {
            self.homes.entry(instance.key.digest()).or_insert(urgency.min(Urgency::Routine));
            for frame in &instance.frames {
                // Held until the lane of the series and the background have taken the arrival in.
                self.stages.pixels.hold(frame.slice.digest, 2, self.next);
                self.stages.pixels.put(frame.slice.digest, Arc::new(frame.pixels.clone()));
            }
            changes.push(instance.arrival());
        }
        changes
    }

    /// Sends a change that brings no pixels, and returns its tick. Waits while too much is under way.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn send(&mut self, change: Change) -> anyhow::Result<Tick> {
        self.change(vec![change])
    }

    fn change(&mut self, changes: Vec<Change>) -> anyhow::Result<Tick> {
        let mut lanes: BTreeMap<Urgency, Vec<(Input, isize)>> = BTreeMap::new();
        for change in changes {
            let home = change.key().map(|key| self.homes.get(&key.digest()).copied());
            let to: &[Urgency] = match home {
                Some(Some(Urgency::Stat)) => &[Urgency::Stat, Urgency::Background],
                Some(Some(Urgency::Routine | Urgency::Background)) => &[Urgency::Routine, Urgency::Background],
                // What is said of a series before its first instance must be known wherever that comes to.
                Some(None) => &Urgency::ALL,
                None => &[Urgency::Routine],
            };
            for lane in to {
                lanes.entry(*lane).or_default().push((Input::Change(change.clone()), 1));
            }
        }
        self.put(&lanes.into_iter().collect::<Vec<_>>())
    }

    fn put(&mut self, updates: &[(Urgency, Vec<(Input, isize)>)]) -> anyhow::Result<Tick> {
        let tick = self.next;
        self.next += 1;
        self.arrivals.lock().insert(tick, Instant::now());
        let mut oldest = None;
        for (urgency, updates) in updates {
            let Some(lane) = self.lanes.get_mut(urgency) else { continue };
            lane.records.send((tick, updates.clone())).map_err(|_| anyhow!("the graph has stopped"))?;
            // What only stands beside the results delays nobody.
            if *urgency != Urgency::Background {
                lane.under_way.push_back(tick);
                let passed = lane.progress.passed();
                lane.under_way.retain(|tick| *tick >= passed);
                let excess = lane.under_way.len().checked_sub(UNDER_WAY);
                let waits_for = excess.and_then(|excess| lane.under_way.get(excess)).copied();
                oldest = oldest.or(waits_for.map(|tick| (*urgency, tick)));
            }
        }
        self.pass();
        if let Some((urgency, tick)) = oldest {
            self.wait_for(urgency, tick)?;
        }
        Ok(tick)
    }

    /// The tick that the next change will have.
    #[must_use]
    pub fn next_tick(&self) -> Tick {
        self.next
    }

    /// Gives the next change this tick, if it is later than the one that it would have.
    pub fn skip_to(&mut self, tick: Tick) {
        self.next = self.next.max(tick);
        self.pass();
    }

    /// Lets all lanes know that nothing more comes before the next tick.
    fn pass(&self) {
        for lane in self.lanes.values() {
            lane.door.pass(self.next);
        }
    }

    /// Waits until all that was sent has had its effect on the outputs.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn settle(&self) -> anyhow::Result<()> {
        let Some(last) = self.next.checked_sub(1) else { return Ok(()) };
        Urgency::ALL.into_iter().try_for_each(|urgency| self.wait_for(urgency, last))
    }

    fn wait_for(&self, urgency: Urgency, tick: Tick) -> anyhow::Result<()> {
        let Some(lane) = self.lanes.get(&urgency) else { return Ok(()) };
        while !lane.progress.wait_for(tick) {
            if let Some(message) = self.fault.message() {
                bail!("{message}");
            }
            if self.workers.as_ref().is_none_or(JoinHandle::is_finished) {
                bail!("a worker stopped");
            }
            lane.door.wake();
        }
        Ok(())
    }

    /// Waits for all effects, then ends the workers.
    ///
    /// # Errors
    ///
    /// Returns an error if the graph has failed.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.settle()?;
        self.end()
    }

    /// Ends the inputs and waits for the workers.
    fn end(&mut self) -> anyhow::Result<()> {
        for lane in std::mem::take(&mut self.lanes).into_values() {
            drop(lane.records);
            lane.door.wake();
        }
        let Some(workers) = self.workers.take() else { return Ok(()) };
        workers.join().map_err(|_| anyhow!("the worker threads panicked"))?.context("the graph")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.workers.is_some() {
            self.left.store(true, Ordering::Release);
            self.end().unwrap_or_else(|error| tracing::warn!("{error:#}"));
        }
    }
}
