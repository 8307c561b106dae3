//! Direct convolutions on the processor: channels last, batch norm folded, ReLU and residual in the same pass.
//!
//! No matrix of patches is made: a convolution reads its inputs where they lie ([`image`]), a block of channels of a few
//! neighboring pixels stays in registers until it is done ([`kernel`]), as in Georganas et al., "Anatomy of
//! high-performance deep learning convolutions on SIMD architectures", SC 2018. The instruction set is found at run time.
//!
//! One slice per thread; a batch that is smaller than the pool splits its convolutions into bands of rows. **The result of
//! a slice is the same to the last bit** whatever the batch, the pool and the split: each number is summed in one order.

pub(in crate::model) mod batch;
mod convolution;
mod encoder;
mod gradient;
mod image;
mod kernel;
mod program;
mod segmenter;

use rayon::prelude::*;

use super::Networks;
use crate::model::{Card, ModelError, Network};
use program::Program;

pub(super) use convolution::Weights;

/// The networks, ready to run on the processor.
#[derive(Debug)]
pub(super) struct Direct {
    encoder: Program,
    segmenter: Program,
    /// Numbers of a slice for the encoder, and for the segmenter.
    lengths: [usize; 2],
    /// Side of the patches that the segmenter works on.
    patch: usize,
}

impl Direct {
    pub(super) fn new(card: &Card, network: &Network) -> Result<Self, ModelError> {
        let size = card.input_size;
        Ok(Self {
            encoder: encoder::program(&network.encoder, size, card.windows.len())?,
            segmenter: segmenter::program(&network.unet, size)?,
            lengths: [card.windows.len() * size * size, size * size],
            patch: card.unet_patch,
        })
    }
}

impl Networks for Direct {
    fn maps(&self, images: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        by_slices("encoder", &self.encoder, images, self.lengths[0])
    }

    fn segment(&self, images: &[f32]) -> Result<Vec<Vec<f32>>, ModelError> {
        let planes = by_slices("segmenter", &self.segmenter, images, self.lengths[1])?;
        Ok(planes.into_iter().map(|planes| segmenter::interleave(planes, self.patch)).collect())
    }
}

/// Runs a network over slices of `length` numbers each.
fn by_slices(
    network: &'static str,
    program: &Program,
    images: &[f32],
    length: usize,
) -> Result<Vec<Vec<f32>>, ModelError> {
    let slices = images.len() / length;
    let bands = rayon::current_num_threads().div_ceil(slices.max(1));
    let broken = || ModelError::Device { network, reason: "an image has not the length of its layout".to_owned() };
    images.par_chunks(length).map(|image| program.run(image, bands).ok_or_else(broken)).collect()
}

/// Brings a parameter of burn's to the host.
fn values<const D: usize>(tensor: burn::tensor::Tensor<D>) -> Result<Vec<f32>, ModelError> {
    crate::model::host("weights", tensor)
}

/// A convolution's weights.
fn weights(conv: &burn::nn::conv::Conv2d) -> Result<Weights, ModelError> {
    let bias = conv.bias.as_ref().map(|bias| values(bias.val())).transpose()?;
    Ok(Weights { shape: conv.weight.dims(), values: values(conv.weight.val())?, bias })
}

/// Weights that do not fit what comes before them.
fn misfit(network: &'static str) -> impl Fn(program::Misfit) -> ModelError {
    move |misfit| ModelError::Weights { name: network.to_owned(), reason: misfit.to_string() }
}

#[cfg(test)]
mod tests;
