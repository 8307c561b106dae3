//! Convolution: on the processor directly ([`batch`]), without a matrix of patches.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::ModuleOps as _;
use burn::backend::{Autodiff, Flex, TensorMetadata as _};
use burn::module::Param;
use burn::nn::conv::{Conv2d, ConvTranspose2d};
use burn::tensor::Tensor;
use burn::tensor::module::{conv_transpose2d, conv2d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};

use super::{cast, numbers, on_processor, tensor};
use crate::model::engine::direct::batch::{self, Shape, padding};

/// A layer of one stride, padded as [`convolve`] pads.
pub(in crate::model) fn layer(conv: &Conv2d, input: Tensor<4>) -> Tensor<4> {
    convolve(input, conv.weight.val(), conv.bias.as_ref().map(Param::val), conv.stride[0])
}

/// The same for a transposed convolution, which is burn's everywhere.
pub(in crate::model) fn spread(conv: &ConvTranspose2d, input: Tensor<4>) -> Tensor<4> {
    let numbers = input.dtype();
    let options = ConvTransposeOptions::new(conv.stride, conv.padding, conv.padding_out, conv.dilation, conv.groups);
    let bias = conv.bias.as_ref().map(|bias| cast(bias.val(), numbers));
    conv_transpose2d(input, cast(conv.weight.val(), numbers), bias, options)
}

/// `[batch, channels, rows, columns]` by `[out, channels, kernel, kernel]`, and a number for each output. A kernel of an odd
/// side is padded so that stride 1 keeps the size, one of an even side is not padded.
///
/// # Panics
///
/// As [`conv2d`] does: if shapes or devices do not fit.
pub(in crate::model) fn convolve(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: usize,
) -> Tensor<4> {
    let (weight, bias) = (cast(weight, input.dtype()), bias.map(|bias| cast(bias, input.dtype())));
    let [_, _, kernel, width] = weight.dims();
    let options = ConvOptions::new([stride, stride], [padding(kernel), padding(width)], [1, 1], 1);
    let (Some(x), Some(w)) = (on_processor(&input), on_processor(&weight)) else {
        return conv2d(input, weight, bias, options);
    };
    let Some(bias) = bias else {
        let done = match Direct.prepare::<NoCheckpointing>([x.node(), w.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prepared) => {
                let saved = Saved { input: prepared.checkpoint(&x), weight: prepared.checkpoint(&w), options };
                let output = forward(x.into_primitive(), w.into_primitive(), None, &saved.options);
                prepared.finish(saved, output)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(forward(x.into_primitive(), w.into_primitive(), None, &options))
            }
        };
        return Tensor::from_primitive::<Autodiff<Flex>>(done);
    };
    let Some(b) = on_processor(&bias) else {
        return conv2d(input, weight, Some(bias), options);
    };
    let done = match Direct.prepare::<NoCheckpointing>([x.node(), w.node(), b.node()]).compute_bound().stateful() {
        OpsKind::Tracked(mut prepared) => {
            let saved = Saved { input: prepared.checkpoint(&x), weight: prepared.checkpoint(&w), options };
            let bias = prepared.checkpoint(&b);
            let output = forward(x.into_primitive(), w.into_primitive(), Some(b.into_primitive()), &saved.options);
            prepared.finish((saved, bias), output)
        }
        OpsKind::UnTracked(prepared) => {
            prepared.finish(forward(x.into_primitive(), w.into_primitive(), Some(b.into_primitive()), &options))
        }
    };
    Tensor::from_primitive::<Autodiff<Flex>>(done)
}

/// A convolution on the way back.
#[derive(Clone, Copy, Debug)]
struct Direct;

/// What the way back needs.
#[derive(Clone, Debug)]
struct Saved {
    input: NodeId,
    weight: NodeId,
    options: ConvOptions<2>,
}

impl Saved {
    /// Adds the gradients of those that have one, and gives the input.
    fn back(
        self,
        [input, weight]: [Option<NodeId>; 2],
        gradient: &FlexTensor,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) -> FlexTensor {
        let x = checkpointer.retrieve_node_output::<FlexTensor>(self.input);
        let w = checkpointer.retrieve_node_output::<FlexTensor>(self.weight);
        if let Some(node) = input {
            grads.register::<Flex>(node, input_gradient(&x, &w, gradient, &self.options));
        }
        if let Some(node) = weight {
            grads.register::<Flex>(node, weight_gradient(&x, &w, gradient, &self.options));
        }
        x
    }
}

impl Backward<Flex, 2> for Direct {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        ops.state.back(parents, &gradient, grads, checkpointer);
    }
}

impl Backward<Flex, 3> for Direct {
    type State = (Saved, NodeId);

