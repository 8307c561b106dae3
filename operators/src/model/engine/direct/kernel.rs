//! The inner loops, once for every instruction set: up to 32 channels of up to 12 neighboring pixels are summed in
//! registers. Weights are read as vectors in the order in which they lie, pixels as single numbers spread over a vector.
//!
//! **Each number of the result is one chain of fused multiply-adds in the order of the weights**, whatever the width of a
//! vector, the pixels beside it and the thread that does it. So the result is the same to the last bit on every processor
//! that has the instruction (AVX-512, AVX2 with FMA, Neon).

use rten_simd::ops::{BitOps as _, NumOps as _};
use rten_simd::{Isa, SimdOp};

use super::image::BLOCK;

/// Output channels of one block of weights; the last may be half of it.
pub(super) const GROUP: usize = 2 * BLOCK;

/// Rows of a convolution, or of one of the four that a transposed convolution is.
pub(super) struct Rows<'a> {
    /// `[group][tap, channel][GROUP or BLOCK]`.
    pub(super) weights: &'a [f32],
    /// One per output channel, whole blocks.
    pub(super) bias: &'a [f32],
    /// Scale and shift after the ReLU, as long as the bias.
    pub(super) after: Option<(&'a [f32], &'a [f32])>,
    pub(super) relu: bool,
    /// Where the inputs of an output lie, from its first, and how many there are in a run. In the order of the weights, in
    /// blocks whose weights stay in the nearest cache while all pixels are visited.
    pub(super) taps: &'a [Vec<(usize, usize)>],
    /// From the first input of the first pixel of these rows.
    pub(super) input: &'a [f32],
    /// From a pixel's first input to that of the next in its row, and of the next row.
    pub(super) input_steps: [usize; 2],
    /// From the first channel of the first pixel of these rows.
    pub(super) output: &'a mut [f32],
    /// From a pixel to the next in its row, and of the next row.
    pub(super) output_steps: [usize; 2],
    /// Added before the ReLU; lies as the output does.
    pub(super) add: Option<&'a [f32]>,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Rows<'_> {
    /// Whether every number that [`SimdOp::eval`] touches exists.
    fn fits(&self) -> bool {
        let taps: usize = self.taps.iter().flatten().map(|&(_, len)| len).sum();
        let reach = self.taps.iter().flatten().map(|&(offset, len)| offset + len).max().unwrap_or(0);
        let channels = self.bias.len();
        let [rows, columns] = [self.rows.saturating_sub(1), self.columns.saturating_sub(1)];
        let last = |steps: [usize; 2]| rows * steps[1] + columns * steps[0];
        let end = last(self.output_steps) + channels;
        channels.is_multiple_of(BLOCK)
            && self.weights.len() == taps * channels
            && self.after.is_none_or(|(scale, shift)| scale.len() == channels && shift.len() == channels)
            && last(self.input_steps) + reach <= self.input.len()
            && end <= self.output.len()
            && self.add.is_none_or(|add| end <= add.len())
    }
}

impl SimdOp for Rows<'_> {
    /// Whether the arrays are long enough; if not, nothing was done.
    type Output = bool;

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) -> bool {
        if !self.fits() {
            return false;
        }
        let mut weights = self.weights;
        let mut first = 0;
        while first < self.bias.len() {
            let width = GROUP.min(self.bias.len() - first);
            for (block, taps) in self.taps.iter().enumerate() {
                let these;
                (these, weights) = weights.split_at(width * taps.iter().map(|&(_, len)| len).sum::<usize>());
                let part = Part { taps, weights: these, begins: block == 0, ends: block + 1 == self.taps.len() };
                // SAFETY: `fits` has checked each bound; channels `first..first + width` are among those of the bias.
                unsafe {
                    match (isa.f32().len(), width) {
                        (16, GROUP) => self.wide::<I, 2>(isa, part, first, width),
                        (16, _) => self.wide::<I, 1>(isa, part, first, width),
                        (8, _) => self.half::<I, 2>(isa, part, first, width),
                        (4, _) => self.narrow::<I, 4>(isa, part, first, width),
                        _ => return false,
                    }
                }
            }
            first += width;
        }
        true
    }
}

/// A block of the inputs of each output.
#[derive(Clone, Copy)]
struct Part<'a> {
    taps: &'a [(usize, usize)],
    /// Theirs, of one group of channels.
    weights: &'a [f32],
    /// Whether sums begin with the bias, or go on with what the output holds.
    begins: bool,
    ends: bool,
}

/// Walks over a row in tiles of at most the given numbers of pixels.
macro_rules! walk {
    ($name:ident, $($pixels:literal),+) => {
        /// # Safety
        ///
        /// [`Rows::fits`], and the channels from `first` on are `width`, a multiple of what `V` vectors hold.
        #[inline(always)]
        unsafe fn $name<I: Isa, const V: usize>(&mut self, isa: I, part: Part<'_>, first: usize, width: usize) {
            let lanes = V * isa.f32().len();
            for channel in (0..width).step_by(lanes) {
                for row in 0..self.rows {
                    let mut column = 0;
                    while column < self.columns {
                        let left = self.columns - column;
                        $(
                            if left >= $pixels && !($pixels == 12 && left == 16) && !($pixels == 6 && left == 8) {
                                // SAFETY: the caller's promise; the tile ends at or before the end of the row.
                                unsafe { self.tile::<I, V, $pixels>(isa, part, [first, channel, width], row, column) };
                                column += $pixels;
                                continue;
                            }
                        )+
                    }
                }
            }
        }
    };
}

