//! All kernels, and the problems that they are measured by.

use std::hint::black_box;

use half::f16;
use kernels::components::components3;
use kernels::distance::distance_mm;
use kernels::histogram::Pixels;
use kernels::morphology::{close, disk_mm};
use kernels::pack::Bits;
use kernels::units::{Rescale, Stored, Window};
use kernels::window::{Filter, Frame, Intensity, Plan, Slices};
use kernels::{
    Array, Client, Device, KernelError, backend, bits, cam, components, distance, fuse, histogram, morphology, overlap,
    window,
};

use super::case::{Case, Place, Work};
use crate::command::bench::input::{INTERCEPT_HU, bright, head, neighbors, numbers, repeated, speckles};

/// A problem that is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) kernel: &'static str,
    pub(super) size: usize,
    pub(super) batch: usize,
    pub(super) device: Device,
}

/// A kernel, and its problem of a size and a batch; none where a device does it in one way only.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) case: fn(Asked) -> Option<Case>,
}

/// The catalogue, in the order of the method.
///
/// All are measured as the program does them: on a processor mostly by the host's own loops, and there again by the
/// runtime's kernels (`/runtime`).
pub(super) const ENTRIES: [Entry; 23] = [
    Entry { name: "window/to-256", case: |asked| Some(windowed::<f32>(asked, 256)) },
    Entry { name: "window/to-256/f16", case: |asked| Some(windowed::<f16>(asked, 256)) },
    Entry { name: "window/to-256/runtime", case: |asked| runtime_windowed(asked, 256) },
    Entry { name: "window/same-size", case: |asked| Some(windowed::<f32>(asked, asked.size)) },
    Entry { name: "window/same-size/runtime", case: |asked| runtime_windowed(asked, asked.size) },
    Entry { name: "cam/activation", case: |asked| activation(asked, Way::Used) },
    Entry { name: "cam/activation/runtime", case: |asked| activation(asked, Way::Runtime) },
    Entry { name: "cam/normalized", case: |asked| normalized(asked, Way::Used) },
    Entry { name: "cam/normalized/runtime", case: |asked| normalized(asked, Way::Runtime) },
    Entry { name: "cam/region", case: |asked| region(asked, Way::Used) },
    Entry { name: "cam/region/runtime", case: |asked| region(asked, Way::Runtime) },
    Entry { name: "cam/chain", case: |asked| chain(asked, Way::Used) },
    Entry { name: "cam/chain/runtime", case: |asked| chain(asked, Way::Runtime) },
    Entry { name: "backend", case: |asked| Some(back_end(asked)) },
    Entry { name: "fuse", case: |asked| fused(asked, Way::Used) },
    Entry { name: "fuse/runtime", case: |asked| fused(asked, Way::Runtime) },
    Entry { name: "histogram", case: |asked| counts(asked, Way::Used) },
    Entry { name: "histogram/runtime", case: |asked| counts(asked, Way::Runtime) },
    Entry { name: "morphology/close", case: |asked| Some(closed(asked)) },
    Entry { name: "distance", case: |asked| Some(distances(asked)) },
    Entry { name: "components", case: |asked| Some(volume(asked)) },
    Entry { name: "overlap", case: |asked| Some(overlapping(asked)) },
    Entry { name: "pack", case: |asked| Some(packed(asked)) },
];

const WINDOWS: [Window; 3] = [Window::BRAIN, Window::SUBDURAL, Window::BONE];

/// Pixels of a slice for one of its maps, on each axis: what the networks reduce by.
const REDUCTION: usize = 16;

/// Channels of the features.
const CHANNELS: usize = 512;

const THRESHOLD: f32 = 0.5;

/// How a device does it.
#[derive(Clone, Copy)]
enum Way {
    /// As the program does.
    Used,
    /// By the runtime's kernels, where the program does not use them.
    Runtime,
}

impl Way {
    /// Where the work is done; nowhere if it would be measured twice.
    fn place(self, device: Device, host: Place) -> Option<Place> {
        match (self, device) {
            (Self::Used, Device::Cpu) => Some(host),
            (Self::Used, Device::Cuda(_) | Device::Wgpu) | (Self::Runtime, Device::Cpu) => Some(Place::Device),
            (Self::Runtime, Device::Cuda(_) | Device::Wgpu) => None,
        }
    }
}

/// What is timed, if it can fail in no way but by the device.
type Run = Box<dyn FnMut() -> Result<(), KernelError>>;

fn case(
    Asked { kernel, size, batch, .. }: Asked,
    place: Place,
    shape: String,
    bytes: usize,
    prepare: impl FnOnce(&Client) -> anyhow::Result<Work> + 'static,
) -> Case {
    Case { kernel, size, batch, shape, bytes, place, prepare: Box::new(prepare) }
}

