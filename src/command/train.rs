//! `hemoflow train`: the weakly supervised method, stage by stage, from slice labels alone.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use graphs::weak_labels::{LabeledSlice, pseudo_masks, runs};
use kernels::{Client, Device, KernelError, window};
use operators::labels;
use operators::model::Model;
use operators::record::{Mask, MethodConfig, Plane, SeriesKey};
use operators::train::{
    Images, Progress, TrainConfig, TrainSeries, TrainSlice, add_segmenter, train as train_classifier,
};

use super::{Exit, inference};
use crate::arguments::{Stage, Train};
use crate::console::Console;
use crate::data_set::DataSet;

/// Trains the stages that were asked for and writes the model.
pub(super) fn train(arguments: &Train, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let config = configuration(arguments)?;
    let data = Labeled::open(arguments)?;
    let client = device.client()?;
    let images = data.images(&client, &config)?;
    let mut progress = |progress: &Progress| {
        let score = progress.score.map_or_else(String::new, |score| format!(", validation {score:.4}"));
        tracing::info!(
            "{} epoch {}/{}: loss {:.4}{score}",
            progress.stage,
            progress.epoch,
            progress.epochs,
            progress.loss
        );
    };
    let model = if arguments.stage == Stage::Segmenter {
        inference::load_model(Some(&arguments.out), device)?
    } else {
        let mut card = config.card(&arguments.name, env!("CARGO_PKG_VERSION"));
        card.trained.command = command_line();
        card.trained.data = format!("{} series under {}", data.data_set.series.len(), arguments.data.display());
        let model = train_classifier(card, &images, &config, device, &mut progress)?;
        model.save(&arguments.out)?;
        model
    };
    let model = if arguments.stage == Stage::Classifier {
        model
    } else {
        let masks = data.pseudo_masks(&model, &client, config.input_size)?;
        let mask = |run: usize, slice: usize| masks.get(run)?.get(slice)?.clone();
        let model = add_segmenter(&model, &images, mask, &config, &mut progress)?;
        model.save(&arguments.out)?;
        model
    };
    console.line(format!("model {} {} in {}", model.card().name, model.card().sha256, arguments.out.display()))?;
    console.json(model.card())?;
    Ok(if data.data_set.rejections.is_empty() { Exit::Done } else { Exit::SomeRejected })
}

fn configuration(arguments: &Train) -> anyhow::Result<TrainConfig> {
    let mut config = TrainConfig { seed: arguments.seed, ..TrainConfig::default() };
    config.fraction = f64::from(arguments.fraction) / 100.0;
    if let Some(arch) = &arguments.arch {
        config.arch = arch.parse()?;
    }
    if let Some(context) = &arguments.context {
        config.context = context.parse()?;
    }
    config.width = arguments.width.unwrap_or(config.width);
    config.input_size = arguments.input_size.unwrap_or(config.input_size);
    config.classifier.epochs = arguments.epochs.unwrap_or(config.classifier.epochs);
    Ok(config)
}

