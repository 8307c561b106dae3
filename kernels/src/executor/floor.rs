//! The threads: each takes its turn on the floor, where one at a time chooses what runs next.

use std::time::Instant;

use crossbeam_channel::{Receiver, Select, Sender};

use super::Fault;
use super::desk::{Batch, Queues};
use super::turn::{Turn, Turns};

/// Whether the work has stopped for good. A message that nobody takes, so that a [`Select`] wakes all who look.
#[derive(Clone)]
pub(super) struct Stop {
    call: Sender<()>,
    called: Receiver<()>,
}

impl Stop {
    pub(super) fn new() -> Self {
        let (call, called) = crossbeam_channel::bounded(1);
        Self { call, called }
    }

    pub(super) fn call(&self) {
        // It fails only when the work has stopped already.
        self.call.try_send(()).ok();
    }

    pub(super) fn called(&self) -> bool {
        !self.called.is_empty()
    }
}

/// A thread's place: the way to the floor, and whom to tell when something fails.
#[derive(Clone)]
pub(super) struct Seat {
    pass: Sender<Floor>,
    floor: Receiver<Floor>,
    stop: Stop,
    fault: Fault,
}

impl Seat {
    pub(super) fn new(stop: Stop, fault: Fault) -> Self {
        let (pass, floor) = crossbeam_channel::bounded(1);
        Self { pass, floor, stop, fault }
    }

    /// Opens the floor to the threads; one that is not `complete` ends at once.
    pub(super) fn open(self, desks: Vec<Box<dyn Queues>>, complete: bool) {
        if !complete {
            self.stop.call();
        }
        self.pass_on(Floor { desks, turns: Turns::default(), stop: self.stop.clone() });
    }

    /// What a thread does until the end: it waits for the floor, chooses a batch, passes the floor on, runs the batch.
    pub(super) fn take_turns(&self) {
        while let Ok(mut floor) = self.floor.recv() {
            let batch = floor.next_batch();
            self.pass_on(floor);
            let Some(batch) = batch else { return };
            if let Err(message) = batch() {
                self.stop.call();
                return self.fault.report(message);
            }
        }
    }

    fn pass_on(&self, floor: Floor) {
        // The channel has room, as there is one floor, and a receiver, as this seat is one.
        self.pass.send(floor).ok();
    }
}

/// The desks from within. One thread at a time has the floor: it alone looks at the queues and waits for questions, so
/// that no two threads compete for a question or for company.
struct Floor {
    desks: Vec<Box<dyn Queues>>,
    turns: Turns,
    stop: Stop,
}

impl Floor {
    /// Blocks until a batch is to run. `None` when no desk is left: nobody can ask any more, or the work has stopped.
    fn next_batch(&mut self) -> Option<Batch> {
        loop {
            if self.stop.called() {
                self.desks.clear();
            }
            self.desks.retain_mut(|desk| desk.refill());
            if self.desks.is_empty() {
                return None;
            }
            let standings: Vec<_> = self.desks.iter().map(|desk| desk.standing()).collect();
            match self.turns.next(&standings, Instant::now()) {
                Turn::Lead { desk, urgency } => return self.desks.get_mut(desk).map(|desk| desk.take(urgency)),
                Turn::Wait { until } => self.wait(until),
            }
        }
    }

    /// Blocks until a question comes, a desk's last handle is dropped, the work stops, or `until` has come.
    fn wait(&self, until: Option<Instant>) {
        let mut select = Select::new();
        select.recv(&self.stop.called);
        self.desks.iter().for_each(|desk| desk.watch(&mut select));
        match until {
            // Whether it woke or timed out, the caller looks again.
            Some(until) => {
                select.ready_deadline(until).ok();
            }
            None => {
                select.ready();
            }
        }
    }
}
