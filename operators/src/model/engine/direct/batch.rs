//! Convolutions of a batch and their gradients, for training: `[batch, channels, rows, columns]` in and out.
//!
//! The gradient of the input is a convolution with the weights turned around; that of the weights is a sum over pixels
//! ([`gradient`](super::gradient)). **Every number is summed in one order**, whatever the number of threads.

use std::ops::Range;

use rayon::prelude::*;
use rten_simd::SimdOp as _;

use super::convolution::{Convolution, Pixels, Then, Weights};
use super::gradient::Gradient;
use super::image::{BLOCK, Layout};

/// Channels of a tap whose weights a thread sums at once: a multiple of what a tile takes.
const CHANNELS_AT_ONCE: usize = 48;

/// A convolution: a square kernel, padded so that stride 1 keeps the size if its side is odd, and not at all if it is even.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) struct Shape {
    batch: usize,
    channels: usize,
    rows: usize,
    columns: usize,
    out: usize,
    kernel: usize,
    stride: usize,
}

/// Pixels of zeros around an image, for a kernel of this side.
pub(in crate::model) fn padding(kernel: usize) -> usize {
    if kernel % 2 == 1 { kernel / 2 } else { 0 }
}

impl Shape {
    /// The convolution of `[batch, channels, rows, columns]` with `[out, channels, kernel, kernel]`; `None` if there is none.
    pub(in crate::model) fn of(input: [usize; 4], weights: [usize; 4], stride: usize) -> Option<Self> {
        let [batch, channels, rows, columns] = input;
        let [out, from, kernel, width] = weights;
        let there = [batch, channels, out, kernel, stride].iter().all(|count| *count > 0);
        let wide = rows.min(columns) + 2 * padding(kernel) >= kernel;
        let shape = Self { batch, channels, rows, columns, out, kernel, stride };
        (there && wide && from == channels && width == kernel).then_some(shape)
    }

    /// The shape of its result.
    pub(in crate::model) fn output(self) -> [usize; 4] {
        let of = |size: usize| (size + 2 * padding(self.kernel) - self.kernel) / self.stride + 1;
        [self.batch, self.out, of(self.rows), of(self.columns)]
    }

    fn taps(self) -> usize {
        self.kernel * self.kernel
    }

    /// Whether there is an input, weights and an output of these lengths, those that are given.
    fn fits(self, input: Option<&[f32]>, weights: Option<&[f32]>, output: Option<&[f32]>) -> bool {
        let is = |values: Option<&[f32]>, length: usize| values.is_none_or(|values| values.len() == length);
        is(input, self.batch * self.channels * self.rows * self.columns)
            && is(weights, self.out * self.channels * self.taps())
            && is(output, self.output().iter().product())
    }

    /// An input as a convolution reads it.
    fn from(self) -> Layout {
        let all: Range<usize> = 0..self.channels;
        let border = padding(self.kernel);
        Layout { rows: self.rows, columns: self.columns, border, pitch: self.channels, runs: vec![all] }
    }

    /// An output as a convolution writes it.
    fn to(self) -> Layout {
        let [_, out, rows, columns] = self.output();
        Layout { border: 0, ..Layout::blocks(rows, columns, &[out]) }
    }

    /// An input as a convolution writes it.
    fn back(self) -> Layout {
        Layout { border: 0, ..Layout::blocks(self.rows, self.columns, &[self.channels]) }
    }
}

/// The convolution of a batch; `None` if lengths do not fit.
pub(in crate::model) fn forward(
    shape: Shape,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
) -> Option<Vec<f32>> {
    if !shape.fits(Some(input), Some(weights), None) {
        return None;
    }
    let (from, to) = (shape.from(), shape.to());
    let Shape { channels, out, kernel, stride, .. } = shape;
    let values = weights.to_vec();
    let weights = Weights { values, shape: [out, channels, kernel, kernel], bias: bias.map(<[f32]>::to_vec) };
    let convolution = Convolution::new(&weights, stride, Then::default(), [&from, &to], Pixels::default())?;
    run(shape.batch, &convolution, input, [&from, &to], |planes, image| from.fill(planes, image))
}

