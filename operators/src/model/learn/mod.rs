//! Operations of burn that networks learn through: on the processor by loops of our own, forward and back; elsewhere burn's.
//!
//! Without gradients they are burn's own everywhere, so that the engine `burn` stays what the other one is compared with.
//!
//! A layer computes in the numbers of its input, and casts its weights to them. Normalization computes in the numbers of its weights.

mod convolve;
mod normalize;

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata as _};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};

pub(super) use convolve::{convolve, layer, spread};
pub(super) use normalize::normalize;

/// A tensor in these numbers.
fn cast<const D: usize>(tensor: Tensor<D>, numbers: DType) -> Tensor<D> {
    tensor.cast(FloatDType::from(numbers))
}

/// What a tensor is to burn on the processor, if it may have gradients.
fn on_processor<const D: usize>(tensor: &Tensor<D>) -> Option<FloatTensor<Autodiff<Flex>>> {
    tensor.clone().try_into_primitive::<Autodiff<Flex>>().ok()
}

/// A tensor whose storage is its numbers in their order; `None` if these are no `f32`.
fn numbers(tensor: &FlexTensor) -> Option<FlexTensor> {
    let tensor = tensor.to_contiguous();
    (tensor.dtype() == DType::F32 && tensor.storage::<f32>().len() == tensor.shape().num_elements()).then_some(tensor)
}

fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, dims))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use crate::model::card::tests::tiny;
    use crate::model::{Network, Pooling, host};
    use crate::tensor::{Precision, devices};
    use crate::train::{Random, cross_entropy};

    use super::*;

    /// The same step in numbers of 8 bits: gradients are wide, and point where the exact ones do.
    #[test]
    fn gradients_in_narrow_numbers_point_the_same_way() {
        for device in devices() {
            if Precision::Bf16.is_supported(&device) {
                same_way(&device.autodiff());
            } else {
                println!("skipped: bf16 on {device:?}: not supported");
            }
        }
    }

    fn same_way(device: &Device) {
        let network = Network::new(&tiny(), 3, device);
        // Every other image has a bright quarter, so that there is something to learn: a gradient of chance has no direction.
        let quarter = |index: usize, channels: usize| {
            let (image, row, column) = (index / (channels * 64 * 64), index / 64 % 64, index % 64);
            image % 2 == 0 && row < 32 && column < 32
        };
        let images = |channels: usize, noise: f32| {
            let mut random = Random::new(4, "narrow");
            let lit = |index| if quarter(index, channels) { 1.0 - noise } else { 0.0 };
            let values = (0..4 * channels * 64 * 64).map(|index| lit(index) + noise * random.uniform());
            let values = values.collect::<Vec<f32>>();
            Tensor::<4>::from_data(TensorData::new(values, [4, channels, 64, 64]), device)
        };
        let encoder = |precision: Precision| {
            let logits = network.encoder.forward(precision.tensor(images(3, 0.3)), Pooling::GeneralizedMean);
            let labels = Tensor::<2>::from_floats([[1.0], [0.0], [1.0], [0.0]], device);
            assert_eq!(logits.dtype(), DType::F32);
            let grads = cross_entropy(logits, labels).mean().backward();
            [&network.encoder.conv1, &network.encoder.layer1[0].conv1, &network.encoder.layer4[0].conv2]
                .map(|conv| conv.weight.val().grad(&grads).unwrap())
        };
        let segmenter = |precision: Precision| {
            let logits = Precision::F32.tensor(network.unet.forward(precision.tensor(images(1, 0.3))));
            let grads = cross_entropy(logits, images(1, 0.0)).mean().backward();
            let unet = &network.unet;
            [unet.down[0].conv2.weight.val(), unet.up[0].weight.val(), unet.last.weight.val()]
                .map(|weight| weight.grad(&grads).unwrap())
        };
        for step in [&encoder as &dyn Fn(Precision) -> [Tensor<4>; 3], &segmenter] {
            for (exact, narrow) in step(Precision::F32).into_iter().zip(step(Precision::Bf16)) {
                assert_eq!(narrow.dtype(), DType::F32);
                let [exact, narrow] = [exact, narrow].map(|gradient| host("test", gradient).unwrap());
                let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
                let cosine = dot(&exact, &narrow) / (dot(&exact, &exact) * dot(&narrow, &narrow)).sqrt();
                // ReLUs and maxima decide otherwise where 8 bits cannot tell, in eighteen layers.
                assert!(cosine > 0.5 && exact != narrow, "{cosine}");
            }
        }
    }
}
