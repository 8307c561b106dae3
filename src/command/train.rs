//! `hemoflow train`: the weakly supervised method, stage by stage, from slice labels alone.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use kernels::Device;
use operators::model::Model;
use operators::train::{Checkpoints, Course, Progress, Step, TrainConfig, TrainingMetrics};
use prometheus::Registry;

use super::{Exit, inference};
use crate::arguments::{Stage, Train, Training};
use crate::cohort::Cohort;
use crate::console::Console;
use crate::http::metrics::{self, Server};
use crate::progress::Bar;
use crate::training::Lessons;

/// Trains the stages that were asked for and writes the model, its configuration and its loss curves. Checkpoints lie beside
/// them until all is done.
pub(super) fn train(arguments: &Train, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let out = &arguments.out;
    let start = arguments.init.as_deref().map(|init| inference::load_model(Some(init), device)).transpose()?;
    let mut config = configuration(&arguments.training)?;
    config.precision = arguments.precision.unwrap_or(config.precision);
    if let Some(start) = &start {
        (config.arch, config.width) = (start.card().arch, start.card().width);
    }
    let cohort = Cohort::open(&arguments.data)?;
    let (watched, _server) = watch(arguments)?;
    fs::create_dir_all(out).with_context(|| format!("cannot create the folder {}", out.display()))?;
    put(&out.join("config.json"), &serde_json::to_vec_pretty(&config)?)?;
    let client = device.client()?;
    let cases = cohort.set.cases.iter().collect();
    let lessons = Lessons::new(&cohort, cases, &client, &config, arguments.method.as_ref())?;

    let mut curves = Curves::default();
    let bar = RefCell::new(Bar::default());
    let mut step = |Step { stage, done, steps }: Step| bar.borrow_mut().step(stage, done, steps);
    let mut tell = |progress: &Progress| {
        bar.borrow_mut().above(|| say(progress));
        watched.iter().for_each(|metrics| metrics.tell(progress));
        curves.add(progress);
        if let Err(error) = curves.write(out) {
            tracing::warn!("{error:#}");
        }
    };
    let folder = out.join("checkpoints");
    if !arguments.resume && folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove the checkpoints {}", folder.display()))?;
    }
    let checkpoints = Checkpoints { folder: folder.clone(), resume: arguments.resume };
    let mut course = Course::new(&mut tell).stepping(&mut step).keeping(checkpoints);
    let mut model = if arguments.stage == Stage::Segmenter {
        continued(&inference::load_model(Some(out), device)?)?
    } else {
        let mut card = config.card(&arguments.name, env!("CARGO_PKG_VERSION"));
        card.trained.command = command_line();
        let data = &arguments.data.data;
        card.trained.data =
            format!("{} cases under {}, layout {}", cohort.set.cases.len(), data.display(), cohort.set.layout);
        let model = lessons.classifier(card, start.as_ref(), device, &mut course)?;
        model.save(out)?;
        model
    };
    if arguments.stage != Stage::Classifier {
        let supervised = arguments.supervised || arguments.data.masks.is_some();
        model = if supervised {
            lessons.supervised(&model, &mut course)?
        } else {
            lessons.segmenter(&model, &mut course)?
        };
        model.save(out)?;
    }
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove the checkpoints {}", folder.display()))?;
    bar.borrow_mut().end();
    done(&model, out, console)?;
    Ok(if cohort.some_rejected() { Exit::SomeRejected } else { Exit::Done })
}

/// A model whose segmenter this command trains: its card tells the command that made the rest, and this one.
fn continued(model: &Model) -> anyhow::Result<Model> {
    let mut card = model.card().clone();
    let first = card.trained.command.split(" && ").next().filter(|first| !first.is_empty());
    card.trained.command =
        first.map(str::to_owned).into_iter().chain([command_line()]).collect::<Vec<_>>().join(" && ");
    Ok(Model::new(card, model.network(), model.device())?)
}

fn done(model: &Model, out: &Path, console: &mut Console) -> anyhow::Result<()> {
    console.line(format!("model {} {} in {}", model.card().name, model.card().sha256, out.display()))?;
    Ok(console.json(model.card())?)
}

/// Says what an epoch told.
pub(super) fn say(progress: &Progress) {
    let Progress { stage, epoch, epochs, loss, score } = progress;
    let score = score.map_or_else(String::new, |score| format!(", validation {score:.4}"));
    tracing::info!("{stage} epoch {epoch}/{epochs}: loss {loss:.4}{score}");
}

/// The metrics, if anybody is to see them, and their server.
fn watch(arguments: &Train) -> anyhow::Result<(Option<TrainingMetrics>, Option<Server>)> {
    let Some(address) = arguments.metrics else { return Ok((None, None)) };
    let registry = Registry::new();
    let metrics = TrainingMetrics::register(&registry)?;
    let server = metrics::serve(address, registry)?;
    tracing::info!("metrics at http://{}/metrics", server.address());
    Ok((Some(metrics), Some(server)))
}

/// The numbers of a training: those of a file, or the defaults, and what was said beside them.
pub(super) fn configuration(arguments: &Training) -> anyhow::Result<TrainConfig> {
    let mut config = match &arguments.training {
        None => TrainConfig::default(),
        Some(path) => {
            let text = fs::read(path).with_context(|| format!("the numbers of the training {}", path.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("the numbers of the training {}", path.display()))?
        }
    };
    if let Some(arch) = &arguments.arch {
        config.arch = arch.parse()?;
    }
    if let Some(context) = &arguments.context {
        config.context = context.parse()?;
    }
    config.width = arguments.width.unwrap_or(config.width);
    config.input_size = arguments.input_size.unwrap_or(config.input_size);
    config.classifier.epochs = arguments.epochs.unwrap_or(config.classifier.epochs);
    config.seed = arguments.seed.unwrap_or(config.seed);
    config.fraction = arguments.fraction.map_or(config.fraction, |percent| f64::from(percent) / 100.0);
    config.self_training = arguments.self_training.map_or(config.self_training, usize::from);
    Ok(config)
}

/// The command as it was typed, for the card.
fn command_line() -> String {
    let arguments = std::env::args().skip(1).filter(|argument| argument != "--resume");
    std::iter::once("hemoflow".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// What all epochs told: a line each.
#[derive(Default)]
struct Curves(String);

impl Curves {
    fn add(&mut self, progress: &Progress) {
        let Progress { stage, epoch, loss, score, .. } = progress;
        let score = score.map_or_else(String::new, |score| score.to_string());
        // Writing to a string does not fail.
        writeln!(self.0, "{stage},{epoch},{loss},{score}").ok();
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        put(&folder.join("losses.csv"), format!("stage,epoch,loss,score\n{}", self.0).as_bytes())
    }
}

fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
