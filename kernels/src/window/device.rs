//! The kernels: one that moves vectors where sizes are equal, one that sums taps where they are not.

use cubecl::prelude::*;

use super::{Filter, Frame, Intensity, KERNEL, check_frames};
use crate::array::Array;
use crate::device::Client;
use crate::error::KernelError;
use crate::launch::{check, check_element, lanes, spread};
use crate::units::{Rescale, Stored, Window};

/// Windows of one launch that sums taps: the lanes of a vector.
const AT_ONCE: usize = 4;

/// Slices of one shape on a device, two stored values in a word, the first in the lower half.
///
/// A slice of an odd number of pixels ends with half a word of no meaning.
#[derive(Clone, Debug)]
pub struct Slices {
    words: Array<u32>,
    /// For each slice its slope, its intercept, and what a stored value with a sign bit is less than it reads.
    numbers: Array<f32>,
    shape: [usize; 3],
}

/// What a rescale and a representation come to in the kernels.
fn numbers(rescale: Rescale, signed: bool) -> [f32; 3] {
    [rescale.slope(), rescale.intercept_hu(), if signed { 65_536.0 } else { 0.0 }]
}

impl Slices {
    /// Copies slices of `shape` `[rows, columns]` to the device.
    ///
    /// # Errors
    ///
    /// Returns [`KernelError::Length`] if a slice has not the length of the shape.
    pub fn upload(client: &Client, frames: &[Frame<'_>], shape: [usize; 2]) -> Result<Self, KernelError> {
        check_frames(frames, shape)?;
        let pixels = shape[0] * shape[1];
        let mut values: Vec<u16> = Vec::with_capacity(frames.len() * pixels.next_multiple_of(2));
        for frame in frames {
            match frame.stored {
                Stored::Signed(stored) => values.extend(stored.iter().map(|value| value.cast_unsigned())),
                Stored::Unsigned(stored) => values.extend_from_slice(stored),
            }
            values.resize(values.len().next_multiple_of(2), 0);
        }
        let values = Array::upload(client, &values);
        let words = Array::from_handle(client, values.handle().clone(), values.len() / 2)?;
        let numbers: Vec<f32> =
            frames.iter().flat_map(|frame| numbers(frame.rescale, matches!(frame.stored, Stored::Signed(_)))).collect();
        let shape = [frames.len(), shape[0], shape[1]];
        Ok(Self { words, numbers: Array::upload(client, &numbers), shape })
    }

    /// Slices that are on the device already: `words` holds `[slices, ceil(rows * columns / 2)]`, and each slice has a
    /// rescale and whether its values are signed.
    ///
    /// # Errors
    ///
    /// Returns [`KernelError::Length`] if the words are not as many.
    pub fn from_words(words: Array<u32>, meaning: &[(Rescale, bool)], shape: [usize; 2]) -> Result<Self, KernelError> {
        check(KERNEL, "words", words.len(), meaning.len() * (shape[0] * shape[1]).div_ceil(2))?;
        let numbers: Vec<f32> = meaning.iter().flat_map(|(rescale, signed)| numbers(*rescale, *signed)).collect();
        let numbers = Array::upload(words.client(), &numbers);
        Ok(Self { words, numbers, shape: [meaning.len(), shape[0], shape[1]] })
    }

    /// `[slices, rows, columns]`.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }
}

/// How slices become images: windows and tables of the axes, on the device. Made once, used for many batches.
#[derive(Clone, Debug)]
pub struct Plan {
    shape: [usize; 2],
    size: [usize; 2],
    /// Lower bound and width of each window, HU.
    windows: Vec<[f32; 2]>,
    bounds: Array<f32>,
    rows: Table,
    columns: Table,
}

/// An [`Axis`](super::Axis) on the device.
#[derive(Clone, Debug)]
struct Table {
    taps: usize,
    first: Array<u32>,
    weights: Array<f32>,
}

impl Table {
    fn new(client: &Client, filter: Filter, from: usize, to: usize) -> Self {
        let axis = if from == 0 { Filter::Area.axis(1, 0) } else { filter.axis(from, to) };
        Self {
            taps: axis.taps,
            first: Array::upload(client, &axis.first),
            weights: Array::upload(client, &axis.weights),
        }
    }
}

impl Plan {
    /// A plan from slices of `shape` to images of `size`, both `[rows, columns]`.
    #[must_use]
    pub fn new(client: &Client, shape: [usize; 2], windows: &[Window], size: [usize; 2], filter: Filter) -> Self {
        let windows: Vec<[f32; 2]> = windows.iter().map(|window| [window.lower_hu(), window.width_hu()]).collect();
        Self {
            shape,
            size,
            bounds: Array::upload(client, &windows.concat()),
            windows,
            rows: Table::new(client, filter, shape[0], size[0]),
            columns: Table::new(client, filter, shape[1], size[1]),
        }
    }