/// The command as it was typed, for the card.
fn command_line() -> String {
    let arguments = std::env::args().skip(1);
    std::iter::once("hemoflow".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// A data set and the labels of its slices.
struct Labeled {
    data_set: DataSet,
    labels: HashMap<String, bool>,
    max_gap_mm: f64,
}

impl Labeled {
    fn open(arguments: &Train) -> anyhow::Result<Self> {
        let path = &arguments.labels;
        let file = File::open(path).with_context(|| format!("cannot open the labels {}", path.display()))?;
        let labels = labels::read(BufReader::new(file)).with_context(|| format!("the labels {}", path.display()))?;
        let labels: HashMap<String, bool> =
            labels.into_iter().map(|(instance, label)| (instance.to_string(), label.any)).collect();
        let data_set = DataSet::index(&[PathBuf::from(&arguments.data)]);
        for rejection in &data_set.rejections {
            tracing::warn!("rejected {}: {}: {}", rejection.input, rejection.reason, rejection.detail);
        }
        let slices = data_set.series.values().map(Vec::len).sum::<usize>();
        if slices == 0 {
            bail!("no CT slice under {}", arguments.data.display());
        }
        tracing::info!("{slices} slices of {} series", data_set.series.len());
        Ok(Self { data_set, labels, max_gap_mm: MethodConfig::default().max_gap_mm })
    }

    /// The runs of a series. A slice without a label ends the training: it would be a wrong negative.
    fn runs(&self, key: &SeriesKey) -> anyhow::Result<Vec<Vec<LabeledSlice>>> {
        let labeled = |(slice, plane): (_, Arc<Plane>)| {
            let slice: operators::record::Slice = slice;
            let Some(label) = self.labels.get(slice.instance.as_str()) else {
                bail!("slice {} has no label", slice.instance);
            };
            Ok(LabeledSlice { slice, plane, label: *label })
        };
        let series: Vec<LabeledSlice> =
            self.data_set.planes(key)?.into_iter().map(labeled).collect::<anyhow::Result<_>>()?;
        Ok(runs(series, self.max_gap_mm))
    }

    fn images(&self, client: &Client, config: &TrainConfig) -> anyhow::Result<Images> {
        let mut images = Images::new(config);
        let size = [config.input_size; 2];
        let preprocess = |plane: &Plane| -> Result<Vec<f32>, KernelError> {
            window::window(client, plane.stored(), [plane.rows, plane.columns], plane.rescale, &config.windows, size)
        };
        for key in self.data_set.series.keys() {
            for run in self.runs(key)? {
                let slices = run.iter().map(|labeled| TrainSlice {
                    plane: Arc::clone(&labeled.plane),
                    spacing_mm: labeled.slice.geometry.spacing_mm(),
                    label: labeled.label,
                });
                images.add(&TrainSeries { key: key.series.to_string(), slices: slices.collect() }, preprocess)?;
            }
        }
        Ok(images)
    }

    /// The pseudo-masks by run and slice, at the networks' input size.
    fn pseudo_masks(&self, model: &Model, client: &Client, size: usize) -> anyhow::Result<Vec<Vec<Option<Vec<bool>>>>> {
        let config = MethodConfig::default();
        let mut masks = Vec::new();
        for key in self.data_set.series.keys() {
            for run in self.runs(key)? {
                let found = pseudo_masks(model, client, &run, &config)?;
                let at_input = |(mask, labeled): (&Mask, &LabeledSlice)| {
                    (!mask.is_empty()).then(|| nearest(mask, [labeled.plane.rows, labeled.plane.columns], size))
                };
                masks.push(found.iter().zip(&run).map(at_input).collect());
            }
        }
        let with = masks.iter().map(|run: &Vec<Option<Vec<bool>>>| run.iter().filter(|mask| mask.is_some()).count());
        let with: usize = with.sum();
        tracing::info!("{with} slices have a pseudo-mask");
        Ok(masks)
    }
}

/// A mask at another size, each pixel that of the center of its cell.
fn nearest(mask: &Mask, [rows, columns]: [usize; 2], size: usize) -> Vec<bool> {
    let source = |cell: usize, cells: usize| (2 * cell + 1) * cells / (2 * size);
    let pixel = |index: usize| mask.voxels[source(index / size, rows) * columns + source(index % size, columns)] != 0;
    (0..size * size).map(pixel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_its_place_at_another_size() {
        let mask = Mask { voxels: (0..16).map(|index| u8::from(index / 4 < 2 && index % 4 >= 2)).collect() };
        assert_eq!(nearest(&mask, [4, 4], 2), [false, true, false, false]);
        assert_eq!(nearest(&mask, [4, 4], 4).iter().map(|b| u8::from(*b)).collect::<Vec<_>>(), mask.voxels);
        assert_eq!(nearest(&mask, [4, 4], 8).iter().filter(|b| **b).count(), 16);
    }
}
