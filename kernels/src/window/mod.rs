//! Rescaling, windowing and resampling: stored CT values to the input of a network, in one pass over the slices.
//!
//! | | shape | unit |
//! |---|---|---|
//! | `stored` | `[slices, rows, columns]`, row major | stored value, of `i16` or `u16` |
//! | result | `[slices, windows, rows, columns]` of the size asked for | intensity in `[0, 1]`, `f32` or `f16` |
//!
//! Each slice has a rescale of its own. A [`Filter`] says what of a slice an output cell sees. A pixel is loaded once for
//! all windows. Averages are taken of intensities, not of HU, so that bone beside brain does not shine through a narrow
//! window. No NaN arises: stored values are integers, and rescales and windows are finite; HU and window bounds beyond
//! `f32` are not meant. An intensity in `f16` is that in `f32`, rounded once: it is within 2.5e-4 of it.
//!
//! Devices read 32-bit words that hold two stored values ([`Slices`]), so that a kernel needs no memory of 16-bit elements
//! and loads wide; where sizes are equal it moves vectors, without taps. On a processor the host's own loops are faster
//! than the runtime's and are used by [`window`] and [`batch`]; [`on_device`] uses the kernels everywhere.
//!
//! Source: DICOM PS3.3 C.11.1 (rescale) and C.11.2.1.3.2 (function `LINEAR_EXACT`).

mod device;
mod host;
mod reference;

use cubecl::prelude::{CubeElement, Float};
use half::f16;

pub use device::{Plan, Slices, on_device};
pub use reference::reference;

use crate::device::Client;
use crate::error::KernelError;
use crate::launch::{check, on_processor};
use crate::resize::{Areas, Linear};
use crate::units::{Rescale, Stored, Window};

const KERNEL: &str = "window";

/// What of a slice an output cell sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The mean of the pixels under the cell, weighted by area: the identity at equal sizes, a box where the output is
    /// finer.
    #[default]
    Area,
    /// What lies at the centre of the cell, between the centres of pixels, the edges clamped: skips pixels where the
    /// output is less than half as fine.
    Bilinear,
}

/// One axis of a resampling: each output is the sum of `taps` weighted inputs.
struct Axis {
    taps: usize,
    /// The first input of each output; `first + taps` lies within the inputs.
    first: Vec<u32>,
    /// `[outputs, taps]`.
    weights: Vec<f32>,
}

impl Filter {
    /// The axis from `from` inputs, at least one, to `to` outputs.
    fn axis(self, from: usize, to: usize) -> Axis {
        match self {
            Self::Area => {
                let Areas { taps, first, weights } = Areas::new(from, to);
                Axis { taps, first, weights }
            }
            Self::Bilinear => {
                let Linear { low, fraction } = Linear::new(from, to, 0.0);
                // The last input has no next one: an output there is all of the second of two.
                let taps = from.min(2);
                let last = (from - taps) as u32;
                let weights = low.iter().zip(&fraction).flat_map(|(low, fraction)| match (taps, *low > last) {
                    (1, _) => vec![1.0],
                    (_, true) => vec![0.0, 1.0],
                    _ => vec![1.0 - fraction, *fraction],
                });
                Axis { taps, weights: weights.collect(), first: low.iter().map(|low| (*low).min(last)).collect() }
            }
        }
    }
}

/// An element that intensities are written as: `f32` or `f16`.
pub trait Intensity: Float + CubeElement + Default {
    /// The nearest element to an intensity.
    fn of(intensity: f32) -> Self;
}

impl Intensity for f32 {
    #[inline]
    fn of(intensity: f32) -> Self {
        intensity
    }
}

impl Intensity for f16 {
    #[inline]
    fn of(intensity: f32) -> Self {
        Self::from_f32(intensity)
    }
}

/// A slice of a batch, on the host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame<'a> {
    /// Its pixels, `[rows, columns]` of the batch.
    pub stored: Stored<'a>,
    /// What they mean.
    pub rescale: Rescale,
}

