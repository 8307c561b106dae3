//! Batch normalization (Ioffe, Szegedy, ICML 2015): on the processor over the batch as it lies, where burn first brings the numbers of each
//! channel together.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata as _};
use burn::nn::BatchNorm;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{cast, numbers, on_processor, tensor};

/// What the layer does in training to `[batch, channels, rows, columns]`: each channel less its mean, by its deviation, then the
/// layer's scale and shift. The layer's running statistics move as well.
///
/// # Panics
///
/// As [`BatchNorm::forward`] does: if shapes or devices do not fit.
pub(in crate::model) fn normalize(norm: &BatchNorm, input: Tensor<4>) -> Tensor<4> {
    let numbers = input.dtype();
    cast(normalize_in_own_numbers(norm, cast(input, norm.gamma.val().dtype())), numbers)
}

fn normalize_in_own_numbers(norm: &BatchNorm, input: Tensor<4>) -> Tensor<4> {
    let [batch, channels, rows, columns] = input.dims();
    let shape = Shape { batch, channels, pixels: rows * columns, epsilon: norm.epsilon };
    let learns = input.device().is_autodiff() && norm.training.is_enabled() && shape.pixels > 0 && batch > 0;
    let (gamma, beta) = (norm.gamma.val(), norm.beta.val());
    let known = || Some((on_processor(&input)?, on_processor(&gamma)?, on_processor(&beta)?));
    let Some((x, scale, shift)) = known().filter(|_| learns && gamma.dims() == [channels]) else {
        return norm.forward(input);
    };
    let held = || Some((numbers(x.primitive())?, numbers(scale.primitive())?, numbers(shift.primitive())?));
    let Some((numbers_of_x, numbers_of_scale, numbers_of_shift)) = held() else { return norm.forward(input) };
    let statistics = statistics(shape, numbers_of_x.storage());
    let mut output = vec![0.0; numbers_of_x.storage::<f32>().len()];
    forward(
        shape,
        &statistics,
        numbers_of_x.storage(),
        [numbers_of_scale.storage(), numbers_of_shift.storage()],
        &mut output,
    );
    let output = tensor(output, [batch, channels, rows, columns]);
    let means = statistics.iter().map(|one| one.mean).collect::<Vec<_>>();
    let variances = statistics.iter().map(|one| one.variance).collect::<Vec<_>>();
    let nodes = [x.node(), scale.node(), shift.node()];
    let done = match Normalization.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prepared) => {
            let saved = Saved { shape, statistics, input: prepared.checkpoint(&x), scale: prepared.checkpoint(&scale) };
            prepared.finish(saved, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    let moved = |running: Tensor<1>, now: Vec<f32>| {
        let now = FloatTensor::<Autodiff<Flex>>::new(tensor(now, [channels]));
        let now = Tensor::<1>::from_primitive::<Autodiff<Flex>>(now);
        running.mul_scalar(1.0 - norm.momentum).add(now.mul_scalar(norm.momentum)).detach()
    };
    norm.running_mean.update(moved(norm.running_mean.value_sync(), means));
    norm.running_var.update(moved(norm.running_var.value_sync(), variances));
    Tensor::from_primitive::<Autodiff<Flex>>(done)
}

#[derive(Clone, Copy, Debug)]
struct Shape {
    batch: usize,
    channels: usize,
    /// Of a plane.
    pixels: usize,
    epsilon: f64,
}

/// What is known of a channel.
#[derive(Clone, Copy, Debug)]
struct Channel {
    mean: f32,
    /// Of all its numbers, as a population.
    variance: f32,
    /// 1 by its deviation.
    inverse: f32,
}

/// The normalization on the way back.
#[derive(Clone, Copy, Debug)]
struct Normalization;

/// What the way back needs.
#[derive(Clone, Debug)]
struct Saved {
    shape: Shape,
    statistics: Vec<Channel>,
    input: NodeId,
    scale: NodeId,
}

impl Backward<Flex, 3> for Normalization {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node).to_contiguous();
        let [input, scale, shift] = ops.parents.map(|parent| parent.map(|node| node.id));
        let Saved { shape, statistics, input: x, scale: gamma } = ops.state;
        // Both were looked at on the way forward.
        let x = checkpointer.retrieve_node_output::<FlexTensor>(x).to_contiguous();
        let gamma = checkpointer.retrieve_node_output::<FlexTensor>(gamma).to_contiguous();
        let dims: [usize; 4] = x.shape().dims();
        let (x, gradient) = (x.storage::<f32>(), gradient.storage::<f32>());
        let sums = sums(shape, &statistics, x, gradient);
        if let Some(node) = input {
            let back = back(shape, &statistics, [x, gradient], gamma.storage(), &sums);
            grads.register::<Flex>(node, tensor(back, dims));
        }
        let [shifts, scales] = [0, 1].map(|which| sums.iter().map(|sum| narrow(sum[which])).collect::<Vec<_>>());
        for (node, values) in [(scale, scales), (shift, shifts)] {
            if let Some(node) = node {
                grads.register::<Flex>(node, tensor(values, [shape.channels]));
            }
        }
    }
}

