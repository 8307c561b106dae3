//! The only file that handles capabilities and frontiers: everything else states what to compute.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use differential_dataflow::{AsCollection, VecCollection};
use kernels::executor::Executor;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;

use crate::event::{StageAsked, Telemetry};
use crate::record::{Digest, Tick};
use crate::store::Shelf;

/// A collection of the graph: records with their tick and difference.
pub type Collection<'scope, D> = VecCollection<'scope, Tick, D>;

/// Work that a block comes from, named before it is done.
pub trait Task: Clone + Send + 'static {
    /// The name of the block: the digest of all that goes in.
    fn name(&self) -> Digest;
}

/// One stage of device work: who does it and where the blocks stand.
pub struct Stage<Q, A> {
    /// The operator's name.
    pub name: &'static str,
    /// Does the work.
    pub executor: Executor<Q, Arc<A>>,
    /// Holds the blocks.
    pub shelf: Shelf<A>,
    /// Hears how many tasks an update costs.
    pub telemetry: Telemetry,
}

impl<Q, A> Clone for Stage<Q, A> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            executor: self.executor.clone(),
            shelf: self.shelf.clone(),
            telemetry: self.telemetry.clone(),
        }
    }
}

struct Waiting<D> {
    capability: Capability<Tick>,
    update: (D, Tick, isize),
    missing: usize,
}

/// Passes each record on, at its own tick, once the blocks that it `needs` stand on the stage's shelf. Asks for what is
/// not there, once for each name. Never blocks: what the executor has no room for waits here, and each answer wakes the
/// worker.
pub fn furnish<'scope, D, Q, A>(
    records: Collection<'scope, D>,
    stage: Stage<Q, A>,
    needs: impl Fn(&D) -> Vec<Q> + 'static,
) -> Collection<'scope, D>
where
    D: Clone + 'static,
    Q: Task,
    A: Send + Sync + 'static,
{
    let scope = records.inner.scope();
    let Stage { name, executor, shelf, telemetry } = stage;
    records
        .inner
        .unary::<CapacityContainerBuilder<Vec<(D, Tick, isize)>>, _, _, _>(Pipeline, name, move |_, info| {
            let retry = scope.activator_for(info.address.clone());
            let waker = scope.worker().sync_activator_for(info.address.to_vec());
            let (answer_to, answers) = crossbeam_channel::unbounded();
            let mut waiting: BTreeMap<u64, Waiting<D>> = BTreeMap::new();
            let mut wanted: HashMap<Digest, Vec<u64>> = HashMap::new();
            let mut unasked: VecDeque<Q> = VecDeque::new();
            let mut tickets = 0_u64..;
            move |input, output| {
                input.for_each_stamp(|stamp, batches| {
                    let Some(capability) = stamp.retain_least(output.output_index()) else { return };
                    for update in batches.flat_map(|batch| batch.drain(..)) {
                        let (record, tick, diff) = &update;
                        let mut missing = Vec::new();
                        for task in needs(record) {
                            let here = shelf.hold(task.name(), *diff, *tick);
                            // A retraction waits for a block that its insertion waits for: both leave with the block there.
                            if !here && (*diff > 0 || wanted.contains_key(&task.name())) {
                                missing.push(task);
                            }
                        }
                        if missing.is_empty() {
                            output.session(&capability).give(update);
                            continue;
                        }
                        let Some(ticket) = tickets.next() else { return };
                        let count = missing.len();
                        for task in missing {
                            let askers = wanted.entry(task.name()).or_default();
                            if askers.is_empty() {
                                unasked.push_back(task);
                            }
                            askers.push(ticket);
                        }
                        waiting.insert(ticket, Waiting { capability: capability.clone(), update, missing: count });
                    }
                });
                for (name, block) in answers.try_iter() {
                    shelf.put(name, block);
                    for ticket in wanted.remove(&name).unwrap_or_default() {
                        let Some(held) = waiting.get_mut(&ticket) else { continue };
                        held.missing -= 1;
                        if held.missing == 0
                            && let Some(Waiting { capability, update, .. }) = waiting.remove(&ticket)
                        {
                            output.session(&capability).give(update);
                        }
                    }
                }
                let mut asked = 0;
                while let Some(task) = unasked.pop_front() {
                    let (name, answer_to, waker) = (task.name(), answer_to.clone(), waker.clone());
                    let reply = move |answer| {
                        // Both fail only when the dataflow has been dropped: nobody is left to tell.
                        answer_to.send((name, answer)).ok();
                        waker.activate().ok();
                    };
                    if let Err(task) = executor.ask(task, reply) {
                        unasked.push_front(task);
                        retry.activate_after(Duration::from_millis(1));
                        break;
                    }
                    asked += 1;
                }
                if asked > 0 {
                    telemetry.emit(StageAsked { stage: name, tasks: asked });
                }
            }
        })
        .as_collection()
}

