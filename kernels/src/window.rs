//! Rescaling, windowing and resampling: stored CT values to one intensity image per window at the network's size, in
//! one pass over the slice.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `stored` | `[rows, columns]`, row major | stored value |
//! | result | `[windows, rows, columns]` of the size asked for | intensity in `[0, 1]` |
//!
//! Each output cell is the mean of the windowed pixels under it, weighted by area: the identity at equal sizes, a box
//! where the output is finer. A pixel is loaded once for all windows. Averages are taken of intensities, not of HU,
//! so that bone beside brain does not shine through a narrow window. No NaN arises: stored values are integers, and
//! rescales and windows are finite; HU and window bounds beyond `f32` are not meant.
//!
//! Source: DICOM PS3.3 C.11.1 (rescale) and C.11.2.1.3.2 (function `LINEAR_EXACT`).

use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::device::Client;
use crate::error::KernelError;
use crate::launch::{Spread, check, download, spread, upload};
use crate::resize::{Areas, covered, share};
use crate::units::{Rescale, Stored, Window};

const KERNEL: &str = "window";

/// Windows of one launch: the lanes of a vector.
const LANES: usize = 4;

/// The definition: what [`window`] must equal.
#[must_use]
pub fn reference(
    stored: Stored<'_>,
    shape: [usize; 2],
    rescale: Rescale,
    windows: &[Window],
    size: [usize; 2],
) -> Vec<f32> {
    if stored.is_empty() {
        return Vec::new();
    }
    let mut result = Vec::with_capacity(windows.len() * size[0] * size[1]);
    for window in windows {
        for row in 0..size[0] {
            for column in 0..size[1] {
                let mut sum = 0.0;
                let (top, bottom) = covered(row, shape[0], size[0]);
                let (left, right) = covered(column, shape[1], size[1]);
                for y in top..bottom {
                    for x in left..right {
                        let weight = share(row, y, shape[0], size[0]) * share(column, x, shape[1], size[1]);
                        sum += window.intensity(rescale.hu(stored.at(y * shape[1] + x))) * weight;
                    }
                }
                result.push(sum.min(1.0));
            }
        }
    }
    result
}

/// Rescales, windows and resamples a slice on the device of `client`.
///
/// The result is empty if there is no window, no pixel or no cell.
///
/// # Errors
///
/// Returns [`KernelError`] if `stored` has not the length of `shape`, if the result is too large for one launch, or if
/// the device fails.
///
/// # Examples
///
/// ```
/// use kernels::units::{Rescale, Stored, Window};
/// use kernels::{Device, window};
///
/// let client = Device::Cpu.client()?;
/// // Two by two pixels of 0, 40, 80 and 120 HU become one cell.
/// let stored = Stored::Signed(&[0, 40, 80, 120]);
/// let image = window::window(&client, stored, [2, 2], Rescale::IDENTITY, &[Window::BRAIN], [1, 1])?;
/// assert!((image[0] - 0.625).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn window(
    client: &Client,
    stored: Stored<'_>,
    shape: [usize; 2],
    rescale: Rescale,
    windows: &[Window],
    size: [usize; 2],
) -> Result<Vec<f32>, KernelError> {
    check(KERNEL, "stored", stored.len(), shape[0] * shape[1])?;
    let cells = size[0] * size[1];
    if stored.is_empty() || cells == 0 || windows.is_empty() {
        return Ok(Vec::new());
    }
    let pixels = match stored {
        Stored::Signed(values) => upload(client, values),
        Stored::Unsigned(values) => upload(client, values),
    };
    let spread = spread(client, KERNEL, cells)?;
    let axes = [Areas::new(shape[0], size[0]), Areas::new(shape[1], size[1])];
    let mut result = Vec::with_capacity(windows.len() * cells);
    for windows in windows.chunks(LANES) {
        let arguments = (&pixels, shape, rescale, windows, &axes, &spread);
        let output = match stored {
            Stored::Signed(_) => launch::<i16>(client, arguments),
            Stored::Unsigned(_) => launch::<u16>(client, arguments),
        };
        result.append(&mut download(client, KERNEL, output)?);
    }
    Ok(result)
}

