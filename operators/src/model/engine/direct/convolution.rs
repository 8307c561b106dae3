//! One convolution, ready to run: weights in the order in which they are read, and where the inputs lie.
//!
//! A transposed convolution of 2x2 with stride 2 is four convolutions of 1x1, each of which writes every second pixel of
//! every second row.

use rayon::prelude::*;
use rten_simd::SimdOp as _;

use super::image::{BLOCK, Layout};
use super::kernel::{GROUP, Rows};

/// Inputs of each output that a block holds: the weights of a group of channels take 16 KiB.
const INPUTS_OF_A_BLOCK: usize = 128;
/// Multiplications below which a convolution is not worth two threads.
const WORK_OF_A_BAND: usize = 1 << 20;

/// Weights `[out, in, rows, columns]` and a bias, as a network's file has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weights {
    pub(crate) values: Vec<f32>,
    pub(crate) shape: [usize; 4],
    /// One number per output channel.
    pub(crate) bias: Option<Vec<f32>>,
}

/// What happens after the sum.
#[derive(Clone, Debug, Default)]
pub(super) struct Then {
    pub(super) relu: bool,
    /// Scale and shift after the ReLU, one per output channel.
    pub(super) affine: Option<(Vec<f32>, Vec<f32>)>,
}

/// Which pixels of an image are written: every pixel, or every second one of every second row from a start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pixels {
    pub(super) spread: bool,
    pub(super) start: [usize; 2],
    /// The first channel within a pixel.
    pub(super) channel: usize,
}

/// A convolution from one layout to another.
#[derive(Debug)]
pub(super) struct Convolution {
    weights: Vec<f32>,
    bias: Vec<f32>,
    affine: Option<(Vec<f32>, Vec<f32>)>,
    relu: bool,
    taps: Vec<Vec<(usize, usize)>>,
    /// Where the first input of the first output lies.
    input_start: usize,
    input_steps: [usize; 2],
    output_start: usize,
    output_steps: [usize; 2],
    rows: usize,
    columns: usize,
}

impl Convolution {
    /// The convolution of `weights` with this stride, padded so that stride 1 keeps the size; 2x2 weights are not padded.
    /// `None` if the weights do not fit the input's channels or its border.
    pub(super) fn new(
        weights: &Weights,
        stride: usize,
        then: Then,
        [from, to]: [&Layout; 2],
        pixels: Pixels,
    ) -> Option<Self> {
        let [out, channels, height, width] = weights.shape;
        let pad = if height % 2 == 1 { height / 2 } else { 0 };
        let margin = from.border.checked_sub(pad)?;
        let taps_of_all = channels * height * width;
        if channels != from.channels() || weights.values.len() != out * taps_of_all || out == 0 {
            return None;
        }
        let mut taps: Vec<(usize, usize)> = Vec::new();
        let mut order = Vec::with_capacity(taps_of_all);
        for y in 0..height {
            for x in 0..width {
                let mut channel = 0;
                for run in &from.runs {
                    let offset = from.at(y, x) + run.start;
                    match taps.last_mut() {
                        Some((start, len)) if *start + *len == offset => *len += run.len(),
                        _ => taps.push((offset, run.len())),
                    }
                    order.extend((channel..channel + run.len()).map(|channel| (channel * height + y) * width + x));
                    channel += run.len();
                }
            }
        }
        let blocks = out.next_multiple_of(BLOCK);
        let mut packed = vec![0.0; blocks * taps_of_all];
        for (row, values) in weights.values.chunks(taps_of_all).enumerate() {
            let group = row - row % GROUP;
            let width = GROUP.min(blocks - group);
            let column = &mut packed[group * taps_of_all + row - group..];
            for (slot, &tap) in column.iter_mut().step_by(width).zip(&order) {
                *slot = values[tap];
            }
        }
        let padded = |values: &[f32]| {
            let mut values = values.to_vec();
            values.resize(blocks, 0.0);
            values
        };
        let factor = if pixels.spread { 2 } else { 1 };
        let [row, column] = pixels.start;
        Some(Self {
            weights: packed,
            bias: padded(weights.bias.as_deref().unwrap_or(&[])),
            affine: then.affine.map(|(scale, shift)| (padded(&scale), padded(&shift))),
            relu: then.relu,
            taps: in_blocks(&taps),
            input_start: from.at(margin, margin),
            input_steps: [stride * from.pitch, stride * from.row()],
            output_start: to.at(to.border + row, to.border + column) + pixels.channel,
            output_steps: [factor * to.pitch, factor * to.row()],
            rows: to.rows / factor,
            columns: to.columns / factor,
        })
    }

    /// Runs it, in `bands` of rows if it is long enough for that. `add` has the layout of the output. Says whether the
    /// images have the lengths of their layouts; if not, the output is not written.
    pub(super) fn run(&self, input: &[f32], output: &mut [f32], add: Option<&[f32]>, bands: usize) -> bool {
        self.run_by(|rows| rows.dispatch(), input, output, add, bands)
    }

    /// The same with a choice of the instruction set.
    pub(super) fn run_by(
        &self,
        run: impl Fn(Rows<'_>) -> bool + Sync,
        input: &[f32],
        output: &mut [f32],
        add: Option<&[f32]>,
        bands: usize,
    ) -> bool {
        let bands = if self.work() < WORK_OF_A_BAND { 1 } else { bands.max(1) };
        let rows_per_band = self.rows.div_ceil(bands).max(1);
        let band = |(index, output): (usize, &mut [f32])| {
            let first = index * rows_per_band;
            let input = input.get(self.input_start + first * self.input_steps[1]..);
            let add = add.map(|add| add.get(self.output_start + first * self.output_steps[1]..).unwrap_or(&[]));
            let rows = rows_per_band.min(self.rows.saturating_sub(first));
            rows == 0
                || run(Rows {
                    weights: &self.weights,
                    bias: &self.bias,
                    after: self.affine.as_ref().map(|(scale, shift)| (scale.as_slice(), shift.as_slice())),
                    relu: self.relu,
                    taps: &self.taps,
                    input: input.unwrap_or(&[]),
                    input_steps: self.input_steps,
                    output,
                    output_steps: self.output_steps,
                    add,
                    rows,
                    columns: self.columns,
                })
        };
        let Some(output) = output.get_mut(self.output_start..) else {
            return false;
        };
        if bands == 1 {
            return band((0, output));
        }
        output.par_chunks_mut(rows_per_band * self.output_steps[1]).enumerate().map(band).reduce(|| true, |a, b| a & b)
    }

    /// Multiplications.
    fn work(&self) -> usize {
        self.weights.len() * self.rows * self.columns
    }
}

/// Splits runs of inputs into blocks of as many as are visited at once.
fn in_blocks(taps: &[(usize, usize)]) -> Vec<Vec<(usize, usize)>> {
    let mut blocks = Vec::new();
    let (mut block, mut room) = (Vec::new(), INPUTS_OF_A_BLOCK);
    for &(mut offset, mut len) in taps {
        while len > 0 {
            let now = len.min(room);
            block.push((offset, now));
            (offset, len, room) = (offset + now, len - now, room - now);
            if room == 0 {
                blocks.push(std::mem::take(&mut block));
                room = INPUTS_OF_A_BLOCK;
            }
        }
    }
    if blocks.is_empty() || !block.is_empty() {
        blocks.push(block);
    }
    blocks
}