    /// Windows, rows and columns of an image.
    #[must_use]
    pub fn image(&self) -> [usize; 3] {
        [self.windows.len(), self.size[0], self.size[1]]
    }
}

/// Rescales, windows and resamples slices on their device, to `[slices, windows, rows, columns]`; does not wait for it.
///
/// # Errors
///
/// Returns [`KernelError`] if the slices have not the shape of the plan or the result is too large for one launch. What
/// fails on the device is told where the result is waited for.
pub fn on_device<O: Intensity>(slices: &Slices, plan: &Plan) -> Result<Array<O>, KernelError> {
    let [count, rows, columns] = slices.shape;
    check(KERNEL, "rows", rows, plan.shape[0])?;
    check(KERNEL, "columns", columns, plan.shape[1])?;
    let len = count * plan.image().iter().product::<usize>();
    let client = slices.words.client();
    check_element::<O>(client, KERNEL)?;
    let output = Array::<O>::empty(client, len);
    if len == 0 || rows * columns == 0 {
        return Ok(Array::empty(client, 0));
    }
    // An element of a pair at least, so that a word is not shared by two units.
    let lanes = lanes(client, size_of::<O>(), rows * columns);
    if plan.shape == plan.size && lanes > 1 {
        equal(slices, plan, lanes, &output)?;
    } else {
        resampled(slices, plan, &output)?;
    }
    Ok(output)
}

fn equal<O: Intensity>(slices: &Slices, plan: &Plan, lanes: usize, output: &Array<O>) -> Result<(), KernelError> {
    let (client, words) = (output.client(), lanes / 2);
    let vectors = slices.words.len() / words;
    let spread = spread(client, KERNEL, vectors)?;
    // SAFETY: the kernel compares its position with the vectors of words; an image has as many vectors for each window
    // as a slice has vectors of words, since the lanes divide the pixels.
    unsafe {
        equal_kernel::launch_unchecked::<O>(
            client,
            spread.cubes,
            spread.units,
            words,
            lanes,
            slices.words.vectors(vectors),
            slices.numbers.argument(),
            plan.bounds.argument(),
            output.vectors(output.len() / lanes),
            vectors / slices.shape[0],
            spread.run,
            plan.windows.len(),
            words,
        );
    }
    Ok(())
}

fn resampled<O: Intensity>(slices: &Slices, plan: &Plan, output: &Array<O>) -> Result<(), KernelError> {
    let client = output.client();
    let [count, rows, columns] = slices.shape;
    let cells = plan.size[0] * plan.size[1];
    let spread = spread(client, KERNEL, count * cells)?;
    for (part, windows) in plan.windows.chunks(AT_ONCE).enumerate() {
        let lanes = windows.len().next_power_of_two();
        // Lanes beyond the windows repeat the last one and are not written.
        let lane = |number: usize| -> Vec<f32> {
            (0..lanes).map(|lane| windows[lane.min(windows.len() - 1)][number]).collect()
        };
        let (lower, width) = (Array::upload(client, &lane(0)), Array::upload(client, &lane(1)));
        // SAFETY: the kernel compares each cell with the number of cells of all slices. Rows and columns of a cell index
        // `first`, and with their taps `weights`; `first + taps` lies within the slice, two pixels to a word. The windows
        // from `start` on are among those of the image.
        unsafe {
            resampled_kernel::launch_unchecked::<O>(
                client,
                spread.cubes.clone(),
                spread.units,
                lanes,
                slices.words.argument(),
                slices.numbers.argument(),
                plan.rows.first.argument(),
                plan.rows.weights.argument(),
                plan.columns.first.argument(),
                plan.columns.weights.argument(),
                lower.vectors(1),
                width.vectors(1),
                output.argument(),
                columns,
                (rows * columns).div_ceil(2),
                plan.rows.taps,
                plan.columns.taps,
                plan.windows.len(),
                part * AT_ONCE,
                count,
                spread.run,
                windows.len(),
            );
        }
    }
    Ok(())
}

/// A stored value from its 16 bits: what has a sign bit is `less` less than it reads.
#[cube]
fn stored(bits: u32, less: f32) -> f32 {
    let value = f32::cast_from(bits);
    value - select(bits >= 32_768u32, less, 0.0f32)
}

#[cube(launch_unchecked)]
fn equal_kernel<O: Float, W: Size, N: Size>(
    words: &[Vector<u32, W>],
    numbers: &[f32],
    bounds: &[f32],
    out: &mut [Vector<O, N>],
    vectors: usize,
    run: usize,
    #[comptime] windows: usize,
    #[comptime] pairs: usize,
) {
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < words.len() {
            let slice = position / vectors;
            let place = position % vectors;
            let slope = numbers[3 * slice];
            let intercept = numbers[3 * slice + 1];
            let less = numbers[3 * slice + 2];
            let packed = words[position];
            let mut values = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for pair in 0..pairs {
                let word = packed.extract(pair);
                values.insert(2 * pair, stored(word & 0xffffu32, less));
                values.insert(2 * pair + 1, stored(word >> 16u32, less));
            }
            let hu = values * Vector::new(slope) + Vector::new(intercept);
            #[unroll]
            for window in 0..windows {
                let intensity = (hu - Vector::new(bounds[2 * window])) / Vector::new(bounds[2 * window + 1]);
                let intensity = clamp(intensity, Vector::new(0.0f32), Vector::new(1.0f32));
                out[(slice * windows + window) * vectors + place] = Vector::<O, N>::cast_from(intensity);
            }
        }
    }
}

