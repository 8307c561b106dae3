//! Quorum: a series keeps its gate to the segmenter only if its pseudo-masks hold enough together.
//!
//! In: `(reading, call)` whose pseudo-mask is on the shelf. Out: the same, with the gate closed for every slice of a series
//! whose pseudo-masks reach less than [`Quorum::least_ml`] in pieces of at least [`Quorum::least_mm2`]. A closed gate
//! spares the segmenter its work, and neither mask of the slice is published.
//!
//! A rule to show how an operator is added, not one that was evaluated on patients: small bleeds matter.

use kernels::components::{Connectivity, components};
use operators::classify::Call;
use operators::measure::volume_ml;
use operators::plumbing::{self, Collection, Stage, Task};
use operators::reconcile::ReconcileTask;
use operators::record::{Digest, Mask, Methods, Reading, Slice};
use operators::store::Block;

/// When the pseudo-masks of a series are enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quorum {
    /// Smaller pieces of a pseudo-mask do not count, mm².
    pub(crate) least_mm2: f64,
    /// What counts must reach this volume, mL.
    pub(crate) least_ml: f64,
}

impl Quorum {
    /// Voxels of the smallest piece that counts on a slice.
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(crate) fn least_voxels(&self, slice: &Slice) -> usize {
        (self.least_mm2 / slice.geometry.pixel_area_mm2()).ceil() as usize
    }

    /// Whether the voxels that count, of each slice of a series, are enough. A step wider than `max_gap_mm` holds none.
    pub(crate) fn reached(&self, mut series: Vec<(Slice, usize)>, max_gap_mm: f64) -> bool {
        series.sort();
        let (slices, voxels): (Vec<Slice>, Vec<usize>) = series.into_iter().unzip();
        volume_ml(&slices, &voxels, max_gap_mm) >= self.least_ml
    }

    /// The work that a call costs: none if the slice is not positive and so has no pseudo-mask.
    fn task(&self, call: &Call) -> Option<WeighTask> {
        let pseudo_mask = ReconcileTask::of(call)?;
        let least = self.least_voxels(&call.plan.slice);
        Some(WeighTask { pseudo_mask: pseudo_mask.name(), shape: pseudo_mask.shape, least })
    }
}

/// Voxels in the pieces of a mask, `[rows, columns]`, that have at least `least` each. Corners connect.
pub(crate) fn solid(mask: &Mask, shape: [usize; 2], least: usize) -> Solid {
    let pieces = components(&mask.voxels, shape, Connectivity::Eight);
    Solid(pieces.sizes.into_iter().filter(|size| *size >= least).sum())
}

/// How many voxels of a pseudo-mask count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Solid(pub(crate) usize);

impl Block for Solid {
    const KIND: &'static str = "solid.1";

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }

    fn to_bytes(&self) -> Option<Vec<u8>> {
        Some(u64::try_from(self.0).ok()?.to_le_bytes().to_vec())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()?))
    }
}

/// Count the voxels of a pseudo-mask that count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeighTask {
    /// Names the pseudo-mask.
    pub(crate) pseudo_mask: Digest,
    /// Its rows and columns.
    pub(crate) shape: [usize; 2],
    /// Voxels of the smallest piece that counts.
    pub(crate) least: usize,
}

impl Task for WeighTask {
    fn name(&self) -> Digest {
        let numbers =
            [self.shape[0], self.shape[1], self.least].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        let name = Digest::builder("solid").digest(&self.pseudo_mask);
        numbers.into_iter().fold(name, |name, number| name.number(number)).finish()
    }
}

/// Extension trait for collections of calls.
pub(crate) trait Quorate<'scope> {
    /// Closes the gate of each slice whose series has no quorum. Holds the calls of each reading, and asks `stage` once for
    /// each pseudo-mask.
    fn quorum(self, rule: Quorum, methods: Methods, stage: Stage<WeighTask, Solid>) -> Self;
}

impl<'scope> Quorate<'scope> for Collection<'scope, (Reading, Call)> {
    fn quorum(self, rule: Quorum, methods: Methods, stage: Stage<WeighTask, Solid>) -> Self {
        let solids = stage.shelf.clone();
        let voxels = move |call: &Call| {
            let solid = rule.task(call).and_then(|task| solids.get(&task.name()));
            solid.map_or(0, |solid| solid.0)
        };
        let weighed = plumbing::furnish(self, stage, move |(_, call)| rule.task(call).into_iter().collect());
        weighed.reduce_named("Quorum", move |reading, calls, gated| {
            let Some(method) = methods.get(&reading.by.method) else { return };
            let series = calls.iter().map(|(call, _)| (call.plan.slice.clone(), voxels(call))).collect();
            let reached = rule.reached(series, method.config.max_gap_mm);
            let gate = |call: &Call| Call { positive: call.positive && reached, ..call.clone() };
            gated.extend(calls.iter().map(|(call, count)| (gate(call), *count)));
        })
    }
}
