//! Scores of a validation: the area under the ROC curve, and the gate that it suggests.

/// The probability that a positive scores above a negative, ties half (Mann, Whitney 1947). `None` without both labels.
pub(crate) fn auc(scores: &[f32], labels: &[bool]) -> Option<f64> {
    let (curve, positive, negative) = curve(scores, labels)?;
    let mut area = 0.0;
    for pair in curve.windows(2) {
        area += (pair[1].1 - pair[0].1) * (pair[1].2 + pair[0].2) / 2.0;
    }
    Some(area / (positive * negative))
}

/// The score at and above which sensitivity plus specificity is greatest (Youden 1950); the highest such score. `None`
/// without both labels.
pub(crate) fn youden(scores: &[f32], labels: &[bool]) -> Option<f32> {
    let (curve, positive, negative) = curve(scores, labels)?;
    let mut best = (f64::NEG_INFINITY, f32::INFINITY);
    for &(score, false_positive, true_positive) in &curve[1..] {
        let value = true_positive / positive - false_positive / negative;
        if value > best.0 {
            best = (value, score);
        }
    }
    Some(best.1)
}

/// Points of the curve, from the highest score down: the score, and the negatives and positives at or above it; first the
/// origin. With the number of positives and negatives.
type Curve = (Vec<(f32, f64, f64)>, f64, f64);

fn curve(scores: &[f32], labels: &[bool]) -> Option<Curve> {
    let mut sorted: Vec<(f32, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut points = vec![(f32::INFINITY, 0.0, 0.0)];
    let (mut negative, mut positive) = (0.0, 0.0);
    for ties in sorted.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        for (_, label) in ties {
            if *label { positive += 1.0 } else { negative += 1.0 }
        }
        points.push((ties[0].0, negative, positive));
    }
    (positive > 0.0 && negative > 0.0).then_some((points, positive, negative))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn auc_is_the_share_of_ordered_pairs(items in proptest::collection::vec((0_u8..6, any::<bool>()), 2..40)) {
            let scores: Vec<f32> = items.iter().map(|item| f32::from(item.0)).collect();
            let labels: Vec<bool> = items.iter().map(|item| item.1).collect();
            let (mut sum, mut pairs) = (0.0, 0.0);
            for (a, _) in items.iter().filter(|item| item.1) {
                for (b, _) in items.iter().filter(|item| !item.1) {
                    pairs += 1.0;
                    sum += if a > b { 1.0 } else if a == b { 0.5 } else { 0.0 };
                }
            }
            match auc(&scores, &labels) {
                Some(area) => prop_assert!((area - sum / pairs).abs() < 1e-12),
                None => prop_assert!(pairs < 0.5),
            }
        }
    }

    #[test]
    fn youden_separates_what_can_be_separated() {
        assert_eq!(youden(&[0.9, 0.7, 0.4, 0.1], &[true, true, false, false]), Some(0.7));
        assert_eq!(youden(&[0.9, 0.7], &[true, true]), None);
    }
}
