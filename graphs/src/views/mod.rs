//! Views across studies: what a department asks of all its results, maintained while they change.
//!
//! | view | the question it answers | a change costs |
//! |---|---|---|
//! | [`worklist`](worklist::worklist) | which study should a reader look at next? | its study |
//! | [`prevalence`](prevalence::prevalence) | how often does which scanner see hemorrhage, by hour? | an addition |
//! | [`growth`](growth::growth) | does a patient's hemorrhage grow? | its patient |
//! | [`flips`](flips::flips) | which series does a new model call differently? | its series |
//! | [`agreement`](agreement::agreement) | how well do slices agree with the truth? | at most 2001 steps |
//!
//! Each stands beside a `reference`, a plain function of all outcomes that are present, and equals it at every tick. A
//! [`Board`] runs them all on a thread of its own for programs without a dataflow.

pub mod agreement;
mod board;
pub mod flips;
pub mod growth;
mod held;
mod hex;
#[cfg(test)]
mod law;
pub mod prevalence;
pub mod worklist;

use operators::plumbing::Collection;
use operators::record::Outcome;

pub use board::{Board, BoardError, Reader, Snapshot};
pub use held::Held;

/// The views of outcomes.
pub struct Views<'scope> {
    /// One entry for each study, the most urgent first.
    pub worklist: Collection<'scope, worklist::WorklistEntry>,
    /// Sums by scanner model and hour.
    pub prevalence: Collection<'scope, prevalence::Prevalence>,
    /// Changes of volume between a patient's studies.
    pub growth: Collection<'scope, growth::Growth>,
    /// Series that the active and a shadow model call differently.
    pub flips: Collection<'scope, flips::Flip>,
}

/// Installs the views in the scope of `outcomes`.
#[must_use]
pub fn views<'scope>(outcomes: Collection<'scope, Outcome>) -> Views<'scope> {
    Views {
        worklist: worklist::worklist(outcomes.clone()),
        prevalence: prevalence::prevalence(outcomes.clone()),
        growth: growth::growth(outcomes.clone()),
        flips: flips::flips(outcomes),
    }
}

/// A sum that is never negative: nothing is taken away that was not added.
fn whole(sum: isize) -> u64 {
    debug_assert!(sum >= 0, "{sum}: more was taken away than added");
    u64::try_from(sum).unwrap_or_default()
}

/// `part / whole`, or `None` of nothing.
#[allow(clippy::as_conversions, clippy::cast_precision_loss, reason = "rounding counts to 53 bits is the precision")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}