/// The updates of a tick that is not complete, and the right to answer at it.
type Held<D> = (Capability<Tick>, Vec<(D, isize)>);

/// Hands the updates of each tick to `settle`, in tick order, once no further update of that tick can come; what it
/// returns is emitted at that tick. Records are brought to the worker that `route` says.
pub fn settle<'scope, D, E, S>(
    records: Collection<'scope, D>,
    name: &str,
    route: impl Fn(&D) -> u64 + 'static,
    mut settle: S,
) -> StreamVec<'scope, Tick, E>
where
    D: timely::ExchangeData,
    E: Clone + 'static,
    S: FnMut(Tick, Vec<(D, isize)>) -> Vec<E> + 'static,
{
    let by_route = Exchange::new(move |(record, _, _): &(D, Tick, isize)| route(record));
    records.inner.unary_frontier::<CapacityContainerBuilder<Vec<E>>, _, _, _>(by_route, name, move |_, _| {
        let mut held: BTreeMap<Tick, Held<D>> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each_stamp(|stamp, batches| {
                let Some(capability) = stamp.retain_least(output.output_index()) else { return };
                for (record, tick, diff) in batches.flat_map(|batch| batch.drain(..)) {
                    let (_, updates) = held.entry(tick).or_insert_with(|| (capability.delayed(&tick), Vec::new()));
                    updates.push((record, diff));
                }
            });
            while let Some(first) = held.first_entry()
                && !frontier.less_equal(first.key())
            {
                let (tick, (capability, updates)) = first.remove_entry();
                output.session(&capability).give_iterator(settle(tick, updates).into_iter());
            }
        }
    })
}

/// Wakes the worker that a [`source`] runs on, from any thread.
#[derive(Clone, Default)]
pub struct Waker(Arc<Mutex<Option<SyncActivator>>>);

impl Waker {
    /// Wakes the worker, if it has installed its source.
    pub fn wake(&self) {
        if let Some(activator) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // It fails only when the dataflow has been dropped: nobody is left to wake.
            activator.activate().ok();
        }
    }
}

/// A collection of what comes over `records`, whose ticks must increase. `None` on the workers that hear nothing. The
/// dataflow ends when the channel's senders are dropped.
pub fn source<'scope, D: Clone + 'static>(
    scope: Scope<'scope, Tick>,
    name: &str,
    records: Option<Receiver<(Tick, D)>>,
    waker: &Waker,
) -> Collection<'scope, D> {
    /// Records that one call takes, so that the rest of the worker gets its turn.
    const BURST: usize = 64;
    timely::dataflow::operators::generic::operator::source::<_, CapacityContainerBuilder<Vec<(D, Tick, isize)>>, _, _>(
        scope,
        name,
        |capability, info| {
            let activator = scope.activator_for(info.address.clone());
            let mut live = records.map(|records| {
                let awake = scope.worker().sync_activator_for(info.address.to_vec());
                *waker.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(awake);
                (records, capability)
            });
            move |output| {
                let Some((records, capability)) = live.as_mut() else { return };
                for _ in 0..BURST {
                    match records.try_recv() {
                        Ok((tick, record)) => {
                            capability.downgrade(&tick);
                            output.session(&*capability).give((record, tick, 1));
                            capability.downgrade(&(tick + 1));
                        }
                        Err(TryRecvError::Empty) => return,
                        Err(TryRecvError::Disconnected) => {
                            live = None;
                            return;
                        }
                    }
                }
                activator.activate();
            }
        },
    )
    .as_collection()
}
