//! Exact one-dimensional k-means of a histogram.
//!
//! Intensities are integers in a bounded range, so the optimum is found by dynamic programming over their distinct values
//! instead of by iteration: no seed, no local optimum, the same clusters on every device.
//!
//! Source: Wang, Song, *Ckmeans.1d.dp: optimal k-means clustering in one dimension by dynamic programming*, R Journal
//! 3(2), 2011.

/// A cluster: a range of neighboring values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cluster {
    /// The lowest value in it.
    pub first: i32,
    /// The highest value in it.
    pub last: i32,
    /// How many counts of the histogram it holds.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
}

/// The `k` clusters, in ascending order, with the least sum of squared distances to their means. `histogram[i]` counts the
/// value `lower + i`. Fewer distinct values give fewer clusters; among equally good splits the lowest wins.
#[must_use]
pub fn clusters(histogram: &[u32], lower: i32, k: usize) -> Vec<Cluster> {
    let bins: Vec<(i32, u32)> = (lower..).zip(histogram.iter().copied()).filter(|(_, count)| *count > 0).collect();
    let k = k.min(bins.len());
    if k == 0 {
        return Vec::new();
    }
    let sums = Sums::new(&bins);
    // cost[j]: of the best clusters of bins 0..=j. starts[q][j]: where the last of q + 2 clusters of bins 0..=j starts.
    let mut cost: Vec<f64> = (0..bins.len()).map(|end| sums.cost(0, end)).collect();
    let mut starts: Vec<Vec<usize>> = Vec::new();
    for clusters in 2..=k {
        let mut next = vec![f64::INFINITY; bins.len()];
        let mut start = vec![0; bins.len()];
        for end in clusters - 1..bins.len() {
            for first in clusters - 1..=end {
                let split = cost[first - 1] + sums.cost(first, end);
                if split < next[end] {
                    (next[end], start[end]) = (split, first);
                }
            }
        }
        cost = next;
        starts.push(start);
    }
    let mut clusters = Vec::with_capacity(k);
    let mut end = bins.len() - 1;
    for start in starts.iter().rev() {
        clusters.push(sums.cluster(&bins, start[end], end));
        end = start[end] - 1;
    }
    clusters.push(sums.cluster(&bins, 0, end));
    clusters.reverse();
    clusters
}

/// Prefix sums of counts, values and squared values, exact. Values are taken from the first, which keeps them small.
struct Sums(Vec<[i128; 3]>);

impl Sums {
    fn new(bins: &[(i32, u32)]) -> Self {
        let origin = bins.first().map_or(0, |(value, _)| i128::from(*value));
        let mut sums = vec![[0; 3]];
        let mut total = [0; 3];
        for (value, count) in bins {
            let (value, count) = (i128::from(*value) - origin, i128::from(*count));
            let terms = [count, count * value, count * value * value];
            for (total, term) in total.iter_mut().zip(terms) {
                *total += term;
            }
            sums.push(total);
        }
        Self(sums)
    }

    fn between(&self, first: usize, last: usize) -> [i128; 3] {
        let [below, above] = [self.0[first], self.0[last + 1]];
        [above[0] - below[0], above[1] - below[1], above[2] - below[2]]
    }

    /// The sum of squared distances to the mean of bins `first..=last`: (Q N - S^2) / N, rounded once.
    fn cost(&self, first: usize, last: usize) -> f64 {
        let [count, sum, squares] = self.between(first, last);
        float(squares * count - sum * sum) / float(count)
    }

    fn cluster(&self, bins: &[(i32, u32)], first: usize, last: usize) -> Cluster {
        let [count, sum, _] = self.between(first, last);
        Cluster {
            first: bins[first].0,
            last: bins[last].0,
            count: u64::try_from(count).unwrap_or(u64::MAX),
            mean: f64::from(bins[0].0) + float(sum) / float(count),
        }
    }
}

