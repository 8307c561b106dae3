//! The segmenter's steps: the U-Net with its normalizations as a scale and a shift after each ReLU.

use burn::nn::BatchNorm;
use burn::nn::conv::{Conv2d, ConvTranspose2d};

use super::convolution::{Pixels, Then, Weights};
use super::image::{BLOCK, Layout};
use super::program::{Builder, Image, Program};
use super::{misfit, values, weights};
use crate::model::ModelError;
use crate::model::unet::{Level, UNet};

/// The network for images `[1, size, size]`. It gives the pixels of a patch as channels: see [`interleave`].
pub(super) fn program(network: &UNet, size: usize) -> Result<Program, ModelError> {
    let misfit = misfit("segmenter");
    let mut builder = Builder::default();
    let mut out = match &network.patches {
        Some(conv) => {
            let input = builder.image(Layout::dense(size, 1, 0));
            builder.convolve(input, &weights(conv)?, conv.stride[0], Then::default(), None).map_err(&misfit)?
        }
        None => builder.image(Layout::dense(size, 1, 1)),
    };
    let mut skips = Vec::with_capacity(network.down.len());
    for level in &network.down {
        let width = level.conv2.weight.dims()[0];
        let Layout { rows, columns, .. } = *builder.layout(out);
        let skip = builder.image(Layout::blocks(rows, columns, &[width, width]));
        let first = convolve(&mut builder, out, &level.conv1, &level.bn1)?;
        let second = (&weights(&level.conv2)?, after(&level.bn2)?);
        builder.convolve_into(first, second.0, 1, second.1, None, (skip, Pixels::default())).map_err(&misfit)?;
        builder.release(first);
        builder.release(out);
        out = builder.shrink(skip, 2, width);
        skips.push(skip);
    }
    out = append(&mut builder, &network.bottom, out)?;
    for ((up, merge), skip) in network.up.iter().zip(&network.merge).zip(skips.into_iter().rev()) {
        let spread = transposed(up)?;
        let channel = up.weight.dims()[1].next_multiple_of(BLOCK);
        for (index, weights) in spread.iter().enumerate() {
            let pixels = Pixels { spread: true, start: [index / 2, index % 2], channel };
            builder.convolve_into(out, weights, 1, Then::default(), None, (skip, pixels)).map_err(&misfit)?;
        }
        builder.release(out);
        out = append(&mut builder, merge, skip)?;
    }
    let spread = transposed(&network.last)?;
    let last = Weights {
        shape: [spread.len(), network.last.weight.dims()[0], 1, 1],
        values: spread.iter().flat_map(|weights| weights.values.iter().copied()).collect(),
        bias: Some(spread.into_iter().flat_map(|weights| weights.bias.unwrap_or_default()).collect()),
    };
    let out = builder.convolve(out, &last, 1, Then::default(), None).map_err(&misfit)?;
    Ok(builder.finish(out))
}

/// One level.
fn append(builder: &mut Builder, level: &Level, input: Image) -> Result<Image, ModelError> {
    let first = convolve(builder, input, &level.conv1, &level.bn1)?;
    let second = convolve(builder, first, &level.conv2, &level.bn2)?;
    builder.release(first);
    builder.release(input);
    Ok(second)
}

fn convolve(builder: &mut Builder, input: Image, conv: &Conv2d, norm: &BatchNorm) -> Result<Image, ModelError> {
    builder.convolve(input, &weights(conv)?, 1, after(norm)?, None).map_err(misfit("segmenter"))
}

/// ReLU, and the stored statistics of a normalization as a scale and a shift: a border of zeros comes after these, so
/// they cannot go into the next convolution.
fn after(norm: &BatchNorm) -> Result<Then, ModelError> {
    let scale = norm.gamma.val() / norm.running_var.value().add_scalar(norm.epsilon).sqrt();
    let shift = norm.beta.val() - norm.running_mean.value() * scale.clone();
    Ok(Then { relu: true, affine: Some((values(scale)?, values(shift)?)) })
}

/// A transposed convolution whose stride is its side, as one 1x1 convolution for each of its pixels, row major.
fn transposed(conv: &ConvTranspose2d) -> Result<Vec<Weights>, ModelError> {
    let [channels, out, rows, columns] = conv.weight.dims();
    let pixels = rows * columns;
    let all = values(conv.weight.val())?;
    let bias = conv.bias.as_ref().map(|bias| values(bias.val())).transpose()?;
    let of_pixel = |pixel: usize| Weights {
        shape: [out, channels, 1, 1],
        values: (0..out)
            .flat_map(|to| (0..channels).map(move |from| (from * out + to) * pixels + pixel))
            .map(|index| all[index])
            .collect(),
        bias: Some(bias.clone().unwrap_or_else(|| vec![0.0; out])),
    };
    Ok((0..pixels).map(of_pixel).collect())
}

/// `[patch * patch, rows, columns]` to `[patch * rows, patch * columns]`, for square images.
pub(super) fn interleave(planes: Vec<f32>, patch: usize) -> Vec<f32> {
    if patch == 1 {
        return planes;
    }
    let pixels = planes.len() / (patch * patch);
    let side = pixels.isqrt();
    let at = |row: usize, column: usize| {
        planes[(row % patch * patch + column % patch) * pixels + row / patch * side + column / patch]
    };
    (0..patch * side).flat_map(|row| (0..patch * side).map(move |column| at(row, column))).collect()
}
