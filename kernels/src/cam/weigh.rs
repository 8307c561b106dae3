//! The weighted sum of features, vectors of cells at a time.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::KERNEL;
use crate::device::Client;
use crate::error::KernelError;
use crate::launch::{lanes, spread};

/// Maps of features and weights without zeros in `shape`, on the device.
pub(super) fn activation_on(
    client: &Client,
    features: &Handle,
    shape: [usize; 4],
    weights: &Handle,
) -> Result<Handle, KernelError> {
    let [slices, channels, rows, columns] = shape;
    let cells = rows * columns;
    let lanes = lanes(client, cells);
    if slices * channels * cells > u32::MAX as usize {
        return Err(KernelError::TooLarge { kernel: KERNEL, len: slices * channels * cells });
    }
    let vectors = slices * cells / lanes;
    let spread = spread(client, KERNEL, vectors)?;
    let output = client.empty(slices * cells * size_of::<f32>());
    // SAFETY: the kernel compares each position with the length of `out`, which is `slices` times the vectors of a
    // map; `features` has as many for each channel, and `weights` one element.
    unsafe {
        activation_kernel::launch_unchecked(
            client,
            spread.cubes,
            spread.units,
            lanes,
            BufferArg::from_raw_parts(features.clone(), vectors * channels),
            BufferArg::from_raw_parts(weights.clone(), channels),
            BufferArg::from_raw_parts(output.clone(), vectors),
            cells / lanes,
            spread.run,
        );
    }
    Ok(output)
}

#[cube(launch_unchecked)]
fn activation_kernel<N: Size>(
    features: &[Vector<f32, N>],
    weights: &[f32],
    out: &mut [Vector<f32, N>],
    cells: usize,
    run: usize,
) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < out.len() {
            let first = position / cells * cells * weights.len() + position % cells;
            let mut sum = Vector::<f32, N>::new(0.0f32);
            for channel in 0..weights.len() {
                sum += features[first + channel * cells] * Vector::new(weights[channel]);
            }
            let zero = Vector::<f32, N>::new(0.0f32);
            let most = Vector::<f32, N>::max_value();
            // False for NaN.
            out[position] = select_many(sum.greater_than(&zero), min(sum, most), zero);
        }
    }
}