type Arguments<'a> = (&'a Handle, [usize; 2], Rescale, &'a [Window], &'a [Areas; 2], &'a Spread);

fn launch<I: Int + CubeElement>(
    client: &Client,
    (pixels, shape, rescale, windows, [rows, columns], spread): Arguments<'_>,
) -> Handle {
    let lanes = windows.len().next_power_of_two();
    // Lanes beyond the windows repeat the last one and are not written.
    let lane = |of: fn(Window) -> f32| -> Vec<f32> {
        (0..lanes).map(|lane| of(windows[lane.min(windows.len() - 1)])).collect()
    };
    let cells = rows.first.len() * columns.first.len();
    let output = client.empty(windows.len() * cells * size_of::<f32>());
    // SAFETY: the kernel compares each cell with the number of cells. Rows and columns of a cell index `first`, and
    // with their taps `weights`; `Areas` keeps `first + taps` within the input.
    unsafe {
        window_kernel::launch_unchecked::<I>(
            client,
            spread.cubes.clone(),
            spread.units,
            lanes,
            BufferArg::from_raw_parts(pixels.clone(), shape[0] * shape[1]),
            BufferArg::from_raw_parts(upload(client, &rows.first), rows.first.len()),
            BufferArg::from_raw_parts(upload(client, &rows.weights), rows.weights.len()),
            BufferArg::from_raw_parts(upload(client, &columns.first), columns.first.len()),
            BufferArg::from_raw_parts(upload(client, &columns.weights), columns.weights.len()),
            BufferArg::from_raw_parts(upload(client, &lane(Window::lower_hu)), 1),
            BufferArg::from_raw_parts(upload(client, &lane(Window::width_hu)), 1),
            BufferArg::from_raw_parts(output.clone(), windows.len() * cells),
            shape[1],
            rows.taps,
            columns.taps,
            spread.run,
            rescale.slope(),
            rescale.intercept_hu(),
            windows.len(),
        );
    }
    output
}

