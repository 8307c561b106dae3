//! The copy that a kernel is measured by: as many bytes, where the kernel works.

use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::clock::Clock;
use kernels::copy::DeviceCopy;
use kernels::{Client, Device};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::case::Place;
use crate::command::bench::stopwatch::wall;

/// Copies of one length.
pub(super) enum Yardstick<'a> {
    /// By the device.
    Device(Box<DeviceCopy>, &'a Clock),
    /// By memcpy on so many threads.
    Host { from: Vec<u8>, to: Vec<u8>, threads: usize, pool: &'a ThreadPool },
}

impl<'a> Yardstick<'a> {
    /// A copy that moves `bytes` bytes, read and written together, where `place` is. On a processor, where threads cost more
    /// than they bring for a short copy, it is the faster of one thread and as many as the kernel may use.
    pub(super) fn new(
        place: Place,
        bytes: usize,
        (device, client, clock): (Device, &Client, &'a Clock),
        pool: &'a ThreadPool,
    ) -> anyhow::Result<Self> {
        if place == Place::Device && device != Device::Cpu {
            return Ok(Self::Device(Box::new(DeviceCopy::new(client, bytes)?), clock));
        }
        let mut copy =
            Self::Host { from: vec![1; bytes.div_ceil(2)], to: vec![0; bytes.div_ceil(2)], threads: 1, pool };
        copy.run(1)?;
        let most = if place == Place::Host { 1 } else { pool.current_num_threads() };
        let mut best = (Duration::MAX, 1);
        for candidate in [1, most] {
            copy.set_threads(candidate);
            let times = (0..3).map(|_| copy.run(1)).collect::<anyhow::Result<Vec<_>>>()?;
            let fastest = times.into_iter().min().unwrap_or(Duration::MAX);
            best = best.min((fastest, candidate));
        }
        copy.set_threads(best.1);
        Ok(copy)
    }

    fn set_threads(&mut self, count: usize) {
        if let Self::Host { threads, .. } = self {
            *threads = count;
        }
    }

    /// The threads that copy; none if it is the device.
    pub(super) fn threads(&self) -> Option<usize> {
        match self {
            Self::Device(..) => None,
            Self::Host { threads, .. } => Some(*threads),
        }
    }

    /// Copies so many times: how long that took.
    pub(super) fn run(&mut self, times: usize) -> anyhow::Result<Duration> {
        match self {
            Self::Device(copy, clock) => Ok(clock.timed(|| (0..times).try_for_each(|_| copy.run()))?),
            Self::Host { from, to, threads: 1, .. } => wall(|| {
                for _ in 0..times {
                    to.copy_from_slice(black_box(from));
                    black_box(&mut *to);
                }
                Ok(())
            }),
            Self::Host { from, to, threads, pool } => {
                let length = from.len().div_ceil(*threads).max(1);
                let took = pool.install(|| {
                    let start = Instant::now();
                    for _ in 0..times {
                        let parts = to.par_chunks_mut(length).zip(black_box(&*from).par_chunks(length));
                        parts.for_each(|(to, from)| to.copy_from_slice(from));
                        black_box(&mut *to);
                    }
                    start.elapsed()
                });
                Ok(took)
            }
        }
    }
}
