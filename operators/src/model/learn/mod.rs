//! Operations of burn that networks learn through: on the processor by loops of our own, forward and back; elsewhere burn's.
//!
//! Without gradients they are burn's own everywhere, so that the engine `burn` stays what the other one is compared with.

mod convolve;
mod normalize;

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata as _};
use burn::tensor::{DType, Tensor, TensorData};

pub(super) use convolve::{convolve, layer};
pub(super) use normalize::normalize;

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
