//! Classification: the probability of a slice in the context of its neighbors.
//!
//! In: `(reading, plan)` whose encodings are on the shelf. Out: `(reading, call)`, once the logits of the plan's windows
//! are on the shelf; a [`Call`] says whether the slice passes the gate of the masks. The logit of a slice is the mean
//! over all windows that contain it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::encode::sigmoid;
use crate::plumbing::{self, Collection, Stage, Task};
use crate::record::{Digest, Methods, Reading};
use crate::stack::{Context, Plan};
use crate::store::Shelf;

/// A plan with the classifier's decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Call {
    /// The plan.
    pub plan: Plan,
    /// Whether the slice's probability reaches the gate, so that it has masks.
    pub positive: bool,
}

/// The probability of a slice: the sigmoid of the mean of its logits, summed from the lowest window. `windows` name the
/// logits and say which of them is the slice's. `None` if a window is not on the shelf.
#[must_use]
pub fn probability<'a>(
    windows: impl IntoIterator<Item = (&'a Digest, usize)>,
    logits: &Shelf<Vec<f32>>,
) -> Option<f32> {
    let mut sum = 0.0;
    let mut count = 0.0;
    for (name, position) in windows {
        sum += logits.get(name)?.get(position)?;
        count += 1.0;
    }
    (count > 0.0).then(|| sigmoid(sum / count))
}

/// The logits of one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassifyTask {
    name: Digest,
    /// The method whose model classifies.
    pub method: Digest,
    /// Names of the encodings, in z order.
    pub encodings: Arc<[Digest]>,
}

impl Task for ClassifyTask {
    fn name(&self) -> Digest {
        self.name
    }
}

/// Extension trait for collections of plans.
pub trait Classify<'scope> {
    /// Passes each plan on, with the classifier's decision, once the logits of its windows are on the shelf.
    fn classify(self, methods: Methods, stage: Stage<ClassifyTask, Vec<f32>>) -> Collection<'scope, (Reading, Call)>;
}

impl<'scope> Classify<'scope> for Collection<'scope, (Reading, Plan)> {
    fn classify(self, methods: Methods, stage: Stage<ClassifyTask, Vec<f32>>) -> Collection<'scope, (Reading, Call)> {
        let logits = stage.shelf.clone();
        let windows = |(reading, plan): &(Reading, Plan)| {
            let method = reading.by.method;
            let task = |context: &Context| ClassifyTask {
                name: context.name,
                method,
                encodings: Arc::clone(&context.encodings),
            };
            plan.context.iter().map(task).collect()
        };
        plumbing::furnish(self, stage, windows).map(move |(reading, plan)| {
            let gate = methods.get(&reading.by.method).map_or(f32::INFINITY, |method| method.config.mask_gate);
            let windows = plan.context.iter().map(|context| (&context.name, context.position));
            let positive = probability(windows, &logits).is_some_and(|probability| probability >= gate);
            (reading, Call { plan, positive })
        })
    }
}
