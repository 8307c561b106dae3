//! Which slices a step sees: both labels equally often, with replacement.

use super::Random;

/// Draws slices so that each label has half of the draws, whatever its share of the data.
#[derive(Clone, Debug)]
pub(crate) struct Balanced {
    positive: Vec<usize>,
    negative: Vec<usize>,
}

impl Balanced {
    /// A sampler of `slices` with their labels. If one label is missing every draw has the other.
    pub(crate) fn new(slices: &[usize], label: impl Fn(usize) -> bool) -> Self {
        let (positive, negative) = slices.iter().partition(|&&slice| label(slice));
        Self { positive, negative }
    }

    /// The next slice, or `None` if there are none at all.
    pub(crate) fn draw(&self, random: &mut Random) -> Option<usize> {
        let heads = random.uniform() < 0.5;
        let positive = if self.negative.is_empty() { true } else { heads && !self.positive.is_empty() };
        let pool = if positive { &self.positive } else { &self.negative };
        pool.get(random.below(pool.len())).copied()
    }

    /// `count` slices.
    pub(crate) fn draws(&self, count: usize, random: &mut Random) -> Vec<usize> {
        (0..count).filter_map(|_| self.draw(random)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_within_two_percent_and_seeds_repeat() {
        let slices: Vec<usize> = (0..1000).collect();
        let draw = |seed| Balanced::new(&slices, |slice| slice % 10 == 0).draws(20_000, &mut Random::new(seed, "test"));
        let draws = draw(3);
        let positive = draws.iter().filter(|&&slice| slice % 10 == 0).count();
        assert!(positive.abs_diff(10_000) < 200, "{positive} of 20000");
        let most = (0..1000).step_by(10).map(|slice| draws.iter().filter(|&&drawn| drawn == slice).count()).max();
        assert!(most < Some(160), "each of 100 positives about 100 times, one {most:?} times");
        assert_eq!(draws, draw(3));
        assert_ne!(draws, draw(4));
    }

    #[test]
    fn a_missing_label_leaves_the_other() {
        let random = &mut Random::new(0, "test");
        assert!(Balanced::new(&[4, 5], |_| false).draws(10, random).iter().all(|slice| matches!(slice, 4 | 5)));
        assert_eq!(Balanced::new(&[], |_| true).draw(random), None);
    }
}