fn statistics(shape: Shape, x: &[f32]) -> Vec<Channel> {
    let of = |channel: usize| {
        let count = wide(shape.batch * shape.pixels);
        let mean = planes(shape, channel, x).map(|plane| sum(plane, |value| value)).sum::<f64>() / count;
        let middle = narrow(mean);
        let squares = planes(shape, channel, x).map(|plane| sum(plane, |value| (value - middle) * (value - middle)));
        let variance = squares.sum::<f64>() / count;
        Channel { mean: middle, variance: narrow(variance), inverse: narrow(1.0 / (variance + shape.epsilon).sqrt()) }
    };
    (0..shape.channels).into_par_iter().map(of).collect()
}

fn forward(shape: Shape, statistics: &[Channel], x: &[f32], [scale, shift]: [&[f32]; 2], output: &mut [f32]) {
    let planes = x.par_chunks(shape.pixels).zip(output.par_chunks_mut(shape.pixels)).enumerate();
    planes.for_each(|(plane, (x, output))| {
        let channel = plane % shape.channels;
        let Channel { mean, inverse, .. } = statistics[channel];
        let (by, shift) = (scale[channel] * inverse, shift[channel]);
        for (output, x) in output.iter_mut().zip(x) {
            *output = (x - mean) * by + shift;
        }
    });
}

/// For each channel the sum of the gradient, and of its product with what was normalized.
fn sums(shape: Shape, statistics: &[Channel], x: &[f32], gradient: &[f32]) -> Vec<[f64; 2]> {
    let of = |channel: usize| {
        let Channel { mean, inverse, .. } = statistics[channel];
        let pairs = planes(shape, channel, x).zip(planes(shape, channel, gradient));
        let summed = pairs.map(|(x, gradient)| {
            [sum(gradient, |value| value), sum_of_pairs(x, gradient, |x, gradient| (x - mean) * gradient)]
        });
        let [plain, product] = summed.fold([0.0, 0.0], |[a, b], [c, d]| [a + c, b + d]);
        [plain, product * f64::from(inverse)]
    };
    (0..shape.channels).into_par_iter().map(of).collect()
}

/// The gradient of the input.
fn back(
    shape: Shape,
    statistics: &[Channel],
    [x, gradient]: [&[f32]; 2],
    gamma: &[f32],
    sums: &[[f64; 2]],
) -> Vec<f32> {
    let mut output = vec![0.0; x.len()];
    let count = wide(shape.batch * shape.pixels);
    let planes = output.par_chunks_mut(shape.pixels).enumerate();
    planes.for_each(|(plane, output)| {
        let channel = plane % shape.channels;
        let Channel { mean, inverse, .. } = statistics[channel];
        let [plain, product] = sums[channel].map(|sum| narrow(sum / count));
        let (by, slope) = (gamma[channel] * inverse, product * inverse);
        let at = plane * shape.pixels;
        let (x, gradient) = (&x[at..at + shape.pixels], &gradient[at..at + shape.pixels]);
        for ((output, x), gradient) in output.iter_mut().zip(x).zip(gradient) {
            *output = by * (gradient - plain - (x - mean) * slope);
        }
    });
    output
}

