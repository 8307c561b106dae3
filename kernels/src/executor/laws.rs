//! The laws of the executor, through its handles alone. Where order matters, a gate holds each batch.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, unbounded};
use proptest::prelude::*;

use super::*;

const ONE: NonZeroUsize = NonZeroUsize::MIN;
const NEVER: Duration = Duration::MAX;

/// A question: its desk, its number and its urgency. It is its own answer.
type Question = (usize, usize, Urgency);

fn limits(queue: usize, batch: usize, deadline: Duration) -> Limits {
    Limits { queue, batch, deadline }
}

fn urgency() -> impl Strategy<Value = Urgency> {
    prop_oneof![Just(Urgency::Stat), Just(Urgency::Routine), Just(Urgency::Background)]
}

fn join(threads: Vec<JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().expect("a clean end"));
}

/// An executor whose every batch is told when it starts, and then waits for leave to go on.
struct Gated {
    desks: Vec<Desk<Question, Question>>,
    begun: Receiver<Vec<Question>>,
    leave: Sender<()>,
    builder: Builder,
}

impl Gated {
    fn new(desks: &[Limits]) -> Self {
        let mut builder = Builder::new("gated");
        let (begin, begun) = unbounded();
        let (leave, left) = unbounded::<()>();
        let desks = desks.iter().map(|limits| {
            let (begin, left) = (begin.clone(), left.clone());
            let run = move |questions: Vec<Question>| {
                begin.send(questions.clone()).expect("the test listens");
                left.recv().ok();
                Ok::<_, String>(questions)
            };
            builder.desk("gated", *limits, run, |_| {})
        });
        Self { desks: desks.collect(), begun, leave, builder }
    }

    /// Starts one thread; the gate stays with the test.
    fn start(self) -> Running {
        let threads = self.builder.start(ONE, Fault::default()).expect("a thread");
        Running { desks: self.desks, begun: self.begun, leave: self.leave, threads }
    }
}

struct Running {
    desks: Vec<Desk<Question, Question>>,
    begun: Receiver<Vec<Question>>,
    leave: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    fn ask(&self, question: Question) {
        self.desks[question.0].ask(question.2, question, |_| {}).expect("a place");
    }

    fn next(&self) -> Vec<Question> {
        self.begun.recv().expect("a batch")
    }

    fn go_on(&self) {
        self.leave.send(()).expect("a batch waits");
    }

    /// Opens the gate for good and gives the batches that are left.
    fn end(self) -> Vec<Vec<Question>> {
        drop((self.desks, self.leave));
        join(self.threads);
        self.begun.try_iter().collect()
    }
}

