//! What happens in a round: drawn from a seed, and nothing else.

use std::time::Duration;

use crate::support::dice::Dice;

/// Studies of one series each.
pub(super) const STUDIES: usize = 3;
/// Slices of each.
pub(super) const SLICES: usize = 8;
/// Slices of each that are never withdrawn, so that each series has a result in the end.
const KEPT: usize = 3;

/// What a sender does. Slices are named by their place among all.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Sends slices over one association.
    Send(Vec<usize>),
    /// Sends slices, then a part of another, and is gone.
    Cut { whole: Vec<usize>, torn: usize, permille: usize },
    /// Sends a slice, so many bytes at once.
    Slow { slice: usize, at_once: usize },
    /// Sends slices over an association each, all at once.
    Flood(Vec<usize>),
    /// Takes slices of one study back.
    Withdraw(Vec<usize>),
    /// Sends a slice as DCMTK does.
    Dcmtk(usize),
}

/// How a round ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// The node is killed.
    Kill,
    /// The node is told to end.
    Drain,
}

/// A round.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Whether an acknowledgement promises the disk.
    pub(super) synced: bool,
    /// What senders do, each after a while.
    pub(super) acts: Vec<(Duration, Act)>,
    /// After a while the node is stopped for a while.
    pub(super) stop: Option<(Duration, Duration)>,
    /// How long it goes on then.
    pub(super) then: Duration,
    /// How it ends.
    pub(super) end: End,
}

impl Round {
    /// The next round of these throws.
    pub(super) fn drawn(dice: &mut Dice) -> Self {
        let synced = dice.below(2) == 0;
        let count = dice.within(2, 5);
        let acts = (0..count).map(|_| (milliseconds(dice, 120), Act::drawn(dice))).collect();
        let stop = (dice.below(3) == 0).then(|| (milliseconds(dice, 150), milliseconds(dice, 300)));
        let then = milliseconds(dice, 500);
        let end = if dice.below(4) == 0 { End::Drain } else { End::Kill };
        Self { synced, acts, stop, then, end }
    }
}

impl Act {
    fn drawn(dice: &mut Dice) -> Self {
        match dice.below(8) {
            0..=2 => Self::Send(slices(dice, 12)),
            3 => Self::Cut { whole: slices(dice, 4), torn: slice(dice), permille: dice.within(1, 999) },
            4 => Self::Slow { slice: slice(dice), at_once: dice.within(8, 200) },
            5 => Self::Flood((0..32).map(|_| slice(dice)).collect()),
            6 => {
                let study = dice.below(STUDIES);
                let count = dice.within(1, 2);
                Self::Withdraw((0..count).map(|_| study * SLICES + dice.within(KEPT, SLICES - 1)).collect())
            }
            _ => Self::Dcmtk(slice(dice)),
        }
    }
}

fn milliseconds(dice: &mut Dice, most: usize) -> Duration {
    Duration::from_millis(dice.below(most + 1) as u64)
}

fn slice(dice: &mut Dice) -> usize {
    dice.below(STUDIES * SLICES)
}

/// Some slices in any order, each at most once.
fn slices(dice: &mut Dice, most: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..STUDIES * SLICES).collect();
    dice.shuffle(&mut all);
    all.truncate(dice.within(1, most));
    all
}
