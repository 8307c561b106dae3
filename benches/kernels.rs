//! Throughput of the kernels: each beside its definition in plain Rust and beside a copy of as many bytes.
//!
//! `cargo bench --bench kernels [-- [--quick] [NAME]]` prints one line for each kernel and side, tab separated: name, side,
//! median milliseconds, slices a second, gigabytes a second of the fewest bytes that the problem moves, and the share
//! of a copy that moves as many, measured in the same run. Times are those of a caller: arrays in and arrays out, with
//! the copies to and from the device. `--quick` runs each once, to see that it runs; `NAME` picks the
//! kernels whose names contain it.
#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#![allow(clippy::as_conversions, clippy::cast_possible_truncation, reason = "made-up images of small numbers")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::components::{Connectivity, components};
use kernels::distance::distance_mm;
use kernels::fuse::{FuseConfig, Place, terms};
use kernels::morphology::{close, disk_mm};
use kernels::units::{Rescale, Stored, Window};
use kernels::{Client, Device, KernelError, bits, cam, fuse, histogram, resize, window};

/// Where a kernel's work is done.
enum Side<'a> {
    /// In plain Rust on one thread.
    Host(&'a dyn Fn()),
    /// On the device.
    Device(&'a dyn Fn() -> Result<(), KernelError>),
}

/// How often each side runs.
#[derive(Clone, Copy)]
enum Effort {
    Once,
    /// Until the time is over or 50 times, after one run that is not counted.
    For(Duration),
}

struct Bench {
    effort: Effort,
    /// Only kernels whose name contains this are run.
    filter: String,
    device: Device,
}

impl Bench {
    /// Times `sides` of a kernel that takes `slices` slices and moves `bytes` bytes at least.
    fn kernel(&self, name: &str, slices: usize, bytes: usize, sides: &[Side<'_>]) -> Result<(), Box<dyn Error>> {
        if !name.contains(&self.filter) {
            return Ok(());
        }
        let from = vec![1_u8; bytes / 2];
        let mut to = vec![0_u8; bytes / 2];
        let copy = self.median(|| {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
            Ok(())
        })?;
        for side in sides {
            let (side, median) = match side {
                Side::Host(run) => (
                    "host".to_owned(),
                    self.median(|| {
                        run();
                        Ok(())
                    })?,
                ),
                Side::Device(run) => (self.device.to_string(), self.median(run)?),
            };
            let seconds = median.as_secs_f64();
            let rate = slices as f64 / seconds;
            let gigabytes = bytes as f64 / seconds / 1e9;
            let share = 100.0 * copy.as_secs_f64() / seconds;
            println!("{name}\t{side}\t{:.3} ms\t{rate:.0}/s\t{gigabytes:.2} GB/s\t{share:.1} %", seconds * 1e3);
        }
        Ok(())
    }

    fn median(&self, mut run: impl FnMut() -> Result<(), KernelError>) -> Result<Duration, KernelError> {
        let mut timed = || {
            let start = Instant::now();
            run().map(|()| start.elapsed())
        };
        let first = timed()?;
        let Effort::For(most) = self.effort else { return Ok(first) };
        let start = Instant::now();
        let mut times = vec![timed()?];
        while start.elapsed() < most && times.len() < 50 {
            times.push(timed()?);
        }
        times.sort_unstable();
        Ok(times[times.len() / 2])
    }
}

/// A head of sorts: a bright ring around noise, in stored values of intercept -1024.
fn slice(rows: usize, columns: usize) -> Vec<i16> {
    let value = |index: usize| {
        let [y, x] = [index / columns, index % columns].map(|place| place as f64);
        let from_center = (y / rows as f64 - 0.5).hypot(x / columns as f64 - 0.5);
        let noise = (index * 7919 % 61) as i16 - 30;
        match from_center {
            near if near < 0.40 => 1024 + 35 + noise,
            near if near < 0.45 => 1024 + 900 + noise,
            _ => 24 + noise,
        }
    };
    (0..rows * columns).map(value).collect()
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|index| (index * 7919 % 1009) as f32 / 1009.0).collect()
}

fn windows(bench: &Bench, client: &Client) -> Result<(), Box<dyn Error>> {
    let shape = [512, 512];
    let values = slice(shape[0], shape[1]);
    let rescale = Rescale::new(1.0, -1024.0).ok_or("a rescale")?;
    let three = [Window::BRAIN, Window::SUBDURAL, Window::BONE];
    for size in [[256, 256], [512, 512], [224, 224]] {
        let stored = Stored::Signed(&values);
        let bytes = values.len() * 2 + three.len() * size[0] * size[1] * 4;
        let host = || drop(black_box(window::reference(stored, shape, rescale, &three, size, window::Filter::Area)));
        let device =
            || window::window(client, stored, shape, rescale, &three, size).map(|image| drop(black_box(image)));
        let name = format!("window/512x512-3x{}x{}", size[0], size[1]);
        bench.kernel(&name, 1, bytes, &[Side::Host(&host), Side::Device(&device)])?;
    }
    Ok(())
}

fn maps(bench: &Bench, client: &Client) -> Result<(), Box<dyn Error>> {
    let (shape, size) = ([6, 512, 16, 16], [512, 512]);
    let features = numbers(shape.iter().product());
    let weights: Vec<f32> = numbers(shape[1]).into_iter().map(|weight| weight - 0.4).collect();
    let small = [shape[0], shape[2], shape[3]];
    let maps = cam::activation_reference(&features, shape, &weights);
    let pixels = shape[0] * size[0] * size[1];

    let bytes = (features.len() + weights.len() + maps.len()) * 4;
    let host = || drop(black_box(cam::activation_reference(&features, shape, &weights)));
    let device = || cam::activation(client, &features, shape, &weights).map(|maps| drop(black_box(maps)));
    bench.kernel("cam/activation/6x512x16x16", 6, bytes, &[Side::Host(&host), Side::Device(&device)])?;

    let bytes = maps.len() * 4 + pixels * 4;
    let host = || drop(black_box(cam::normalized_reference(&maps, small, size)));
    let device = || cam::normalized(client, &maps, small, size).map(|shares| drop(black_box(shares)));
    bench.kernel("cam/normalized/6x16x16-6x512x512", 6, bytes, &[Side::Host(&host), Side::Device(&device)])?;

    let bytes = maps.len() * 4 + pixels;
    let host = || drop(black_box(cam::region_reference(&maps, small, size, 0.7)));
    let device = || cam::region(client, &maps, small, size, 0.7).map(|region| drop(black_box(region)));
    bench.kernel("cam/region/6x16x16-6x512x512", 6, bytes, &[Side::Host(&host), Side::Device(&device)])?;

    let bytes = features.len() * 4 + pixels;
    let host = || drop(black_box(cam::reference(&features, shape, &weights, size, 0.7)));
    let device = || cam::cam(client, &features, shape, &weights, size, 0.7).map(|region| drop(black_box(region)));
    bench.kernel("cam/cam/6x512x16x16-6x512x512", 6, bytes, &[Side::Host(&host), Side::Device(&device)])?;
    Ok(())
}

fn fusion(bench: &Bench, client: &Client) -> Result<(), Box<dyn Error>> {
    let shape = [32, 16, 16];
    let maps = numbers(shape.iter().product());
    let place = |index: i64| Place { along_um: index * 5000, offset: [0.3 * index as f32, 0.0], computed: true };
    let places: Vec<Place> = (0..32).map(place).collect();
    let config = FuseConfig { max_gap_mm: 12.0, reach: 2 };
    let targets: Vec<_> = (0..places.len()).map(|target| terms(&places, target, config)).collect();
    let host = || drop(black_box(fuse::reference(&maps, shape, &targets)));
    let device = || fuse::fuse(client, &maps, shape, &targets).map(|fused| drop(black_box(fused)));
    bench.kernel("fuse/32x16x16", 32, maps.len() * 8, &[Side::Host(&host), Side::Device(&device)])
}

fn counts(bench: &Bench, client: &Client) -> Result<(), Box<dyn Error>> {
    let values = slice(512, 512);
    let stored = Stored::Signed(&values);
    let rescale = Rescale::new(1.0, -1024.0).ok_or("a rescale")?;
    let bytes = values.len() * 3 + 151 * 4;
    for (name, part) in [("histogram/512x512/part", 20), ("histogram/512x512/whole", 1)] {
        let region: Vec<u8> = (0..values.len()).map(|pixel| u8::from(pixel / 512 < 512 / part)).collect();
        let host = || drop(black_box(histogram::reference(stored, rescale, &region, -10, 151)));
        let device =
            || histogram::histogram(client, stored, rescale, &region, -10, 151).map(|counts| drop(black_box(counts)));
        bench.kernel(name, 1, bytes, &[Side::Host(&host), Side::Device(&device)])?;
    }
    Ok(())
}

fn masks(bench: &Bench) -> Result<(), Box<dyn Error>> {
    let shape = [512, 512];
    let mask: Vec<u8> = slice(512, 512).into_iter().map(|value| u8::from(value > 1324)).collect();
    let speckled: Vec<u8> = (0..mask.len()).map(|pixel| u8::from(pixel * 7919 % 1009 < 400)).collect();
    let (pixels, spacing) = (mask.len(), [0.45, 0.45]);
    let element = disk_mm(25.0 * 0.45, spacing);
    let run = || drop(black_box(close(&mask, shape, &element)));
    bench.kernel("morphology/close/512x512/25px", 1, pixels * 2, &[Side::Host(&run)])?;
    let run = || drop(black_box(distance_mm(&mask, shape, spacing)));
    bench.kernel("distance/512x512", 1, pixels * 5, &[Side::Host(&run)])?;
    let run = || drop(black_box(components(&speckled, shape, Connectivity::Eight)));
    bench.kernel("components/512x512/speckled", 1, pixels * 5, &[Side::Host(&run)])?;
    let run = || drop(black_box(bits::pack(&mask)));
    bench.kernel("bits/pack/512x512", 1, pixels + pixels / 8, &[Side::Host(&run)])?;
    let map = numbers(256 * 256);
    let run = || drop(black_box(resize::bilinear(&map, [256, 256], shape)));
    bench.kernel("resize/bilinear/256x256-512x512", 1, (map.len() + pixels) * 4, &[Side::Host(&run)])
}

fn main() -> Result<(), Box<dyn Error>> {
    let (options, names): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let quick = options.iter().any(|option| option == "--quick");
    let filter = names.into_iter().next().unwrap_or_default();
    let effort = if quick { Effort::Once } else { Effort::For(Duration::from_millis(500)) };
    let device = if cfg!(feature = "cuda") { Device::Cuda(0) } else { Device::Cpu };
    let (bench, client) = (Bench { effort, filter, device }, device.client()?);
    println!("kernel\tside\ttime\tslices\tbytes\tshare of a copy");
    windows(&bench, &client)?;
    maps(&bench, &client)?;
    fusion(&bench, &client)?;
    counts(&bench, &client)?;
    masks(&bench)
}
