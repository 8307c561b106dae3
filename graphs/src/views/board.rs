//! The board: the views across studies on a worker thread of their own, for programs that hold no dataflow.
//!
//! What is sent at once is seen at once: a snapshot is what the views are after a whole number of sends.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use operators::observed::Diffs;
use operators::plumbing::{self, Burst, Collection, Door};
use operators::record::Tick;
use serde::Serialize;
use timely::dataflow::ProbeHandle;

use super::agreement::{Agreement, agreement};
use super::flips::Flip;
use super::growth::Growth;
use super::prevalence::Prevalence;
use super::worklist::WorklistEntry;
use super::{Held, views};

/// Sends under way at most; more wait at the door.
const UNDER_WAY: usize = 256;

/// All views at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// How many sends it knows.
    pub tick: Tick,
    /// One entry for each study, the most urgent first.
    pub worklist: Held<WorklistEntry>,
    /// Sums by scanner model and hour.
    pub prevalence: Held<Prevalence>,
    /// Changes of volume between a patient's studies.
    pub growth: Held<Growth>,
    /// Series that the active and a shadow model call differently.
    pub flips: Held<Flip>,
    /// Agreement with the truth.
    pub agreement: Held<Agreement>,
}

/// Why a board says nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BoardError {
    /// Its thread cannot be started.
    #[error("the thread of the views cannot be started")]
    Thread(#[from] io::Error),
    /// Its thread has ended.
    #[error("the thread of the views has stopped")]
    Stopped,
}

/// The views as they are shown.
#[derive(Default)]
struct Shown {
    newest: Mutex<Snapshot>,
    changed: Condvar,
}

impl Shown {
    fn newest(&self) -> MutexGuard<'_, Snapshot> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `sends` are known, or half a second.
    fn wait_for(&self, sends: Tick) -> bool {
        let waited =
            self.changed.wait_timeout_while(self.newest(), Duration::from_millis(500), |newest| newest.tick < sends);
        waited.unwrap_or_else(PoisonError::into_inner).0.tick >= sends
    }
}

/// Reads a board from any thread, also after the board has ended.
#[derive(Clone)]
pub struct Reader(Arc<Shown>);

impl Reader {
    /// The views as they are.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.0.newest().clone()
    }
}

/// Running views.
pub struct Board {
    diffs: Sender<Burst<Diffs>>,
    door: Door,
    shown: Arc<Shown>,
    sent: Tick,
    worker: JoinHandle<()>,
}

impl Board {
    /// Starts the worker thread. A slice at or above `gate_ppm` is a finding.
    ///
    /// # Errors
    ///
    /// Returns [`BoardError::Thread`] if it cannot be started.
    pub fn start(gate_ppm: u32) -> Result<Self, BoardError> {
        let (diffs, inputs) = crossbeam_channel::bounded(UNDER_WAY);
        let (door, shown) = (Door::default(), Arc::<Shown>::default());
        let work = {
            let (door, shown) = (door.clone(), Arc::clone(&shown));
            move || timely::execute_directly(move |worker| show(worker, inputs, &door, &shown, gate_ppm))
        };
        let worker = std::thread::Builder::new().name("views".to_owned()).spawn(work)?;
        Ok(Self { diffs, door, shown, sent: 0, worker })
    }

    /// Sends what changes. Waits while too much is under way.
    ///
    /// # Errors
    ///
    /// Returns [`BoardError::Stopped`] if the worker thread has ended.
    pub fn send(&mut self, diffs: Diffs) -> Result<(), BoardError> {
        self.diffs.send((self.sent, vec![(diffs, 1)])).map_err(|_| BoardError::Stopped)?;
        self.sent += 1;
        self.door.wake();
        Ok(())
    }

    /// Waits until the views know all that was sent.
    ///
    /// # Errors
    ///
    /// Returns [`BoardError::Stopped`] if the worker thread has ended.
    pub fn settle(&self) -> Result<(), BoardError> {
        while !self.shown.wait_for(self.sent) {
            if self.worker.is_finished() {
                return Err(BoardError::Stopped);
            }
            self.door.wake();
        }
        Ok(())
    }

    /// The views as they are; after [`settle`](Self::settle) they know all that was sent.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.reader().snapshot()
    }

    /// Reads the views from other threads.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader(Arc::clone(&self.shown))
    }

    /// Waits until the views know all that was sent, ends the worker thread, and returns the last of them.
    ///
    /// # Errors
    ///
    /// Returns [`BoardError::Stopped`] if the worker thread has ended before.
    pub fn finish(self) -> Result<Snapshot, BoardError> {
        self.settle()?;
        drop(self.diffs);
        self.door.wake();
        self.worker.join().map_err(|_| BoardError::Stopped)?;
        let newest = self.shown.newest().clone();
        Ok(newest)
    }
}

