//! How much may come in: from what waits, and from the room on the disk. No clock and no file here.

use std::time::Duration;

use crate::config::Limits;

/// Why nothing is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The node is ending.
    Draining,
    /// Too much waits for the graph.
    Behind,
    /// The disk has less room than must stay free.
    Disk,
}

impl Closed {
    /// The fixed word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Behind => "behind",
            Self::Disk => "disk",
        }
    }
}

/// The longest pause before an instance is read.
const LONGEST: Duration = Duration::from_millis(500);

/// How long a listener pauses before it reads the next instance, if so many records wait for the graph: nothing up to
/// `waiting_slow`, half a second at `waiting_refuse`.
#[must_use]
pub(super) fn pause(limits: &Limits, waiting: usize) -> Duration {
    let above = waiting.saturating_sub(limits.waiting_slow);
    let span = limits.waiting_refuse.saturating_sub(limits.waiting_slow).max(1);
    let share = u32::try_from(above.min(span).saturating_mul(1000) / span).unwrap_or(1000);
    LONGEST * share / 1000
}

/// Whether something new is taken, if so many records wait and so many bytes are free.
///
/// # Errors
///
/// Says what is short.
pub(super) fn admit(limits: &Limits, waiting: usize, free: usize) -> Result<(), Closed> {
    if free < limits.free_disk {
        Err(Closed::Disk)
    } else if waiting >= limits.waiting_refuse {
        Err(Closed::Behind)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn more_waiting_never_means_less_pause(slow in 0_usize..1000, more in 0_usize..1000, waiting in 0_usize..3000) {
            let limits = Limits { waiting_slow: slow, waiting_refuse: slow + more, ..Limits::default() };
            prop_assert!(pause(&limits, waiting) <= pause(&limits, waiting + 1));
            prop_assert!(pause(&limits, waiting) <= LONGEST);
            prop_assert_eq!(pause(&limits, slow), Duration::ZERO);
            prop_assert_eq!(admit(&limits, waiting, usize::MAX).is_err(), waiting >= slow + more);
        }
    }

    #[test]
    fn the_disk_is_named_before_what_waits() {
        let limits = Limits { free_disk: 10, waiting_refuse: 5, ..Limits::default() };
        assert_eq!(admit(&limits, 5, 9), Err(Closed::Disk));
        assert_eq!(admit(&limits, 5, 10), Err(Closed::Behind));
        assert_eq!(admit(&limits, 4, 10), Ok(()));
    }
}
