//! `hemoflow bench models`: the networks of the shipped model and of untrained ones, over batches.

mod table;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, anyhow, bail};
use kernels::clock::{self, Launches};
use kernels::units::Rescale;
use kernels::window::{Filter, Frame};
use kernels::{Client, Device, cam, window};
use operators::encode::encode;
use operators::model::{Engine, Model, windows::windows};
use operators::record::{Plane, StoredValues};
use operators::train::TrainConfig;
use serde::Serialize;
use serde_json::json;

use super::figures::{float, ratio};
use super::input::{INTERCEPT_HU, head, numbers, repeated};
use super::stopwatch::{Budget, Effort, Taken, Timed, each_in_turn, wall};
use super::trace::{Trace, Track};
use super::{Setting, write};
use crate::arguments::BenchModels;
use crate::command::Exit;
use crate::command::inference::load_model;
use crate::console::Console;

/// All figures.
#[derive(Debug, Serialize)]
struct Figures {
    setting: Setting,
    models: Vec<About>,
    networks: Vec<Row>,
    skipped: Vec<Skipped>,
}

/// A model that was measured.
#[derive(Debug, Serialize)]
struct About {
    model: String,
    arch: operators::model::Arch,
    width: usize,
    last_stride_one: bool,
    size: usize,
    context_radius: usize,
    unet_width: usize,
    unet_patch: usize,
    /// What runs encoder and segmenter.
    engine: String,
}

/// One network at one batch.
#[derive(Debug, Serialize)]
struct Row {
    model: String,
    network: Network,
    batch: usize,
    size: usize,
    #[serde(flatten)]
    taken: Taken,
    slices_per_second: f64,
    /// Of one more run.
    launches: Counted,
    /// The same by burn, in turns; none where burn runs the network anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    burn: Option<Burn>,
    /// The kernels of the whole stage, in turns; none for a network alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernels: Option<Kernels>,
}

/// The kernels of a stage by themselves, with the ways to the device and back.
#[derive(Debug, Serialize)]
struct Kernels {
    #[serde(flatten)]
    taken: Taken,
    share_of_time: f64,
    share_of_cpu_time: f64,
}

/// The network by burn.
#[derive(Debug, Serialize)]
struct Burn {
    #[serde(flatten)]
    taken: Taken,
    /// How many times as long it takes.
    ratio: f64,
}

/// Launches of one run.
#[derive(Debug, Serialize)]
struct Counted {
    /// All that went through the device's client; none where networks run without one.
    all: Option<usize>,
    /// Those of our kernels.
    own: usize,
}

/// What is measured of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Network {
    /// The whole stage: window, encoder, class activation map.
    Encode,
    /// The classifier's encoder alone.
    Encoder,
    /// The sequence head over a series of so many slices.
    Head,
    /// The U-Net.
    Segmenter,
}

const NETWORKS: [Network; 4] = [Network::Encode, Network::Encoder, Network::Head, Network::Segmenter];

impl Network {
    fn name(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::Encoder => "encoder",
            Self::Head => "head",
            Self::Segmenter => "segmenter",
        }
    }
}

/// What was not measured, and why.
#[derive(Debug, Serialize)]
struct Skipped {
    model: String,
    network: Network,
    batch: usize,
    reason: String,
}

/// Rows and columns of the slices that are encoded.
const MATRIX: usize = 512;

const SEED: u64 = 1;

const NOTE: &str =
    "arrays in and arrays out; encode is window, encoder and class activation map of slices of 512 x 512";

