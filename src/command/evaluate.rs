//! `hemoflow evaluate`: a model on a data set whose truth is known.
//!
//! Predictions come out of the same streaming graph as everywhere else; masks are gated by the predicted label, never by
//! the true one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use kernels::Device;
use nifti::{IntoNdArray, NiftiObject, ReaderOptions};
use operators::geometry;
use operators::record::{Mask, SeriesKey, Slice};
use operators::score::instance::Instance;
use operators::score::{
    self, Classification, Masks, Metrics, SeriesPrediction, SeriesTruth, SlicePrediction, SliceTruth,
};
use operators::selection::Rules;

use super::inference::Running;
use super::{Exit, run};
use crate::arguments::{Evaluate, Keep, Protocol};
use crate::collector::{Collected, Current};
use crate::console::Console;

/// Streams the data set, compares with the masks, and tells and writes the scores.
pub(super) fn evaluate(arguments: &Evaluate, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    if !arguments.masks.is_dir() {
        bail!("no folder of masks at {}", arguments.masks.display());
    }
    let mut running = Running::start(&arguments.inference, &Keep::default(), Vec::new(), device, |_: &Current| {})?;
    let method = Arc::clone(running.node.method());
    run::stream(std::slice::from_ref(&arguments.data), &mut running.node, false, &Rules::default())?;
    let (collected, _metrics) = running.finish()?;
    if collected.series.is_empty() {
        bail!("no CT slice under {}", arguments.data.display());
    }
    let predictions: Vec<SeriesPrediction> =
        collected.series.iter().map(|(key, current)| prediction(key, current)).collect();
    let truth: Vec<SeriesTruth> = collected
        .series
        .iter()
        .map(|(key, current)| truth(&arguments.masks, key, current, method.config.max_gap_mm))
        .collect::<anyhow::Result<_>>()?;
    let metrics = score::evaluate(&predictions, &truth, method.config.mask_gate)?;
    tell(&metrics, arguments.protocol, console)?;
    console.json(&metrics)?;
    if let Some(out) = &arguments.out {
        fs::create_dir_all(out).with_context(|| format!("cannot create the folder {}", out.display()))?;
        let title = format!("{} {} on {}", method.name.name, method.name.version, arguments.data.display());
        put(&out.join("metrics.json"), &serde_json::to_vec_pretty(&metrics)?)?;
        put(&out.join("report.html"), score::report(&title, &metrics).as_bytes())?;
    }
    Ok(exit(&collected))
}

fn exit(collected: &Collected) -> Exit {
    for rejection in collected.rejections.keys() {
        tracing::warn!("rejected {}: {}: {}", rejection.input, rejection.reason, rejection.detail);
    }
    if collected.rejections.is_empty() { Exit::Done } else { Exit::SomeRejected }
}

fn prediction(key: &SeriesKey, current: &Current) -> SeriesPrediction {
    let voxels = |mask: &Option<Arc<Mask>>| mask.as_ref().map(|mask| mask.voxels.clone());
    let slices = current.publication.slices.iter().map(|published| SlicePrediction {
        instance: published.slice.instance.clone(),
        probability: published.probability,
        mask: voxels(&published.mask),
        pseudo_mask: voxels(&published.pseudo_mask),
    });
    SeriesPrediction { series: key.series.clone(), slices: slices.collect() }
}

/// The truth of a series: the volume `<StudyUID>.nii.gz`, whose slices are those of the series in z order.
fn truth(masks: &Path, key: &SeriesKey, current: &Current, max_gap_mm: f64) -> anyhow::Result<SeriesTruth> {
    let path = masks.join(format!("{}.nii.gz", key.study));
    let volume = volume(&path).with_context(|| format!("the mask {}", path.display()))?;
    let slices: Vec<Slice> = current.publication.slices.iter().map(|published| published.slice.clone()).collect();
    if volume.len() != slices.len() {
        bail!("{} has {} slices, its series has {}", path.display(), volume.len(), slices.len());
    }
    let slabs = geometry::slabs_mm(&slices, max_gap_mm);
    let truth = |((slice, slab), mask): ((&Slice, f64), Vec<u8>)| SliceTruth {
        instance: slice.instance.clone(),
        label: mask.iter().any(|voxel| *voxel != 0),
        mask: Some(mask),
        voxel_ml: slice.geometry.pixel_area_mm2() * slab / 1e3,
    };
    let sizes = current.publication.slices.iter().map(|published| [published.plane.rows, published.plane.columns]);
    let first = sizes.clone().next();
    let size = first.filter(|first| sizes.clone().all(|size| size == *first));
    let in_plane = slices.first().map_or([1.0; 2], |slice| slice.geometry.spacing_mm());
    let mut thickness: Vec<f64> = slabs.clone();
    thickness.sort_by(f64::total_cmp);
    let between = thickness.get(thickness.len() / 2).copied().unwrap_or(1.0);
    let spacing_mm = [between, in_plane[0], in_plane[1]];
    let slices = slices.iter().zip(slabs).zip(volume).map(truth).collect();
    Ok(SeriesTruth { series: key.series.clone(), size, spacing_mm, slices })
}

