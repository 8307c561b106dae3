//! Time as a device counts it: how long launches take, and which there were.
//!
//! A launch returns before the device has done it, so a time is that of a [`Clock`]: on a GPU between two events in the
//! device's own queue, on a processor until the device has nothing left to do.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cubecl::future::block_on;
use cubecl::logging::{LaunchObservation, LaunchObserver, TimingMethod, TimingRequest};

use crate::device::{Client, Device};
use crate::error::KernelError;

const KERNEL: &str = "clock";

/// Waits until the device has done what it was asked to do.
///
/// # Errors
///
/// Returns [`KernelError::Device`] if the device fails.
pub fn wait(client: &Client) -> Result<(), KernelError> {
    block_on(client.sync()).map_err(failed)
}

fn failed(error: impl std::fmt::Debug) -> KernelError {
    KernelError::Device { kernel: KERNEL, reason: format!("{error:?}") }
}

/// What tells the time of launches.
pub struct Clock {
    client: Client,
    events: bool,
}

impl Clock {
    /// The clock of a device. It reads the device's events where those are finer than a wait: not on a processor.
    #[must_use]
    pub fn new(client: &Client, device: Device) -> Self {
        let events = device != Device::Cpu && client.properties().timing_method == TimingMethod::Device;
        Self { client: client.clone(), events }
    }

    /// Whether times are those between two events of the device, without the way to it.
    #[must_use]
    pub fn has_events(&self) -> bool {
        self.events
    }

    /// The time that the device takes for what `run` asks of it, once it has done all that was asked before.
    ///
    /// # Errors
    ///
    /// Returns what `run` returns, or [`KernelError::Device`] if the device fails.
    pub fn timed(&self, run: impl FnOnce() -> Result<(), KernelError>) -> Result<Duration, KernelError> {
        wait(&self.client)?;
        if !self.events {
            let start = Instant::now();
            run()?;
            wait(&self.client)?;
            return Ok(start.elapsed());
        }
        let window = self.client.profile_start().map_err(failed)?;
        let ran = run();
        let profile = self.client.profile_end(window).map_err(failed)?;
        ran?;
        match block_on(profile.resolve()) {
            Some(ticks) => Ok(ticks.duration()),
            None => Err(failed("nothing was launched")),
        }
    }
}

/// The launches of a while.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Launches {
    /// All of them.
    pub count: usize,
    /// Those of this crate's kernels.
    pub own: usize,
    /// How long the device took for those of this crate.
    pub own_time: Duration,
}

struct Observer {
    seen: Mutex<Launches>,
    request: TimingRequest,
}

impl Observer {
    fn note(&self, note: impl FnOnce(&mut Launches)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Kernels name themselves by their path.
fn is_own(kernel: &str) -> bool {
    kernel.starts_with(concat!(env!("CARGO_CRATE_NAME"), "::"))
}

impl LaunchObserver for Observer {
    fn launched(&self, kernel: &'static str) {
        self.note(|seen| {
            seen.count += 1;
            seen.own += usize::from(is_own(kernel));
        });
    }

    fn timing(&self) -> TimingRequest {
        self.request
    }

    fn timed(&self, kernel: &'static str, duration: Duration, _: TimingMethod) {
        if is_own(kernel) {
            self.note(|seen| seen.own_time += duration);
        }
    }
}

/// Runs something and counts the launches of the whole process meanwhile, other threads' among them.
pub fn counted<T>(run: impl FnOnce() -> T) -> (T, Launches) {
    observed(TimingRequest::None, run)
}

/// As [`counted`], and times each launch by itself, which keeps launches from overlapping: the whole takes longer.
pub fn timed_apart<T>(run: impl FnOnce() -> T) -> (T, Launches) {
    observed(TimingRequest::Resolved, run)
}

fn observed<T>(request: TimingRequest, run: impl FnOnce() -> T) -> (T, Launches) {
    let observer = Arc::new(Observer { seen: Mutex::default(), request });
    let observation = LaunchObservation::new(Arc::<Observer>::clone(&observer));
    let result = run();
    drop(observation);
    let seen = *observer.seen.lock().unwrap_or_else(PoisonError::into_inner);
    (result, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::client;
    use crate::copy::DeviceCopy;

    #[test]
    fn a_launch_takes_time_and_nothing_takes_less_than_a_failure() {
        let clock = Clock::new(&client(), Device::Cpu);
        let copy = DeviceCopy::new(&client(), 1 << 20).expect("a copy");
        assert!(clock.timed(|| copy.run()).expect("a time") > Duration::ZERO);
        let failure = KernelError::TooLarge { kernel: "test", len: 1 };
        assert_eq!(clock.timed(|| Err(failure.clone())), Err(failure));
    }

    #[test]
    fn launches_are_counted_and_timed() {
        // Other tests launch meanwhile: at least ours are seen.
        let copy = DeviceCopy::new(&client(), 1 << 20).expect("a copy");
        let three = || (0..3).try_for_each(|_| copy.run());
        let (ran, seen) = counted(three);
        assert!(ran.is_ok() && seen.own >= 3 && seen.count >= seen.own, "{seen:?}");
        let (ran, seen) = timed_apart(three);
        assert!(ran.is_ok() && seen.own >= 3 && seen.own_time > Duration::ZERO, "{seen:?}");
    }
}