/// The differences of a view that are not shown yet.
struct Tap<R>(Rc<RefCell<Vec<(R, Tick, isize)>>>);

impl<R: Ord + Clone + 'static> Tap<R> {
    fn on(view: Collection<'_, R>, probe: &ProbeHandle<Tick>) -> Self {
        let waiting = Rc::<RefCell<Vec<(R, Tick, isize)>>>::default();
        let told = Rc::clone(&waiting);
        let view = view.inspect(move |update: &(R, Tick, isize)| told.borrow_mut().push(update.clone()));
        view.probe_with(probe);
        Self(waiting)
    }

    /// Shows what is complete before `frontier`.
    fn pour(&self, frontier: Tick, held: &mut Held<R>) {
        let mut waiting = self.0.borrow_mut();
        let (complete, later) = waiting.drain(..).partition(|(_, tick, _)| *tick < frontier);
        *waiting = later;
        drop(waiting);
        let complete: Vec<(R, Tick, isize)> = complete;
        complete.into_iter().for_each(|(row, _, diff)| held.apply(row, diff));
    }
}

/// Runs the views until the senders of `inputs` are gone.
fn show(
    worker: &mut timely::worker::Worker,
    inputs: Receiver<Burst<Diffs>>,
    door: &Door,
    shown: &Shown,
    gate_ppm: u32,
) {
    let probe = ProbeHandle::new();
    let (worklist, prevalence, growth, flips, agreed) = worker.dataflow::<Tick, _, _>(|scope| {
        let diffs = plumbing::source(scope, "Outcomes", Some(inputs), door);
        let views = views(diffs.clone().explode(|diffs: Diffs| diffs.outcomes));
        let agreement = agreement(diffs.explode(|diffs: Diffs| diffs.slices), gate_ppm);
        (
            Tap::on(views.worklist, &probe),
            Tap::on(views.prevalence, &probe),
            Tap::on(views.growth, &probe),
            Tap::on(views.flips, &probe),
            Tap::on(agreement, &probe),
        )
    });
    let mut passed = 0;
    while !probe.done() {
        worker.step_or_park(Some(Duration::from_millis(100)));
        // Without a frontier the last tick shown is the last that there is: the senders are gone and all is shown.
        let Some(frontier) = probe.with_frontier(|frontier| frontier.first().copied()) else { return };
        if frontier > passed {
            passed = frontier;
            let mut newest = shown.newest();
            worklist.pour(frontier, &mut newest.worklist);
            prevalence.pour(frontier, &mut newest.prevalence);
            growth.pour(frontier, &mut newest.growth);
            flips.pour(frontier, &mut newest.flips);
            agreed.pour(frontier, &mut newest.agreement);
            newest.tick = frontier;
            drop(newest);
            shown.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use operators::completeness::{Completeness, Status};
    use operators::dicom::read::read_bytes;
    use operators::measure::Priority;
    use operators::observed::Observed;
    use operators::outcome::{Measures, Salt};
    use operators::phantom::{self, PhantomConfig};
    use operators::publish::{Publication, PublishedSlice};
    use operators::record::{Digest, Method, MethodConfig, ModelName, Outcome, Role, SliceOutcome, Truth};
    use proptest::prelude::*;

    use super::*;
    use crate::views::{agreement, flips, growth, law, prevalence, worklist};

    fn rows<R: Ord + Clone>(held: &Held<R>) -> BTreeSet<R> {
        held.rows().cloned().collect()
    }

    fn of<D>(ticks: &[D], tick: usize) -> D
    where
        D: Default + Clone,
    {
        ticks.get(tick).cloned().unwrap_or_default()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn a_settled_board_shows_the_references(outcomes in law::outcomes(), slices in law::slices()) {
            let mut board = Board::start(law::GATE_PPM).expect("a thread");
            for tick in 0..outcomes.len().max(slices.len()) {
                let diffs = Diffs {
                    outcomes: of(&law::diffs(&outcomes), tick),
                    slices: of(&law::diffs(&slices), tick),
                };
                board.send(diffs).expect("a running board");
                board.settle().expect("a running board");
                let seen = board.snapshot();
                prop_assert_eq!(seen.tick, Tick::try_from(tick + 1).expect("a small number"));
                let newest = |len: usize| tick.min(len.saturating_sub(1));
                let now: Vec<Outcome> = of(&law::present(&outcomes), newest(outcomes.len())).into_iter().collect();
                prop_assert_eq!(rows(&seen.worklist), worklist::reference(&now));
                prop_assert_eq!(rows(&seen.prevalence), prevalence::reference(&now));
                prop_assert_eq!(rows(&seen.growth), growth::reference(&now));
                prop_assert_eq!(rows(&seen.flips), flips::reference(&now));
                let now: Vec<SliceOutcome> = of(&law::present(&slices), newest(slices.len())).into_iter().collect();
                prop_assert_eq!(rows(&seen.agreement), agreement::reference(&now, law::GATE_PPM));
            }
            let (seen, reader) = (board.snapshot(), board.reader());
            prop_assert_eq!(&board.finish().expect("a running board"), &seen);
            prop_assert_eq!(reader.snapshot(), seen);
        }
    }

    #[test]
    fn many_sends_are_all_seen_in_the_end() {
        let mut board = Board::start(law::GATE_PPM).expect("a thread");
        for study in 0..2000 {
            let outcome = law::outcome(&study.to_string(), "1", Role::Active);
            board.send(Diffs { outcomes: vec![(outcome, 1)], ..Diffs::default() }).expect("a running board");
        }
        assert_eq!(board.finish().expect("a running board").worklist.len(), 2000);
    }

    /// The publication of a phantom, with what its header tells.
    fn publication(study: &phantom::PhantomStudy) -> Publication {
        let published = |slice: &phantom::PhantomSlice| {
            let mut bytes = Vec::new();
            phantom::dicom_object(study, slice).expect("an object").write_all(&mut bytes).expect("bytes");
            let instance = read_bytes("phantom", &bytes).expect("an instance");
            PublishedSlice {
                slice: instance.frames[0].slice.clone(),
                probability: if slice.labels().any { 0.75 } else { 0.25 },
                single_probability: 0.5,
                plane: Arc::new(slice.plane.clone()),
                header: instance.frames[0].pixels.header.clone(),
                pseudo_mask: None,
                mask: None,
            }
        };
        let key = operators::record::SeriesKey { study: study.study.clone(), series: study.series.clone() };
        let slices = study.slices.iter().map(published).collect();
        let name = ModelName { name: "test".to_owned(), version: "1".to_owned(), sha256: String::new() };
        let method = Method::new(Digest::of(b"test"), name, MethodConfig::default()).expect("plain numbers");
        Publication {
            key,
            role: Role::Active,
            method: Arc::new(method),
            version: 1,
            tick: 0,
            status: Status::Final,
            completeness: Completeness::default(),
            slices,
        }
    }

    #[test]
    fn the_patient_of_two_studies_is_known_and_does_not_show() {
        let config = PhantomConfig { seed: 5, slices: Some(3), matrix: 32, positive_share: 1.0 };
        let studies: [phantom::PhantomStudy; 2] = [0, 1].map(|index| phantom::study(&config, index));
        let [first, second] = studies.map(|mut study| {
            study.patient.id = "MRN-4711".to_owned();
            study.patient.time = format!("{:02}0000", 3 + study.index);
            study.patient.date = "20240131".to_owned();
            study
        });
        let measures = |volume_ml| Measures { probability: 0.75, volume_ml, priority: Priority::High };
        let mut observed = Observed::new(Salt::new(b"of one node"), |_| None);
        let mut board = Board::start(law::GATE_PPM).expect("a thread");
        for (study, volume_ml) in [(&first, 0.5), (&second, 0.75)] {
            let other = Measures { priority: Priority::Routine, ..measures(0.0) };
            let publication = publication(study);
            for diffs in [
                observed.publish(&publication, &measures(volume_ml)),
                observed.publish(&Publication { role: Role::Shadow, ..publication.clone() }, &other),
            ] {
                board.send(diffs).expect("a running board");
            }
            for slice in &study.slices {
                let (instance, hemorrhage) = (slice.instance.clone(), slice.labels().any);
                board.send(observed.learn(Truth::Label { instance, hemorrhage }, 1)).expect("a running board");
            }
        }
        let seen = board.finish().expect("a running board");
        let [growth] = &seen.growth.rows().collect::<Vec<_>>()[..] else { panic!("one patient, two studies") };
        assert_eq!((growth.seconds, growth.before_ul, growth.after_ul), (3600, 500, 750));
        assert_eq!((seen.worklist.len(), seen.prevalence.len(), seen.flips.len()), (2, 2, 2));
        assert!(seen.agreement.rows().all(|row| row.counts.sensitivity().is_none_or(|share| share >= 1.0)));
        assert!(seen.agreement.rows().any(|row| row.counts.positives() > 0));
        let json = serde_json::to_string(&seen).expect("plain data");
        for secret in ["4711", &first.patient.name, &first.patient.date] {
            assert!(!json.contains(secret), "{secret} shows");
        }
    }
}