    fn backward(self, ops: Ops<(Saved, NodeId), 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let [input, weight, bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        let (saved, kept) = ops.state;
        let x = saved.back([input, weight], &gradient, grads, checkpointer);
        let b = checkpointer.retrieve_node_output::<FlexTensor>(kept);
        if let Some(node) = bias {
            grads.register::<Flex>(node, Flex::conv2d_bias_backward(x, b, gradient));
        }
    }
}

fn forward(x: FlexTensor, w: FlexTensor, b: Option<FlexTensor>, options: &ConvOptions<2>) -> FlexTensor {
    let direct = || {
        let shape = shape(&x, &w, options)?;
        let (x, w) = (numbers(&x)?, numbers(&w)?);
        let bias = match &b {
            Some(bias) => Some(numbers(bias)?),
            None => None,
        };
        let bias = bias.as_ref().map(|bias| bias.storage());
        Some(tensor(batch::forward(shape, x.storage(), w.storage(), bias)?, shape.output()))
    };
    direct().unwrap_or_else(|| Flex::conv2d(x, w, b, options.clone()))
}

fn input_gradient(x: &FlexTensor, w: &FlexTensor, gradient: &FlexTensor, options: &ConvOptions<2>) -> FlexTensor {
    let direct = || {
        let shape = shape(x, w, options)?;
        let (w, gradient) = (numbers(w)?, numbers(gradient)?);
        Some(tensor(batch::input_gradient(shape, gradient.storage(), w.storage())?, x.shape().dims::<4>()))
    };
    direct().unwrap_or_else(|| Flex::conv2d_x_backward(x.clone(), w.clone(), gradient.clone(), options.clone()))
}

fn weight_gradient(x: &FlexTensor, w: &FlexTensor, gradient: &FlexTensor, options: &ConvOptions<2>) -> FlexTensor {
    let direct = || {
        let shape = shape(x, w, options)?;
        let (x, gradient) = (numbers(x)?, numbers(gradient)?);
        Some(tensor(batch::weight_gradient(shape, x.storage(), gradient.storage())?, w.shape().dims::<4>()))
    };
    direct().unwrap_or_else(|| Flex::conv2d_weight_backward(x.clone(), w.clone(), gradient.clone(), options.clone()))
}

fn shape(x: &FlexTensor, w: &FlexTensor, options: &ConvOptions<2>) -> Option<Shape> {
    Shape::of(x.shape().dims(), w.shape().dims(), options.stride[0])
}

#[cfg(test)]
mod tests {
    use burn::nn::PaddingConfig2d;
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;
    use crate::model::host;
    use crate::train::Random;

    fn noise<const D: usize>(dims: [usize; D], seed: u64, device: &Device) -> Tensor<D> {
        let mut random = Random::new(seed, "convolve");
        let values = (0..dims.iter().product()).map(|_| 2.0 * random.uniform() - 1.0).collect::<Vec<f32>>();
        Tensor::from_data(TensorData::new(values, dims), device)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The result and the gradients of input, weights and bias are those of burn's own convolution.
        #[test]
        fn it_is_the_convolution_of_burn_forward_and_back(
            (batch, channels, out) in (1_usize..4, 1_usize..70, 1_usize..40),
            (rows, columns) in (4_usize..20, 4_usize..20),
            (kernel, stride) in prop::sample::select(vec![(1, 1), (1, 2), (3, 1), (3, 2), (7, 2), (2, 2), (4, 1), (5, 1)]),
            (with_bias, learned_input, seed) in (any::<bool>(), any::<bool>(), any::<u64>()),
        ) {
            let device = Device::flex().autodiff();
            let pad = padding(kernel);
            let conv = Conv2dConfig::new([channels, out], [kernel, kernel])
                .with_stride([stride, stride])
                .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
                .with_bias(with_bias)
                .init(&device);
            let images = noise([batch, channels, rows, columns], seed, &device);
            let told = |forward: &dyn Fn(Tensor<4>) -> Tensor<4>| {
                let images = if learned_input { images.clone().require_grad() } else { images.clone() };
                let output = forward(images.clone());
                let weighed = noise(output.dims(), seed ^ 1, &device);
                let grads = (output.clone() * weighed).sum().backward();
                let mut told = vec![host("test", output).unwrap(), host("test", conv.weight.val().grad(&grads).unwrap()).unwrap()];
                told.extend(images.grad(&grads).map(|gradient| host("test", gradient).unwrap()));
                told.extend(conv.bias.as_ref().map(|bias| host("test", bias.val().grad(&grads).unwrap()).unwrap()));
                told
            };
            let ours = told(&|images| layer(&conv, images));
            let theirs = told(&|images| conv.forward(images));
            prop_assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                let largest = theirs.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                prop_assert_eq!(ours.len(), theirs.len());
                for (a, b) in ours.iter().zip(theirs) {
                    prop_assert!((a - b).abs() <= 1e-4 * largest.max(1.0), "{a} and {b}, the largest is {largest}");
                }
            }
        }
    }
}