#[cube(launch_unchecked)]
fn window_kernel<I: Int, N: Size>(
    stored: &[I],
    row_first: &[u32],
    row_weights: &[f32],
    column_first: &[u32],
    column_weights: &[f32],
    lower: &[Vector<f32, N>],
    width: &[Vector<f32, N>],
    out: &mut [f32],
    columns: usize,
    row_taps: usize,
    column_taps: usize,
    run: usize,
    slope: f32,
    intercept: f32,
    #[comptime] windows: usize,
) {
    let cells = row_first.len() * column_first.len();
    let lower = lower[0];
    let width = width[0];
    for k in 0..run {
        let cell = ABSOLUTE_POS * run + k;
        if cell < cells {
            let row = cell / column_first.len();
            let column = cell % column_first.len();
            let corner = row_first[row] as usize * columns + column_first[column] as usize;
            let mut sum = Vector::<f32, N>::new(0.0f32);
            for y in 0..row_taps {
                for x in 0..column_taps {
                    let weight = row_weights[row * row_taps + y] * column_weights[column * column_taps + x];
                    let hu = f32::cast_from(stored[corner + y * columns + x]) * slope + intercept;
                    let intensity = (Vector::new(hu) - lower) / width;
                    sum += clamp(intensity, Vector::new(0.0f32), Vector::new(1.0f32)) * Vector::new(weight);
                }
            }
            #[unroll]
            for window in 0..windows {
                out[window * cells + cell] = min(sum.extract(window), 1.0f32);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::compare::{assert_close, client};

    fn size() -> impl Strategy<Value = usize> {
        prop_oneof![Just(1_usize), Just(2), Just(13), Just(64), Just(256), Just(257), 1_usize..80]
    }

    fn value() -> impl Strategy<Value = i16> {
        prop_oneof![4 => -1100_i16..3100, 1 => any::<i16>(), 1 => Just(i16::MIN), 1 => Just(i16::MAX)]
    }

    fn windows() -> impl Strategy<Value = Vec<Window>> {
        vec((-1000.0_f32..1000.0, 1.0_f32..4000.0), 1..7)
            .prop_map(|pairs| pairs.into_iter().filter_map(|(center, width)| Window::new(center, width)).collect())
    }

    /// One rounding of a HU if the device fuses multiply and add, divided by the narrowest width, and the rounding of
    /// a sum of intensities.
    fn tolerance(rescale: Rescale, windows: &[Window]) -> f32 {
        let most_hu = rescale.slope().abs() * 65_536.0 + rescale.intercept_hu().abs();
        let narrowest = windows.iter().map(|window| window.width_hu()).fold(f32::MAX, f32::min);
        1e-5 + 2.0 * most_hu * f32::EPSILON / narrowest
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn equals_its_reference(
            shape in [size(), size()],
            size in [size(), size()],
            seed in vec(value(), 1..400),
            rescale in (prop_oneof![Just(1.0_f32), -3.0_f32..3.0], -2000.0_f32..2000.0),
            windows in windows(),
        ) {
            let rescale = Rescale::new(rescale.0, rescale.1);
            prop_assume!(rescale.is_some());
            let rescale = rescale.unwrap_or(Rescale::IDENTITY);
            let signed: Vec<i16> = seed.iter().copied().cycle().take(shape[0] * shape[1]).collect();
            let unsigned: Vec<u16> = signed.iter().map(|value| value.cast_unsigned()).collect();
            for stored in [Stored::Signed(&signed), Stored::Unsigned(&unsigned)] {
                let actual = window(&client(), stored, shape, rescale, &windows, size).expect("a result");
                let expected = reference(stored, shape, rescale, &windows, size);
                let planes = [windows.len(), size[0], size[1]];
                assert_close(planes, &actual, &expected, tolerance(rescale, &windows));
                prop_assert!(actual.iter().all(|intensity| (0.0..=1.0).contains(intensity)));
            }
        }

        #[test]
        fn is_monotone(values in vec(value(), 64), more in 0_i16..500) {
            let brighter: Vec<i16> = values.iter().map(|value| value.saturating_add(more)).collect();
            let image = |values: &[i16]| {
                let windows = [Window::BRAIN, Window::BONE];
                window(&client(), Stored::Signed(values), [8, 8], Rescale::IDENTITY, &windows, [3, 5]).expect("a result")
            };
            prop_assert!(image(&values).iter().zip(image(&brighter)).all(|(dark, bright)| *dark <= bright + 1e-6));
        }
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "the law is equality")]
    fn an_equal_size_is_windowing_alone() {
        let values: Vec<i16> = (0..7 * 9).map(|index| index * 3 - 60).collect();
        let image = window(&client(), Stored::Signed(&values), [7, 9], Rescale::IDENTITY, &[Window::BRAIN], [7, 9]);
        let expected: Vec<f32> = values.iter().map(|value| Window::BRAIN.intensity(f32::from(*value))).collect();
        assert_eq!(image.expect("a result"), expected);
    }

    #[test]
    fn half_the_size_is_the_mean_of_four() {
        let values = [0_i16, 80, 40, 40, 160, -80, 20, 60];
        let image = window(&client(), Stored::Signed(&values), [2, 4], Rescale::IDENTITY, &[Window::BRAIN], [1, 2]);
        assert_close([1, 1, 2], &image.expect("a result"), &[0.5, 0.5], 1e-6);
    }

    #[test]
    fn refuses_a_length_that_is_not_the_shape() {
        let result = window(&client(), Stored::Signed(&[0; 5]), [2, 3], Rescale::IDENTITY, &[Window::BRAIN], [1, 1]);
        assert_eq!(result, Err(KernelError::Length { kernel: "window", array: "stored", len: 5, expected: 6 }));
    }

    #[test]
    fn nothing_gives_nothing() {
        let image = |values: &[i16], shape, windows: &[Window], size| {
            window(&client(), Stored::Signed(values), shape, Rescale::IDENTITY, windows, size).expect("a result")
        };
        assert!(image(&[], [0, 3], &[Window::BRAIN], [2, 2]).is_empty());
        assert!(image(&[1; 6], [2, 3], &[], [2, 2]).is_empty());
        assert!(image(&[1; 6], [2, 3], &[Window::BRAIN], [0, 2]).is_empty());
    }
}
