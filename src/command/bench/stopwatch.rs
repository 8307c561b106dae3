//! How long things take: samples in turns, within the time that is left.

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use serde::Serialize;
use serde_json::Value;

use super::figures::{Spread, float, ratio};
use super::trace::{Trace, Track};
use crate::arguments::BenchLimits;

/// Samples of one thing at most, and at least unless they take three times as long as they may.
const MOST: usize = 51;
const LEAST: usize = 3;

/// A sample of short launches takes as many as last so long, and not more than so many.
const SAMPLE: Duration = Duration::from_millis(2);
const TOGETHER: usize = 64;

/// The time that is left for the cases that are left.
#[derive(Debug)]
pub(super) struct Budget {
    end: Instant,
    quick: bool,
    /// Whether each launch is timed alone.
    alone: bool,
    cases: usize,
}

impl Budget {
    /// The time of a whole run of so many cases.
    pub(super) fn new(limits: &BenchLimits, quick: bool, cases: usize) -> Self {
        let seconds = limits.seconds.unwrap_or(if quick { 15 } else { 110 });
        let end = Instant::now() + Duration::from_secs(seconds.into());
        Self { end, quick, alone: limits.trace.is_some(), cases }
    }

    /// Takes the time of the next case: half of its share, since preparing takes time as well. `None` if none is left.
    pub(super) fn next(&mut self) -> Option<Effort> {
        let left = self.end.checked_duration_since(Instant::now())?;
        let cases = u32::try_from(self.cases.max(1)).unwrap_or(u32::MAX);
        self.cases = self.cases.saturating_sub(1);
        let most = if self.quick { LEAST } else { MOST };
        Some(Effort { time: left / cases / 2, most, together: if self.quick || self.alone { 1 } else { TOGETHER } })
    }
}

/// What one case may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    time: Duration,
    most: usize,
    together: usize,
}

/// Something that is timed in turns with others.
pub(super) struct Timed<'a> {
    pub(super) track: Track,
    pub(super) name: &'a str,
    /// Does it so many times and says how long that took.
    pub(super) run: &'a mut dyn FnMut(usize) -> anyhow::Result<Duration>,
    /// Arguments of its events in the trace, from the seconds that one took.
    pub(super) about: &'a dyn Fn(f64) -> Value,
}

/// What something took, once.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Taken {
    /// By the clock.
    pub(super) milliseconds: Spread,
    /// Of all processors for this process, on average: what to compare on a busy machine.
    pub(super) cpu_milliseconds: f64,
}

/// Times so many things as [`each_in_turn`].
pub(super) fn in_turns<const N: usize>(
    effort: Effort,
    mut things: [Timed<'_>; N],
    trace: &mut Option<Trace>,
) -> anyhow::Result<[Taken; N]> {
    let mut taken = each_in_turn(effort, &mut things, trace)?.into_iter();
    Ok([(); N].map(|()| taken.next().unwrap_or_default()))
}

/// Times each in turn until the time is over: what each took.
pub(super) fn each_in_turn(
    effort: Effort,
    things: &mut [Timed<'_>],
    trace: &mut Option<Trace>,
) -> anyhow::Result<Vec<Taken>> {
    struct Samples {
        together: usize,
        milliseconds: Vec<f64>,
        worked: f64,
    }
    let mut samples = Vec::with_capacity(things.len());
    for thing in &mut *things {
        // The first one compiles, and is not counted.
        let first = (thing.run)(1)?;
        let once = if first > effort.time { first } else { (thing.run)(1)? };
        let together = repetitions(once, effort.together);
        samples.push(Samples { together, milliseconds: Vec::new(), worked: 0.0 });
    }
    let start = Instant::now();
    for round in 0..effort.most {
        // What takes far longer than it may is not even measured as often as it should be.
        let may = if round < LEAST { effort.time * 3 } else { effort.time };
        if round > 0 && start.elapsed() >= may {
            break;
        }
        for (thing, samples) in things.iter_mut().zip(&mut samples) {
            let (begun, before) = (Instant::now(), ProcessTime::try_now()?);
            let took = (thing.run)(samples.together)?;
            samples.worked += before.try_elapsed()?.as_secs_f64() * 1e3 / float(samples.together);
            let one = took.as_secs_f64() / float(samples.together);
            if let Some(trace) = trace {
                trace.add(thing.track, "launch", thing.name, (begun, took), (thing.about)(one));
            }
            samples.milliseconds.push(one * 1e3);
        }
    }
    let taken = |samples: Samples| Taken {
        milliseconds: Spread::of(&samples.milliseconds),
        cpu_milliseconds: ratio(samples.worked, float(samples.milliseconds.len())),
    };
    Ok(samples.into_iter().map(taken).collect())
}

/// How many of what takes so long make up a sample.
fn repetitions(once: Duration, most: usize) -> usize {
    let fit = SAMPLE.as_nanos() / once.as_nanos().max(1);
    usize::try_from(fit).unwrap_or(most).clamp(1, most)
}

/// Times something on the host.
pub(super) fn wall<E>(run: impl FnOnce() -> Result<(), E>) -> Result<Duration, E> {
    let start = Instant::now();
    run().map(|()| start.elapsed())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sample_lasts_or_holds_as_many_as_it_may() {
        assert_eq!(repetitions(Duration::from_secs(1), 64), 1);
        assert_eq!(repetitions(Duration::from_micros(500), 64), 4);
        assert_eq!(repetitions(Duration::ZERO, 64), 64);
        assert_eq!(repetitions(Duration::ZERO, 1), 1);
    }

    #[test]
    fn each_is_sampled_as_often_as_the_others_and_a_failure_ends_it() {
        let effort = Effort { time: Duration::from_secs(9), most: LEAST, together: 1 };
        let mut slow = |count: usize| Ok(Duration::from_millis(4) * u32::try_from(count)?);
        let mut fast = |count: usize| Ok(Duration::from_millis(3) * u32::try_from(count)?);
        let mut broken = |_| Err(anyhow::anyhow!("broken"));
        let about = |seconds| json!({ "seconds": seconds });
        let mut trace = Some(Trace::new());
        let spreads = in_turns(
            effort,
            [
                Timed { track: Track::Measured, name: "slow", run: &mut slow, about: &about },
                Timed { track: Track::Copy, name: "fast", run: &mut fast, about: &about },
            ],
            &mut trace,
        );
        let [slow, fast] = spreads.expect("samples");
        let [slow, fast] = [slow.milliseconds, fast.milliseconds];
        assert_eq!((slow.count, fast.count), (LEAST, LEAST));
        assert!((slow.median - 4.0).abs() < 1e-9 && (fast.median - 3.0).abs() < 1e-9);
        let broken = Timed { track: Track::Measured, name: "broken", run: &mut broken, about: &about };
        assert!(in_turns(effort, [broken], &mut None).is_err());
    }
}