#[allow(clippy::as_conversions, reason = "the nearest float is what is wanted")]
fn float(number: i128) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The sum of squared distances of every count to the mean of its cluster.
    fn cost(histogram: &[u32], lower: i32, clusters: &[Cluster]) -> f64 {
        let inside = |cluster: &Cluster, value: i32| (cluster.first..=cluster.last).contains(&value);
        (lower..)
            .zip(histogram)
            .filter(|(_, count)| **count > 0)
            .map(|(value, count)| {
                let cluster = clusters.iter().find(|cluster| inside(cluster, value)).expect("clusters hold all values");
                f64::from(*count) * (f64::from(value) - cluster.mean).powi(2)
            })
            .sum()
    }

    fn mean(bins: &[(i32, u32)]) -> f64 {
        let count: f64 = bins.iter().map(|(_, count)| f64::from(*count)).sum();
        bins.iter().map(|(value, count)| f64::from(*value) * f64::from(*count)).sum::<f64>() / count
    }

    fn spread(bins: &[(i32, u32)]) -> f64 {
        bins.iter().map(|(value, count)| f64::from(*count) * (f64::from(*value) - mean(bins)).powi(2)).sum()
    }

    /// The least cost over every way to cut `bins` into `k` parts.
    fn exhaustive(bins: &[(i32, u32)], k: usize) -> f64 {
        if k == 1 {
            return spread(bins);
        }
        (1..=bins.len() + 1 - k)
            .map(|first| spread(&bins[..first]) + exhaustive(&bins[first..], k - 1))
            .fold(f64::INFINITY, f64::min)
    }

    /// Lloyd's iteration from given centers.
    fn lloyd(bins: &[(i32, u32)], mut centers: Vec<f64>) -> f64 {
        let nearest = |value: i32, centers: &[f64]| {
            let distance = |center: &f64| (f64::from(value) - center).abs();
            (0..centers.len())
                .min_by(|a, b| distance(&centers[*a]).total_cmp(&distance(&centers[*b])))
                .expect("a center")
        };
        for _ in 0..50 {
            for index in 0..centers.len() {
                let own: Vec<_> =
                    bins.iter().copied().filter(|(value, _)| nearest(*value, &centers) == index).collect();
                if !own.is_empty() {
                    centers[index] = mean(&own);
                }
            }
        }
        bins.iter()
            .map(|(value, count)| f64::from(*count) * (f64::from(*value) - centers[nearest(*value, &centers)]).powi(2))
            .sum()
    }

    fn occupied(histogram: &[u32], lower: i32) -> Vec<(i32, u32)> {
        (lower..).zip(histogram.iter().copied()).filter(|(_, count)| *count > 0).collect()
    }

    fn histogram() -> impl Strategy<Value = Vec<u32>> {
        prop::collection::vec(prop_oneof![Just(0), 1..50_u32], 0..14)
    }

    proptest! {
        #[test]
        fn no_other_clusters_are_better(histogram in histogram(), lower in -20..20_i32, k in 1..5_usize) {
            let bins = occupied(&histogram, lower);
            let found = clusters(&histogram, lower, k);
            prop_assert_eq!(found.len(), k.min(bins.len()));
            if !bins.is_empty() {
                let (found, best) = (cost(&histogram, lower, &found), exhaustive(&bins, k.min(bins.len())));
                prop_assert!((found - best).abs() <= 1e-9 * (1.0 + best), "{found}, the best is {best}");
            }
        }

        #[test]
        fn clusters_partition_the_values_in_order(histogram in histogram(), lower in -20..20_i32, k in 1..6_usize) {
            let found = clusters(&histogram, lower, k);
            prop_assert!(found.windows(2).all(|pair| pair[0].last < pair[1].first));
            for cluster in &found {
                let bins = occupied(&histogram, lower);
                let own: Vec<_> = bins.into_iter().filter(|(value, _)| (cluster.first..=cluster.last).contains(value)).collect();
                prop_assert_eq!(own.first().map(|(value, _)| *value), Some(cluster.first));
                prop_assert_eq!(own.last().map(|(value, _)| *value), Some(cluster.last));
                prop_assert_eq!(own.iter().map(|(_, count)| u64::from(*count)).sum::<u64>(), cluster.count);
                prop_assert!((cluster.mean - mean(&own)).abs() < 1e-9);
            }
        }

        #[test]
        fn moving_or_repeating_all_values_moves_or_repeats_the_clusters(
            histogram in histogram(), lower in -20..20_i32, by in -100..100_i32, times in 1..9_u32, k in 1..5_usize,
        ) {
            let ranges = |histogram: &[u32], lower, by: i32| -> Vec<(i32, i32)> {
                clusters(histogram, lower, k).iter().map(|cluster| (cluster.first - by, cluster.last - by)).collect()
            };
            let plain = ranges(&histogram, lower, 0);
            prop_assert_eq!(&plain, &ranges(&histogram, lower + by, by));
            let padded: Vec<u32> = [0, 0, 0].into_iter().chain(histogram.iter().copied()).chain([0]).collect();
            prop_assert_eq!(&plain, &ranges(&padded, lower - 3, 0));
            let repeated: Vec<u32> = histogram.iter().map(|count| count * times).collect();
            let repeated = cost(&histogram, lower, &clusters(&repeated, lower, k));
            let plain = cost(&histogram, lower, &clusters(&histogram, lower, k));
            prop_assert!((repeated - plain).abs() <= 1e-9 * (1.0 + plain));
        }

        #[test]
        fn no_seeded_lloyd_run_is_better(
            histogram in prop::collection::vec(0..200_u32, 20..151), centers in prop::collection::vec(-10.0..140.0_f64, 3),
        ) {
            let found = cost(&histogram, -10, &clusters(&histogram, -10, 3));
            let iterated = lloyd(&occupied(&histogram, -10), centers);
            prop_assert!(found <= iterated * (1.0 + 1e-9) + 1e-9, "{found} above {iterated}");
        }
    }

    #[test]
    fn among_equally_good_splits_the_lowest_wins() {
        let ranges: Vec<_> = clusters(&[1, 1, 1], 10, 2).iter().map(|cluster| (cluster.first, cluster.last)).collect();
        assert_eq!(ranges, [(10, 10), (11, 12)]);
    }

    #[test]
    fn empty_and_constant_histograms_have_none_and_one() {
        assert_eq!(clusters(&[], 0, 3), []);
        assert_eq!(clusters(&[0, 0], 0, 3), []);
        assert_eq!(clusters(&[1, 2], 0, 0), []);
        assert_eq!(clusters(&[0, 7], 40, 3), [Cluster { first: 41, last: 41, count: 7, mean: 41.0 }]);
    }
}
