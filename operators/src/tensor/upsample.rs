//! Bilinear resampling of maps that training can go through on every device.
//!
//! burn's own has no backward pass on the devices of cubecl. Resampling is linear and separable, so it is two products
//! with constant matrices of at most two numbers a row: `rows * maps * columns`. Products have gradients everywhere, and
//! the gradient of this one is exact: the product with the same matrices, transposed. Against a kernel of its own it costs
//! arithmetic that a matrix unit does in passing, and saves a forward and a backward kernel for each device.

use burn::tensor::{Device, Tensor, TensorData};
use kernels::resize;

/// Maps at another size: half-pixel centres, edges clamped, as [`resize::bilinear`]. No size is zero.
///
/// `[batch, channels, rows, columns]` to the same with `size` for rows and columns. On a device whose products of `f32` run
/// in narrower units the result is as exact as these.
#[must_use]
pub fn bilinear(maps: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, _, rows, columns] = maps.dims();
    let device = maps.device();
    let dtype = maps.dtype();
    let over_rows = matrix(rows, size[0], &device).cast(dtype).unsqueeze::<4>();
    let over_columns = matrix(columns, size[1], &device).cast(dtype).transpose().unsqueeze::<4>();
    // The shorter side first: fewer numbers for the second product.
    over_rows.matmul(maps).matmul(over_columns)
}

/// `[to, from]`: what each output takes of each input.
fn matrix(from: usize, to: usize, device: &Device) -> Tensor<2> {
    let mut weights = vec![0.0; to * from];
    for input in 0..from {
        let mut unit = vec![0.0; from];
        unit[input] = 1.0;
        for (output, weight) in resize::bilinear(&unit, [1, from], [1, to]).into_iter().enumerate() {
            weights[output * from + input] = weight;
        }
    }
    Tensor::from_data(TensorData::new(weights, [to, from]), device)
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::interpolate;
    use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::model::host;
    use crate::tensor::devices;

    fn close(actual: &[f32], expected: &[f32], tolerance: f32) -> Result<(), TestCaseError> {
        prop_assert_eq!(actual.len(), expected.len());
        for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
            prop_assert!((a - e).abs() <= tolerance, "{}: {} for {}", index, a, e);
        }
        Ok(())
    }

    /// One shape on the processor's runtime of cubecl, where burn's own resampling has no gradient.
    #[cfg(feature = "cubecl")]
    #[test]
    fn it_has_a_gradient_on_the_devices_of_cubecl() {
        let device = Device::cpu().autodiff();
        let maps = Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 5.0]]]], &device).require_grad();
        let up = bilinear(maps.clone(), [4, 4]);
        let gradients = up.clone().sum().backward();
        let expected = resize::bilinear(&[1.0, 2.0, 3.0, 5.0], [2, 2], [4, 4]);
        close(&host("test", up).unwrap(), &expected, 1e-3).unwrap();
        close(&host("test", maps.grad(&gradients).unwrap()).unwrap(), &[4.0; 4], 1e-3).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn it_is_the_host_s_resampling_on_every_device(
            (from, to) in ([1_usize..7, 1_usize..7], [1_usize..15, 1_usize..15]),
            values in vec(-1.0_f32..1.0, 2 * 3 * 36),
        ) {
            let pixels = from[0] * from[1];
            let values = &values[..6 * pixels];
            let expected: Vec<f32> = values.chunks(pixels).flat_map(|map| resize::bilinear(map, from, to)).collect();
            for device in devices() {
                let maps = Tensor::<4>::from_data(TensorData::new(values.to_vec(), [2, 3, from[0], from[1]]), &device);
                close(&host("test", bilinear(maps, to)).unwrap(), &expected, 2e-3)?;
            }
        }

        #[test]
        fn its_gradient_is_burn_s_own_where_that_has_one(
            (from, to) in ([1_usize..6, 1_usize..6], [1_usize..12, 1_usize..12]),
            values in vec(-1.0_f32..1.0, 25),
            slopes in vec(-1.0_f32..1.0, 121),
        ) {
            let gradient = |device: &Device, own: bool| {
                let device = device.clone().autodiff();
                let maps = TensorData::new(values[..from[0] * from[1]].to_vec(), [1, 1, from[0], from[1]]);
                let maps = Tensor::<4>::from_data(maps, &device).require_grad();
                let slopes = TensorData::new(slopes[..to[0] * to[1]].to_vec(), [1, 1, to[0], to[1]]);
                let slopes = Tensor::<4>::from_data(slopes, &device);
                let options = InterpolateOptions::new(InterpolateMode::Bilinear).with_align_corners(false);
                let options = options.with_output_size(to);
                let up = if own { bilinear(maps.clone(), to) } else { interpolate(maps.clone(), options) };
                let gradients = (up * slopes).sum().backward();
                host("test", maps.grad(&gradients).unwrap()).unwrap()
            };
            let expected = gradient(&Device::flex(), false);
            for device in devices() {
                close(&gradient(&device, true), &expected, 1e-2)?;
            }
        }
    }
}