/// Measures networks.
pub(super) fn measure(arguments: &BenchModels, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let client = device.client()?;
    let identity = client.properties().identity.name.clone();
    let setting = Setting::of(device, Some(identity), SEED, arguments.quick, NOTE);
    let names: Vec<&str> = match (arguments.arch.as_slice(), arguments.quick) {
        ([], true) => vec!["resnet18"],
        ([], false) => vec!["shipped", "resnet18", "resnet50"],
        (given, _) => given.iter().map(String::as_str).collect(),
    };
    let batches: &[u32] = match (arguments.batches.as_slice(), arguments.quick) {
        ([], true) => &[1, 2],
        ([], false) => &[1, 8, 32],
        (given, _) => given,
    };
    let cases = names.len() * batches.len() * NETWORKS.len();
    let mut bench = Bench {
        client,
        budget: Budget::new(&arguments.limits, arguments.quick, cases),
        memory: arguments.limits.memory,
        trace: arguments.limits.trace.is_some().then(Trace::new),
    };
    let mut figures = Figures { setting, models: Vec::new(), networks: Vec::new(), skipped: Vec::new() };
    for name in names {
        let model = model(name, arguments, device)?.with_precision(arguments.precision)?;
        let burn = match model.engine() {
            Engine::Burn => None,
            _ => Some(model.clone().with_engine(Engine::Burn)?),
        };
        figures.models.push(About::of(name, &model));
        for (batch, network) in batches.iter().flat_map(|batch| NETWORKS.map(|network| (*batch, network))) {
            let batch = usize::try_from(batch)?;
            let what = format!("{name}, {}, {batch} slices", network.name());
            match bench
                .case((name, &model, burn.as_ref()), network, batch)
                .with_context(|| format!("measuring {what}"))?
            {
                Ok(row) => {
                    let Row { taken, slices_per_second, .. } = &row;
                    tracing::info!("{what}: {:.2} ms, {slices_per_second:.1} slices/s", taken.milliseconds.median);
                    figures.networks.push(row);
                }
                Err(reason) => {
                    tracing::info!("{what}: left out, {reason}");
                    figures.skipped.push(Skipped { model: name.to_owned(), network, batch, reason });
                }
            }
        }
    }
    if let (Some(trace), Some(path)) = (bench.trace, &arguments.limits.trace) {
        trace.write(path, &figures.setting)?;
    }
    for line in table::lines(&figures) {
        console.line(line)?;
    }
    console.json(&figures)?;
    write(arguments.limits.out.as_deref(), "models.json", &figures)?;
    Ok(Exit::Done)
}

/// The shipped model, or an untrained one.
fn model(name: &str, arguments: &BenchModels, device: Device) -> anyhow::Result<Model> {
    if name == "shipped" {
        return load_model(arguments.model.as_deref().map(Path::new), device);
    }
    let or = |given: Option<u32>, quick: u32, full: u32| -> anyhow::Result<usize> {
        Ok(usize::try_from(given.unwrap_or(if arguments.quick { quick } else { full }))?)
    };
    let config = TrainConfig {
        arch: name.parse()?,
        width: or(arguments.width, 4, 64)?,
        input_size: or(arguments.size, 32, 256)?,
        unet_width: or(arguments.unet_width, 2, 8)?,
        ..TrainConfig::default()
    };
    Ok(Model::untrained(config.card(name, "0"), SEED, device)?)
}

impl About {
    fn of(name: &str, model: &Model) -> Self {
        let card = model.card();
        Self {
            model: name.to_owned(),
            arch: card.arch,
            width: card.width,
            last_stride_one: card.last_stride_one,
            size: card.input_size,
            context_radius: card.context_radius,
            unet_width: card.unet_width,
            unet_patch: card.unet_patch,
            engine: model.engine().to_string(),
        }
    }
}

/// What networks are measured with.
struct Bench {
    client: Client,
    budget: Budget,
    memory: usize,
    trace: Option<Trace>,
}

impl Bench {
    /// Measures a network, or says why it is left out.
    fn case(
        &mut self,
        (name, model, burn): (&str, &Model, Option<&Model>),
        network: Network,
        batch: usize,
    ) -> anyhow::Result<Result<Row, String>> {
        let Some(effort) = self.budget.next() else {
            return Ok(Err("out of time: say more --seconds".to_owned()));
        };
        let card = model.card();
        let [rows, columns] = model.map_grid().size;
        let input = card.windows.len() * card.input_size * card.input_size;
        // Inputs and their copies, the maps that come back, and the slices that they are made from.
        let held = batch * (input * 4 * 2 + card.features() * rows * columns * 4 + MATRIX * MATRIX * 2);
        if held > self.memory {
            return Ok(Err(format!("it would hold {} MiB: say more --memory", held.div_ceil(1 << 20))));
        }
        let mut jobs = vec![job(model, &self.client, network, batch)];
        let burn = burn.filter(|_| network != Network::Head);
        jobs.extend(burn.map(|burn| job(burn, &self.client, network, batch)));
        let whole = network == Network::Encode;
        jobs.extend(whole.then(|| kernels_of(model, &self.client, batch)));
        self.measure(name, (network, batch, card.input_size), (jobs, burn.is_some(), whole), effort).map(Ok)
    }

