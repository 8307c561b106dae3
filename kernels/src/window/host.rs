//! The host's own loops, for processors: rows of a slice at a time, slices on all threads.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::{Axis, Filter, Frame, Intensity};
use crate::units::{Stored, Window};
use crate::wide::widest;

/// Images of frames of `shape`, none of whose sizes is zero.
pub(super) fn batch<O: Intensity>(
    frames: &[Frame<'_>],
    shape: [usize; 2],
    windows: &[Window],
    size: [usize; 2],
    filter: Filter,
) -> Vec<O> {
    let image = windows.len() * size[0] * size[1];
    let len = frames.len() * image;
    let mut result = Vec::with_capacity(len);
    let room = &mut result.spare_capacity_mut()[..len];
    let axes = [filter.axis(shape[0], size[0]), filter.axis(shape[1], size[1])];
    let axes = (shape != size).then_some(&axes);
    let one = |(frame, image): (&Frame<'_>, &mut [MaybeUninit<O>])| {
        widest(image_of, ((frame, shape[1], windows, axes), image));
    };
    match frames {
        [frame] => one((frame, room)),
        _ => frames.par_iter().zip(room.par_chunks_mut(image)).for_each(one),
    }
    // SAFETY: each frame has filled its image: all windows, rows and columns, none of which is zero.
    unsafe { result.set_len(len) };
    result
}

/// What an image of a frame is made from: the frame, its columns, the windows, and the axes if its size is another.
type Parts<'a> = (&'a Frame<'a>, usize, &'a [Window], Option<&'a [Axis; 2]>);

/// An image of a frame.
#[inline(always)]
fn image_of<O: Intensity>(((frame, columns, windows, axes), image): (Parts<'_>, &mut [MaybeUninit<O>])) {
    match axes {
        None => equal(frame, columns, windows, image),
        Some(axes) => resampled(frame, columns, windows, axes, image),
    }
}

/// HU of a row of pixels.
#[inline(always)]
fn rescale(frame: &Frame<'_>, first: usize, hu: &mut [f32]) {
    let (slope, intercept_hu) = (frame.rescale.slope(), frame.rescale.intercept_hu());
    match frame.stored {
        Stored::Signed(values) => {
            for (hu, value) in hu.iter_mut().zip(&values[first..]) {
                *hu = f32::from(*value) * slope + intercept_hu;
            }
        }
        Stored::Unsigned(values) => {
            for (hu, value) in hu.iter_mut().zip(&values[first..]) {
                *hu = f32::from(*value) * slope + intercept_hu;
            }
        }
    }
}

/// The same as [`Window::intensity`] where no number is NaN, in instructions that processors have.
#[inline(always)]
fn intensity(hu: f32, lower_hu: f32, width_hu: f32) -> f32 {
    let share = (hu - lower_hu) / width_hu;
    let share = if share > 0.0 { share } else { 0.0 };
    if share < 1.0 { share } else { 1.0 }
}

#[inline(always)]
fn equal<O: Intensity>(frame: &Frame<'_>, columns: usize, windows: &[Window], image: &mut [MaybeUninit<O>]) {
    let mut hu = vec![0.0; columns];
    let pixels = image.len() / windows.len();
    for first in (0..pixels).step_by(columns) {
        rescale(frame, first, &mut hu);
        for (window, plane) in windows.iter().zip(image.chunks_exact_mut(pixels)) {
            let (lower_hu, width_hu) = (window.lower_hu(), window.width_hu());
            for (cell, hu) in plane[first..].iter_mut().zip(&hu) {
                cell.write(O::of(intensity(*hu, lower_hu, width_hu)));
            }
        }
    }
}

#[inline(always)]
fn resampled<O: Intensity>(
    frame: &Frame<'_>,
    columns: usize,
    windows: &[Window],
    [down, across]: &[Axis; 2],
    image: &mut [MaybeUninit<O>],
) {
    let cells = image.len() / windows.len();
    let mut hu = vec![0.0; columns];
    // The sums of the rows that an output row sees, for each window.
    let mut sums = vec![0.0; columns * windows.len()];
    for (row, weights) in down.weights.chunks_exact(down.taps).enumerate() {
        sums.fill(0.0);
        for (y, weight) in (down.first[row] as usize..).zip(weights).filter(|(_, weight)| **weight > 0.0) {
            rescale(frame, y * columns, &mut hu);
            for (window, sums) in windows.iter().zip(sums.chunks_exact_mut(columns)) {
                let (lower_hu, width_hu) = (window.lower_hu(), window.width_hu());
                for (sum, hu) in sums.iter_mut().zip(&hu) {
                    *sum += weight * intensity(*hu, lower_hu, width_hu);
                }
            }
        }
        let width = across.first.len();
        for (plane, sums) in image.chunks_exact_mut(cells).zip(sums.chunks_exact(columns)) {
            let outputs = plane[row * width..][..width].iter_mut().zip(&across.first);
            for ((cell, first), weights) in outputs.zip(across.weights.chunks_exact(across.taps)) {
                let seen = sums[*first as usize..].iter().zip(weights);
                let sum: f32 = seen.map(|(sum, weight)| sum * weight).sum();
                cell.write(O::of(sum.min(1.0)));
            }
        }
    }
}
