//! What a node forgets: studies that nothing came of for so many days, each as a whole.
//!
//! [`begin`] and [`forgotten`] decide, from times that were written down and one that is given; no clock is read here.
//! [`forget`] does it. Why as a whole, and what stays: `docs/adr/0007`.

use std::collections::{BTreeMap, BTreeSet};

use operators::event::ForgettingFailed;
use operators::record::Digest;

use crate::data::Forgotten;
use crate::files::Files;
use crate::inbox::Inbox;
use crate::node::Node;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// The time before which something must have come last to be forgotten at `now_ms`: the beginning of the day, UTC, that many
/// days ago, so that the studies of a day go together. `None` if nothing is forgotten. Milliseconds since 1970.
#[must_use]
pub fn begin(now_ms: i64, after_days: u32) -> Option<i64> {
    (after_days > 0).then(|| now_ms.div_euclid(DAY).saturating_sub(after_days.into()).saturating_mul(DAY))
}

/// The studies of which nothing was touched at `begin_ms` or later. Each may be named more than once.
#[must_use]
pub fn forgotten(touched: impl IntoIterator<Item = (Digest, i64)>, begin_ms: i64) -> BTreeSet<Digest> {
    let mut last: BTreeMap<Digest, i64> = BTreeMap::new();
    for (study, touched_ms) in touched {
        let last = last.entry(study).or_insert(touched_ms);
        *last = touched_ms.max(*last);
    }
    last.into_iter().filter(|(_, touched_ms)| *touched_ms < begin_ms).map(|(study, _)| study).collect()
}

/// The studies that a node has something of, in its log or in its inbox, by the digests of their UIDs, with when something of
/// them came or was withdrawn last: milliseconds since 1970. A study may be named more than once.
#[must_use]
pub fn touched(node: &Node, inbox: &Inbox) -> Vec<(Digest, i64)> {
    let graph = node.touched().into_iter().map(|(key, touched_ms)| (key.study.digest(), touched_ms));
    graph.chain(inbox.kept().index().touched()).collect()
}

/// Forgets studies, which are named by the digests of their UIDs, with all that the inbox holds of them before the position
/// `followed`, and refusals that were told before `refused_before_ms`. All before that position must have been followed.
/// Gives how many bytes that takes off the disk.
///
/// # Errors
///
/// Returns an error that names the file that cannot be read or written, and nothing was forgotten; or the node has failed.
pub fn forget(
    node: &mut Node,
    inbox: &Inbox,
    studies: &BTreeSet<Digest>,
    (followed, refused_before_ms): (u64, i64),
    files: &Files,
) -> anyhow::Result<u64> {
    let studies = studies.iter().map(|study| (*study, followed)).collect();
    let freed = node.forget(&Forgotten { studies, refused_before_ms }, files)?;
    Ok(freed + finish(node, inbox, files))
}

/// Removes from the inbox what a node has forgotten, as far as it was not removed yet. Gives how many bytes that takes off
/// the disk. What cannot be removed is told of, and removed another time.
pub fn finish(node: &Node, inbox: &Inbox, files: &Files) -> u64 {
    match inbox.forget(&node.forgotten(), files) {
        Ok(freed) => {
            node.shed();
            freed
        }
        Err(error) => {
            node.telemetry().emit(ForgettingFailed);
            tracing::warn!("what was forgotten leaves the disk later: {error:#}");
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_day_goes_as_a_whole_and_nothing_goes_where_all_is_kept() {
        assert_eq!(begin(10 * DAY + 5, 3), Some(7 * DAY));
        assert_eq!(begin(11 * DAY - 1, 3), Some(7 * DAY));
        assert_eq!(begin(i64::MAX, 0), None);
        assert_eq!(begin(0, u32::MAX), Some(-i64::from(u32::MAX) * DAY), "a clock that was never set forgets nothing");
    }

    proptest! {
        #[test]
        fn what_was_touched_last_decides(touched in prop::collection::vec((0_u8..4, 0_i64..100), 0..20), begin in 0_i64..100) {
            let named: Vec<(Digest, i64)> = touched.iter().map(|(study, at)| (Digest::of(&[*study]), *at)).collect();
            let forgotten = forgotten(named, begin);
            for study in 0..4 {
                let mut times = touched.iter().filter(|(other, _)| *other == study).map(|(_, at)| *at).peekable();
                let goes = times.peek().is_some() && times.all(|at| at < begin);
                prop_assert_eq!(forgotten.contains(&Digest::of(&[study])), goes);
            }
        }
    }
}
