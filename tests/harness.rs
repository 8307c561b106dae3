//! The harness of the laws on trial: a graph with a single flaw breaks the law that is about it, and a sound one none.

use std::collections::{BTreeMap, BTreeSet};

use proptest::test_runner::TestCaseResult;

use crate::support::law::{self, Law, Setting, Streamed, Told, Version};

/// What a [`Toy`] does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    Nothing,
    ForgetsWithdrawals,
    ShowsLate,
    CountsRepeats,
    KeepsBlocks,
    DependsOnWorkers,
    DependsOnPace,
    LosesOthers,
    HidesRefusals,
}

/// A graph that keeps a set of numbers: `n` arrives, `-n` is withdrawn, 0 is corrupt.
struct Toy(Flaw);

fn kept(changes: &[i8]) -> BTreeSet<i8> {
    let mut kept = BTreeSet::new();
    for change in changes {
        let _changed = if *change > 0 { kept.insert(*change) } else { kept.remove(&change.saturating_neg()) };
    }
    kept
}

fn refused(changes: &[i8]) -> Vec<String> {
    changes.iter().filter(|change| **change == 0).map(ToString::to_string).collect()
}

impl Law for Toy {
    type Change = i8;
    type State = BTreeSet<i8>;

    fn stream(&self, changes: &[i8], setting: Setting) -> Streamed<BTreeSet<i8>> {
        let Self(flaw) = *self;
        let mut at: Vec<BTreeSet<i8>> = (1..=changes.len()).map(|count| kept(&changes[..count])).collect();
        let before =
            |tick: usize| tick.checked_sub(1).map_or_else(BTreeSet::new, |before| kept(&changes[..before + 1]));
        let new = |tick: &usize| flaw == Flaw::CountsRepeats || at[*tick] != before(*tick);
        let ticks: Vec<usize> = (0..changes.len()).filter(new).collect();
        let mut held = at.last().map_or(0, BTreeSet::len);
        match flaw {
            Flaw::ForgetsWithdrawals => {
                let arrived = |count: usize| changes[..count].iter().copied().filter(|n| *n > 0).collect();
                at = (1..=changes.len()).map(arrived).collect();
            }
            Flaw::ShowsLate => at = (0..changes.len()).map(before).collect(),
            Flaw::LosesOthers => {
                let corrupt = changes.iter().position(|change| *change == 0).unwrap_or(changes.len());
                at.iter_mut().skip(corrupt).for_each(BTreeSet::clear);
            }
            Flaw::KeepsBlocks => held += changes.iter().filter(|change| **change < 0).count(),
            Flaw::DependsOnWorkers => at.iter_mut().skip(setting.workers).for_each(BTreeSet::clear),
            Flaw::DependsOnPace if setting.settle_every.is_some() => held += 1,
            Flaw::Nothing | Flaw::CountsRepeats | Flaw::HidesRefusals | Flaw::DependsOnPace => {}
        }
        let versions = vec![ticks.into_iter().zip(1..).map(|(tick, number)| Version { number, tick }).collect()];
        let refused = if flaw == Flaw::HidesRefusals { Vec::new() } else { refused(changes) };
        Streamed { at, versions, refused, held }
    }

    fn batch(&self, changes: &[i8]) -> Told<BTreeSet<i8>> {
        Told { state: kept(changes), refused: refused(changes) }
    }

    fn present(&self, changes: &[i8]) -> Vec<i8> {
        kept(changes).into_iter().collect()
    }

    fn undo(&self, change: &i8) -> Option<i8> {
        (*change > 0).then(|| -change)
    }
}

/// A law on trial, under two settings.
type Trial = fn(&Toy, Setting, Setting) -> TestCaseResult;

#[test]
fn each_law_finds_the_flaws_that_it_is_about() {
    const CHANGES: [i8; 6] = [1, 2, -1, 2, 3, 1];
    let flood = Setting { workers: 2, batch: 8, settle_every: None };
    let slow = Setting { workers: 4, settle_every: Some(1), ..flood };
    let laws: BTreeMap<&str, Trial> = BTreeMap::from([
        ("ends", (|toy, flood, _| law::ends_as_batch(toy, &[1, 2, -1], flood)) as Trial),
        ("ticks", |toy, flood, _| law::holds_at_every_tick(toy, &CHANGES, flood)),
        ("settings", |toy, flood, slow| law::settings_do_not_matter(toy, &CHANGES, [flood, slow])),
        ("nothing", |toy, flood, _| law::insert_then_retract_leaves_nothing(toy, &CHANGES, flood)),
        ("twice", |toy, flood, _| law::twice_is_a_no_op(toy, &CHANGES, flood)),
        ("corrupt", |toy, flood, _| law::corrupt_is_rejected_and_others_go_on(toy, &CHANGES, (3, &0), flood)),
    ]);
    let found = |flaw: Flaw| -> Vec<&str> {
        let broken = laws.iter().filter(|(_, law)| law(&Toy(flaw), flood, slow).is_err());
        broken.map(|(name, _)| *name).collect()
    };
    let about = [
        (Flaw::Nothing, None),
        (Flaw::ForgetsWithdrawals, Some("ends")),
        (Flaw::ShowsLate, Some("ticks")),
        (Flaw::CountsRepeats, Some("twice")),
        (Flaw::KeepsBlocks, Some("nothing")),
        (Flaw::DependsOnWorkers, Some("settings")),
        (Flaw::DependsOnPace, Some("settings")),
        (Flaw::LosesOthers, Some("corrupt")),
        (Flaw::HidesRefusals, Some("corrupt")),
    ];
    for (flaw, law) in about {
        let found = found(flaw);
        assert!(law.map_or(found.is_empty(), |law| found.contains(&law)), "{flaw:?}: {found:?}");
    }
}
