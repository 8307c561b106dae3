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

    /// `count` slices, one with the label and one without in turn. About the part `share` of those without it are what
    /// `partner` gives for the one before: what is the same in both then teaches nothing.
    pub(crate) fn pairs(
        &self,
        count: usize,
        random: &mut Random,
        share: f64,
        partner: impl Fn(usize) -> Option<usize>,
    ) -> Vec<usize> {
        let any = |pool: &[usize], random: &mut Random| pool.get(random.below(pool.len())).copied();
        let pairs = (0..count.div_ceil(2)).flat_map(|_| {
            let positive = any(&self.positive, random);
            let paired = f64::from(random.uniform()) < share;
            let negative = positive.filter(|_| paired).and_then(&partner).or_else(|| any(&self.negative, random));
            [positive, negative]
        });
        pairs.flatten().take(count).collect()
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
    fn pairs_alternate_and_the_given_part_of_them_are_partners() {
        let slices: Vec<usize> = (0..1000).collect();
        let sampler = Balanced::new(&slices, |slice| slice % 10 == 0);
        for (share, expected) in [(0.0, 0), (0.25, 2_500), (0.5, 5_000), (1.0, 10_000)] {
            let draws = sampler.pairs(20_001, &mut Random::new(3, "test"), share, |slice| Some(slice + 1));
            assert_eq!(draws.len(), 20_001);
            assert!(draws.iter().enumerate().all(|(index, slice)| (slice % 10 == 0) == (index % 2 == 0)));
            let partners = draws.chunks_exact(2).filter(|pair| pair[1] == pair[0] + 1).count();
            assert!(partners.abs_diff(expected) < 200, "{partners} of 10000");
        }
        let alone = sampler.pairs(100, &mut Random::new(3, "test"), 1.0, |_| None);
        assert!(alone.iter().skip(1).step_by(2).all(|slice| slice % 10 != 0) && alone.len() == 100);
    }

    #[test]
    fn a_missing_label_leaves_the_other() {
        let random = &mut Random::new(0, "test");
        assert!(Balanced::new(&[4, 5], |_| false).draws(10, random).iter().all(|slice| matches!(slice, 4 | 5)));
        assert_eq!(Balanced::new(&[], |_| true).draw(random), None);
        assert_eq!(Balanced::new(&[4, 5], |_| true).pairs(4, random, 0.5, |_| None).len(), 2);
    }
}
