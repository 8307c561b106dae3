//! Reading: which methods read which slices.
//!
//! In: `(series, slice)`, and the methods in use. Out: `(reading, slice)`, one for each pair. Loading weights is a
//! difference of the second collection: the readings by the old method go and those by the new one come at one tick, so
//! that old results stay until new ones replace them.

use differential_dataflow::AsCollection;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::trace::implementations::{ValBatcher, ValSpine};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::vec::Broadcast;

use crate::plumbing::Collection;
use crate::record::{Reading, SeriesKey, Slice, Tick, Use};

/// Extension trait for collections of decoded slices.
pub trait Read<'scope> {
    /// Pairs each slice with each method in use. Slices stay on their worker; the methods are told to every worker.
    fn read(self, uses: Collection<'scope, Use>) -> Collection<'scope, (Reading, Slice)>;
}

impl<'scope> Read<'scope> for Collection<'scope, (SeriesKey, Slice)> {
    fn read(self, uses: Collection<'scope, Use>) -> Collection<'scope, (Reading, Slice)> {
        type Held<V> = ValSpine<(), V, Tick, isize>;
        let slices = self.map(|slice| ((), slice)).inner;
        let uses = uses.inner.broadcast().as_collection().map(|by| ((), by)).inner;
        let slices = arrange_core::<_, _, _, Held<(SeriesKey, Slice)>>(slices, Pipeline, "Slices", ValBatcher::new);
        let uses = arrange_core::<_, _, _, Held<Use>>(uses, Pipeline, "Uses", ValBatcher::new);
        slices.join_core(uses, |(), (series, slice), by| {
            Some((Reading { series: series.clone(), by: *by }, slice.clone()))
        })
    }
}
