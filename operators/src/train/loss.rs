//! The losses.

use burn::tensor::Tensor;
use burn::tensor::activation::{relu, sigmoid};

/// Keeps Dice defined where there is no mask.
const EPSILON: f32 = 1e-7;

/// Binary cross-entropy of logits, element by element, in the form that stays finite for every logit:
/// `max(x, 0) - x y + ln(1 + exp(-|x|))`.
pub(crate) fn cross_entropy<const D: usize>(logits: Tensor<D>, labels: Tensor<D>) -> Tensor<D> {
    relu(logits.clone()) - logits.clone() * labels + logits.abs().neg().exp().log1p()
}

/// One minus the soft Dice over all pixels of weight 1.
pub(crate) fn dice(logits: Tensor<4>, masks: Tensor<4>, weights: Tensor<4>) -> Tensor<1> {
    let probability = sigmoid(logits) * weights.clone();
    let masks = masks * weights;
    let both = (probability.clone() * masks.clone()).sum();
    let dice = (both * 2.0 + EPSILON) / (probability.sum() + masks.sum() + EPSILON);
    dice.neg() + 1.0
}

/// The same, plus the mean cross-entropy over these pixels.
pub(crate) fn dice_and_cross_entropy(logits: Tensor<4>, masks: Tensor<4>, weights: Tensor<4>) -> Tensor<1> {
    let inside = masks.clone() * weights.clone();
    let entropy = (cross_entropy(logits.clone(), inside) * weights.clone()).sum() / (weights.clone().sum() + EPSILON);
    dice(logits, masks, weights) + entropy
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    use crate::model::host;

    fn loss(logit: f32, label: f32) -> f32 {
        let device = Device::flex();
        let [logit, label] = [logit, label].map(|value| Tensor::<1>::from_floats([value], &device));
        cross_entropy(logit, label).into_scalar()
    }

    #[test]
    fn a_logit_of_twenty_costs_next_to_nothing_or_twenty() {
        assert!((loss(20.0, 1.0) - 2.061e-9).abs() < 1e-11, "{}", loss(20.0, 1.0));
        assert!((loss(20.0, 0.0) - 20.0).abs() < 1e-5);
        assert!((loss(-20.0, 1.0) - 20.0).abs() < 1e-5);
        assert!((loss(0.0, 1.0) - std::f32::consts::LN_2).abs() < 1e-6);
        assert!(loss(1e4, 0.0).is_finite() && loss(-1e4, 0.0).is_finite());
    }

    #[test]
    fn ignored_pixels_have_no_gradient_and_a_perfect_mask_costs_nothing() {
        let device = Device::flex().autodiff();
        let plane = |values: [f32; 4]| Tensor::<1>::from_floats(values, &device).reshape([1, 1, 2, 2]);
        let logits = plane([30.0, -30.0, 3.0, -30.0]).require_grad();
        let loss = dice_and_cross_entropy(logits.clone(), plane([1.0, 0.0, 0.0, 0.0]), plane([1.0, 1.0, 0.0, 1.0]));
        assert!(loss.clone().into_scalar::<f32>().abs() < 1e-5);
        let gradient: Vec<f32> = host("test", logits.grad(&loss.backward()).unwrap()).unwrap();
        assert!(gradient[2].abs() < 1e-12, "{gradient:?}");
    }

    #[test]
    fn a_batch_without_a_mask_still_has_a_gradient() {
        let device = Device::flex().autodiff();
        let logits = Tensor::<4>::ones([1, 1, 2, 2], &device).require_grad();
        let zero = Tensor::<4>::zeros([1, 1, 2, 2], &device);
        let loss = dice_and_cross_entropy(logits.clone(), zero.clone(), zero + 1.0);
        let gradient: Vec<f32> = host("test", logits.grad(&loss.backward()).unwrap()).unwrap();
        assert!(gradient.iter().all(|&g| g > 0.01), "{gradient:?}");
    }
}