/// The gradient of the input: that of the output, its pixels `stride` apart, by the turned weights. `None` if lengths do not
/// fit, or the kernel's side is even.
pub(in crate::model) fn input_gradient(shape: Shape, gradient: &[f32], weights: &[f32]) -> Option<Vec<f32>> {
    let Shape { batch, channels, out, kernel, stride, rows, columns } = shape;
    if kernel % 2 == 0 || !shape.fits(None, Some(weights), Some(gradient)) {
        return None;
    }
    let mut turned = vec![0.0; weights.len()];
    for (from, weights) in weights.chunks(shape.taps()).enumerate() {
        let (o, c) = (from / channels, from % channels);
        let to = (c * out + o) * shape.taps();
        for (to, weight) in turned[to..].iter_mut().zip(weights.iter().rev()) {
            *to = *weight;
        }
    }
    let turned = Weights { values: turned, shape: [channels, out, kernel, kernel], bias: None };
    let from = Layout { border: padding(kernel), ..Layout::blocks(rows, columns, &[out]) };
    let to = shape.back();
    let convolution = Convolution::new(&turned, 1, Then::default(), [&from, &to], Pixels::default())?;
    let [_, _, out_rows, out_columns] = shape.output();
    let spread = |planes: &[f32], image: &mut [f32]| {
        for (channel, plane) in planes.chunks(out_rows * out_columns).enumerate() {
            for (row, values) in plane.chunks(out_columns).enumerate() {
                let start = from.at(row * stride + from.border, from.border) + channel;
                for (pixel, value) in image[start..].iter_mut().step_by(stride * from.pitch).zip(values) {
                    *pixel = *value;
                }
            }
        }
    };
    run(batch, &convolution, gradient, [&from, &to], spread)
}

/// The gradient of the weights; `None` if lengths do not fit.
pub(in crate::model) fn weight_gradient(shape: Shape, input: &[f32], gradient: &[f32]) -> Option<Vec<f32>> {
    if !shape.fits(Some(input), None, Some(gradient)) {
        return None;
    }
    let Shape { batch, channels, out, kernel, stride, .. } = shape;
    let (from, to) = (shape.from(), shape.to());
    let (inputs, gradients) = (lay(batch, input, &from), lay(batch, gradient, &to));
    let wide = out.next_multiple_of(BLOCK);
    let mut sums = vec![0.0; shape.taps() * channels * wide];
    let parts = sums.par_chunks_mut(channels * wide).enumerate().flat_map(|(tap, sums)| {
        let parts = sums.par_chunks_mut(CHANNELS_AT_ONCE * wide).enumerate();
        parts.map(move |(part, weights)| (tap, part * CHANNELS_AT_ONCE, weights))
    });
    let summed = parts.map(|(tap, first, weights)| {
        inputs.iter().zip(&gradients).all(|(input, gradient)| {
            let input = input.get(from.at(tap / kernel, tap % kernel) + first..).unwrap_or_default();
            Gradient {
                input,
                input_steps: [stride * from.pitch, stride * from.row()],
                output: gradient,
                output_steps: [to.pitch, to.row()],
                rows: to.rows,
                columns: to.columns,
                channels: weights.len() / wide,
                out: wide,
                weights,
            }
            .dispatch()
        })
    });
    if !summed.reduce(|| true, |one, other| one & other) {
        return None;
    }
    let mut weights = Vec::with_capacity(out * channels * shape.taps());
    for o in 0..out {
        for c in 0..channels {
            weights.extend((0..shape.taps()).map(|tap| sums[(tap * channels + c) * wide + o]));
        }
    }
    Some(weights)
}

/// Runs a convolution over each slice of a batch, which `lay` brings into the layout that it reads.
fn run(
    batch: usize,
    convolution: &Convolution,
    slices: &[f32],
    [from, to]: [&Layout; 2],
    lay: impl Fn(&[f32], &mut [f32]) + Sync,
) -> Option<Vec<f32>> {
    let bands = rayon::current_num_threads().div_ceil(batch);
    let length = to.channels() * to.rows * to.columns;
    let mut planes = vec![0.0; batch * length];
    // What is laid covers the same pixels each time, so that the zeros around them stay.
    let images = || (vec![0.0; from.len()], vec![0.0; to.len()]);
    let slices = slices.par_chunks(slices.len() / batch).zip(planes.par_chunks_mut(length));
    let ran = slices.map_init(images, |(input, output), (slice, planes)| {
        lay(slice, input);
        let ran = convolution.run(input, output, None, bands);
        to.read(output, planes);
        ran
    });
    ran.reduce(|| true, |one, other| one & other).then_some(planes)
}

/// The slices of a batch as images of a layout.
fn lay(batch: usize, slices: &[f32], layout: &Layout) -> Vec<Vec<f32>> {
    let slices = slices.par_chunks(slices.len() / batch);
    let laid = slices.map(|slice| {
        let mut image = vec![0.0; layout.len()];
        layout.fill(slice, &mut image);
        image
    });
    laid.collect()
}