/// The slices of a volume, each `[rows, columns]`, row major.
fn volume(path: &PathBuf) -> anyhow::Result<Vec<Vec<u8>>> {
    let volume = ReaderOptions::new().read_file(path)?.into_volume().into_ndarray::<u8>()?;
    let [columns, rows, depth] = volume.shape() else {
        return Err(anyhow!("{} axes, must be 3", volume.ndim()));
    };
    let voxel = |z: usize, index: usize| volume[[index % columns, index / columns, z].as_slice()];
    Ok((0..*depth).map(|z| (0..rows * columns).map(|index| voxel(z, index)).collect()).collect())
}

fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn tell(metrics: &Metrics, protocol: Protocol, console: &mut Console) -> anyhow::Result<()> {
    for (name, scores) in [("slices", &metrics.slices), ("series", &metrics.series)] {
        let Classification { n, positives, auc, sensitivity, specificity, .. } = scores;
        console.line(format!(
            "{name}: {n}, {positives} positive, AUC {}, sensitivity {} and specificity {} at {:.3}",
            number(*auc),
            number(*sensitivity),
            number(*specificity),
            metrics.gate
        ))?;
    }
    match protocol {
        Protocol::Paper => tell_slices(metrics, console),
        Protocol::Instance => tell_cases(metrics, console),
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

/// By the protocol of INSTANCE: a mean over volumes.
fn tell_cases(metrics: &Metrics, console: &mut Console) -> anyhow::Result<()> {
    console.line("mask          cases  empty   DSC    RVD    NSD  HD mm  HD95 mm  lesions found  false")?;
    for (name, scores) in &metrics.instance {
        let Instance { cases, empty_predictions, dice, relative_volume_difference, surface_dice, lesions, .. } = scores;
        console.line(format!(
            "{name:<12}  {cases:>5}  {empty_predictions:>5}  {}  {}  {}  {:>5}  {:>7}  {:>6} of {:<4}  {:>5}",
            number(*dice),
            number(*relative_volume_difference),
            number(*surface_dice),
            scores.hausdorff_mm.map_or_else(|| "inf".to_owned(), |mm| format!("{mm:.1}")),
            scores.hausdorff_95_mm.map_or_else(|| "-".to_owned(), |mm| format!("{mm:.1}")),
            lesions.found,
            lesions.present,
            lesions.false_positive,
        ))?;
    }
    Ok(())
}

/// By the protocol of the paper: a mean over slices.
fn tell_slices(metrics: &Metrics, console: &mut Console) -> anyhow::Result<()> {
    console.line("mask          Dice/slice  IoU/slice  Dice/volume  error mL  false-positive mL")?;
    for (name, masks) in
        [("segmentation", &metrics.segmentation), ("pseudo_mask", &metrics.pseudo_mask), ("union", &metrics.union)]
    {
        let Masks { dice, iou, volume_dice, volume_error_ml, false_positive_ml, .. } = masks;
        console.line(format!(
            "{name:<12}  {:>10}  {:>9}  {:>11}  {:>8}  {false_positive_ml:>17.2}",
            number(*dice),
            number(*iou),
            number(*volume_dice),
            number(*volume_error_ml),
        ))?;
    }
    for (subtype, scores) in &metrics.subtypes {
        let (sensitivity, dice) = (number(scores.sensitivity), number(scores.dice));
        console.line(format!("{subtype}: {} slices, sensitivity {sensitivity}, Dice {dice}", scores.slices))?;
    }
    Ok(())
}