/// A run on the device, and its definition over one slice.
fn work<T: 'static>(run: impl Fn() -> Result<T, KernelError> + 'static, reference: impl Fn() + 'static) -> Work {
    let run = move || run().map(|result| drop(black_box(result)));
    Work { run: Box::new(run), reference: Some(Box::new(reference)) }
}

/// A function of the host that is its own definition.
fn host(asked: Asked, shape: String, bytes: usize, prepare: impl FnOnce() -> Box<dyn Fn()> + 'static) -> Case {
    case(asked, Place::Host, shape, bytes, move |_| {
        let run = prepare();
        let run: Run = Box::new(move || {
            run();
            Ok(())
        });
        Ok(Work { run, reference: None })
    })
}

fn rescale() -> Rescale {
    Rescale::new(1.0, INTERCEPT_HU).unwrap_or(Rescale::IDENTITY)
}

fn window_reference(slice: &[i16], size: usize, to: usize) {
    black_box(window::reference(Stored::Signed(slice), [size; 2], rescale(), &WINDOWS, [to; 2], Filter::Area));
}

/// Arrays and bytes of windows to squares of `to` pixels.
fn window_problem(Asked { size, batch, .. }: Asked, to: usize, element: &str, width: usize) -> (String, usize) {
    let shape = format!("i16 {batch} x {size} x {size} to {element} {batch} x 3 x {to} x {to}");
    (shape, window::floor_bytes(batch, [size; 2], WINDOWS.len(), [to; 2], width))
}

fn windowed<O: Intensity>(asked: Asked, to: usize) -> Case {
    let Asked { size, batch, device, .. } = asked;
    let element = if size_of::<O>() == 4 { "f32" } else { "f16" };
    let (shape, bytes) = window_problem(asked, to, element, size_of::<O>());
    if device != Device::Cpu {
        return case(asked, Place::Device, shape, bytes, move |client| {
            windowed_on_device::<O>(client, size, batch, to)
        });
    }
    case(asked, Place::Threads, shape, bytes, move |client| {
        let (client, slice) = (client.clone(), head(size));
        let (one, all) = (slice.clone(), repeated(&slice, batch));
        let run = move || {
            let frame = |slice| Frame { stored: Stored::Signed(slice), rescale: rescale() };
            let frames: Vec<Frame<'_>> = all.chunks(size * size).map(frame).collect();
            window::batch::<O>(&client, &frames, [size; 2], &WINDOWS, [to; 2], Filter::Area)
        };
        Ok(work(run, move || window_reference(&one, size, to)))
    })
}

/// By the kernel of the processor's runtime.
fn runtime_windowed(asked: Asked, to: usize) -> Option<Case> {
    let Asked { size, batch, device, .. } = asked;
    let (shape, bytes) = window_problem(asked, to, "f32", size_of::<f32>());
    let prepare = move |client: &Client| windowed_on_device::<f32>(client, size, batch, to);
    (device == Device::Cpu).then(|| case(asked, Place::Device, shape, bytes, prepare))
}

fn windowed_on_device<O: Intensity>(client: &Client, size: usize, batch: usize, to: usize) -> anyhow::Result<Work> {
    let one = head(size);
    let frames = vec![Frame { stored: Stored::Signed(&one), rescale: rescale() }; batch];
    let slices = Slices::upload(client, &frames, [size; 2])?;
    let plan = Plan::new(client, [size; 2], &WINDOWS, [to; 2], Filter::Area);
    Ok(work(move || window::on_device::<O>(&slices, &plan), move || window_reference(&one, size, to)))
}

/// The features of slices and their weights.
fn features(size: usize, batch: usize) -> ([usize; 4], Vec<f32>, Vec<f32>) {
    let side = size / REDUCTION;
    ([batch, CHANNELS, side, side], numbers(batch * CHANNELS * side * side), numbers(CHANNELS))
}

fn activation(asked: Asked, way: Way) -> Option<Case> {
    let Asked { size, batch, device, .. } = asked;
    let place = way.place(device, Place::Threads)?;
    let side = size / REDUCTION;
    let shape = format!("f32 {batch} x {CHANNELS} x {side} x {side} to {batch} x {side} x {side}");
    let bytes = batch * (CHANNELS + 1) * side * side * 4;
    Some(case(asked, place, shape, bytes, move |client| {
        let (shape, values, weights) = features(size, batch);
        let client = client.clone();
        if place == Place::Threads {
            let (one, first, own) = features(size, 1);
            let reference = move || drop(black_box(cam::activation_reference(&first, one, &own)));
            return Ok(work(move || cam::activation(&client, &values, shape, &weights), reference));
        }
        let (all, own) = (Array::upload(&client, &values), Array::upload(&client, &weights));
        let (one, first, _) = features(size, 1);
        let reference = move || drop(black_box(cam::activation_reference(&first, one, &weights)));
        Ok(work(move || cam::on_device::activation(&all, shape, &own), reference))
    }))
}