#[cube(launch_unchecked)]
fn resampled_kernel<O: Float, N: Size>(
    words: &[u32],
    numbers: &[f32],
    row_first: &[u32],
    row_weights: &[f32],
    column_first: &[u32],
    column_weights: &[f32],
    lower: &[Vector<f32, N>],
    width: &[Vector<f32, N>],
    out: &mut [O],
    columns: usize,
    stride: usize,
    row_taps: usize,
    column_taps: usize,
    all_windows: usize,
    start: usize,
    slices: usize,
    run: usize,
    #[comptime] windows: usize,
) {
    let cells = row_first.len() * column_first.len();
    let lower = lower[0];
    let width = width[0];
    for k in 0..run {
        let position = ABSOLUTE_POS * run + k;
        if position < slices * cells {
            let slice = position / cells;
            let cell = position % cells;
            let row = cell / column_first.len();
            let column = cell % column_first.len();
            let slope = numbers[3 * slice];
            let intercept = numbers[3 * slice + 1];
            let less = numbers[3 * slice + 2];
            let corner = row_first[row] as usize * columns + column_first[column] as usize;
            let mut sum = Vector::<f32, N>::new(0.0f32);
            for y in 0..row_taps {
                // Of each row first: the sum of many pixels keeps its digits.
                let mut of_row = Vector::<f32, N>::new(0.0f32);
                for x in 0..column_taps {
                    let weight = row_weights[row * row_taps + y] * column_weights[column * column_taps + x];
                    let pixel = corner + y * columns + x;
                    let word = words[slice * stride + pixel / 2];
                    let shift = u32::cast_from(pixel % 2) * 16u32;
                    let hu = stored((word >> shift) & 0xffffu32, less) * slope + intercept;
                    let intensity = (Vector::new(hu) - lower) / width;
                    of_row += clamp(intensity, Vector::new(0.0f32), Vector::new(1.0f32)) * Vector::new(weight);
                }
                sum += of_row;
            }
            #[unroll]
            for window in 0..windows {
                let intensity = min(sum.extract(window), 1.0f32);
                out[(slice * all_windows + start + window) * cells + cell] = O::cast_from(intensity);
            }
        }
    }
}
