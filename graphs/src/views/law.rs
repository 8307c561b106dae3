//! The law of the views: at every tick a view equals its reference over the outcomes that are present.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::rc::Rc;

use differential_dataflow::ExchangeData;
use differential_dataflow::input::InputSession;
use operators::completeness::Status;
use operators::measure::Priority;
use operators::plumbing::Collection;
use operators::record::{Digest, InstanceUid, Outcome, Role, SeriesKey, SeriesUid, SliceOutcome, StudyUid, Tick};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use timely::dataflow::ProbeHandle;

use super::Held;

pub(super) const GATE_PPM: u32 = 500_000;

/// The differences of a tick.
type Diffs<D> = Vec<(D, isize)>;

pub(super) fn key(study: &str, series: &str) -> SeriesKey {
    let (study, series) = (StudyUid::new(study), SeriesUid::new(series));
    SeriesKey { study: study.expect("a UID"), series: series.expect("a UID") }
}

/// An outcome that a test changes.
pub(super) fn outcome(study: &str, series: &str, role: Role) -> Outcome {
    Outcome {
        key: key(study, series),
        role,
        method: Digest::of(role.word().as_bytes()),
        version: 1,
        status: Status::Preliminary,
        priority: Priority::High,
        probability_ppm: 600_000,
        volume_ul: 500,
        positive: true,
        slices: 30,
        scanner: "unknown".into(),
        acquired_s: None,
        patient: None,
    }
}

/// What a view emits, with `stride` ticks given at once.
pub(super) fn updates<D, R>(
    ticks: Vec<Diffs<D>>,
    stride: usize,
    view: impl for<'scope> Fn(Collection<'scope, D>) -> Collection<'scope, R> + Send + Sync + 'static,
) -> Vec<(R, Tick, isize)>
where
    D: ExchangeData + Sync,
    R: Clone + Send + 'static,
{
    timely::execute_directly(move |worker| {
        let emitted = Rc::<RefCell<Vec<(R, Tick, isize)>>>::default();
        let (mut input, probe) = (InputSession::<Tick, D, isize>::new(), ProbeHandle::new());
        worker.dataflow::<Tick, _, _>(|scope| {
            let told = Rc::clone(&emitted);
            let view = view(input.to_collection(scope));
            view.inspect(move |update: &(R, Tick, isize)| told.borrow_mut().push(update.clone())).probe_with(&probe);
        });
        let mut next = 0;
        for some in ticks.chunks(stride) {
            for diffs in some {
                diffs.iter().for_each(|(record, diff)| input.update(record.clone(), *diff));
                next += 1;
                input.advance_to(next);
            }
            input.flush();
            while probe.less_than(input.time()) {
                worker.step();
            }
        }
        emitted.take()
    })
}

/// The rows of a view after each tick.
pub(super) fn states<D, R>(
    ticks: Vec<Diffs<D>>,
    stride: usize,
    view: impl for<'scope> Fn(Collection<'scope, D>) -> Collection<'scope, R> + Send + Sync + 'static,
) -> Vec<Held<R>>
where
    D: ExchangeData + Sync,
    R: Ord + Clone + Send + 'static,
{
    let len = ticks.len();
    let updates = updates(ticks, stride, view);
    let ticks = (0..).take(len);
    let mut held = Held::default();
    let mut state = |now: Tick| {
        let of_tick = updates.iter().filter(|(_, tick, _)| *tick == now);
        of_tick.for_each(|(row, _, diff)| held.apply(row.clone(), *diff));
        held.clone()
    };
    ticks.map(&mut state).collect()
}

/// Changes of a tick: a new version of a record in the place of the one with its name, or none.
pub(super) type Changes<N, D> = Vec<(N, Option<D>)>;

/// The records present after each tick.
pub(super) fn present<N: Ord + Clone, D: Ord + Clone>(ticks: &[Changes<N, D>]) -> Vec<BTreeSet<D>> {
    let mut by_name = BTreeMap::new();
    let after = |changes: &Changes<N, D>| {
        changes.iter().for_each(|(name, record)| {
            by_name.insert(name.clone(), record.clone());
        });
        by_name.values().flatten().cloned().collect()
    };
    ticks.iter().map(after).collect()
}