/// The batches of one thread, for questions that were all asked before it started, in this order.
fn reference(asked: &[Question], batches: &[usize]) -> Vec<Vec<Question>> {
    let mut left = asked.to_vec();
    left.sort_by_key(|(_, number, urgency)| (*urgency, *number));
    let mut expected = Vec::new();
    while let Some((desk, ..)) = left.first().copied() {
        let batch: Vec<_> = left.iter().filter(|question| question.0 == desk).take(batches[desk]).copied().collect();
        left.retain(|question| !batch.contains(question));
        expected.push(batch);
    }
    expected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_question_is_answered_once_in_batches_of_one_desk_within_its_limits(
        asked in proptest::collection::vec((0_usize..3, urgency()), 0..120),
        threads in 1_usize..=3,
        queue in 1_usize..6,
        batch in 1_usize..5,
        deadline_us in prop_oneof![Just(0_u64), Just(50), Just(2_000)],
    ) {
        let start = Instant::now();
        let limits = limits(queue, batch, Duration::from_micros(deadline_us));
        let mut builder = Builder::new("law");
        let (run_to, ran_batches) = unbounded();
        let (told_to, told_batches) = unbounded();
        let desks: Vec<Desk<Question, Question>> = (0..3).map(|desk| {
            let (run_to, told_to) = (run_to.clone(), told_to.clone());
            let run = move |questions: Vec<Question>| {
                assert!(questions.iter().all(|question| question.0 == desk), "another desk's question");
                let urgencies: Vec<_> = questions.iter().map(|question| question.2).collect();
                run_to.send((desk, urgencies)).expect("the test listens");
                Ok::<_, String>(questions)
            };
            let told = move |ran: Ran<'_>| {
                assert_eq!(ran.questions, ran.waited.len());
                let urgencies: Vec<_> = ran.waited.iter().map(|(urgency, _)| *urgency).collect();
                let waited = ran.waited.iter().map(|(_, waited)| *waited).max();
                told_to.send(((desk, urgencies), waited)).expect("the test listens");
            };
            builder.desk("law", limits, run, told)
        }).collect();
        drop((run_to, told_to));
        let fault = Fault::default();
        let threads = builder.start(NonZeroUsize::new(threads).expect("a thread"), fault.clone()).expect("threads");
        let (answer_to, answers) = unbounded();
        let questions: Vec<Question> =
            asked.iter().enumerate().map(|(number, (desk, urgency))| (*desk, number, *urgency)).collect();
        std::thread::scope(|scope| {
            for half in questions.chunks(questions.len().div_ceil(2).max(1)) {
                let (desks, answer_to) = (&desks, answer_to.clone());
                scope.spawn(move || {
                    for question in half {
                        let reply = || {
                            let answer_to = answer_to.clone();
                            move |answer| answer_to.send(answer).expect("the test listens")
                        };
                        while let Err(back) = desks[question.0].ask(question.2, *question, reply()) {
                            assert_eq!(back, *question);
                            std::thread::yield_now();
                        }
                    }
                });
            }
        });
        prop_assert!(desks.iter().all(|desk| desk.waiting() <= 3 * queue));
        drop((desks, answer_to));
        join(threads);
        prop_assert_eq!(fault.message(), None);
        let mut answered: Vec<Question> = answers.iter().collect();
        answered.sort_by_key(|question| question.1);
        prop_assert_eq!(answered, questions);
        let mut batches: Vec<_> = ran_batches.iter().collect();
        prop_assert!(batches.iter().all(|(_, questions)| (1..=batch).contains(&questions.len())));
        let (mut told, waited): (Vec<_>, Vec<_>) = told_batches.iter().unzip();
        prop_assert!(waited.iter().flatten().all(|waited| *waited <= start.elapsed()));
        batches.sort_unstable();
        told.sort_unstable();
        prop_assert_eq!(batches, told, "each batch is told of with the urgencies of its questions");
    }

    #[test]
    fn what_waits_runs_as_the_definition_says(
        asked in proptest::collection::vec((0_usize..3, urgency()), 0..=PATIENCE),
        batches in proptest::array::uniform3(1_usize..4),
    ) {
        let gated = Gated::new(&batches.map(|batch| limits(PATIENCE, batch, Duration::ZERO)));
        let asked: Vec<Question> =
            asked.into_iter().enumerate().map(|(number, (desk, urgency))| (desk, number, urgency)).collect();
        for question in &asked {
            gated.desks[question.0].ask(question.2, *question, |_| {}).expect("a place before the start");
        }
        prop_assert_eq!(gated.start().end(), reference(&asked, &batches));
    }

    #[test]
    fn a_stat_question_runs_in_the_very_next_batch(
        routine in proptest::collection::vec(0_usize..3, 1..30),
        desk in 0_usize..3,
        batch in 1_usize..4,
        deadline in prop_oneof![Just(Duration::ZERO), Just(NEVER)],
    ) {
        let running = Gated::new(&[limits(30, batch, deadline); 3]).start();
        running.ask((0, 0, Urgency::Stat));
        running.next();
        for (number, desk) in routine.into_iter().enumerate() {
            running.ask((desk, number + 1, Urgency::Routine));
        }
        let stat = (desk, 99, Urgency::Stat);
        running.ask(stat);
        running.go_on();
        prop_assert_eq!(running.next()[0], stat);
        running.end();
    }

    #[test]
    fn a_full_queue_gives_back_and_each_urgency_has_its_own(
        queue in 0_usize..5,
        asked in proptest::collection::vec(urgency(), 0..20),
    ) {
        let running = Gated::new(&[limits(1, 1, Duration::ZERO), limits(queue, 2, Duration::ZERO)]).start();
        running.ask((0, 0, Urgency::Routine));
        running.next();
        let mut places = [queue; 3];
        for (number, urgency) in asked.iter().enumerate() {
            let place = &mut places[urgency.index()];
            let question = (1, number, *urgency);
            let expected = if *place > 0 { Ok(()) } else { Err(question) };
            prop_assert_eq!(running.desks[1].ask(*urgency, question, |_| {}), expected);
            *place = place.saturating_sub(1);
        }
        let waiting = 3 * queue - places.iter().sum::<usize>();
        prop_assert_eq!(running.desks[1].waiting(), waiting);
        prop_assert_eq!(running.end().concat().len(), waiting);
    }
}