/// The planes of a channel, one of each slice.
fn planes(shape: Shape, channel: usize, values: &[f32]) -> impl Iterator<Item = &[f32]> {
    values.chunks(shape.pixels).skip(channel).step_by(shape.channels)
}

fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    sum_of_pairs(values, values, |value, _| of(value))
}

/// A sum in an order that depends on the length alone: few numbers at a time in `f32`, and these sums in `f64`.
fn sum_of_pairs(one: &[f32], other: &[f32], of: impl Fn(f32, f32) -> f32) -> f64 {
    /// Numbers that are summed side by side, and those that are summed in `f32`.
    const LANES: usize = 16;
    const BLOCK: usize = 64 * LANES;
    let of_block = |(one, other): (&[f32], &[f32])| {
        let mut lanes = [0.0_f32; LANES];
        for (one, other) in one.chunks(LANES).zip(other.chunks(LANES)) {
            for (lane, (one, other)) in lanes.iter_mut().zip(one.iter().zip(other)) {
                *lane += of(*one, *other);
            }
        }
        lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>()
    };
    one.chunks(BLOCK).zip(other.chunks(BLOCK)).map(of_block).sum()
}

#[allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a sum is rounded once")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[allow(clippy::as_conversions, reason = "pixels are far below 2^52")]
fn wide(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use burn::module::{Module as _, Param};
    use burn::nn::BatchNormConfig;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;
    use crate::model::host;
    use crate::train::Random;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The result, the gradients, and where the running statistics come to are those of burn's own layer.
        #[test]
        fn it_is_the_normalization_of_burn_forward_and_back(
            (batch, channels, rows, columns) in (1_usize..4, 1_usize..9, 2_usize..12, 2_usize..12),
            (offset, seed) in (-3.0_f32..3.0, any::<u64>()),
        ) {
            let device = Device::flex().autodiff();
            let mut random = Random::new(seed, "normalize");
            let mut noise = |count: usize| (0..count).map(|_| offset + random.uniform()).collect::<Vec<f32>>();
            let mut told = Vec::new();
            let dims = [batch, channels, rows, columns];
            let (images, weighed) = (noise(dims.iter().product()), noise(dims.iter().product()));
            let (scales, shifts) = (noise(channels), noise(channels));
            for ours in [false, true] {
                let mut norm = BatchNormConfig::new(channels).init(&device);
                norm.gamma = Param::from_tensor(Tensor::from_data(TensorData::new(scales.clone(), [channels]), &device));
                norm.beta = Param::from_tensor(Tensor::from_data(TensorData::new(shifts.clone(), [channels]), &device));
                let norm = norm.train();
                let images = Tensor::<4>::from_data(TensorData::new(images.clone(), dims), &device).require_grad();
                let weighed = Tensor::<4>::from_data(TensorData::new(weighed.clone(), dims), &device);
                let output = if ours { normalize(&norm, images.clone()) } else { norm.forward(images.clone()) };
                let grads = (output.clone() * weighed).sum().backward();
                told.push([
                    host("test", output).unwrap(),
                    host("test", images.grad(&grads).unwrap()).unwrap(),
                    host("test", norm.gamma.val().grad(&grads).unwrap()).unwrap(),
                    host("test", norm.beta.val().grad(&grads).unwrap()).unwrap(),
                    host("test", norm.running_mean.value_sync()).unwrap(),
                    host("test", norm.running_var.value_sync()).unwrap(),
                ]);
            }
            for (theirs, ours) in told[0].iter().zip(&told[1]) {
                prop_assert_eq!(ours.len(), theirs.len());
                for (a, b) in ours.iter().zip(theirs) {
                    prop_assert!((a - b).abs() <= 1e-3 * b.abs().max(1.0), "{a} and {b}");
                }
            }
        }
    }
}
