//! Reconciling: a candidate becomes a pseudo-mask where the slices next to it agree.
//!
//! In: `(reading, call)` whose candidates are on the shelf. Out: the same, once the pseudo-mask of a positive slice is on
//! the shelf. The rule is [`crate::refine::consistent`].

use crate::classify::Call;
use crate::plumbing::{self, Collection, Stage, Task};
use crate::record::{Digest, Mask, Reading};
use crate::refine::RefineTask;

/// Make the pseudo-mask of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconcileTask {
    /// The method that reconciles.
    pub method: Digest,
    /// The name of the slice's encoding, which holds its single-slice probability.
    pub encoding: Digest,
    /// Rows and columns of the slice.
    pub shape: [usize; 2],
    /// Names of the candidates below, of the slice itself, and above.
    pub candidates: [Option<Digest>; 3],
}

impl ReconcileTask {
    /// The task of a positive call.
    #[must_use]
    #[allow(clippy::as_conversions, reason = "u32 fits usize")]
    pub fn of(call: &Call) -> Option<Self> {
        let candidate = |near: &Option<_>| near.clone().map(|near| RefineTask(near).name());
        let [_, own, _] = &call.plan.neighborhoods;
        let own = own.as_ref().filter(|_| call.positive)?;
        let (method, encoding) = (own.method, *own.encoding()?);
        let geometry = &call.plan.slice.geometry;
        let shape = [geometry.rows as usize, geometry.columns as usize];
        Some(Self { method, encoding, shape, candidates: call.plan.neighborhoods.each_ref().map(candidate) })
    }
}

impl Task for ReconcileTask {
    fn name(&self) -> Digest {
        let name = Digest::builder("pseudo_mask");
        let parts = self.candidates.iter().enumerate();
        let name = parts.fold(name, |name, (side, candidate)| match candidate {
            Some(candidate) => name.digest(candidate),
            None => name.number(i64::try_from(side).unwrap_or(i64::MAX)),
        });
        name.finish()
    }
}

/// Extension trait for collections of calls.
pub trait Reconcile<'scope> {
    /// Passes each call on once the pseudo-mask of a positive slice is on the shelf.
    fn reconcile(self, stage: Stage<ReconcileTask, Mask>) -> Self;
}

impl<'scope> Reconcile<'scope> for Collection<'scope, (Reading, Call)> {
    fn reconcile(self, stage: Stage<ReconcileTask, Mask>) -> Self {
        plumbing::furnish(self, stage, |(_, call)| ReconcileTask::of(call).into_iter().collect())
    }
}