/// Rescales, windows and resamples a slice: [`batch`] of one, by area, to `f32`.
///
/// # Errors
///
/// As [`batch`].
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
    batch(client, &[Frame { stored, rescale }], shape, windows, size, Filter::Area)
}

/// Rescales, windows and resamples slices of one shape, in one launch on the device of `client`.
///
/// The result is `[slices, windows, rows, columns]`, empty if there is no slice, window, pixel or cell.
///
/// # Errors
///
/// Returns [`KernelError`] if a slice has not the length of `shape`, if the result is too large for one launch, or if
/// the device fails.
pub fn batch<O: Intensity>(
    client: &Client,
    frames: &[Frame<'_>],
    shape: [usize; 2],
    windows: &[Window],
    size: [usize; 2],
    filter: Filter,
) -> Result<Vec<O>, KernelError> {
    check_frames(frames, shape)?;
    if frames.is_empty() || windows.is_empty() || [shape, size].concat().contains(&0) {
        return Ok(Vec::new());
    }
    if on_processor(client) {
        return Ok(host::batch(frames, shape, windows, size, filter));
    }
    let plan = Plan::new(client, shape, windows, size, filter);
    on_device::<O>(&Slices::upload(client, frames, shape)?, &plan)?.download()
}

fn check_frames(frames: &[Frame<'_>], shape: [usize; 2]) -> Result<(), KernelError> {
    frames.iter().try_for_each(|frame| check(KERNEL, "stored", frame.stored.len(), shape[0] * shape[1]))
}

/// Bytes that one call on a device moves: each word of stored values and each intensity once, and the tables of the axes
/// where sizes differ. `element` is the size of an intensity.
#[must_use]
pub const fn bytes(slices: usize, shape: [usize; 2], windows: usize, size: [usize; 2], element: usize) -> usize {
    let numbers = 12 * slices + 8 * windows;
    let equal = shape[0] == size[0] && shape[1] == size[1];
    // Up to so many taps, and the first of them, for each output of an axis.
    let rows = if equal { 0 } else { 4 * size[0] * (1 + taps(shape[0], size[0])) };
    let columns = if equal { 0 } else { 4 * size[1] * (1 + taps(shape[1], size[1])) };
    floor_bytes(slices, shape, windows, size, element) + numbers + rows + columns
}

const fn taps(from: usize, to: usize) -> usize {
    if to == 0 { 0 } else { from.div_ceil(to) + 1 }
}

/// The fewest bytes that the problem moves: stored values read once, intensities written once.
#[must_use]
pub const fn floor_bytes(slices: usize, shape: [usize; 2], windows: usize, size: [usize; 2], element: usize) -> usize {
    slices * (2 * shape[0] * shape[1] + element * windows * size[0] * size[1])
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::array::Array;
    use crate::compare::{assert_close, client, has};

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

    fn filter() -> impl Strategy<Value = Filter> {
        prop_oneof![Just(Filter::Area), Just(Filter::Bilinear)]
    }

    /// One rounding of a HU if the device fuses multiply and add, divided by the narrowest width, and the roundings of a sum
    /// of intensities: one for each pixel of a row that an output sees, and one for each row.
    fn tolerance(rescale: Rescale, windows: &[Window], shape: [usize; 2], to: [usize; 2]) -> f32 {
        let most_hu = rescale.slope().abs() * 65_536.0 + rescale.intercept_hu().abs();
        let narrowest = windows.iter().map(|window| window.width_hu()).fold(f32::MAX, f32::min);
        let roundings = [0, 1].map(|axis| shape[axis].div_ceil(to[axis]) + 2).iter().sum::<usize>();
        1e-5 + f32::EPSILON * (2.0 * most_hu / narrowest + roundings as f32)
    }

    /// What the kernels give, whatever the device.
    fn by_kernel<O: Intensity>(
        frames: &[Frame<'_>],
        shape: [usize; 2],
        windows: &[Window],
        size: [usize; 2],
        filter: Filter,
    ) -> Vec<O> {
        let client = client();
        let slices = Slices::upload(&client, frames, shape).expect("slices");
        let plan = Plan::new(&client, shape, windows, size, filter);
        on_device::<O>(&slices, &plan).expect("images").download().expect("images")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn equals_its_reference(
            shape in [size(), size()],
            to in prop_oneof![1 => Just(None), 2 => [size(), size()].prop_map(Some)],
            filter in filter(),
            seed in vec(value(), 1..400),
            rescales in vec((prop_oneof![Just(1.0_f32), -3.0_f32..3.0], -2000.0_f32..2000.0), 3),
            windows in windows(),
        ) {
            let to = to.unwrap_or(shape);
            let rescales: Vec<Rescale> =
                rescales.into_iter().map(|(slope, intercept)| Rescale::new(slope, intercept).unwrap_or(Rescale::IDENTITY)).collect();
            let signed: Vec<i16> = seed.iter().copied().cycle().take(shape[0] * shape[1]).collect();
            let unsigned: Vec<u16> = signed.iter().rev().map(|value| value.cast_unsigned()).collect();
            // A batch may hold both representations, and each slice has a rescale of its own.
            let stored = [Stored::Signed(&signed), Stored::Unsigned(&unsigned), Stored::Unsigned(&unsigned)];
            let frames: Vec<Frame<'_>> =
                stored.into_iter().zip(&rescales).map(|(stored, rescale)| Frame { stored, rescale: *rescale }).collect();
            let expected: Vec<f32> = frames
                .iter()
                .flat_map(|frame| reference(frame.stored, shape, frame.rescale, &windows, to, filter))
                .collect();
            let tolerance = rescales.iter().map(|rescale| tolerance(*rescale, &windows, shape, to)).fold(0.0, f32::max);
            let planes = [frames.len() * windows.len(), to[0], to[1]];
            let whole = batch::<f32>(&client(), &frames, shape, &windows, to, filter).expect("images");
            for actual in [&whole, &by_kernel(&frames, shape, &windows, to, filter)] {
                assert_close(planes, actual, &expected, tolerance);
                prop_assert!(actual.iter().all(|intensity| (0.0..=1.0).contains(intensity)));
            }
            let whole = batch::<f16>(&client(), &frames, shape, &windows, to, filter);
            if !has::<f16>("equals_its_reference, in halves") {
                prop_assert_eq!(whole.err(), Some(KernelError::Element { kernel: "window", element: "f16" }));
                return Ok(());
            }
            for actual in [&whole.expect("images"), &by_kernel(&frames, shape, &windows, to, filter)] {
                let actual: Vec<f32> = actual.iter().map(|half| half.to_f32()).collect();
                // Half a unit in the last of 11 places of a number below 1.
                assert_close(planes, &actual, &expected, tolerance + 2.5e-4);
            }
        }

        #[test]
        fn a_batch_is_its_slices(seed in vec(value(), 77), to in [size(), size()], filter in filter()) {
            let slices: Vec<Vec<i16>> =
                (0..4).map(|slice| seed.iter().map(|value| value.saturating_add(slice * 31)).collect()).collect();
            let frames: Vec<Frame<'_>> =
                slices.iter().map(|values| Frame { stored: Stored::Signed(values), rescale: Rescale::IDENTITY }).collect();
            let windows = [Window::BRAIN, Window::SUBDURAL, Window::BONE];
            let images = |frames: &[Frame<'_>]| {
                [batch::<f32>(&client(), frames, [7, 11], &windows, to, filter).expect("images"), by_kernel(frames, [7, 11], &windows, to, filter)]
            };
            let one_by_one: Vec<[Vec<f32>; 2]> = frames.chunks(1).map(images).collect();
            let together = images(&frames);
            for side in 0..2 {
                let singles: Vec<f32> = one_by_one.iter().flat_map(|images| images[side].iter().copied()).collect();
                prop_assert_eq!(&together[side], &singles);
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

    /// More numbers than there are in a sum in practice, all equal, so that a single chain would round the same way each time:
    /// 3e-4 in all. Not more than 65,535, after which Mesa's software Vulkan ends the loops of a kernel.
    #[test]
    fn the_mean_of_a_large_slice_is_exact_to_its_roundings() {
        let shape = [250, 260];
        let values = vec![777_i16; shape[0] * shape[1]];
        let frame = [Frame { stored: Stored::Signed(&values), rescale: Rescale::IDENTITY }];
        let windows = [Window::new(512.0, 1024.0).expect("a window"), Window::new(0.0, 3000.0).expect("a window")];
        let to = [1, 1];
        let expected = reference(frame[0].stored, shape, Rescale::IDENTITY, &windows, to, Filter::Area);
        let tolerance = tolerance(Rescale::IDENTITY, &windows, shape, to);
        let whole = batch::<f32>(&client(), &frame, shape, &windows, to, Filter::Area).expect("images");
        for actual in [&whole, &by_kernel(&frame, shape, &windows, to, Filter::Area)] {
            assert_close([2, 1, 1], actual, &expected, tolerance);
        }
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "the law is equality")]
    fn an_equal_size_is_windowing_alone() {
        for shape in [[7, 9], [8, 16]] {
            let values: Vec<i16> = (0..shape[0] * shape[1]).map(|index| index as i16 * 3 - 60).collect();
            let frame = [Frame { stored: Stored::Signed(&values), rescale: Rescale::IDENTITY }];
            let expected: Vec<f32> = values.iter().map(|value| Window::BRAIN.intensity(f32::from(*value))).collect();
            for filter in [Filter::Area, Filter::Bilinear] {
                let image = batch::<f32>(&client(), &frame, shape, &[Window::BRAIN], shape, filter);
                assert_eq!(image.expect("a result"), expected);
                assert_eq!(by_kernel::<f32>(&frame, shape, &[Window::BRAIN], shape, filter), expected);
            }
        }
    }

    #[test]
    fn bilinear_sees_centres_and_area_sees_all() {
        let values = [0_i16, 80, 80, 0];
        let frame = [Frame { stored: Stored::Signed(&values), rescale: Rescale::IDENTITY }];
        let image =
            |filter| batch::<f32>(&client(), &frame, [1, 4], &[Window::BRAIN], [1, 1], filter).expect("a result");
        assert_close([1, 1, 1], &image(Filter::Area), &[0.5], 1e-6);
        assert_close([1, 1, 1], &image(Filter::Bilinear), &[1.0], 1e-6);
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
        assert!(by_kernel::<f32>(&[], [2, 3], &[Window::BRAIN], [2, 2], Filter::Area).is_empty());
        let frame = Frame { stored: Stored::Signed(&[]), rescale: Rescale::IDENTITY };
        assert!(by_kernel::<f32>(&[frame], [0, 3], &[Window::BRAIN], [2, 2], Filter::Bilinear).is_empty());
    }

    #[test]
    fn slices_on_the_device_are_taken_as_they_lie() {
        let client = client();
        // Two slices of three pixels, each ending with half a word.
        let words = Array::upload(&client, &[0x0050_0028_u32, 0x0000_0000, 0x0028_0050, 0xffff_ffb0]);
        let meaning = [(Rescale::IDENTITY, true); 2];
        let slices = Slices::from_words(words.clone(), &meaning, [1, 3]).expect("slices");
        let plan = Plan::new(&client, [1, 3], &[Window::BRAIN], [1, 3], Filter::Area);
        let images = on_device::<f32>(&slices, &plan).expect("images").download().expect("images");
        assert_close([2, 1, 3], &images, &[0.5, 1.0, 0.0, 1.0, 0.5, 0.0], 1e-6);
        assert!(Slices::from_words(words, &meaning, [1, 5]).is_err());
        let other = Plan::new(&client, [3, 1], &[Window::BRAIN], [1, 3], Filter::Area);
        assert!(on_device::<f32>(&slices, &other).is_err(), "a plan for another shape");
    }
}
