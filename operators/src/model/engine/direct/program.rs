//! A network as a list of steps between images, with room for the images that is used again and again.

use std::sync::{Mutex, PoisonError};

use rten_simd::SimdOp as _;

use super::convolution::{Convolution, Pixels, Then, Weights};
use super::image::Layout;
use super::kernel::Largest;

/// An image of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Image(usize);

#[derive(Debug)]
enum Step {
    Convolve {
        with: Box<Convolution>,
        from: Image,
        to: Image,
        add: Option<Image>,
    },
    /// The largest of `size * size` pixels, with stride 2.
    Shrink {
        size: usize,
        from: Image,
        to: Image,
    },
}

/// What cannot be built: the weights of a step do not fit what comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("weights of step {step} have the shape {shape:?}, which does not fit its input")]
pub(crate) struct Misfit {
    step: usize,
    shape: [usize; 4],
}

/// A network that is being built.
#[derive(Debug, Default)]
pub(super) struct Builder {
    layouts: Vec<Layout>,
    /// Images that no later step reads.
    free: Vec<Image>,
    steps: Vec<Step>,
}

impl Builder {
    /// Room for an image.
    pub(super) fn image(&mut self, layout: Layout) -> Image {
        // What an image leaves behind is overwritten, but for its border and its gaps: these are zero in all of one layout.
        if let Some(found) = self.free.iter().position(|&Image(index)| self.layouts[index] == layout) {
            return self.free.swap_remove(found);
        }
        self.layouts.push(layout);
        Image(self.layouts.len() - 1)
    }

    /// Says that no later step reads an image.
    pub(super) fn release(&mut self, image: Image) {
        self.free.push(image);
    }

    pub(super) fn layout(&self, Image(index): Image) -> &Layout {
        &self.layouts[index]
    }

    /// A convolution into a new image, with `add` added before `then`.
    pub(super) fn convolve(
        &mut self,
        from: Image,
        weights: &Weights,
        stride: usize,
        then: Then,
        add: Option<Image>,
    ) -> Result<Image, Misfit> {
        let Layout { rows, columns, .. } = *self.layout(from);
        let layout = Layout::blocks(rows.div_ceil(stride), columns.div_ceil(stride), &[weights.shape[0]]);
        let to = self.image(layout);
        self.convolve_into(from, weights, stride, then, add, (to, Pixels::default()))?;
        Ok(to)
    }

    /// A convolution into some pixels and channels of an image.
    pub(super) fn convolve_into(
        &mut self,
        from: Image,
        weights: &Weights,
        stride: usize,
        then: Then,
        add: Option<Image>,
        (to, pixels): (Image, Pixels),
    ) -> Result<(), Misfit> {
        let with = Convolution::new(weights, stride, then, [self.layout(from), self.layout(to)], pixels)
            .ok_or(Misfit { step: self.steps.len(), shape: weights.shape })?;
        self.steps.push(Step::Convolve { with: Box::new(with), from, to, add });
        Ok(())
    }

    /// Max pooling of the first `channels` channels with stride 2: `size` 2 without padding; 3 with a padding of one, for
    /// images that are not negative.
    pub(super) fn shrink(&mut self, from: Image, size: usize, channels: usize) -> Image {
        let Layout { rows, columns, .. } = *self.layout(from);
        let layout = Layout::blocks(rows.div_ceil(2), columns.div_ceil(2), &[channels]);
        let to = self.image(layout);
        self.steps.push(Step::Shrink { size, from, to });
        to
    }

    /// The network from the first image that was made to `output`.
    pub(super) fn finish(self, output: Image) -> Program {
        Program { layouts: self.layouts, steps: self.steps, output, rooms: Mutex::default() }
    }
}

/// A network, ready to run.
#[derive(Debug)]
pub(super) struct Program {
    layouts: Vec<Layout>,
    steps: Vec<Step>,
    output: Image,
    /// Images of runs that are over.
    rooms: Mutex<Vec<Vec<Vec<f32>>>>,
}

impl Program {
    /// Runs the network over one image, `[channels, rows, columns]` in and out. Each step is split into `bands`. `None` if
    /// the program is broken.
    pub(super) fn run(&self, planes: &[f32], bands: usize) -> Option<Vec<f32>> {
        let kept = self.rooms.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut images =
            kept.unwrap_or_else(|| self.layouts.iter().map(|layout| vec![0.0; layout.len()]).collect::<Vec<_>>());
        self.layouts[0].fill(planes, &mut images[0]);
        for step in &self.steps {
            let (Step::Convolve { to, .. } | Step::Shrink { to, .. }) = *step;
            let mut output = std::mem::take(&mut images[to.0]);
            let done = match *step {
                Step::Convolve { ref with, from, add, .. } => {
                    with.run(&images[from.0], &mut output, add.map(|Image(index)| images[index].as_slice()), bands)
                }
                Step::Shrink { size, from, .. } => {
                    shrink([&self.layouts[from.0], &self.layouts[to.0]], size, &images[from.0], &mut output);
                    true
                }
            };
            images[to.0] = output;
            if !done {
                return None;
            }
        }
        let planes = self.layouts[self.output.0].planes(&images[self.output.0]);
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner).push(images);
        Some(planes)
    }
}

/// Max pooling with stride 2.
fn shrink([from, to]: [&Layout; 2], size: usize, input: &[f32], output: &mut [f32]) {
    let margin = from.border - usize::from(size == 3);
    for row in 0..to.rows {
        let start = to.at(row + to.border, to.border);
        Largest {
            input: &input[from.at(2 * row + margin, margin)..],
            input_steps: [from.pitch, from.row()],
            output: &mut output[start..start + to.columns * to.pitch],
            pitch: to.pitch,
            size,
            columns: to.columns,
        }
        .dispatch();
    }
}
