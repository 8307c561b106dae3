//! `hemoflow bench kernels`: each kernel over sizes and batches, beside a copy of as many bytes and beside plain Rust.

mod case;
mod catalogue;
mod table;
mod yardstick;

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use cpu_time::ProcessTime;
use kernels::clock::Clock;
use kernels::{Client, Device, KernelError};
use rayon::ThreadPool;
use serde::Serialize;
use serde_json::json;

use case::{Case, Place};
use catalogue::Asked;
use yardstick::Yardstick;

use super::figures::{float, ratio};
use super::stopwatch::{Budget, Effort, Taken, Timed, in_turns, wall};
use super::trace::{Trace, Track};
use super::{Setting, write};
use crate::arguments::BenchKernels;
use crate::command::Exit;
use crate::console::Console;

/// All figures.
#[derive(Debug, Serialize)]
struct Figures {
    setting: Setting,
    /// `events` of the device, or `wait`: until the device has nothing left to do.
    timing: &'static str,
    /// Threads that a kernel may use, on a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    threads: Option<usize>,
    kernels: Vec<Row>,
    skipped: Vec<Skipped>,
}

/// One kernel at one size and batch.
#[derive(Debug, Serialize)]
struct Row {
    kernel: &'static str,
    size: usize,
    batch: usize,
    shape: String,
    place: Place,
    /// The fewest bytes that the problem moves.
    bytes: usize,
    #[serde(flatten)]
    taken: Taken,
    gigabytes_per_second: f64,
    copy: Copied,
    /// How near it comes to the copy: 1 is as fast.
    share_of_copy: f64,
    /// The definition in plain Rust on one thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<Defined>,
}

/// The copy of as many bytes.
#[derive(Debug, Serialize)]
struct Copied {
    /// Threads that copied; none on a GPU.
    threads: Option<usize>,
    #[serde(flatten)]
    taken: Taken,
    gigabytes_per_second: f64,
}

#[derive(Debug, Serialize)]
struct Defined {
    /// Of one slice, times the batch.
    milliseconds: f64,
    /// The same of all processors for this process.
    cpu_milliseconds: f64,
    /// How many times as long as the kernel.
    ratio: f64,
}

/// What was not measured, and why.
#[derive(Debug, Serialize)]
struct Skipped {
    kernel: &'static str,
    size: usize,
    batch: usize,
    reason: String,
}

const NOTE: &str = "the same buffers again and again: what fits a cache stays there, for the kernel and for the copy";

/// Measures kernels.
pub(super) fn measure(arguments: &BenchKernels, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let cases = cases(arguments, device)?;
    let mut bench = Bench::start(arguments, device, cases.len())?;
    let setting = Setting::of(device, Some(bench.client.properties().identity.name.clone()), 0, arguments.quick, NOTE);
    let (mut rows, mut skipped) = (Vec::new(), Vec::new());
    for case in cases {
        let (kernel, size, batch) = (case.kernel, case.size, case.batch);
        match bench.case(case)? {
            Ok(row) => {
                tracing::info!(
                    "{kernel}, {batch} of {size} x {size}: {:.3} ms, {:.0} % of the copy",
                    row.taken.milliseconds.median,
                    row.share_of_copy * 100.0
                );
                rows.push(row);
            }
            Err(reason) => {
                tracing::info!("{kernel}, {batch} of {size} x {size}: left out, {reason}");
                skipped.push(Skipped { kernel, size, batch, reason });
            }
        }
    }
    let place = |kernel: &str| catalogue::ENTRIES.iter().position(|entry| entry.name == kernel);
    rows.sort_by_key(|row| (place(row.kernel), row.size, row.batch));
    let timing = if bench.clock.has_events() { "events" } else { "wait" };
    let threads = (device == Device::Cpu).then(|| bench.pool.current_num_threads());
    if let (Some(trace), Some(path)) = (bench.trace, &arguments.limits.trace) {
        trace.write(path, &setting)?;
    }
    let figures = Figures { setting, timing, threads, kernels: rows, skipped };
    for line in table::lines(&figures) {
        console.line(line)?;
    }
    console.json(&figures)?;
    write(arguments.limits.out.as_deref(), "kernels.json", &figures)?;
    Ok(Exit::Done)
}

/// The cases that were asked for, small ones first.
fn cases(arguments: &BenchKernels, device: Device) -> anyhow::Result<Vec<Case>> {
    let unknown = |name: &&String| !catalogue::ENTRIES.iter().any(|entry| entry.name.contains(name.as_str()));
    if let Some(name) = arguments.only.iter().find(unknown) {
        let names: Vec<&str> = catalogue::ENTRIES.iter().map(|entry| entry.name).collect();
        bail!("no kernel is named {name:?}: there are {}", names.join(", "));
    }
    let or = |given: &[u32], default: &[u32]| -> anyhow::Result<Vec<usize>> {
        let wanted = if given.is_empty() { default } else { given };
        wanted.iter().map(|number| Ok(usize::try_from(*number)?)).collect()
    };
    let sizes = or(&arguments.sizes, if arguments.quick { &[128] } else { &[128, 256, 512, 1024] })?;
    let batches = or(&arguments.batches, if arguments.quick { &[1, 8] } else { &[1, 8, 64, 256] })?;
    if let Some(size) = sizes.iter().find(|size| !size.is_multiple_of(32)) {
        bail!("--sizes {size} is no multiple of 32");
    }
    let wanted = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|part| name.contains(part));
    let mut cases: Vec<Case> = catalogue::ENTRIES
        .iter()
        .filter(|entry| wanted(entry.name))
        .flat_map(|entry| sizes.iter().map(move |size| (entry, *size)))
        .flat_map(|(entry, size)| batches.iter().map(move |batch| (entry, size, *batch)))
        .filter_map(|(entry, size, batch)| (entry.case)(Asked { kernel: entry.name, size, batch, device }))
        .collect();
    cases.sort_by_key(|case| case.size * case.size * case.batch);
    Ok(cases)
}

