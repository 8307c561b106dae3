//! Whose turn it is: what leads the next batch, of which desk, or until when to wait. No queue, no clock, no thread.

use std::time::Instant;

use super::Urgency;

/// Batches of others that a class lets pass, for each step between it and the most urgent question, before it leads one itself.
pub const PATIENCE: usize = 8;

/// Where the questions of a desk stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// When the first question of each urgency was asked.
    pub fronts: [Option<Instant>; 3],
    /// From when on a batch no longer waits for company. `None` if company alone can bring that about.
    pub due: Option<Instant>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Run a batch of this desk, which questions of this urgency lead.
    Lead { desk: usize, urgency: Urgency },
    /// Look again at that time, or when something changes.
    Wait { until: Option<Instant> },
}

/// What has led so far, as far as it matters.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Batches of others that have passed each urgency since it last led or had nothing to ask.
    passed: [usize; 3],
}

impl Turns {
    /// The turn after those so far.
    pub(super) fn next(&mut self, desks: &[Standing], now: Instant) -> Turn {
        let waits = Urgency::ALL.map(|urgency| desks.iter().any(|desk| desk.fronts[urgency.index()].is_some()));
        for urgency in Urgency::ALL {
            if !waits[urgency.index()] {
                self.passed[urgency.index()] = 0;
            }
        }
        let mut waiting = Urgency::ALL.into_iter().filter(|urgency| waits[urgency.index()]);
        let Some(first) = waiting.next() else { return Turn::Wait { until: None } };
        let held_up =
            waiting.find(|urgency| self.passed[urgency.index()] >= PATIENCE * (urgency.index() - first.index()));
        let urgency = held_up.unwrap_or(first);
        let fronts = desks
            .iter()
            .enumerate()
            .filter_map(|(index, desk)| desk.fronts[urgency.index()].map(|asked| (asked, index, desk.due)));
        // Who was held up waits no longer: more urgent questions stand behind.
        let ready = fronts.clone().filter(|(_, _, due)| held_up.is_some() || due.is_some_and(|due| due <= now));
        match ready.min_by_key(|(asked, index, _)| (*asked, *index)) {
            Some((_, desk, _)) => {
                self.passed[urgency.index()] = 0;
                for other in Urgency::ALL.into_iter().filter(|other| *other != urgency && waits[other.index()]) {
                    self.passed[other.index()] += 1;
                }
                Turn::Lead { desk, urgency }
            }
            None => Turn::Wait { until: fronts.filter_map(|(_, _, due)| due).min() },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// Fronts and due times as milliseconds after an epoch.
    type Milliseconds = ([Option<u64>; 3], Option<u64>);

    fn standings(epoch: Instant, desks: &[Milliseconds]) -> Vec<Standing> {
        let at = |ms: u64| epoch + Duration::from_millis(ms);
        desks.iter().map(|(fronts, due)| Standing { fronts: fronts.map(|ms| ms.map(at)), due: due.map(at) }).collect()
    }

    fn desks() -> impl Strategy<Value = Vec<Milliseconds>> {
        let time = || proptest::option::of(0_u64..50);
        proptest::collection::vec(([time(), time(), time()], time()), 1..5)
    }

    proptest! {
        #[test]
        fn the_oldest_ready_question_of_the_most_urgent_leads(desks in desks(), now in 0_u64..50) {
            let epoch = Instant::now();
            let turn = Turns::default().next(&standings(epoch, &desks), epoch + Duration::from_millis(now));
            let first = (0..3).find(|index| desks.iter().any(|(fronts, _)| fronts[*index].is_some()));
            let Some(first) = first else {
                prop_assert_eq!(turn, Turn::Wait { until: None });
                return Ok(());
            };
            let of_first = || desks.iter().enumerate().filter(|(_, (fronts, _))| fronts[first].is_some());
            let mut ready: Vec<(u64, usize)> = of_first()
                .filter(|(_, (_, due))| due.is_some_and(|due| due <= now))
                .map(|(index, (fronts, _))| (fronts[first].expect("a front"), index))
                .collect();
            ready.sort_unstable();
            let expected = match ready.first() {
                Some((_, desk)) => Turn::Lead { desk: *desk, urgency: Urgency::ALL[first] },
                None => {
                    let until = of_first().filter_map(|(_, (_, due))| *due).min();
                    Turn::Wait { until: until.map(|ms| epoch + Duration::from_millis(ms)) }
                }
            };
            prop_assert_eq!(turn, expected);
        }

        #[test]
        fn no_class_waits_longer_than_its_bound_whatever_the_others_ask(
            rounds in proptest::collection::vec(desks(), 1..120),
            patient in 1_usize..3,
        ) {
            let epoch = Instant::now();
            let mut turns = Turns::default();
            let mut since = 0;
            for mut desks in rounds {
                desks.iter_mut().for_each(|(_, due)| *due = Some(0));
                desks.push((std::array::from_fn(|index| (index == patient).then_some(7)), Some(0)));
                let turn = turns.next(&standings(epoch, &desks), epoch + Duration::from_millis(50));
                let Turn::Lead { urgency, .. } = turn else { return Err(TestCaseError::fail("all are ready")) };
                since = if urgency.index() == patient { 0 } else { since + 1 };
                prop_assert!(since <= patient * PATIENCE + 1, "{} batches passed it", since);
            }
        }
    }

    #[test]
    fn what_was_held_up_before_does_not_hold_up_others_twice() {
        let epoch = Instant::now();
        let asked = |urgencies: [bool; 3]| standings(epoch, &[(urgencies.map(|asks| asks.then_some(0)), Some(0))]);
        let (flood, all, calm) = (asked([true, false, true]), asked([true, true, true]), asked([false, true, true]));
        let rounds = [vec![flood; PATIENCE], vec![calm.clone()], vec![all; PATIENCE], vec![calm]].concat();
        let mut turns = Turns::default();
        let led: Vec<Turn> = rounds.iter().map(|desks| turns.next(desks, epoch)).collect();
        let leads = |urgency| Turn::Lead { desk: 0, urgency };
        let before = [vec![leads(Urgency::Stat); PATIENCE], vec![leads(Urgency::Background)]].concat();
        let after =
            [vec![leads(Urgency::Stat); PATIENCE - 1], [Urgency::Routine, Urgency::Background].map(leads).to_vec()]
                .concat();
        assert_eq!(led, [before, after].concat());
    }

    #[test]
    fn a_flood_lets_the_held_up_lead_once_without_company() {
        let epoch = Instant::now();
        let leads = |turns: &mut Turns, desks: &[Milliseconds]| match turns.next(&standings(epoch, desks), epoch) {
            Turn::Lead { urgency, .. } => urgency,
            Turn::Wait { until } => panic!("waits until {until:?}"),
        };
        let never_due = ([None, None, Some(0)], None);
        let mut turns = Turns::default();
        let routine = [([None, Some(0), None], Some(0)), never_due];
        let led: Vec<_> = (0..2 * PATIENCE + 2).map(|_| leads(&mut turns, &routine)).collect();
        let expected: Vec<_> = [Urgency::Routine; PATIENCE].into_iter().chain([Urgency::Background]).collect();
        assert_eq!(led, expected.repeat(2));
        let led: Vec<_> = (0..PATIENCE).map(|_| leads(&mut turns, &routine)).collect();
        assert_eq!(led, [Urgency::Routine; PATIENCE]);
        let stat = [([Some(0), None, None], Some(0)), never_due];
        let led: Vec<_> = (0..=PATIENCE).map(|_| leads(&mut turns, &stat)).collect();
        let expected: Vec<_> = [Urgency::Stat; PATIENCE].into_iter().chain([Urgency::Background]).collect();
        assert_eq!(led, expected);
    }
}