#[test]
fn background_runs_within_its_bound_under_a_flood() {
    for flood in [Urgency::Stat, Urgency::Routine] {
        let running = Gated::new(&[limits(4, 1, Duration::ZERO), limits(1, 4, NEVER)]).start();
        running.ask((0, 0, flood));
        running.next();
        let background = (1, 0, Urgency::Background);
        running.ask(background);
        let passed = (1..).find(|number| {
            running.ask((0, *number, flood));
            running.go_on();
            running.next() == [background]
        });
        assert!(passed.expect("a turn") <= 2 * PATIENCE + 1, "{flood:?}: {passed:?} batches went first");
        running.end();
    }
}

#[test]
fn a_batch_waits_for_company_until_it_is_full_and_for_none_when_none_can_come() {
    let running = Gated::new(&[limits(8, 3, NEVER), limits(8, 3, NEVER)]).start();
    let of = |desk, numbers: std::ops::Range<usize>| -> Vec<Question> {
        numbers.map(|number| (desk, number, Urgency::Routine)).collect()
    };
    of(0, 0..2).into_iter().for_each(|question| running.ask(question));
    of(1, 0..3).into_iter().for_each(|question| running.ask(question));
    assert_eq!(running.next(), of(1, 0..3), "the full desk does not wait for the one that has company to come");
    running.ask((0, 2, Urgency::Routine));
    running.go_on();
    assert_eq!(running.next(), of(0, 0..3));
    running.go_on();
    running.ask((0, 3, Urgency::Background));
    running.ask((1, 3, Urgency::Stat));
    assert_eq!(running.next(), [(1, 3, Urgency::Stat)], "it ends the wait of the other desk");
    running.ask((1, 4, Urgency::Routine));
    running.ask((1, 5, Urgency::Stat));
    running.go_on();
    assert_eq!(running.next(), [(1, 5, Urgency::Stat), (1, 4, Urgency::Routine)], "and takes company of its own desk");
    assert_eq!(running.end(), [[(0, 3, Urgency::Background)]], "nobody can ask any more");
}

#[test]
fn a_lone_question_runs_once_its_deadline_has_passed() {
    let deadline = Duration::from_millis(2);
    let (waited_to, waited) = unbounded();
    let mut builder = Builder::new("lone");
    let told = move |ran: Ran<'_>| waited_to.send(ran.waited.to_vec()).expect("the test listens");
    let desk = builder.desk("lone", limits(1, 2, deadline), Ok::<Vec<u8>, String>, told);
    let threads = builder.start(ONE, Fault::default()).expect("a thread");
    desk.ask(Urgency::Routine, 1, |_| {}).expect("a place");
    let waited = waited.recv().expect("a batch");
    assert!(waited.len() == 1 && waited[0].0 == Urgency::Routine && waited[0].1 >= deadline, "{waited:?}");
    drop(desk);
    join(threads);
}

