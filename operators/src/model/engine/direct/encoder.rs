//! The encoder's steps: the residual network without its normalizations.

use super::convolution::Then;
use super::image::Layout;
use super::program::{Builder, Image, Program};
use super::{misfit, weights};
use crate::model::ModelError;
use crate::model::resnet::{Block, ResNet};

const RELU: Then = Then { relu: true, affine: None };
const NOTHING: Then = Then { relu: false, affine: None };

/// The network for images `[windows, size, size]`.
pub(super) fn program(network: &ResNet, size: usize, windows: usize) -> Result<Program, ModelError> {
    let network = network.clone().folded();
    let mut builder = Builder::default();
    let input = builder.image(Layout::dense(size, windows, 3));
    let stem = weights(&network.conv1)?;
    let channels = stem.shape[0];
    let out = builder.convolve(input, &stem, 2, RELU, None).map_err(misfit("encoder"))?;
    let mut maps = builder.shrink(out, 3, channels);
    builder.release(out);
    for block in [&network.layer1, &network.layer2, &network.layer3, &network.layer4].into_iter().flatten() {
        maps = append(&mut builder, block, maps)?;
    }
    Ok(builder.finish(maps))
}

/// One residual block.
fn append(builder: &mut Builder, block: &Block, input: Image) -> Result<Image, ModelError> {
    let misfit = misfit("encoder");
    let identity = match &block.downsample {
        Some((conv, _)) => builder.convolve(input, &weights(conv)?, conv.stride[0], NOTHING, None).map_err(&misfit)?,
        None => input,
    };
    let (first, second) = (&block.conv1, &block.conv2);
    let mut out = builder.convolve(input, &weights(first)?, first.stride[0], RELU, None).map_err(&misfit)?;
    let mut last = second;
    if let Some(third) = &block.conv3 {
        let next = builder.convolve(out, &weights(second)?, second.stride[0], RELU, None).map_err(&misfit)?;
        builder.release(out);
        (out, last) = (next, third);
    }
    let sum = builder.convolve(out, &weights(last)?, last.stride[0], RELU, Some(identity)).map_err(&misfit)?;
    builder.release(out);
    builder.release(input);
    if identity != input {
        builder.release(identity);
    }
    Ok(sum)
}
