//! The inner loops of the gradient of weights, once for every instruction set: products of inputs and of gradients, summed
//! over the pixels of an image in registers.
//!
//! **Each sum is one chain of fused multiply-adds in the order of the pixels**, as in [`kernel`](super::kernel).

use rten_simd::ops::{BitOps as _, NumOps as _};
use rten_simd::{Isa, SimdOp};

use super::image::BLOCK;

/// What one tap of a kernel adds to the gradient of its weights.
pub(super) struct Gradient<'a> {
    /// From the first input of the first pixel.
    pub(super) input: &'a [f32],
    /// From a pixel's first input to that of the next in its row, and of the next row.
    pub(super) input_steps: [usize; 2],
    /// The gradient of the outputs, from the first channel of the first pixel.
    pub(super) output: &'a [f32],
    /// From a pixel to the next in its row, and of the next row.
    pub(super) output_steps: [usize; 2],
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Inputs of a pixel.
    pub(super) channels: usize,
    /// Outputs of a pixel, a multiple of [`BLOCK`].
    pub(super) out: usize,
    /// `[channels, out]`, which is added to.
    pub(super) weights: &'a mut [f32],
}

impl Gradient<'_> {
    /// Whether every number that [`SimdOp::eval`] touches exists.
    fn fits(&self) -> bool {
        let [rows, columns] = [self.rows.saturating_sub(1), self.columns.saturating_sub(1)];
        let last = |steps: [usize; 2]| rows * steps[1] + columns * steps[0];
        self.out.is_multiple_of(BLOCK)
            && self.weights.len() == self.channels * self.out
            && last(self.input_steps) + self.channels <= self.input.len()
            && last(self.output_steps) + self.out <= self.output.len()
    }

    /// All channels, `V` vectors of outputs at once.
    ///
    /// # Safety
    ///
    /// [`Gradient::fits`], and [`BLOCK`] is a multiple of what `V` vectors hold.
    #[inline(always)]
    unsafe fn walk<I: Isa, const V: usize>(&mut self, isa: I) {
        let lanes = V * isa.f32().len();
        let mut channel = 0;
        while channel < self.channels {
            let left = self.channels - channel;
            // Eight are better done as four and four than as six and two.
            let step = match left {
                0..2 => 1,
                2..4 => 2,
                4 | 5 | 8 => 4,
                _ => 6,
            };
            for out in (0..self.out).step_by(lanes) {
                // SAFETY: the caller's promise; channels and outputs are among those that there are.
                unsafe {
                    match step {
                        6 => self.tile::<I, V, 6>(isa, channel, out),
                        4 => self.tile::<I, V, 4>(isa, channel, out),
                        2 => self.tile::<I, V, 2>(isa, channel, out),
                        _ => self.tile::<I, V, 1>(isa, channel, out),
                    }
                }
            }
            channel += step;
        }
    }

    /// `C` channels and `V` vectors of outputs.
    ///
    /// # Safety
    ///
    /// As for the walk; the channels and the outputs from these on exist.
    #[allow(clippy::needless_range_loop, reason = "loops over constants are unrolled, and arrays become registers")]
    #[inline(always)]
    unsafe fn tile<I: Isa, const V: usize, const C: usize>(&mut self, isa: I, channel: usize, out: usize) {
        let ops = isa.f32();
        let lanes = ops.len();
        let mut sums = [[ops.zero(); V]; C];
        // SAFETY: the caller's promise; each pointer stays within its slice.
        unsafe {
            for row in 0..self.rows {
                let mut input = self.input.as_ptr().add(row * self.input_steps[1] + channel);
                let mut output = self.output.as_ptr().add(row * self.output_steps[1] + out);
                for column in 0..self.columns {
                    let mut of_outputs = [ops.zero(); V];
                    for v in 0..V {
                        of_outputs[v] = ops.load_ptr(output.add(v * lanes));
                    }
                    for c in 0..C {
                        let value = ops.splat(*input.add(c));
                        for v in 0..V {
                            sums[c][v] = ops.mul_add(value, of_outputs[v], sums[c][v]);
                        }
                    }
                    if column + 1 < self.columns {
                        input = input.add(self.input_steps[0]);
                        output = output.add(self.output_steps[0]);
                    }
                }
            }
            for c in 0..C {
                for v in 0..V {
                    let weights = self.weights.as_mut_ptr().add((channel + c) * self.out + out + v * lanes);
                    ops.store_ptr(ops.add(ops.load_ptr(weights), sums[c][v]), weights);
                }
            }
        }
    }
}

impl SimdOp for Gradient<'_> {
    /// Whether the arrays are long enough; if not, nothing was done.
    type Output = bool;

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) -> bool {
        if !self.fits() {
            return false;
        }
        // SAFETY: `fits` has checked each bound, and a block is 16 outputs.
        unsafe {
            match isa.f32().len() {
                16 => self.walk::<I, 1>(isa),
                8 => self.walk::<I, 2>(isa),
                4 => self.walk::<I, 4>(isa),
                _ => return false,
            }
        }
        true
    }
}