/// The differences that make the changes, one after the other.
pub(super) fn diffs<N: Ord + Clone, D: Clone>(ticks: &[Changes<N, D>]) -> Vec<Diffs<D>> {
    let mut by_name: BTreeMap<N, Option<D>> = BTreeMap::new();
    let mut of_tick = |changes: &Changes<N, D>| {
        let mut diffs = Vec::new();
        for (name, record) in changes {
            let before = by_name.insert(name.clone(), record.clone()).flatten();
            diffs.extend(before.map(|before| (before, -1)));
            diffs.extend(record.clone().map(|record| (record, 1)));
        }
        diffs
    };
    ticks.iter().map(&mut of_tick).collect()
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![2 => Just(Role::Active), 1 => Just(Role::Shadow)]
}

/// A study, a series and a place beside which another model may stand.
pub(super) type Name = (u8, u8, u8);

/// New versions, withdrawals and changes of role, of few series so that they meet.
pub(super) fn outcomes() -> impl Strategy<Value = Vec<Changes<Name, Outcome>>> {
    let priority = prop_oneof![Just(Priority::Stat), Just(Priority::High), Just(Priority::Routine)];
    let result = (role(), 1..3_u64, priority, 0..3_u32, 0..3_u64, any::<bool>(), 0..40_u32);
    let header = (0..2_u8, prop::option::of(-2..3_i64), prop::option::of(0..2_u8));
    let made =
        |((study, series, place), result, (scanner, hour, patient)): (Name, _, (u8, Option<i64>, Option<u8>))| {
            let (role, version, priority, probability, volume_ul, positive, slices) = result;
            let made = Outcome {
                method: Digest::of(&[place]),
                version,
                priority,
                probability_ppm: probability * 400_000,
                volume_ul,
                positive,
                slices,
                scanner: format!("Model {scanner}").into(),
                acquired_s: hour.map(|hour| hour * 1800),
                patient: patient.map(|patient| Digest::of(&[patient])),
                ..outcome(&study.to_string(), &format!("{study}.{series}"), role)
            };
            ((study, series, place), made)
        };
    let change = ((0..3_u8, 0..2_u8, 0..2_u8), result, header)
        .prop_map(made)
        .prop_flat_map(|(name, made)| (Just(name), prop_oneof![3 => Just(Some(made)), 1 => Just(None)]));
    prop::collection::vec(prop::collection::vec(change, 0..4), 0..12)
}

/// New versions and withdrawals of slices.
pub(super) fn slices() -> impl Strategy<Value = Vec<Changes<(Name, Role), SliceOutcome>>> {
    let probability =
        prop_oneof![Just(0), Just(499_999), Just(GATE_PPM), Just(1_000_000), 0..1_000_001_u32, 0..3000_u32];
    let truth = (prop::option::of(any::<bool>()), prop::option::of([0..3_u64, 0..3, 0..3]));
    let made = |((study, series, at), role, probability_ppm, (label, overlap)): (Name, Role, u32, _)| {
        let made = SliceOutcome {
            series: key(&study.to_string(), &format!("{study}.{series}")),
            role,
            instance: InstanceUid::new(&format!("{study}.{series}.{at}")).expect("a UID"),
            frame: 1,
            probability_ppm,
            label,
            overlap,
        };
        (((study, series, at), role), made)
    };
    let change = ((0..2_u8, 0..2_u8, 0..4_u8), role(), probability, truth)
        .prop_map(made)
        .prop_flat_map(|(name, made)| (Just(name), prop_oneof![4 => Just(Some(made)), 1 => Just(None)]));
    prop::collection::vec(prop::collection::vec(change, 0..6), 0..10)
}

/// Checks the law for a view of outcomes; in the end all is taken back and nothing may be left.
pub(super) fn holds<R>(
    view: impl for<'scope> Fn(Collection<'scope, Outcome>) -> Collection<'scope, R> + Copy + Send + Sync + 'static,
    reference: impl Fn(&[Outcome]) -> BTreeSet<R>,
) where
    R: Ord + Clone + Debug + Send + 'static,
{
    let law = |(mut ticks, stride): (Vec<Changes<Name, Outcome>>, usize)| {
        let names: BTreeSet<Name> = ticks.iter().flatten().map(|(name, _)| *name).collect();
        ticks.push(names.into_iter().map(|name| (name, None)).collect());
        let seen = states(diffs(&ticks), stride, view);
        prop_assert_eq!(seen.len(), ticks.len());
        for (present, seen) in present(&ticks).into_iter().zip(&seen) {
            let present: Vec<Outcome> = present.into_iter().collect();
            prop_assert_eq!(seen.rows().cloned().collect::<BTreeSet<R>>(), reference(&present));
        }
        prop_assert!(seen.last().is_none_or(Held::is_empty));
        Ok(())
    };
    let mut runner = TestRunner::new(Config::default());
    runner.run(&(outcomes(), 1..5_usize), law).expect("the law");
}