impl Rows<'_> {
    walk!(wide, 12, 8, 4, 2, 1);
    walk!(half, 6, 4, 2, 1);
    walk!(narrow, 4, 2, 1);

    /// `V` vectors of channels of `P` pixels of a row.
    ///
    /// # Safety
    ///
    /// As for the walks; the pixels lie in the row.
    #[allow(clippy::needless_range_loop, reason = "loops over constants are unrolled, and arrays become registers")]
    #[inline(always)]
    unsafe fn tile<I: Isa, const V: usize, const P: usize>(
        &mut self,
        isa: I,
        part: Part<'_>,
        [first, channel, width]: [usize; 3],
        row: usize,
        column: usize,
    ) {
        let ops = isa.f32();
        let lanes = ops.len();
        let out_channel = first + channel;
        let [step, row_step] = self.input_steps;
        let mut sums = [[ops.zero(); V]; P];
        // SAFETY: the caller's promise; each pointer stays within its slice.
        unsafe {
            let [out_step, out_row_step] = self.output_steps;
            let output = self.output.as_mut_ptr().add(row * out_row_step + column * out_step + out_channel);
            if part.begins {
                for v in 0..V {
                    let bias = ops.load_ptr(self.bias.as_ptr().add(out_channel + v * lanes));
                    for sum in &mut sums {
                        sum[v] = bias;
                    }
                }
            } else {
                for p in 0..P {
                    for v in 0..V {
                        sums[p][v] = ops.load_ptr(output.add(p * out_step + v * lanes));
                    }
                }
            }
            let mut weight = part.weights.as_ptr().add(channel);
            let origin = self.input.as_ptr().add(row * row_step + column * step);
            for &(offset, len) in part.taps {
                let input = origin.add(offset);
                for k in 0..len {
                    let mut of_channels = [ops.zero(); V];
                    for v in 0..V {
                        of_channels[v] = ops.load_ptr(weight.add(v * lanes));
                    }
                    for p in 0..P {
                        let value = ops.splat(*input.add(p * step + k));
                        for v in 0..V {
                            sums[p][v] = ops.mul_add(value, of_channels[v], sums[p][v]);
                        }
                    }
                    weight = weight.add(width);
                }
            }
            let [step, row_step] = [out_step, out_row_step];
            // Two loops: the first is short enough to be unrolled, so that the sums never leave their registers.
            for p in 0..P {
                for v in 0..V {
                    ops.store_ptr(sums[p][v], output.add(p * step + v * lanes));
                }
            }
            if !part.ends || !self.relu && self.add.is_none() && self.after.is_none() {
                return;
            }
            for p in 0..P {
                for v in 0..V {
                    let at = p * step + v * lanes;
                    let channels = out_channel + v * lanes;
                    let mut value = ops.load_ptr(output.add(at));
                    if let Some(add) = self.add {
                        value = ops.add(
                            value,
                            ops.load_ptr(add.as_ptr().add(row * row_step + column * step + out_channel + at)),
                        );
                    }
                    if self.relu {
                        value = ops.max(value, ops.zero());
                    }
                    if let Some((scale, shift)) = self.after {
                        let [scale, shift] = [scale, shift].map(|array| array.as_ptr().add(channels));
                        value = ops.mul_add(value, ops.load_ptr(scale), ops.load_ptr(shift));
                    }
                    ops.store_ptr(value, output.add(at));
                }
            }
        }
    }
}

/// The largest of `size * size` pixels, every second pixel of every second row, all numbers of a pixel.
pub(super) struct Largest<'a> {
    /// From the first pixel that counts for the first output.
    pub(super) input: &'a [f32],
    /// From a pixel to the next in its row, and of the next row.
    pub(super) input_steps: [usize; 2],
    /// One row, from its first pixel.
    pub(super) output: &'a mut [f32],
    pub(super) pitch: usize,
    pub(super) size: usize,
    pub(super) columns: usize,
}

impl SimdOp for Largest<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let [step, row_step] = self.input_steps;
        for (column, pixel) in self.output.chunks_exact_mut(self.pitch).take(self.columns).enumerate() {
            for (block, out) in pixel.chunks_exact_mut(ops.len()).enumerate() {
                let at = |y: usize, x: usize| &self.input[y * row_step + (2 * column + x) * step + block * ops.len()..];
                let mut largest = ops.load(at(0, 0));
                for y in 0..self.size {
                    for x in 0..self.size {
                        largest = ops.max(largest, ops.load(at(y, x)));
                    }
                }
                ops.store(largest, out);
            }
        }
    }
}
