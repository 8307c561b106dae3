//! `hemoflow evaluate`: a model, or models of folds, on a data set whose truth is known.
//!
//! Predictions come out of the same streaming graph as everywhere else; masks are gated by the predicted label, never by
//! the true one. Only the supervised baseline is its network's answer alone.

mod arm;
mod trained;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use kernels::Device;
use operators::layout::Case;
use operators::score::compare::{Comparison, Contender, compare};
use operators::score::instance::Instance;
use operators::score::{self, Arm, Classification, Curve, Masks, Metrics, Report};
use serde::Serialize;

use super::{Exit, inference};
use crate::arguments::{ArmKind, Evaluate, Protocol};
use crate::cohort::Cohort;
use crate::console::Console;
use arm::Findings;
use trained::Trainer;

/// Parts of a cross validation where nobody says.
const FOLDS: u8 = 5;

/// Predicts, compares with the truth, and tells and writes the scores.
pub(super) fn evaluate(arguments: &Evaluate, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    let cohort = Cohort::open(&arguments.data)?;
    let kinds = kinds(arguments)?;
    let trains = !arguments.fractions.is_empty() || kinds.iter().any(|kind| *kind != ArmKind::Model);
    let trainer = trains.then(|| Trainer::new(&cohort, arguments, device)).transpose()?;
    let mut arms = Vec::new();
    for kind in &kinds {
        let (name, mask, supervision, findings) = match (kind, &trainer) {
            (ArmKind::Weak, Some(trainer)) => ("weak", "union", trained::WEAK.to_owned(), trainer.weak()?),
            (ArmKind::Supervised, Some(trainer)) => {
                ("supervised", "segmentation", trained::SUPERVISED.to_owned(), trainer.supervised()?)
            }
            _ => {
                let (supervision, findings) = as_it_is(arguments, &cohort, device)?;
                ("model", "union", supervision, findings)
            }
        };
        let arm =
            Arm { name: name.to_owned(), supervision, mask, metrics: findings.metrics()?, worst: findings.pictures()? };
        if kinds.len() > 1 {
            console.line(format!("arm {name}"))?;
        }
        tell(&arm.metrics, arguments.protocol, console)?;
        arms.push(arm);
    }
    let curve = match &trainer {
        Some(trainer) if !arguments.fractions.is_empty() => Some(trainer.curve(&arguments.fractions, arguments.seeds)?),
        _ => None,
    };
    let contenders: Vec<Contender<'_>> =
        arms.iter().map(|arm| Contender { name: &arm.name, cases: &arm.metrics.cases, mask: arm.mask }).collect();
    let comparisons = compare(&contenders);
    tell_comparisons(&comparisons, console)?;
    tell_curve(curve.as_ref(), console)?;
    let title = format!("{} ({})", arguments.data.data.display(), cohort.set.layout);
    let report = Report { title, arms, comparisons, curve };
    let told = Told::of(&report, &cohort);
    console.json(&told)?;
    if let Some(out) = &arguments.out {
        fs::create_dir_all(out).with_context(|| format!("cannot create the folder {}", out.display()))?;
        put(&out.join("metrics.json"), &serde_json::to_vec_pretty(&told)?)?;
        put(&out.join("report.html"), score::report(&report).as_bytes())?;
    }
    Ok(if cohort.some_rejected() { Exit::SomeRejected } else { Exit::Done })
}

/// The arms that are asked for.
fn kinds(arguments: &Evaluate) -> anyhow::Result<Vec<ArmKind>> {
    let mut kinds = arguments.arms.clone();
    if kinds.is_empty() && arguments.folds.is_some() {
        kinds.push(ArmKind::Weak);
    } else if kinds.is_empty() && arguments.fractions.is_empty() {
        kinds.push(ArmKind::Model);
    }
    let mut seen = Vec::new();
    for kind in &kinds {
        if seen.contains(kind) {
            bail!("an arm is asked for twice");
        }
        seen.push(*kind);
    }
    Ok(kinds)
}

/// A model that is there, on all cases.
fn as_it_is(arguments: &Evaluate, cohort: &Cohort, device: Device) -> anyhow::Result<(String, Findings)> {
    let model = inference::load_model(arguments.inference.model.as_deref(), device)?;
    let cases: Vec<&Case> = cohort.set.cases.iter().collect();
    let findings = arm::streamed(&model, cohort, &cases, &arguments.inference)?;
    Ok((model.card().trained.supervision.clone(), findings))
}

/// What `metrics.json` holds: the scores of the first arm, and beside them what else there is.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    metrics: Option<&'a Metrics>,
    data: &'a str,
    rejections: Vec<operators::record::Rejection>,
    arms: BTreeMap<&'a str, ToldArm<'a>>,
    comparisons: &'a [Comparison],
    fractions: Vec<Fraction>,
}

#[derive(Serialize)]
struct ToldArm<'a> {
    supervision: &'a str,
    mask: &'a str,
    metrics: &'a Metrics,
}

#[derive(Serialize)]
struct Fraction {
    percent: f64,
    seed: u64,
    slice_auc: Option<f64>,
    dice: Option<f64>,
}

impl<'a> Told<'a> {
    fn of(report: &'a Report, cohort: &Cohort) -> Self {
        let told = |arm: &'a Arm| {
            (arm.name.as_str(), ToldArm { supervision: &arm.supervision, mask: arm.mask, metrics: &arm.metrics })
        };
        let points = report.curve.iter().flat_map(|curve| &curve.points);
        let fraction = |(percent, seed, slice_auc, dice): &(f64, u64, Option<f64>, Option<f64>)| Fraction {
            percent: *percent,
            seed: *seed,
            slice_auc: *slice_auc,
            dice: *dice,
        };
        Self {
            metrics: report.arms.first().map(|arm| &arm.metrics),
            data: &report.title,
            rejections: cohort.rejections(),
            arms: report.arms.iter().map(told).collect(),
            comparisons: &report.comparisons,
            fractions: points.map(fraction).collect(),
        }
    }
}

fn tell_comparisons(comparisons: &[Comparison], console: &mut Console) -> anyhow::Result<()> {
    for comparison in comparisons {
        let Comparison { first, second, score, patients, means: [a, b], difference, interval, .. } = comparison;
        let interval = interval.map_or_else(String::new, |[low, high]| format!(" ({low:+.3} to {high:+.3})"));
        console.line(format!(
            "{first} against {second}, {score}, {patients} patients: {a:.3} and {b:.3}, difference {difference:+.3}{interval}, \
             p {} (corrected {})",
            number(comparison.p),
            number(comparison.p_corrected)
        ))?;
    }
    Ok(())
}

fn tell_curve(curve: Option<&Curve>, console: &mut Console) -> anyhow::Result<()> {
    for (percent, seed, auc, dice) in curve.iter().flat_map(|curve| &curve.points) {
        console.line(format!("labels {percent} %, seed {seed}: slice AUC {}, Dice {}", number(*auc), number(*dice)))?;
    }
    Ok(())
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
    for area in &metrics.areas {
        let [sensitivity, auc, dice] = [area.sensitivity, area.auc, area.dice].map(number);
        console.line(format!("{area}: {} slices, sensitivity {sensitivity}, AUC {auc}, Dice {dice}", area.slices))?;
    }
    Ok(())
}
