//! The cost of one update, by the studies that are resident beside it.
//!
//! Two graphs run side by side: one stays as it is, in the other residents come. Both are measured in turns, so that what
//! the machine does otherwise meets both, and the ratio of the two is what residents cost.

use kernels::Device;
use kernels::executor::Urgency;
use operators::dicom::Instance;
use operators::record::Change;
use operators::store::Store;
use serde::Serialize;

use super::figures::{Spread, cpu_seconds, ratio, resident_mib};
use super::rig::Rig;
use super::study::{Drawn, key};
use crate::arguments::BenchGraph;

/// Slices of the series that is measured.
const PROBE: usize = 20;
/// Slices of each resident series.
const SLICES: usize = 8;
/// Residents hold one of so many contents each: identities are their own, blocks are shared.
const CONTENTS: u64 = 64;
/// Residents of the graph that stays as it is.
const FEW: usize = 10;

/// What residents cost.
#[derive(Debug, Serialize)]
pub(super) struct Residents {
    slices_each: usize,
    counts: Vec<Count>,
}

#[derive(Debug, Serialize)]
struct Count {
    studies: usize,
    new_slice: Paired,
    re_sent: Paired,
    /// Of the process: all graphs.
    resident_mib: f64,
}

/// An update with many residents against the same with few, measured in turns.
#[derive(Debug, Serialize)]
struct Paired {
    milliseconds: Spread,
    milliseconds_with_few: Spread,
    cpu_milliseconds: Spread,
    cpu_milliseconds_with_few: Spread,
    ratio: f64,
    cpu_ratio: f64,
}

/// A graph, and how far it is.
struct Side {
    rig: Rig,
    studies: usize,
    content: u64,
}

/// Milliseconds on the clock and of all processors.
type Took = (f64, f64);

impl Side {
    fn start(device: Device, seed: u64) -> anyhow::Result<Self> {
        let mut side =
            Self { rig: Rig::start(device, Store::unbounded(), seed, false)?, studies: 0, content: CONTENTS };
        let probe: Vec<Instance> = (0..PROBE)
            .filter(|place| *place != PROBE / 2)
            .map(|place| Drawn { study: 0, place, content: CONTENTS }.instance(seed))
            .collect::<Result<_, _>>()?;
        side.rig.engine.arrive_together(&probe, Urgency::Routine)?;
        Ok(side)
    }

    fn grow(&mut self, studies: usize, seed: u64) -> anyhow::Result<()> {
        while self.studies < studies {
            self.studies += 1;
            let content = u64::try_from(self.studies)? % CONTENTS;
            let study: Vec<Instance> = (0..SLICES)
                .map(|place| Drawn { study: self.studies, place, content }.instance(seed))
                .collect::<Result<_, _>>()?;
            self.rig.engine.arrive_together(&study, Urgency::Routine)?;
            if self.studies.is_multiple_of(1000) {
                tracing::info!("resident: {} studies", self.studies);
            }
        }
        self.rig.engine.settle()
    }

    /// A new slice comes; the same comes again; it is withdrawn.
    fn update(&mut self, seed: u64) -> anyhow::Result<(Took, Took)> {
        self.content += 1;
        let slice = Drawn { study: 0, place: PROBE / 2, content: self.content };
        let instance = slice.instance(seed)?;
        let mut arrive = || {
            let cpu = cpu_seconds();
            let took = self.rig.timed(|engine| engine.arrive(&instance, Urgency::Routine))?;
            Ok::<_, anyhow::Error>((took, (cpu_seconds() - cpu) * 1e3))
        };
        let took = (arrive()?, arrive()?);
        let (key, instance) = (key(0)?, slice.uid()?);
        self.rig.timed(|engine| engine.send(Change::Withdrawn { key, instance }))?;
        Ok(took)
    }
}

/// Lets residents come, and measures updates of one study among them.
pub(super) fn measure(arguments: &BenchGraph, device: Device) -> anyhow::Result<Residents> {
    let (counts, repetitions): (&[usize], usize) =
        if arguments.quick { (&[10, 100, 1000], 15) } else { (&[10, 100, 1000, 10_000], 101) };
    let seed = arguments.seed;
    let (mut few, mut many) = (Side::start(device, seed)?, Side::start(device, seed)?);
    few.grow(FEW, seed)?;
    let mut measured = Vec::new();
    for studies in counts.iter().copied() {
        tracing::info!("resident: an update beside {studies} studies");
        many.grow(studies, seed)?;
        let (mut with_few, mut with_many) = (Vec::new(), Vec::new());
        for turn in 0..repetitions {
            // Neither side always goes first.
            if turn % 2 == 0 {
                with_few.push(few.update(seed)?);
                with_many.push(many.update(seed)?);
            } else {
                with_many.push(many.update(seed)?);
                with_few.push(few.update(seed)?);
            }
        }
        measured.push(Count {
            studies,
            new_slice: Paired::of(&with_many, &with_few, |(new, _)| *new),
            re_sent: Paired::of(&with_many, &with_few, |(_, again)| *again),
            resident_mib: resident_mib(),
        });
    }
    few.rig.finish()?;
    many.rig.finish()?;
    Ok(Residents { slices_each: SLICES, counts: measured })
}

impl Paired {
    fn of(many: &[(Took, Took)], few: &[(Took, Took)], update: fn(&(Took, Took)) -> Took) -> Self {
        let spread = |side: &[(Took, Took)], of: fn(Took) -> f64| {
            Spread::of(&side.iter().map(|took| of(update(took))).collect::<Vec<_>>())
        };
        let (milliseconds, milliseconds_with_few) = (spread(many, |took| took.0), spread(few, |took| took.0));
        let (cpu_milliseconds, cpu_milliseconds_with_few) = (spread(many, |took| took.1), spread(few, |took| took.1));
        Self {
            ratio: ratio(milliseconds.median, milliseconds_with_few.median),
            cpu_ratio: ratio(cpu_milliseconds.median, cpu_milliseconds_with_few.median),
            milliseconds,
            milliseconds_with_few,
            cpu_milliseconds,
            cpu_milliseconds_with_few,
        }
    }

    fn cells(&self) -> String {
        let spread = self.milliseconds;
        format!(
            "{:>6.2} {:>6.2} {:>6.2}  {:>7.2}  {:>5.2}  {:>9.2}",
            spread.p10, spread.median, spread.p90, self.cpu_milliseconds.median, self.ratio, self.cpu_ratio
        )
    }
}

impl Residents {
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "One update of a study of {PROBE} slices beside others of {SLICES}, which share {CONTENTS} contents: \
                 milliseconds, and the ratio to a graph with {FEW} studies that is measured in turns"
            ),
            "studies  update        p10 median    p90  CPU med.  ratio  CPU ratio    MiB".into(),
        ];
        lines.extend(self.counts.iter().flat_map(|count| {
            [("new slice", &count.new_slice), ("re-sent", &count.re_sent)].map(|(name, paired)| {
                format!("{:>7}  {name:<10} {}  {:>5.0}", count.studies, paired.cells(), count.resident_mib)
            })
        }));
        lines
    }
}
