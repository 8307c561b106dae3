//! A desk: who asks holds a handle outside, and the executor holds the queues inside.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};

use super::floor::Stop;
use super::turn::Standing;
use super::{Limits, Ran, Urgency};

pub(super) type Run<Q, A> = Box<dyn Fn(Vec<Q>) -> Result<Vec<A>, String> + Send + Sync>;
pub(super) type Told = Box<dyn Fn(Ran<'_>) + Send + Sync>;

/// A batch that is ready to run, on whichever thread. Its error is a fault.
pub(super) type Batch = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// A handle to ask one kind of question. The executor's threads end when all handles of all its desks are dropped.
pub struct Desk<Q, A> {
    asked: Sender<Asked<Q, A>>,
    places: [Places; 3],
    stop: Stop,
}

impl<Q, A> Clone for Desk<Q, A> {
    fn clone(&self) -> Self {
        Self { asked: self.asked.clone(), places: self.places.clone(), stop: self.stop.clone() }
    }
}

impl<Q, A> Desk<Q, A> {
    /// Puts a question; `reply` is called with its answer on an executor's thread, or dropped if the work stops.
    ///
    /// # Errors
    ///
    /// Gives the question back if the queue of its urgency is full or the threads have ended.
    pub fn ask(&self, urgency: Urgency, question: Q, reply: impl FnOnce(A) + Send + 'static) -> Result<(), Q> {
        if self.stop.called() {
            return Err(question);
        }
        let Some(place) = self.places[urgency.index()].take() else { return Err(question) };
        let asked = Asked { urgency, at: Instant::now(), question, reply: Box::new(reply), _place: place };
        self.asked.try_send(asked).map_err(|refused| refused.into_inner().question)
    }

    /// Questions that wait in the queues of this desk; those of a batch that has started do not.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.places.iter().map(|places| places.taken.load(Ordering::Relaxed)).sum()
    }
}

struct Asked<Q, A> {
    urgency: Urgency,
    at: Instant,
    question: Q,
    reply: Box<dyn FnOnce(A) + Send>,
    /// Free again once the question runs or is dropped.
    _place: Place,
}

/// The places of one queue, which spans the channel and what the executor has taken out of it to look at.
#[derive(Clone)]
struct Places {
    taken: Arc<AtomicUsize>,
    limit: usize,
}

impl Places {
    fn take(&self) -> Option<Place> {
        let one_more = |taken| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Place(Arc::clone(&self.taken)))
    }
}

struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens a desk: its handle, and its queues.
pub(super) fn open<Q: Send + 'static, A: 'static>(
    name: &'static str,
    limits: Limits,
    stop: Stop,
    run: Run<Q, A>,
    ran: Told,
) -> (Desk<Q, A>, Box<dyn Queues>) {
    // Each question holds a place, so the channel always has room.
    let (asked, questions) = crossbeam_channel::bounded(limits.queue.saturating_mul(Urgency::ALL.len()));
    let places = Urgency::ALL.map(|_| Places { taken: Arc::default(), limit: limits.queue });
    let work = Arc::new(Work { name, run, ran });
    let lines = Lines { work, limits, questions, open: true, waiting: Urgency::ALL.map(|_| VecDeque::new()) };
    (Desk { asked, places, stop }, Box::new(lines))
}

/// The executor's side of a desk, whatever its kind of question.
pub(super) trait Queues: Send {
    /// Takes in what was asked. False when nothing waits and nobody can ask any more.
    fn refill(&mut self) -> bool;
    /// Where its questions stand.
    fn standing(&self) -> Standing;
    /// Wakes `select` when something is asked or the last handle is dropped.
    fn watch<'a>(&'a self, select: &mut Select<'a>);
    /// A batch of what waits: the urgency `lead` first, then the others, the urgent first.
    fn take(&mut self, lead: Urgency) -> Batch;
}

struct Lines<Q, A> {
    work: Arc<Work<Q, A>>,
    limits: Limits,
    questions: Receiver<Asked<Q, A>>,
    /// Whether somebody can ask.
    open: bool,
    waiting: [VecDeque<Asked<Q, A>>; 3],
}

impl<Q, A> Lines<Q, A> {
    fn batch(&self) -> usize {
        self.limits.batch.max(1)
    }

    fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }
}

impl<Q, A> Drop for Lines<Q, A> {
    fn drop(&mut self) {
        // The channel itself keeps them for as long as somebody could ask.
        self.questions.try_iter().for_each(drop);
    }
}

impl<Q: Send + 'static, A: 'static> Queues for Lines<Q, A> {
    fn refill(&mut self) -> bool {
        loop {
            match self.questions.try_recv() {
                Ok(asked) => self.waiting[asked.urgency.index()].push_back(asked),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => {
                    self.open = false;
                    return self.len() > 0;
                }
            }
        }
    }

    fn standing(&self) -> Standing {
        let fronts = self.waiting.each_ref().map(|line| line.front().map(|asked| asked.at));
        let oldest = fronts.iter().flatten().min().copied();
        let no_wait = !self.open || self.len() >= self.batch() || fronts[Urgency::Stat.index()].is_some();
        let due =
            oldest.and_then(|oldest| if no_wait { Some(oldest) } else { oldest.checked_add(self.limits.deadline) });
        Standing { fronts, due }
    }

    fn watch<'a>(&'a self, select: &mut Select<'a>) {
        if self.open {
            select.recv(&self.questions);
        }
    }

    fn take(&mut self, lead: Urgency) -> Batch {
        let mut batch = Vec::new();
        let others = Urgency::ALL.into_iter().filter(|urgency| *urgency != lead);
        for urgency in std::iter::once(lead).chain(others) {
            let room = self.batch() - batch.len();
            let line = &mut self.waiting[urgency.index()];
            batch.extend(line.drain(..room.min(line.len())));
        }
        let work = Arc::clone(&self.work);
        Box::new(move || work.answer(batch))
    }
}

struct Work<Q, A> {
    name: &'static str,
    run: Run<Q, A>,
    ran: Told,
}

impl<Q, A> Work<Q, A> {
    /// Answers a batch; an error or a panic becomes a message that names the desk.
    fn answer(&self, batch: Vec<Asked<Q, A>>) -> Result<(), String> {
        catch_unwind(AssertUnwindSafe(|| self.try_answer(batch)))
            .unwrap_or_else(|panic| Err(format!("panicked: {}", told(&*panic))))
            .map_err(|message| format!("{}: {message}", self.name))
    }

    fn try_answer(&self, batch: Vec<Asked<Q, A>>) -> Result<(), String> {
        let start = Instant::now();
        let waited: Vec<_> =
            batch.iter().map(|asked| (asked.urgency, start.saturating_duration_since(asked.at))).collect();
        let (questions, replies): (Vec<Q>, Vec<_>) =
            batch.into_iter().map(|asked| (asked.question, asked.reply)).unzip();
        let answers = (self.run)(questions)?;
        let duration = start.elapsed();
        if answers.len() != replies.len() {
            return Err(format!("{} answers to {} questions", answers.len(), replies.len()));
        }
        (self.ran)(Ran { questions: replies.len(), duration, waited: &waited });
        replies.into_iter().zip(answers).for_each(|(reply, answer)| reply(answer));
        Ok(())
    }
}

/// What a panic said.
fn told(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}
