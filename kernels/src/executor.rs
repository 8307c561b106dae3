//! The thread that a device's work runs on: a bounded queue in front, batches formed under a deadline.
//!
//! Who asks never blocks: a full queue gives the question back. Batches form across whoever asks, because one launch
//! over eight slices costs less than eight launches.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

/// How questions queue and how batches form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Questions that wait at most; more are given back.
    pub queue: usize,
    /// Questions that run at once at most.
    pub batch: usize,
    /// How long the first question of a batch waits for company.
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ran {
    /// Questions in the batch.
    pub questions: usize,
    /// Time that they took.
    pub duration: Duration,
}

struct Asked<Q, A> {
    question: Q,
    reply: Box<dyn FnOnce(A) + Send>,
}

/// A handle to an executor thread. The thread ends when its last handle is dropped.
pub struct Executor<Q, A> {
    queue: Sender<Asked<Q, A>>,
}

impl<Q, A> Clone for Executor<Q, A> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<Q: Send + 'static, A: Send + 'static> Executor<Q, A> {
    /// Starts a thread named `name` that answers batches with `run` and tells `ran` of each.
    ///
    /// `run` gives one answer for each question, in order. Its error ends the thread and is reported to `fault`.
    ///
    /// # Errors
    ///
    /// Returns the system's error if no thread can be started.
    pub fn start<E: std::fmt::Display>(
        name: &str,
        limits: Limits,
        fault: Fault,
        mut run: impl FnMut(Vec<Q>) -> Result<Vec<A>, E> + Send + 'static,
        mut ran: impl FnMut(Ran) + Send + 'static,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, asked) = crossbeam_channel::bounded(limits.queue);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn({
            let name = name.to_owned();
            move || {
                while let Some(batch) = collect(&asked, limits) {
                    let (questions, replies): (Vec<Q>, Vec<_>) =
                        batch.into_iter().map(|asked: Asked<Q, A>| (asked.question, asked.reply)).unzip();
                    let count = questions.len();
                    let start = Instant::now();
                    match run(questions) {
                        Ok(answers) if answers.len() == count => {
                            ran(Ran { questions: count, duration: start.elapsed() });
                            replies.into_iter().zip(answers).for_each(|(reply, answer)| reply(answer));
                        }
                        Ok(answers) => {
                            return fault.report(format!("{name}: {} answers to {count} questions", answers.len()));
                        }
                        Err(error) => return fault.report(format!("{name}: {error}")),
                    }
                }
            }
        })?;
        Ok((Self { queue }, thread))
    }

    /// Puts a question; `reply` is called with its answer on the executor's thread.
    ///
    /// # Errors
    ///
    /// Gives the question back if the queue is full or the thread has ended.
    pub fn ask(&self, question: Q, reply: impl FnOnce(A) + Send + 'static) -> Result<(), Q> {
        self.queue.try_send(Asked { question, reply: Box::new(reply) }).map_err(|error| match error {
            TrySendError::Full(asked) | TrySendError::Disconnected(asked) => asked.question,
        })
    }
}

/// Waits for a first question, then for company until the batch is full or the deadline has passed. `None` when nobody
/// can ask any more.
fn collect<Q, A>(asked: &Receiver<Asked<Q, A>>, limits: Limits) -> Option<Vec<Asked<Q, A>>> {
    let mut batch = vec![asked.recv().ok()?];
    let deadline = Instant::now() + limits.deadline;
    while batch.len() < limits.batch {
        match asked.recv_deadline(deadline) {
            Ok(next) => batch.push(next),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { queue: 4, batch: 3, deadline: Duration::from_millis(1) };

    #[test]
    fn answers_every_question_in_batches_within_the_limit() {
        let (batches, sizes) = crossbeam_channel::unbounded();
        let (executor, thread) = Executor::start(
            "double",
            LIMITS,
            Fault::default(),
            |questions: Vec<u32>| Ok::<_, String>(questions.into_iter().map(|n| 2 * n).collect()),
            move |ran| batches.send(ran.questions).expect("the test listens"),
        )
        .expect("a thread");
        let (answer_to, answers) = crossbeam_channel::unbounded();
        for n in 0..100 {
            let mut question = n;
            loop {
                let answer_to = answer_to.clone();
                match executor.ask(question, move |a| answer_to.send((n, a)).expect("the test listens")) {
                    Ok(()) => break,
                    Err(back) => question = back,
                }
                std::thread::yield_now();
            }
        }
        drop((executor, answer_to));
        assert!(answers.iter().take(100).all(|(n, a)| a == 2 * n));
        thread.join().expect("a clean end");
        let sizes: Vec<usize> = sizes.iter().collect();
        assert!(sizes.iter().all(|size| (1..=3).contains(size)) && sizes.iter().sum::<usize>() == 100);
    }

    #[test]
    fn a_full_queue_gives_the_question_back_and_a_failure_is_reported() {
        let (release, held) = crossbeam_channel::bounded::<()>(0);
        let fault = Fault::default();
        let (executor, thread) = Executor::start(
            "stuck",
            Limits { queue: 1, batch: 1, deadline: Duration::ZERO },
            fault.clone(),
            move |_: Vec<u32>| {
                held.recv().ok();
                Err::<Vec<u32>, _>("the device is lost")
            },
            |_| {},
        )
        .expect("a thread");
        let refused = (0..10).filter_map(|n| executor.ask(n, |_| {}).err()).count();
        assert!(refused >= 8, "one runs, one waits, {refused} came back");
        drop(release);
        thread.join().expect("a clean end");
        assert_eq!(fault.message(), Some("stuck: the device is lost"));
        assert_eq!(executor.ask(7, |_| {}), Err(7));
    }
}