/// The maps of slices.
fn maps(size: usize, batch: usize) -> ([usize; 3], Vec<f32>) {
    let side = size / REDUCTION;
    ([batch, side, side], numbers(batch * side * side))
}

fn normalized(asked: Asked, way: Way) -> Option<Case> {
    let Asked { size, batch, device, .. } = asked;
    let place = way.place(device, Place::Threads)?;
    let side = size / REDUCTION;
    let shape = format!("f32 {batch} x {side} x {side} to {batch} x {size} x {size}");
    Some(case(asked, place, shape, batch * (side * side + size * size) * 4, move |client| {
        let ((shape, values), (one, first)) = (maps(size, batch), maps(size, 1));
        let client = client.clone();
        let reference = move || drop(black_box(cam::normalized_reference(&first, one, [size; 2])));
        if place == Place::Threads {
            return Ok(work(move || cam::normalized(&client, &values, shape, [size; 2]), reference));
        }
        let all = Array::upload(&client, &values);
        Ok(work(move || cam::on_device::normalized(&all, shape, [size; 2]), reference))
    }))
}

fn region(asked: Asked, way: Way) -> Option<Case> {
    let Asked { size, batch, device, .. } = asked;
    let place = way.place(device, Place::Threads)?;
    let side = size / REDUCTION;
    let (cells, bits) = cells(place);
    let shape = format!("f32 {batch} x {side} x {side} to {cells} {batch} x {size} x {size}");
    Some(case(asked, place, shape, batch * (side * side * 4 + size * size * bits / 8), move |client| {
        let ((shape, values), (one, first)) = (maps(size, batch), maps(size, 1));
        let client = client.clone();
        let reference = move || drop(black_box(cam::region_reference(&first, one, [size; 2], THRESHOLD)));
        if place == Place::Threads {
            return Ok(work(move || cam::region(&client, &values, shape, [size; 2], THRESHOLD), reference));
        }
        let all = Array::upload(&client, &values);
        Ok(work(move || cam::on_device::packed_region(&all, shape, [size; 2], THRESHOLD), reference))
    }))
}

/// What a mask's element is there, and its bits.
fn cells(place: Place) -> (&'static str, usize) {
    if place == Place::Device { ("bits", 1) } else { ("u8", 8) }
}

fn chain(asked: Asked, way: Way) -> Option<Case> {
    let Asked { size, batch, device, .. } = asked;
    let place = way.place(device, Place::Threads)?;
    let side = size / REDUCTION;
    let (cells, bits) = cells(place);
    let shape = format!("f32 {batch} x {CHANNELS} x {side} x {side} to {cells} {batch} x {size} x {size}");
    Some(case(asked, place, shape, batch * (CHANNELS * side * side * 4 + size * size * bits / 8), move |client| {
        let (shape, values, weights) = features(size, batch);
        let client = client.clone();
        if place == Place::Threads {
            let (one, first, own) = features(size, 1);
            let reference = move || drop(black_box(cam::reference(&first, one, &own, [size; 2], THRESHOLD)));
            let run = move || cam::cam(&client, &values, shape, &weights, [size; 2], THRESHOLD);
            return Ok(work(run, reference));
        }
        let (all, own) = (Array::upload(&client, &values), Array::upload(&client, &weights));
        let (one, first, _) = features(size, 1);
        let reference = move || drop(black_box(cam::reference(&first, one, &weights, [size; 2], THRESHOLD)));
        Ok(work(move || cam::on_device::cam(&all, shape, &own, [size; 2], THRESHOLD), reference))
    }))
}

/// Activation, fusion, region and bits in one chain.
fn back_end(asked: Asked) -> Case {
    let Asked { size, batch, .. } = asked;
    let side = size / REDUCTION;
    let shape = format!("f32 {batch} x {CHANNELS} x {side} x {side} to bits {batch} x {size} x {size}");
    let bytes = backend::floor_bytes([batch, CHANNELS, side, side], 4, batch, [size; 2]);
    case(asked, Place::Device, shape, bytes, move |client| {
        let (shape, values, weights) = features(size, batch);
        let (all, own) = (Array::upload(client, &values), Array::upload(client, &weights));
        let targets = neighbors(batch);
        let ((one, first, _), alone) = (features(size, 1), neighbors(1));
        let reference =
            move || drop(black_box(backend::reference(&first, one, &weights, &alone, [size; 2], THRESHOLD)));
        Ok(work(move || backend::on_device(&all, shape, &own, &targets, [size; 2], THRESHOLD), reference))
    })
}

