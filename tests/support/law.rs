//! The laws of a maintained result, for any graph that has an oracle.
//!
//! Who has a graph implements [`Law`] for it: how changes are streamed through it, and what a plain function says of the
//! same changes. Each function here checks one law on one list of changes; a property test gives it many. What a law says
//! of a graph, and what it does not, stands at the tests that use it.
//!
//! The file needs nothing but proptest, so that a graph of another crate can take it along (`#[path]`).

use std::fmt::{Debug, Display, Write};

use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestCaseResult};

/// What may differ between two runs that must end alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Worker threads.
    pub(crate) workers: usize,
    /// Questions that an executor answers at once at most.
    pub(crate) batch: usize,
    /// After how many changes the sender waits until all is published; `None` for never.
    pub(crate) settle_every: Option<usize>,
}

/// What a graph showed while changes streamed through it.
#[derive(Debug)]
pub(crate) struct Streamed<S> {
    /// What was published, of everything, once each change had had its effect: one state for each change.
    pub(crate) at: Vec<S>,
    /// The versions of each result, in the order in which they came out.
    pub(crate) versions: Vec<Vec<Version>>,
    /// What is refused in the end, sorted.
    pub(crate) refused: Vec<String>,
    /// The blocks that are held in the end.
    pub(crate) held: usize,
}

/// One version of one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Counts the versions of the result from 1.
    pub(crate) number: u64,
    /// The change that it tells of, from 0.
    pub(crate) tick: usize,
}

/// What the oracle says of changes.
#[derive(Debug)]
pub(crate) struct Told<S> {
    /// What must be published.
    pub(crate) state: S,
    /// What must be refused, sorted.
    pub(crate) refused: Vec<String>,
}

/// A graph and its oracle.
pub(crate) trait Law {
    /// One change of what is present. Each has a tick of its own.
    type Change: Clone + Debug;
    /// All that is published at a tick. Equal if no reader could tell them apart: no ticks, latencies or versions.
    type State: PartialEq + Debug;

    /// Streams the changes through the graph.
    fn stream(&self, changes: &[Self::Change], setting: Setting) -> Streamed<Self::State>;

    /// Says the same of the changes without the graph.
    fn batch(&self, changes: &[Self::Change]) -> Told<Self::State>;

    /// The shortest changes that make present what these make present.
    fn present(&self, changes: &[Self::Change]) -> Vec<Self::Change>;

    /// The change that takes back what this one made present, if it made anything present.
    fn undo(&self, change: &Self::Change) -> Option<Self::Change>;
}

/// How many cases a law is tried on: `HEMOFLOW_LAW_CASES`, or else `few`. Seeds of cases that failed are kept in
/// `tests/laws.regressions` of the package under test and come first ever after.
pub(crate) fn cases(few: u32) -> Config {
    let told = std::env::var("HEMOFLOW_LAW_CASES").ok();
    let cases = told.map_or(few, |cases| cases.parse().expect("HEMOFLOW_LAW_CASES is a number"));
    Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/laws.regressions"))),
        ..Config::default()
    }
}

/// Law 1: whatever the order, the end is that of a batch run.
pub(crate) fn ends_as_batch<L: Law>(law: &L, changes: &[L::Change], setting: Setting) -> TestCaseResult {
    let streamed = law.stream(changes, setting);
    let told = law.batch(changes);
    one_state_each(&streamed, changes)?;
    same(&"in the end", streamed.at.last().unwrap_or(&law.batch(&[]).state), &told.state)?;
    same(&"refused", &streamed.refused, &told.refused)
}

/// Law 1, at every tick: what is published once the first `n` changes are in is what a batch run over them gives, and the
/// versions of each result count up from 1, at most one at a tick.
pub(crate) fn holds_at_every_tick<L: Law>(law: &L, changes: &[L::Change], setting: Setting) -> TestCaseResult {
    let streamed = law.stream(changes, setting);
    one_state_each(&streamed, changes)?;
    for (tick, published) in streamed.at.iter().enumerate() {
        same(&format_args!("after change {tick}"), published, &law.batch(&changes[..=tick]).state)?;
    }
    for versions in &streamed.versions {
        let numbers: Vec<u64> = versions.iter().map(|version| version.number).collect();
        same(&"numbers of versions", &numbers, &(1..).take(numbers.len()).collect())?;
        let rising = versions.is_sorted_by(|one, next| one.tick < next.tick);
        holds(rising, || format!("ticks of versions do not rise: {versions:?}"))?;
    }
    same(&"refused", &streamed.refused, &law.batch(changes).refused)
}

