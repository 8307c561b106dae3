//! Random numbers: one stream for each purpose, so that a new purpose changes no other.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::record::Digest;

/// A stream of random numbers that its seed and its purpose decide, on every platform.
#[derive(Clone, Debug)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        let digest = Digest::builder("random").bytes(&seed.to_le_bytes()).bytes(purpose.as_bytes()).finish();
        Self(ChaCha8Rng::from_seed(*digest.as_bytes()))
    }

    /// The stream of one item of a purpose: independent of how many items were drawn before it.
    pub(crate) fn item(seed: u64, purpose: &str, item: u64) -> Self {
        let digest = Digest::builder("random")
            .bytes(&seed.to_le_bytes())
            .bytes(purpose.as_bytes())
            .bytes(&item.to_le_bytes())
            .finish();
        Self(ChaCha8Rng::from_seed(*digest.as_bytes()))
    }

    /// The stream of one step of a training.
    pub(crate) fn step(seed: u64, purpose: &str, step: usize) -> Self {
        Self::item(seed, purpose, u64::try_from(step).unwrap_or(u64::MAX))
    }

    /// In `[0, 1)`, in steps of 2^-24.
    #[allow(clippy::as_conversions, reason = "24 bits are exact in f32")]
    pub(crate) fn uniform(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / 16_777_216.0
    }

    /// In `low..high`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Below `count`, which is not 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
        let wide = u128::from(self.0.next_u64()) * u128::from(count);
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Normal with mean 0 and variance 1 (Box, Muller 1958).
    pub(crate) fn normal(&mut self) -> f32 {
        let radius = libm::sqrtf(-2.0 * libm::logf(1.0 - self.uniform()));
        radius * libm::cosf(std::f32::consts::TAU * self.uniform())
    }

    /// Shuffles in place (Fisher, Yates).
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_repeats_and_purposes_differ() {
        let draw = |mut random: Random| (0..4).map(|_| random.below(1000)).collect::<Vec<_>>();
        assert_eq!(draw(Random::new(1, "a")), draw(Random::new(1, "a")));
        assert_ne!(draw(Random::new(1, "a")), draw(Random::new(1, "b")));
        assert_ne!(draw(Random::new(1, "a")), draw(Random::new(2, "a")));
        assert_ne!(draw(Random::item(1, "a", 0)), draw(Random::item(1, "a", 1)));
    }

    #[test]
    fn a_shuffle_keeps_the_items_and_normals_are_normal() {
        let mut random = Random::new(7, "test");
        let mut items: Vec<usize> = (0..50).collect();
        random.shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
        let draws: Vec<f32> = (0..10_000).map(|_| random.normal()).collect();
        let mean = draws.iter().sum::<f32>() / 10_000.0;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / 10_000.0;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05, "mean {mean}, variance {variance}");
    }
}
