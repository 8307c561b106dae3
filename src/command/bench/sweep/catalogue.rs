//! All kernels, and the problems that they are measured by.

use std::hint::black_box;

use kernels::components::components3;
use kernels::distance::distance_mm;
use kernels::morphology::{close, disk_mm};
use kernels::units::{Rescale, Stored, Window};
use kernels::{bits, cam, fuse, histogram, window};

use super::case::{Case, Place, Work};
use crate::command::bench::input::{INTERCEPT_HU, bright, head, neighbors, numbers, repeated, speckles};

/// A kernel, and its problem of a size and a batch.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) case: fn(&'static str, usize, usize) -> Case,
}

/// The catalogue, in the order of the method.
pub(super) const ENTRIES: [Entry; 11] = [
    Entry { name: "window/to-256", case: window_to_256 },
    Entry { name: "window/same-size", case: window_same_size },
    Entry { name: "cam/activation", case: activation },
    Entry { name: "cam/normalized", case: normalized },
    Entry { name: "cam/region", case: region },
    Entry { name: "fuse", case: fused },
    Entry { name: "histogram", case: counts },
    Entry { name: "morphology/close", case: closed },
    Entry { name: "distance", case: distance },
    Entry { name: "components", case: volume },
    Entry { name: "pack", case: packed },
];

const WINDOWS: [Window; 3] = [Window::BRAIN, Window::SUBDURAL, Window::BONE];

/// Pixels of the maps of a slice, on each axis: the networks reduce by this.
const REDUCTION: usize = 16;

/// Channels of the features.
const CHANNELS: usize = 512;

const THRESHOLD: f32 = 0.5;

