//! Which files stand still. No clock and no file here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// What changes when a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    length: u64,
    modified: SystemTime,
}

impl Stamp {
    /// # Errors
    ///
    /// Returns an error where files have no times.
    pub(super) fn of(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self { length: metadata.len(), modified: metadata.modified()? })
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of the file in memory.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.length).unwrap_or(usize::MAX)
    }
}

/// What a look at a file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is new or has changed, and may change again.
    Moving,
    /// It has been the same for long enough.
    Still,
    /// It is to be left alone until it changes.
    Left,
}

#[derive(Clone, Copy, Debug)]
struct Sight {
    stamp: Stamp,
    since: Instant,
    left: bool,
}

/// The files that were seen.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<PathBuf, Sight>);

impl Seen {
    /// Looks at a file: it stands still if it was the same for as long as `settle`.
    pub(super) fn look(&mut self, path: &Path, stamp: Stamp, now: Instant, settle: Duration) -> Look {
        let fresh = Sight { stamp, since: now, left: false };
        let sight = self.0.entry(path.to_owned()).or_insert(fresh);
        if sight.stamp != stamp {
            *sight = fresh;
        }
        if sight.left {
            Look::Left
        } else if now.saturating_duration_since(sight.since) >= settle {
            Look::Still
        } else {
            Look::Moving
        }
    }

    /// Leaves a file alone until it changes.
    pub(super) fn leave(&mut self, path: &Path) {
        if let Some(sight) = self.0.get_mut(path) {
            sight.left = true;
        }
    }

    /// Forgets the files that are there no more.
    pub(super) fn forget_all_but(&mut self, found: &BTreeSet<PathBuf>) {
        self.0.retain(|path, _| found.contains(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_still_once_it_was_the_same_for_long_enough() {
        let (path, settle, begin) = (Path::new("a"), Duration::from_secs(2), Instant::now());
        let stamp = |length| Stamp { length, modified: SystemTime::UNIX_EPOCH };
        let mut seen = Seen::default();
        let look = |seen: &mut Seen, length, second| {
            seen.look(path, stamp(length), begin + Duration::from_secs(second), settle)
        };
        assert_eq!(look(&mut seen, 1, 0), Look::Moving);
        assert_eq!(look(&mut seen, 1, 1), Look::Moving);
        assert_eq!(look(&mut seen, 2, 2), Look::Moving, "it has grown");
        assert_eq!(look(&mut seen, 2, 3), Look::Moving);
        assert_eq!(look(&mut seen, 2, 4), Look::Still);
        seen.leave(path);
        assert_eq!(look(&mut seen, 2, 9), Look::Left);
        assert_eq!(look(&mut seen, 3, 10), Look::Moving);
        seen.forget_all_but(&BTreeSet::new());
        assert_eq!(look(&mut seen, 3, 20), Look::Moving, "another file of the name");
    }
}