fn fused(asked: Asked, way: Way) -> Option<Case> {
    let Asked { size, batch, device, .. } = asked;
    let place = way.place(device, Place::Threads)?;
    let shape = format!("f32 {batch} x {size} x {size} to the same, two neighbors on each side");
    Some(case(asked, place, shape, fuse::floor_bytes([batch, size, size], batch), move |client| {
        let (client, values) = (client.clone(), numbers(batch * size * size));
        let targets = neighbors(batch);
        // The definition of one slice in the middle of a series, which reads its neighbors for itself alone.
        let five = numbers(5 * size * size);
        let middle: Vec<_> = neighbors(5).into_iter().skip(2).take(1).collect();
        let reference = move || drop(black_box(fuse::reference(&five, [5, size, size], &middle)));
        if place == Place::Threads {
            return Ok(work(move || fuse::fuse(&client, &values, [batch, size, size], &targets), reference));
        }
        let all = Array::upload(&client, &values);
        Ok(work(move || fuse::on_device(&all, [batch, size, size], &targets), reference))
    }))
}

fn counts(asked: Asked, way: Way) -> Option<Case> {
    const BINS: usize = 151;
    const LOWEST_HU: i32 = -10;
    let Asked { size, batch, device, .. } = asked;
    let place = way.place(device, Place::Host)?;
    let (cells, bits) = cells(place);
    let shape = format!("i16 and {cells} {batch} x {size} x {size} to u32 {BINS}");
    Some(case(asked, place, shape, batch * size * size * (16 + bits) / 8 + BINS * 4, move |client| {
        let (one, inside) = (head(size), vec![1_u8; size * size]);
        if place == Place::Host {
            let (client, all, region) = (client.clone(), repeated(&one, batch), repeated(&inside, batch));
            let run = move || histogram::histogram(&client, Stored::Signed(&all), rescale(), &region, LOWEST_HU, BINS);
            return Ok(Work { reference: None, ..work(run, || ()) });
        }
        let stored = Pixels::upload(client, Stored::Signed(&repeated(&one, batch)))?;
        let region = Bits::upload(client, &repeated(&inside, batch));
        let reference =
            move || drop(black_box(histogram::reference(Stored::Signed(&one), rescale(), &inside, LOWEST_HU, BINS)));
        Ok(work(move || histogram::on_device(&stored, rescale(), &region, LOWEST_HU, BINS), reference))
    }))
}

fn closed(asked: Asked) -> Case {
    let Asked { size, batch, .. } = asked;
    let shape = format!("u8 {batch} x {size} x {size} to the same, disk of 5 pixels");
    host(asked, shape, morphology::bytes(batch * size * size), move || {
        let all = repeated(&bright(size), batch);
        let element = disk_mm(5.0, [1.0; 2]);
        Box::new(move || {
            for slice in all.chunks(size * size) {
                black_box(close(slice, [size; 2], &element));
            }
        })
    })
}

fn distances(asked: Asked) -> Case {
    let Asked { size, batch, .. } = asked;
    let shape = format!("u8 {batch} x {size} x {size} to f32 of the same");
    host(asked, shape, distance::floor_bytes(batch * size * size, size_of::<f32>()), move || {
        let all = repeated(&bright(size), batch);
        Box::new(move || {
            for slice in all.chunks(size * size) {
                black_box(distance_mm(slice, [size; 2], [0.45; 2]));
            }
        })
    })
}

fn volume(asked: Asked) -> Case {
    let Asked { size, batch, .. } = asked;
    let shape = format!("u8 {batch} x {size} x {size} to u32 of the same, 26 neighbors");
    host(asked, shape, components::bytes(batch * size * size), move || {
        let all = speckles(batch * size * size);
        Box::new(move || {
            black_box(components3(&all, [batch, size, size]));
        })
    })
}

fn overlapping(asked: Asked) -> Case {
    let Asked { size, batch, .. } = asked;
    let elements = batch * size * size;
    let shape = format!("u8 twice {batch} x {size} x {size} to three counts");
    case(asked, Place::Host, shape, overlap::bytes(elements), move |_| {
        let [mask, one] = [elements, size * size].map(speckles);
        let [truth, other] = [&mask, &one].map(|mask| mask.iter().rev().copied().collect::<Vec<u8>>());
        let run = move || Ok(overlap::overlap(&mask, &truth));
        let reference = move || {
            black_box(overlap::reference(&one, &other));
        };
        Ok(work(run, reference))
    })
}

fn packed(asked: Asked) -> Case {
    let Asked { size, batch, .. } = asked;
    let elements = batch * size * size;
    let shape = format!("u8 {batch} x {size} x {size} to bits");
    host(asked, shape, elements + elements / 8, move || {
        let all = speckles(elements);
        Box::new(move || {
            black_box(bits::pack(&all));
        })
    })
}