/// What cases are measured with.
struct Bench {
    device: Device,
    client: Client,
    clock: Clock,
    pool: ThreadPool,
    budget: Budget,
    memory: usize,
    trace: Option<Trace>,
    /// Milliseconds of the definition over one slice, by the clock and of processors, by kernel and size.
    defined: BTreeMap<(&'static str, usize), [f64; 2]>,
}

impl Bench {
    fn start(arguments: &BenchKernels, device: Device, cases: usize) -> anyhow::Result<Self> {
        let client = device.client()?;
        let cores = client.properties().hardware.num_cpu_cores.unwrap_or(1);
        Ok(Self {
            device,
            clock: Clock::new(&client, device),
            client,
            pool: rayon::ThreadPoolBuilder::new().num_threads(usize::try_from(cores)?).build()?,
            budget: Budget::new(&arguments.limits, arguments.quick, cases),
            memory: arguments.limits.memory,
            trace: arguments.limits.trace.is_some().then(Trace::new),
            defined: BTreeMap::new(),
        })
    }

    /// Measures a case, or says why it is left out.
    fn case(&mut self, case: Case) -> anyhow::Result<Result<Row, String>> {
        let Some(effort) = self.budget.next() else {
            return Ok(Err("out of time: say more --seconds".to_owned()));
        };
        if case.held() > self.memory {
            let mebibytes = case.held().div_ceil(1 << 20);
            return Ok(Err(format!("it would hold {mebibytes} MiB: say more --memory")));
        }
        let what = format!("{}, {} of {2} x {2}", case.kernel, case.batch, case.size);
        let measured = self.measure(case, effort);
        self.client.memory_cleanup().map_err(|error| anyhow::anyhow!("the device failed: {error:?}"))?;
        match measured {
            Ok(row) => Ok(Ok(row)),
            Err(error) => match error.downcast_ref() {
                Some(KernelError::TooLarge { len, .. }) => Ok(Err(format!("{len} elements do not fit one launch"))),
                _ => Err(error).with_context(|| format!("measuring {what}")),
            },
        }
    }

    fn measure(&mut self, case: Case, effort: Effort) -> anyhow::Result<Row> {
        let Case { kernel, size, batch, shape, bytes, place, prepare } = case;
        let mut work = prepare(&self.client)?;
        let mut copy = Yardstick::new(place, bytes, (self.device, &self.client, &self.clock), &self.pool)?;
        let threads = copy.threads();
        let begun = std::time::Instant::now();
        let clock = &self.clock;
        let mut run = |times: usize| match place {
            Place::Device => Ok(clock.timed(|| (0..times).try_for_each(|_| (work.run)()))?),
            Place::Threads | Place::Host => Ok(wall(|| (0..times).try_for_each(|_| (work.run)()))?),
        };
        let rate = |seconds: f64| ratio(float(bytes) / 1e9, seconds);
        let about =
            |seconds| json!({ "size": size, "batch": batch, "bytes": bytes, "gigabytes_per_second": rate(seconds) });
        let mut copied = |times| copy.run(times);
        let measured = Timed { track: Track::Measured, name: kernel, run: &mut run, about: &about };
        let yardstick = Timed { track: Track::Copy, name: "copy", run: &mut copied, about: &about };
        let [ours, copied] = in_turns(effort, [measured, yardstick], &mut self.trace)?;
        if let Some(trace) = &mut self.trace {
            let name = format!("{kernel}, {batch} of {size} x {size}");
            trace.add(Track::Measured, "case", &name, (begun, begun.elapsed()), json!({ "shape": shape }));
        }
        let reference = match &mut work.reference {
            Some(reference) => {
                let [milliseconds, cpu_milliseconds] =
                    self.defined(kernel, size, reference)?.map(|one| one * float(batch));
                Some(Defined { milliseconds, cpu_milliseconds, ratio: ratio(milliseconds, ours.milliseconds.median) })
            }
            None => None,
        };
        Ok(Row {
            kernel,
            size,
            batch,
            shape,
            place,
            bytes,
            taken: ours,
            gigabytes_per_second: rate(ours.milliseconds.median / 1e3),
            copy: Copied { threads, taken: copied, gigabytes_per_second: rate(copied.milliseconds.median / 1e3) },
            share_of_copy: ratio(copied.milliseconds.median, ours.milliseconds.median),
            reference,
        })
    }

    /// Milliseconds of a definition over one slice, measured once for each kernel and size: the fastest of three.
    fn defined(&mut self, kernel: &'static str, size: usize, run: &mut dyn FnMut()) -> anyhow::Result<[f64; 2]> {
        if let Some(defined) = self.defined.get(&(kernel, size)) {
            return Ok(*defined);
        }
        let mut fastest = [f64::MAX; 2];
        for _ in 0..3 {
            let (begun, before) = (std::time::Instant::now(), ProcessTime::try_now()?);
            let took = wall(|| {
                run();
                anyhow::Ok(())
            })?;
            if let Some(trace) = &mut self.trace {
                trace.add(Track::Compared, "definition", kernel, (begun, took), json!({ "size": size, "batch": 1 }));
            }
            let worked = before.try_elapsed()?;
            for (fastest, took) in fastest.iter_mut().zip([took, worked]) {
                *fastest = fastest.min(took.as_secs_f64() * 1e3);
            }
        }
        self.defined.insert((kernel, size), fastest);
        Ok(fastest)
    }
}
