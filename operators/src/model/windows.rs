//! Which sequences the head reads in a run of slices.

use std::ops::Range;

/// The windows of a run of `slices` slices: every full window of `radius + 1`, or the whole run if it is shorter; none
/// for an empty run.
///
/// A window that contains slice `i` lies inside `i - radius..=i + radius`, so what the mean over a slice's windows says
/// depends on no slice further away.
///
/// # Examples
///
/// ```
/// use operators::model::windows::windows;
///
/// assert_eq!(windows(5, 2), [0..3, 1..4, 2..5]);
/// assert_eq!(windows(2, 7), [0..2]);
/// assert!(windows(0, 7).is_empty());
/// ```
#[must_use]
pub fn windows(slices: usize, radius: usize) -> Vec<Range<usize>> {
    let length = radius.saturating_add(1);
    if slices == 0 {
        Vec::new()
    } else if slices < length {
        std::iter::once(0..slices).collect()
    } else {
        (0..=slices - length).map(|start| start..start + length).collect()
    }
}

/// The logit of each of `slices` slices: the plain mean over all windows that hold it, summed in their order. `logits` has
/// one number for each slice of each window.
#[must_use]
pub fn mean(windows: &[Range<usize>], logits: &[Vec<f32>], slices: usize) -> Vec<f32> {
    let mut sums = vec![(0.0_f32, 0.0_f32); slices];
    for (window, logits) in windows.iter().zip(logits) {
        for (slice, logit) in window.clone().zip(logits) {
            if let Some((sum, count)) = sums.get_mut(slice) {
                *sum += logit;
                *count += 1.0;
            }
        }
    }
    sums.into_iter().map(|(sum, count)| sum / count.max(1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_mean_of_a_constant_is_that_constant(slices in 1_usize..60, radius in 0_usize..10) {
            let windows = windows(slices, radius);
            let logits: Vec<Vec<f32>> = windows.iter().map(|window| vec![0.75; window.len()]).collect();
            prop_assert_eq!(mean(&windows, &logits, slices), vec![0.75; slices]);
        }

        #[test]
        fn windows_cover_every_slice_and_reach_no_further_than_the_radius(slices in 0_usize..80, radius in 0_usize..40) {
            let windows = windows(slices, radius);
            for slice in 0..slices {
                let holding: Vec<_> = windows.iter().filter(|window| window.contains(&slice)).collect();
                prop_assert!(!holding.is_empty());
                for window in holding {
                    prop_assert!(window.end <= slices);
                    prop_assert!(slice.abs_diff(window.start) <= radius && slice.abs_diff(window.end - 1) <= radius);
                }
            }
            prop_assert!(windows.iter().all(|window| window.len() == slices.min(radius + 1)));
            prop_assert!(windows.is_sorted_by_key(|window| window.start));
        }
    }

    #[test]
    fn a_run_one_short_of_a_window_is_one_sequence_and_a_full_one_is_too() {
        assert_eq!(windows(7, 7).len(), 1);
        assert_eq!(windows(8, 7).len(), 1);
        assert_eq!(windows(9, 7).len(), 2);
        assert_eq!(windows(3, 0), [0..1, 1..2, 2..3]);
    }
}