/// Law 2: one setting shows what another shows, at every tick and version for version.
pub(crate) fn settings_do_not_matter<L: Law>(law: &L, changes: &[L::Change], settings: [Setting; 2]) -> TestCaseResult {
    let [one, other] = settings.map(|setting| law.stream(changes, setting));
    for (tick, (one, other)) in one.at.iter().zip(&other.at).enumerate() {
        same(&format_args!("after change {tick}"), one, other)?;
    }
    same(&"versions", &one.versions, &other.versions)?;
    same(&"refused", &one.refused, &other.refused)?;
    same(&"blocks held", &one.held, &other.held)
}

/// Law 3: what is taken back leaves nothing, and what is left holds no more than if it alone had come.
pub(crate) fn insert_then_retract_leaves_nothing<L: Law>(
    law: &L,
    changes: &[L::Change],
    setting: Setting,
) -> TestCaseResult {
    let held = law.stream(changes, setting).held;
    same(&"blocks held", &held, &law.stream(&law.present(changes), setting).held)?;
    let undone: Vec<L::Change> = changes.iter().filter_map(|change| law.undo(change)).collect();
    let everything = [changes, &undone].concat();
    let streamed = law.stream(&everything, setting);
    let told = law.batch(&everything);
    same(&"of nothing", streamed.at.last().unwrap_or(&told.state), &law.batch(&[]).state)?;
    same(&"refused", &streamed.refused, &told.refused)?;
    same(&"blocks held of nothing", &streamed.held, &0)
}

/// Law 4: a change that comes again, at once or after all others, makes no version and changes nothing.
pub(crate) fn twice_is_a_no_op<L: Law>(law: &L, changes: &[L::Change], setting: Setting) -> TestCaseResult {
    let doubled = changes.iter().flat_map(|change| [change.clone(), change.clone()]);
    let again: Vec<L::Change> = doubled.chain(law.present(changes)).collect();
    let streamed = law.stream(&again, setting);
    one_state_each(&streamed, &again)?;
    let pairs = 2 * changes.len();
    for (tick, published) in streamed.at.iter().enumerate() {
        let once = (tick / 2 + 1).min(changes.len());
        same(&format_args!("after change {tick}, {once} of them new"), published, &law.batch(&changes[..once]).state)?;
    }
    let repeated = |version: &&Version| version.tick % 2 == 1 || version.tick >= pairs;
    let idle: Vec<&Version> = streamed.versions.iter().flatten().filter(repeated).collect();
    holds(idle.is_empty(), || format!("versions that tell nothing new: {idle:?}"))?;
    same(&"refused", &streamed.refused, &law.batch(&again).refused)
}

/// Law 6: a `corrupt` change among the others is refused once and makes no version; the others go on as without it.
pub(crate) fn corrupt_is_rejected_and_others_go_on<L: Law>(
    law: &L,
    changes: &[L::Change],
    (place, corrupt): (usize, &L::Change),
    setting: Setting,
) -> TestCaseResult {
    let (before, after) = changes.split_at(place.min(changes.len()));
    let all: Vec<L::Change> = before.iter().chain([corrupt]).chain(after).cloned().collect();
    let streamed = law.stream(&all, setting);
    one_state_each(&streamed, &all)?;
    for (tick, published) in streamed.at.iter().enumerate() {
        let sound = if tick < before.len() { tick + 1 } else { tick };
        same(&format_args!("after change {tick}"), published, &law.batch(&changes[..sound]).state)?;
    }
    let told = streamed.versions.iter().flatten().any(|version| version.tick == before.len());
    holds(!told, || "the corrupt change made a version".to_owned())?;
    same(&"refused", &streamed.refused, &law.batch(&all).refused)?;
    same(&"refusals", &streamed.refused.len(), &(law.batch(changes).refused.len() + 1))
}

fn one_state_each<S, C>(streamed: &Streamed<S>, changes: &[C]) -> TestCaseResult {
    same(&"states", &streamed.at.len(), &changes.len())
}

fn holds(held: bool, otherwise: impl FnOnce() -> String) -> TestCaseResult {
    if held { Ok(()) } else { Err(TestCaseError::fail(otherwise())) }
}

/// Fails with the lines in which the two differ.
fn same<T: PartialEq + Debug>(what: &dyn Display, found: &T, expected: &T) -> TestCaseResult {
    holds(found == expected, || {
        let (found, expected) = (format!("{found:#?}"), format!("{expected:#?}"));
        let mut message = format!("{what}:");
        for (sign, lines, others) in [('-', &expected, &found), ('+', &found, &expected)] {
            for line in lines.lines().filter(|line| !others.lines().any(|other| other == *line)) {
                // Writing to a string does not fail.
                write!(message, "\n{sign} {line}").ok();
            }
        }
        message
    })
}