    /// Measures a network, then burn's and the kernels of the stage, if they are there.
    fn measure(
        &mut self,
        name: &str,
        (network, batch, size): (Network, usize, usize),
        (mut jobs, has_burn, has_kernels): (Vec<Job<'_>>, bool, bool),
        effort: Effort,
    ) -> anyhow::Result<Row> {
        let label = format!("{name}/{}", network.name());
        let about =
            |seconds| json!({ "batch": batch, "size": size, "slices_per_second": ratio(float(batch), seconds) });
        let mut names = vec![(Track::Measured, label.as_str())];
        names.extend(has_burn.then_some((Track::Compared, "burn")));
        names.extend(has_kernels.then_some((Track::Compared, "kernels")));
        let begun = Instant::now();
        let mut runs: Vec<_> =
            jobs.iter_mut().map(|job| move |times: usize| wall(|| (0..times).try_for_each(|_| job()))).collect();
        let mut things: Vec<Timed<'_>> = runs
            .iter_mut()
            .zip(&names)
            .map(|(run, (track, name))| Timed { track: *track, name, run, about: &about })
            .collect();
        let mut taken = each_in_turn(effort, &mut things, &mut self.trace)?.into_iter();
        if let Some(trace) = &mut self.trace {
            let name = format!("{label}, {batch} slices");
            trace.add(Track::Measured, "case", &name, (begun, begun.elapsed()), json!({ "batch": batch }));
        }
        let ours = taken.next().unwrap_or_default();
        let burn = if has_burn { taken.next() } else { None };
        let kernels = taken.next().filter(|_| has_kernels);
        let Some(run) = jobs.first_mut() else { bail!("nothing to run") };
        let (ran, launches) = clock::counted(run);
        ran?;
        let median = ours.milliseconds.median;
        Ok(Row {
            model: name.to_owned(),
            network,
            batch,
            size,
            taken: ours,
            slices_per_second: ratio(float(batch), median / 1e3),
            launches: Counted::of(launches, self.client.properties().hardware.num_cpu_cores.is_none()),
            burn: burn.map(|burn| Burn { taken: burn, ratio: ratio(burn.milliseconds.median, median) }),
            kernels: kernels.map(|kernels| Kernels {
                taken: kernels,
                share_of_time: ratio(kernels.milliseconds.median, median),
                share_of_cpu_time: ratio(kernels.cpu_milliseconds, ours.cpu_milliseconds),
            }),
        })
    }
}

/// The kernels of the stage that encodes slices, without its network.
fn kernels_of<'a>(model: &'a Model, client: &Client, batch: usize) -> Job<'a> {
    let (planes, client, card) = (planes(batch), client.clone(), model.card());
    let [rows, columns] = model.map_grid().size;
    let shape = [batch, model.cam_weights().len(), rows, columns];
    let features = numbers(shape.iter().product());
    Box::new(move || {
        let frames: Vec<Frame<'_>> =
            planes.iter().map(|plane| Frame { stored: plane.stored(), rescale: plane.rescale }).collect();
        let size = [card.input_size; 2];
        done(window::batch::<f32>(&client, &frames, [MATRIX; 2], &card.windows, size, Filter::Area))?;
        done(cam::activation(&client, &features, shape, model.cam_weights()))
    })
}

/// What runs once and is timed.
type Job<'a> = Box<dyn FnMut() -> anyhow::Result<()> + 'a>;

/// A network of a model over so many slices.
fn job<'a>(model: &'a Model, client: &Client, network: Network, batch: usize) -> Job<'a> {
    let card = model.card();
    let pixels = card.input_size * card.input_size;
    match network {
        Network::Encode => {
            let (planes, client) = (planes(batch), client.clone());
            Box::new(move || done(encode(model, &client, &planes)))
        }
        Network::Encoder => {
            let images = numbers(batch * card.windows.len() * pixels);
            Box::new(move || done(model.encode(&images, batch)))
        }
        Network::Head => {
            let features = numbers(batch * card.features());
            let radius = card.context_radius;
            Box::new(move || {
                let slices: Vec<&[f32]> = features.chunks(features.len() / batch).collect();
                let ranges = windows(batch, radius).into_iter();
                let sequences: Vec<Vec<&[f32]>> =
                    ranges.filter_map(|range| Some(slices.get(range)?.to_vec())).collect();
                done(model.classify(&sequences))
            })
        }
        Network::Segmenter => {
            let images = numbers(batch * pixels);
            Box::new(move || done(model.segment(&images, batch)))
        }
    }
}

impl Counted {
    /// The launches of a run. Networks on a processor run without a client: all are not known.
    fn of(launches: Launches, has_all: bool) -> Self {
        Self { all: has_all.then_some(launches.count), own: launches.own }
    }
}

/// Keeps the compiler from seeing that nobody reads a result.
fn done<T, E: Into<anyhow::Error>>(result: Result<T, E>) -> anyhow::Result<()> {
    black_box(result.map_err(|error| anyhow!(error))?);
    Ok(())
}

/// Slices to encode.
fn planes(batch: usize) -> Vec<Arc<Plane>> {
    let values: Arc<[i16]> = head(MATRIX).into();
    let rescale = Rescale::new(1.0, INTERCEPT_HU).unwrap_or(Rescale::IDENTITY);
    let plane = Plane { rows: MATRIX, columns: MATRIX, values: StoredValues::Signed(values), rescale };
    repeated(&[Arc::new(plane)], batch)
}
