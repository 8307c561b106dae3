//! One executor for a device: several kinds of work, the urgent first, in batches that a deadline bounds.
//!
//! Each kind of work has a [`Desk`]. Who asks never blocks: a full queue gives the question back. Batches form across
//! whoever asks, because one launch over eight slices costs less than eight launches.
//!
//! **Whose turn it is.** The most urgent question that waits anywhere leads; among equals the oldest one, whichever desk
//! it waits at, so that the first steps of a method cannot starve the last. Its batch holds questions of its desk only:
//! those of its urgency first, then the others, the urgent first, up to [`Limits::batch`].
//!
//! **Company.** A batch runs once its desk has [`Limits::batch`] questions, or nobody can ask there any more, or the
//! desk's oldest question has waited for [`Limits::deadline`]. Until then it stays in its queue: what is as urgent and
//! ready runs meanwhile, and what comes in more urgent ends the wait and goes first. What is less urgent does not run
//! meanwhile, so deadlines are to be short beside a batch. A [`Urgency::Stat`] question waits for no company.
//!
//! **Nobody starves.** A class that waits while [`PATIENCE`] batches of others pass, for each step between it and the most
//! urgent that waits, leads one batch, of its oldest question's desk and without company's wait. Routine work so waits for
//! at most `PATIENCE + 1` batches and background work for at most `2 * PATIENCE + 1`. Stat gives way only to what
//! [`PATIENCE`] batches have passed, all of stat questions but for one of the background, which was held up as well.
//!
//! **The end.** The threads end when all handles of all desks are dropped and what waited is answered. An error, a panic
//! or a wrong number of answers is reported as a [`Fault`] that names the desk; then all threads stop, what waits is
//! dropped with its replies, and every later question is given back.

mod desk;
mod floor;
#[cfg(test)]
mod laws;
mod turn;

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::desk::Desk;
use self::desk::Queues;
use self::floor::{Seat, Stop};
pub use self::turn::PATIENCE;

/// How soon an answer is needed. Ordered: the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// A life may depend on it: before all else, and without a wait for company.
    Stat,
    /// The daily work.
    Routine,
    /// What nobody waits for, as a shadow model's answers.
    Background,
}

impl Urgency {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Stat, Self::Routine, Self::Background];

    /// The word for it in metrics and results.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Routine => "routine",
            Self::Background => "background",
        }
    }

    /// The place in [`Urgency::ALL`].
    const fn index(self) -> usize {
        match self {
            Self::Stat => 0,
            Self::Routine => 1,
            Self::Background => 2,
        }
    }
}

/// How questions queue at a desk and how its batches form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Questions that wait at most, of each urgency; more are given back.
    pub queue: usize,
    /// Questions that run at once at most; 0 is taken for 1.
    pub batch: usize,
    /// How long a desk's oldest question waits for company at most.
    pub deadline: Duration,
}

/// Why work stopped for good: the first failure of a device, for whoever supervises the node.
#[derive(Clone, Debug, Default)]
pub struct Fault(Arc<OnceLock<String>>);

impl Fault {
    /// What failed, if anything did.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Reports a failure; the first one is kept.
    pub fn report(&self, message: impl Into<String>) {
        self.0.get_or_init(|| message.into());
    }
}

/// One finished batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran<'a> {
    /// Questions in the batch.
    pub questions: usize,
    /// Time that they took to answer.
    pub duration: Duration,
    /// For each question, in the batch's order: its urgency, and its time from ask to start of the batch.
    pub waited: &'a [(Urgency, Duration)],
}

/// An executor that has not started: desks are opened here.
pub struct Builder {
    name: String,
    desks: Vec<Box<dyn Queues>>,
    stop: Stop,
}

impl Builder {
    /// An executor without desks, whose threads will be called `name` and a number.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), desks: Vec::new(), stop: Stop::new() }
    }

    /// Opens a desk for one kind of question. It may be asked before the threads start.
    ///
    /// `run` gives one answer for each question, in order, and may be called by several threads at once; its error stops
    /// the executor. `ran` is told of each batch before its answers go out.
    pub fn desk<Q, A, E>(
        &mut self,
        name: &'static str,
        limits: Limits,
        run: impl Fn(Vec<Q>) -> Result<Vec<A>, E> + Send + Sync + 'static,
        ran: impl Fn(Ran<'_>) + Send + Sync + 'static,
    ) -> Desk<Q, A>
    where
        Q: Send + 'static,
        A: 'static,
        E: std::fmt::Display,
    {
        let run = move |questions| run(questions).map_err(|error| error.to_string());
        let (desk, queues) = desk::open(name, limits, self.stop.clone(), Box::new(run), Box::new(ran));
        self.desks.push(queues);
        desk
    }

    /// Starts the threads. What fails later is reported to `fault`.
    ///
    /// # Errors
    ///
    /// Returns the system's error if a thread cannot be started; those that were started end.
    pub fn start(self, threads: NonZeroUsize, fault: Fault) -> std::io::Result<Vec<JoinHandle<()>>> {
        let Self { name, desks, stop } = self;
        let seat = Seat::new(stop, fault);
        let spawn = |number| {
            let seat = seat.clone();
            std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || seat.take_turns())
        };
        let started: std::io::Result<Vec<_>> = (1..=threads.get()).map(spawn).collect();
        seat.open(desks, started.is_ok());
        started
    }
}
