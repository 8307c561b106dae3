//! The only file that handles capabilities and frontiers: everything else states what to compute.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use differential_dataflow::{AsCollection, VecCollection};
use kernels::executor::{Desk, Urgency};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;

use crate::event::{StageAsked, Telemetry};
use crate::record::{Digest, Tick};
use crate::store::{Block, Shelf, Want};

/// A collection of the graph: records with their tick and difference.
pub type Collection<'scope, D> = VecCollection<'scope, Tick, D>;

/// Work that a block comes from, named before it is done.
pub trait Task: Clone + Send + 'static {
    /// The name of the block: the digest of all that goes in.
    fn name(&self) -> Digest;
}

/// One stage of device work: who does it, how soon, and where the blocks stand.
pub struct Stage<Q, A> {
    /// The operator's name.
    pub name: &'static str,
    /// Does the work.
    pub desk: Desk<Q, Arc<A>>,
    /// How soon its answers are needed.
    pub urgency: Urgency,
    /// Holds the blocks.
    pub shelf: Shelf<A>,
    /// Hears how many tasks an update costs.
    pub telemetry: Telemetry,
}

impl<Q, A> Stage<Q, A> {
    /// The same stage, for work of another urgency.
    #[must_use]
    pub fn with_urgency(&self, urgency: Urgency) -> Self {
        Self { urgency, ..self.clone() }
    }
}