fn device(
    (kernel, size, batch): (&'static str, usize, usize),
    shape: String,
    bytes: usize,
    prepare: impl FnOnce(&kernels::Client) -> anyhow::Result<Work> + 'static,
) -> Case {
    Case { kernel, size, batch, shape, bytes, place: Place::Device, prepare: Box::new(prepare) }
}

/// A function of the host: its own definition.
fn host(
    (kernel, size, batch): (&'static str, usize, usize),
    shape: String,
    bytes: usize,
    prepare: impl FnOnce() -> Box<dyn FnMut()> + 'static,
) -> Case {
    let prepare = move |_: &kernels::Client| {
        let mut run = prepare();
        let run = move || {
            run();
            Ok(())
        };
        Ok(Work { run: Box::new(run), reference: None })
    };
    Case { kernel, size, batch, shape, bytes, place: Place::Host, prepare: Box::new(prepare) }
}

fn windowed(named: (&'static str, usize, usize), to: usize) -> Case {
    let (_, size, batch) = named;
    let shape = format!("i16 {batch} x {size} x {size} to f32 {batch} x 3 x {to} x {to}");
    let bytes = batch * (size * size * 2 + 3 * to * to * 4);
    device(named, shape, bytes, move |client| {
        let client = client.clone();
        let slice = head(size);
        let all = repeated(&slice, batch);
        let rescale = Rescale::new(1.0, INTERCEPT_HU).unwrap_or(Rescale::IDENTITY);
        let run = move || {
            for slice in all.chunks(size * size) {
                let stored = Stored::Signed(slice);
                black_box(window::window(&client, stored, [size; 2], rescale, &WINDOWS, [to; 2])?);
            }
            Ok(())
        };
        let reference = move || {
            black_box(window::reference(
                Stored::Signed(&slice),
                [size; 2],
                rescale,
                &WINDOWS,
                [to; 2],
                window::Filter::Area,
            ));
        };
        Ok(Work { run: Box::new(run), reference: Some(Box::new(reference)) })
    })
}

fn window_to_256(name: &'static str, size: usize, batch: usize) -> Case {
    windowed((name, size, batch), 256)
}

fn window_same_size(name: &'static str, size: usize, batch: usize) -> Case {
    windowed((name, size, batch), size)
}

fn activation(name: &'static str, size: usize, batch: usize) -> Case {
    let side = size / REDUCTION;
    let shape = format!("f32 {batch} x {CHANNELS} x {side} x {side} to {batch} x {side} x {side}");
    let bytes = batch * (CHANNELS + 1) * side * side * 4;
    device((name, size, batch), shape, bytes, move |client| {
        let client = client.clone();
        let (features, weights) = (numbers(batch * CHANNELS * side * side), numbers(CHANNELS));
        let (one, own) = (numbers(CHANNELS * side * side), weights.clone());
        let run = move || {
            cam::activation(&client, &features, [batch, CHANNELS, side, side], &weights).map(|maps| {
                black_box(maps);
            })
        };
        let reference = move || {
            black_box(cam::activation_reference(&one, [1, CHANNELS, side, side], &own));
        };
        Ok(Work { run: Box::new(run), reference: Some(Box::new(reference)) })
    })
}

fn normalized(name: &'static str, size: usize, batch: usize) -> Case {
    let side = size / REDUCTION;
    let shape = format!("f32 {batch} x {side} x {side} to {batch} x {size} x {size}");
    let bytes = batch * (side * side + size * size) * 4;
    device((name, size, batch), shape, bytes, move |client| {
        let client = client.clone();
        let (maps, one) = (numbers(batch * side * side), numbers(side * side));
        let run = move || {
            cam::normalized(&client, &maps, [batch, side, side], [size; 2]).map(|shares| {
                black_box(shares);
            })
        };
        let reference = move || {
            black_box(cam::normalized_reference(&one, [1, side, side], [size; 2]));
        };
        Ok(Work { run: Box::new(run), reference: Some(Box::new(reference)) })
    })
}

fn region(name: &'static str, size: usize, batch: usize) -> Case {
    let side = size / REDUCTION;
    let shape = format!("f32 {batch} x {side} x {side} to u8 {batch} x {size} x {size}");
    let bytes = batch * (side * side * 4 + size * size);
    device((name, size, batch), shape, bytes, move |client| {
        let client = client.clone();
        let (maps, one) = (numbers(batch * side * side), numbers(side * side));
        let run = move || {
            cam::region(&client, &maps, [batch, side, side], [size; 2], THRESHOLD).map(|region| {
                black_box(region);
            })
        };
        let reference = move || {
            black_box(cam::region_reference(&one, [1, side, side], [size; 2], THRESHOLD));
        };
        Ok(Work { run: Box::new(run), reference: Some(Box::new(reference)) })
    })
}

fn fused(name: &'static str, size: usize, batch: usize) -> Case {
    let shape = format!("f32 {batch} x {size} x {size} to {batch} x {size} x {size}");
    let bytes = batch * size * size * 4 * 2;
    device((name, size, batch), shape, bytes, move |client| {
        let client = client.clone();
        let maps = numbers(batch * size * size);
        let targets = neighbors(batch);
        // A slice in the middle of a series: its neighbors are read for it alone.
        let (five, middle) =
            (numbers(5 * size * size), neighbors(5).split_off(2).into_iter().take(1).collect::<Vec<_>>());
        let run = move || {
            fuse::fuse(&client, &maps, [batch, size, size], &targets).map(|maps| {
                black_box(maps);
            })
        };
        let reference = move || {
            black_box(fuse::reference(&five, [5, size, size], &middle));
        };
        Ok(Work { run: Box::new(run), reference: Some(Box::new(reference)) })
    })
}

fn counts(name: &'static str, size: usize, batch: usize) -> Case {
    const BINS: usize = 151;
    let shape = format!("i16 and u8 {batch} x {size} x {size} to u32 {BINS}");
    let bytes = batch * size * size * 3 + BINS * 4;
    device((name, size, batch), shape, bytes, move |client| {
        let client = client.clone();
        let slice = head(size);
        let all = repeated(&slice, batch);
        let rescale = Rescale::new(1.0, INTERCEPT_HU).unwrap_or(Rescale::IDENTITY);
        let (region, one) = (vec![1_u8; batch * size * size], vec![1_u8; size * size]);
        let run = move || {
            histogram::histogram(&client, Stored::Signed(&all), rescale, &region, -10, BINS).map(|counts| {
                black_box(counts);
            })
        };
        let reference = move || {
            black_box(histogram::reference(Stored::Signed(&slice), rescale, &one, -10, BINS));
        };
        Ok(Work { run: Box::new(run), reference: Some(Box::new(reference)) })
    })
}

fn closed(name: &'static str, size: usize, batch: usize) -> Case {
    let shape = format!("u8 {batch} x {size} x {size} to the same, disk of 5 pixels");
    host((name, size, batch), shape, batch * size * size * 2, move || {
        let all = repeated(&bright(size), batch);
        let element = disk_mm(5.0, [1.0; 2]);
        Box::new(move || {
            for slice in all.chunks(size * size) {
                black_box(close(slice, [size; 2], &element));
            }
        })
    })
}

fn distance(name: &'static str, size: usize, batch: usize) -> Case {
    let shape = format!("u8 {batch} x {size} x {size} to f32 of the same");
    host((name, size, batch), shape, batch * size * size * 5, move || {
        let all = repeated(&bright(size), batch);
        Box::new(move || {
            for slice in all.chunks(size * size) {
                black_box(distance_mm(slice, [size; 2], [0.45; 2]));
            }
        })
    })
}

fn volume(name: &'static str, size: usize, batch: usize) -> Case {
    let shape = format!("u8 {batch} x {size} x {size} to u32 of the same, 26 neighbors");
    host((name, size, batch), shape, batch * size * size * 5, move || {
        let all = speckles(batch * size * size);
        Box::new(move || {
            black_box(components3(&all, [batch, size, size]));
        })
    })
}

fn packed(name: &'static str, size: usize, batch: usize) -> Case {
    let elements = batch * size * size;
    let shape = format!("u8 {batch} x {size} x {size} to bits");
    host((name, size, batch), shape, elements + elements / 8, move || {
        let all = speckles(elements);
        Box::new(move || {
            black_box(bits::pack(&all));
        })
    })
}
