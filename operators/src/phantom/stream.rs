//! Random numbers: one stream for each component of each study, so that a new component changes no other.
//!
//! A stream is ChaCha with 8 rounds, keyed by the SHA-256 of (seed, study, component); transcendental functions come
//! from `libm`. So the numbers are the same on every platform and with every number of threads.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of `component` of study `index` under `seed`.
    pub(super) fn new(seed: u64, index: u64, component: &str) -> Self {
        Self(ChaCha8Rng::from_seed(key(seed, index, component)))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform between two bounds.
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Whether an event of this probability happens.
    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// -1 or 1.
    pub(super) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// Normal with mean 0 and standard deviation 1 (Box and Muller).
    pub(super) fn normal(&mut self) -> f32 {
        let radius = libm::sqrtf(-2.0 * libm::logf(1.0 - self.unit()));
        radius * libm::cosf(core::f32::consts::TAU * self.unit())
    }

    /// Normal, with draws beyond two standard deviations drawn in.
    pub(super) fn about(&mut self, mean: f32, sd: f32) -> f32 {
        mean + sd * self.normal().clamp(-2.0, 2.0)
    }

    /// A choice among weights; their sum need not be one.
    pub(super) fn choice(&mut self, weights: &[f32]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f32>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len().saturating_sub(1)
    }
}

/// The key of a stream.
pub(super) fn key(seed: u64, index: u64, component: &str) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    let mut hash = Sha256::new();
    hash.update(b"hemoflow phantom 1");
    hash.update(seed.to_le_bytes());
    hash.update(index.to_le_bytes());
    hash.update(component.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_have_streams_of_their_own() {
        let first = |component| Stream::new(1, 2, component).bits();
        assert_eq!(first("noise"), first("noise"));
        assert_ne!(first("noise"), first("bleed"));
        assert_ne!(Stream::new(1, 2, "noise").bits(), Stream::new(2, 1, "noise").bits());
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_deviation_one() {
        let mut stream = Stream::new(5, 0, "test");
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(stream.normal())).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / draws.len() as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "mean {mean}, variance {variance}");
    }

    #[test]
    fn a_choice_follows_its_weights() {
        let mut stream = Stream::new(6, 0, "test");
        let hits = (0..4000).filter(|_| stream.choice(&[1.0, 3.0]) == 1).count();
        assert!((2850..3150).contains(&hits), "{hits} of 4000 for a weight of 3 in 4");
    }
}