impl<Q, A> Clone for Stage<Q, A> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            desk: self.desk.clone(),
            urgency: self.urgency,
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
/// not there and what nobody else has asked for: no worker and no other dataflow computes what the shelf holds or
/// expects. Never blocks: what the desk has no room for waits here, and each block wakes the worker.
pub fn furnish<'scope, D, Q, A>(
    records: Collection<'scope, D>,
    stage: Stage<Q, A>,
    needs: impl Fn(&D) -> Vec<Q> + 'static,
) -> Collection<'scope, D>
where
    D: Clone + 'static,
    Q: Task,
    A: Block,
{
    let scope = records.inner.scope();
    let Stage { name, desk, urgency, shelf, telemetry } = stage;
    records
        .inner
        .unary::<CapacityContainerBuilder<Vec<(D, Tick, isize)>>, _, _, _>(Pipeline, name, move |_, info| {
            let retry = scope.activator_for(info.address.clone());
            let waker = scope.worker().sync_activator_for(info.address.to_vec());
            let (arrived, arrivals) = crossbeam_channel::unbounded();
            let mut waiting: BTreeMap<u64, Waiting<D>> = BTreeMap::new();
            let mut wanted: HashMap<Digest, Vec<u64>> = HashMap::new();
            let mut unasked: VecDeque<Q> = VecDeque::new();
            let mut tickets = 0_u64..;
            move |input, output| {
                let mut asked: BTreeMap<Tick, u64> = BTreeMap::new();
                // In the order of arrival: grouped by stamp, a retraction could overtake its insertion and pass without a block.
                input.for_each(|stamp, batch| {
                    let Some(capability) = stamp.retain_least(output.output_index()) else { return };
                    for update in batch.drain(..) {
                        let (record, tick, diff) = &update;
                        let asked = asked.entry(*tick).or_default();
                        let mut missing = Vec::new();
                        for task in needs(record) {
                            let name = task.name();
                            let here = shelf.hold(name, *diff, *tick);
                            // A retraction too waits for a block that its insertion waits for: both leave with it there.
                            if let Entry::Vacant(wanted) = wanted.entry(name) {
                                if here || *diff < 0 {
                                    continue;
                                }
                                let (arrived, waker) = (arrived.clone(), waker.clone());
                                let want = shelf.want(name, move || {
                                    // Both fail only when the dataflow has been dropped: nobody is left to tell.
                                    arrived.send(name).ok();
                                    waker.activate().ok();
                                });
                                match want {
                                    Want::Here => continue,
                                    Want::Asked => {}
                                    Want::Ask => {
                                        *asked += 1;
                                        unasked.push_back(task);
                                    }
                                }
                                wanted.insert(Vec::new());
                            }
                            missing.push(name);
                        }
                        if missing.is_empty() {
                            output.session(&capability).give(update);
                            continue;
                        }
                        let Some(ticket) = tickets.next() else { return };
                        let count = missing.len();
                        for name in missing {
                            wanted.entry(name).or_default().push(ticket);
                        }
                        waiting.insert(ticket, Waiting { capability: capability.clone(), update, missing: count });
                    }
                });
                for name in arrivals.try_iter() {
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
                while let Some(task) = unasked.pop_front() {
                    let (name, shelf) = (task.name(), shelf.clone());
                    if let Err(task) = desk.ask(urgency, task, move |block| shelf.put(name, block)) {
                        unasked.push_front(task);
                        retry.activate_after(Duration::from_millis(1));
                        break;
                    }
                }
                for tasks in asked.into_values() {
                    telemetry.emit(StageAsked { stage: name, tasks });
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

/// The way into a dataflow from other threads: what its [`source`] hears of beside the records.
#[derive(Clone, Default)]
pub struct Door(Arc<Behind>);

#[derive(Default)]
struct Behind {
    activator: Mutex<Option<SyncActivator>>,
    passed: AtomicU64,
}

impl Door {
    /// Wakes the worker, if it has installed its source.
    pub fn wake(&self) {
        if let Some(activator) = self.0.activator.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // It fails only when the dataflow has been dropped: nobody is left to wake.
            activator.activate().ok();
        }
    }

    /// Says that no record below `tick` will be sent any more. Say so after the last of them was sent.
    pub fn pass(&self, tick: Tick) {
        self.0.passed.fetch_max(tick, Ordering::Release);
        self.wake();
    }

    fn passed(&self) -> Tick {
        self.0.passed.load(Ordering::Acquire)
    }
}

/// What happens at one tick.
pub type Burst<D> = (Tick, Vec<(D, isize)>);

/// A collection of what comes over `records`, whose ticks must increase. `None` on the workers that hear nothing. The
/// dataflow ends when the channel's senders are dropped.
pub fn source<'scope, D: Clone + 'static>(
    scope: Scope<'scope, Tick>,
    name: &str,
    records: Option<Receiver<Burst<D>>>,
    door: &Door,
) -> Collection<'scope, D> {
    /// Ticks that one call takes, so that the rest of the worker gets its turn.
    const AT_ONCE: usize = 64;
    timely::dataflow::operators::generic::operator::source::<_, CapacityContainerBuilder<Vec<(D, Tick, isize)>>, _, _>(
        scope,
        name,
        |capability, info| {
            let activator = scope.activator_for(info.address.clone());
            let mut live = records.map(|records| {
                let awake = scope.worker().sync_activator_for(info.address.to_vec());
                *door.0.activator.lock().unwrap_or_else(PoisonError::into_inner) = Some(awake);
                (records, door.clone(), capability)
            });
            move |output| {
                let Some((records, door, capability)) = live.as_mut() else { return };
                // Read before the channel: what was sent before the door was passed is in it.
                let passed = door.passed();
                for _ in 0..AT_ONCE {
                    match records.try_recv() {
                        Ok((tick, updates)) => {
                            capability.downgrade(&tick);
                            let updates = updates.into_iter().map(|(record, diff)| (record, tick, diff));
                            output.session(&*capability).give_iterator(updates);
                            capability.downgrade(&(tick + 1));
                        }
                        Err(TryRecvError::Empty) => {
                            if passed > *capability.time() {
                                capability.downgrade(&passed);
                            }
                            return;
                        }
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use kernels::executor::{Builder, Fault, Limits};
    use prometheus::Registry;
    use timely::dataflow::operators::generic::OutputBuilderSession;
    use timely::dataflow::operators::generic::operator::source;

    use super::*;
    use crate::event::Metrics;

    type Updates = CapacityContainerBuilder<Vec<(u64, Tick, isize)>>;

    #[derive(Clone)]
    struct Number(u64);

    impl Task for Number {
        fn name(&self) -> Digest {
            Digest::of(&self.0.to_le_bytes())
        }
    }

    #[test]
    fn no_retraction_overtakes_its_insertion_and_passes_without_the_block() {
        let mut executor = Builder::new("test");
        let limits = Limits { queue: 8, batch: 4, deadline: Duration::ZERO };
        let answer = |tasks: Vec<Number>| Ok::<_, String>(tasks.iter().map(|_| Arc::new(vec![1.0_f32])).collect());
        let desk = executor.desk("Test", limits, answer, |_| {});
        executor.start(NonZeroUsize::MIN, Fault::default()).expect("a thread");
        let telemetry = Telemetry::new(Metrics::register(&Registry::new()).expect("a fresh registry"));
        let shelf = Shelf::<Vec<f32>>::default();
        let stage = Stage { name: "Test", desk, urgency: Urgency::Routine, shelf: shelf.clone(), telemetry };
        let (passed, seen) = crossbeam_channel::unbounded();
        timely::execute_directly(move |worker| {
            worker.dataflow::<Tick, _, _>(|scope| {
                let builder = |early: Capability<Tick>, _| {
                    let mut capabilities = Some((early.delayed(&1), early));
                    move |output: &mut OutputBuilderSession<'_, Tick, Updates>| {
                        let Some((late, early)) = capabilities.take() else { return };
                        // Messages of two stamps by turns, so that to group them by stamp is to move them.
                        for number in 0..500 {
                            output.session(&early).give((number, 2, 1));
                            output.session(&late).give((1000 + number, 2, 1));
                            output.session(&early).give((number, 3, -1));
                            output.session(&late).give((1000 + number, 3, -1));
                        }
                    }
                };
                let updates = source(scope, "Updates", builder).as_collection();
                let needs = |number: &u64| vec![Number(*number)];
                furnish(updates, stage, needs).inspect(move |(number, _, _)| {
                    passed.send(shelf.get(&Number(*number).name()).is_some()).expect("the test listens");
                });
            });
        });
        let seen: Vec<bool> = seen.iter().collect();
        assert_eq!(seen, vec![true; 2000]);
    }
}