/// Asks one thing of three desks; the middle one fails as `run` does. Gives the fault's words.
fn failure(threads: usize, run: impl Fn(Vec<u8>) -> Result<Vec<u8>, &'static str> + Send + Sync + 'static) -> String {
    let mut builder = Builder::new("failing");
    let (hold, held) = unbounded::<()>();
    let (begin, begun) = unbounded();
    let answered = Arc::new(AtomicUsize::new(0));
    let slow = move |questions: Vec<u8>| {
        begin.send(()).expect("the test listens");
        held.recv().ok();
        Ok::<_, String>(questions)
    };
    let slow = builder.desk("slow", limits(4, 1, Duration::ZERO), slow, |_| {});
    let failing = builder.desk("failing", limits(4, 2, Duration::ZERO), run, |_| {});
    let idle = builder.desk("idle", limits(4, 9, NEVER), Ok::<Vec<u8>, String>, |_| {});
    let count = || {
        let answered = Arc::clone(&answered);
        move |_| {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    idle.ask(Urgency::Background, 1, count()).expect("a place");
    failing.ask(Urgency::Routine, 2, count()).expect("a place");
    failing.ask(Urgency::Background, 3, count()).expect("a place");
    // With threads to spare, all but one are busy when the failure comes.
    (1..threads).for_each(|_| slow.ask(Urgency::Stat, 4, |_| {}).expect("a place"));
    let fault = Fault::default();
    let threads = builder.start(NonZeroUsize::new(threads).expect("a thread"), fault.clone()).expect("threads");
    let busy = threads.len() - 1;
    begun.iter().take(busy).for_each(drop);
    drop(hold);
    join(threads);
    assert_eq!(answered.load(Ordering::Relaxed), 0, "an answer to what was not answered");
    for urgency in Urgency::ALL {
        for desk in [&slow, &failing, &idle] {
            assert_eq!(desk.ask(urgency, 7, |_| {}), Err(7));
        }
    }
    assert_eq!([&slow, &failing, &idle].map(Desk::waiting), [0; 3]);
    fault.message().expect("a fault").to_owned()
}

#[test]
fn an_error_a_panic_and_a_wrong_number_of_answers_stop_all_threads_and_name_the_desk() {
    for threads in 1..=3 {
        assert_eq!(failure(threads, |_| Err("the device is lost")), "failing: the device is lost");
        assert_eq!(failure(threads, |_| Ok(vec![1])), "failing: 1 answers to 2 questions");
        assert_eq!(failure(threads, |_| panic!("no {}", "memory")), "failing: panicked: no memory");
    }
}

#[test]
fn a_failure_wakes_who_waits_for_company_and_refuses_questions_while_others_still_run() {
    // Of two threads none is free when the failure comes; of three one waits, most of the time already.
    for threads in [2, 3].repeat(10) {
        failure_beside_others(NonZeroUsize::new(threads).expect("threads"));
    }
}

fn failure_beside_others(threads: NonZeroUsize) {
    let mut builder = Builder::new("failing");
    let gate = |builder: &mut Builder, name, result: Result<(), &'static str>| {
        let (leave, left) = unbounded::<()>();
        let (begin, begun) = unbounded();
        let run = move |questions: Vec<u8>| {
            begin.send(()).expect("the test listens");
            left.recv().ok();
            result.map(|()| questions)
        };
        (builder.desk(name, limits(2, 1, Duration::ZERO), run, |_| {}), begun, leave)
    };
    let (failing, failing_begun, fail) = gate(&mut builder, "failing", Err("the device is lost"));
    let (slow, slow_begun, go_on) = gate(&mut builder, "slow", Ok(()));
    let lonely = builder.desk("lonely", limits(2, 2, NEVER), Ok::<Vec<u8>, String>, |_| {});
    let fault = Fault::default();
    let threads = builder.start(threads, fault.clone()).expect("threads");
    lonely.ask(Urgency::Background, 3, |_| {}).expect("a place");
    failing.ask(Urgency::Routine, 1, |_| {}).expect("a place");
    failing_begun.recv().expect("a batch");
    slow.ask(Urgency::Routine, 2, |_| {}).expect("a place");
    slow_begun.recv().expect("a batch");
    drop(fail);
    while fault.message().is_none() {
        std::thread::yield_now();
    }
    assert_eq!([&failing, &slow, &lonely].map(|desk| desk.ask(Urgency::Stat, 4, |_| {})), [Err(4); 3]);
    drop(go_on);
    join(threads);
}

#[test]
fn a_panic_of_a_reply_is_a_fault_too() {
    let mut builder = Builder::new("reply");
    let desk = builder.desk("reply", limits(1, 1, Duration::ZERO), Ok::<Vec<u8>, String>, |_| {});
    let fault = Fault::default();
    let threads = builder.start(ONE, fault.clone()).expect("a thread");
    desk.ask(Urgency::Routine, 1, |_| panic!("nobody listens")).expect("a place");
    join(threads);
    assert_eq!(fault.message(), Some("reply: panicked: nobody listens"));
}

#[test]
fn an_executor_that_never_starts_gives_questions_back() {
    let mut builder = Builder::new("none");
    let desk = builder.desk("none", limits(2, 1, NEVER), Ok::<Vec<u8>, String>, |_| {});
    desk.ask(Urgency::Routine, 1, |_| {}).expect("a place before the start");
    drop(builder);
    assert_eq!((desk.ask(Urgency::Routine, 2, |_| {}), desk.waiting()), (Err(2), 0));
}

#[test]
fn urgencies_are_ordered_and_each_has_its_word() {
    assert!(Urgency::ALL.is_sorted() && Urgency::ALL.map(Urgency::index) == [0, 1, 2]);
    assert_eq!(Urgency::ALL.map(Urgency::word), ["stat", "routine", "background"]);
}
