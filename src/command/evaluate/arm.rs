//! One arm: what is predicted of some cases, what is true of them, and where it went worst.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernels::{Client, Device};
use operators::geometry;
use operators::layout::{Case, Loaded};
use operators::model::Model;
use operators::record::{Mask, Plane, SeriesKey, Slice};
use operators::score::overlap::union;
use operators::score::picture::{PICTURES, Picture, picture};
use operators::score::{self, Metrics, SeriesPrediction, SeriesTruth, SlicePrediction, SliceTruth};
use operators::segment::answer;

use crate::arguments::{Inference, Keep};
use crate::cohort::Cohort;
use crate::collector::Current;
use crate::command::inference::Running;

/// What was found out about some cases.
#[derive(Default)]
pub(super) struct Findings {
    predictions: Vec<SeriesPrediction>,
    truth: Vec<SeriesTruth>,
    worst: Vec<Worst>,
}

/// The slice of a case on which prediction and truth differ most.
struct Worst {
    /// Dice of the volume; 0 where nothing is there and something was found.
    dice: f64,
    /// Voxels that differ in the slice.
    differ: usize,
    caption: String,
    plane: Arc<Plane>,
    spacing_mm: [f64; 2],
    truth: Vec<u8>,
    predicted: Vec<u8>,
}

impl Findings {
    /// Takes what was found out about other cases.
    pub(super) fn extend(&mut self, other: Self) {
        self.predictions.extend(other.predictions);
        self.truth.extend(other.truth);
        self.worst.extend(other.worst);
        self.worst.sort_by(|a, b| a.dice.total_cmp(&b.dice).then(b.differ.cmp(&a.differ)));
        self.worst.truncate(PICTURES);
    }

    /// The scores.
    pub(super) fn metrics(&self) -> anyhow::Result<Metrics> {
        Ok(score::evaluate(&self.predictions, &self.truth)?)
    }

    /// The worst slices, drawn.
    pub(super) fn pictures(&self) -> anyhow::Result<Vec<Picture>> {
        let draw = |worst: &Worst| {
            Ok(picture(worst.caption.clone(), &worst.plane, worst.spacing_mm, &worst.truth, &worst.predicted)?)
        };
        self.worst.iter().map(draw).collect()
    }
}

/// Streams cases through the graph and compares what comes out with what is true.
pub(super) fn streamed(
    model: &Model,
    cohort: &Cohort,
    cases: &[&Case],
    inference: &Inference,
) -> anyhow::Result<Findings> {
    let mut running = Running::with(model.clone(), inference, &Keep::default(), Vec::new(), |_: &Current| {})?;
    let gate = running.node.method().config.mask_gate;
    let mut truth: BTreeMap<SeriesKey, SeriesTruth> = BTreeMap::new();
    for case in cases {
        let Some(loaded) = cohort.load(case) else { continue };
        for instance in loaded.instances() {
            running.node.arrive(&instance, None, false)?;
        }
        running.node.complete(&loaded.key)?;
        truth.insert(loaded.key.clone(), true_of(case, &loaded));
    }
    let (collected, _metrics) = running.finish()?;
    cohort.reject(collected.rejections.into_keys());
    let mut findings = Findings::default();
    for (key, truth) in truth {
        let current = collected.series.get(&key);
        let planes = current.map(planes).unwrap_or_default();
        let slices = current.map(predicted).unwrap_or_default();
        findings.extend(Findings {
            worst: worst(&truth, &slices, &planes).into_iter().collect(),
            predictions: vec![SeriesPrediction { series: key.series, gate, slices }],
            truth: vec![truth],
        });
    }
    Ok(findings)
}

/// What a segmenter alone says of cases, without gate, brain or plausibility: the baseline.
pub(super) fn segmented(model: &Model, cohort: &Cohort, cases: &[&Case], device: Device) -> anyhow::Result<Findings> {
    let client: Client = device.client()?;
    let mut findings = Findings::default();
    for case in cases {
        let Some(loaded) = cohort.load(case) else { continue };
        let (mut slices, mut planes) = (Vec::new(), BTreeMap::new());
        for found in &loaded.slices {
            let plane = match found.plane() {
                Ok(plane) => plane,
                Err(rejection) => {
                    cohort.reject([rejection]);
                    continue;
                }
            };
            let (mask, logit) = answer(model, &client, &plane)?;
            slices.push(SlicePrediction {
                instance: found.slice.instance.clone(),
                probability: 1.0 / (1.0 + (-logit).exp()),
                mask: Some(mask),
                pseudo_mask: None,
            });
            planes.insert(found.slice.instance.clone(), (plane, found.slice.geometry.spacing_mm()));
        }
        let truth = true_of(case, &loaded);
        findings.extend(Findings {
            worst: worst(&truth, &slices, &planes).into_iter().collect(),
            predictions: vec![SeriesPrediction { series: loaded.key.series, gate: 0.5, slices }],
            truth: vec![truth],
        });
    }
    Ok(findings)
}

/// Planes and their pixel spacing, by instance.
type Planes = BTreeMap<operators::record::InstanceUid, (Arc<Plane>, [f64; 2])>;

fn planes(current: &Current) -> Planes {
    let plane = |published: &operators::publish::PublishedSlice| {
        let slice = &published.slice;
        (slice.instance.clone(), (Arc::clone(&published.plane), slice.geometry.spacing_mm()))
    };
    current.publication.slices.iter().map(plane).collect()
}

fn predicted(current: &Current) -> Vec<SlicePrediction> {
    let voxels = |mask: &Option<Arc<Mask>>| mask.as_ref().map(|mask| mask.voxels.clone());
    let slices = current.publication.slices.iter().map(|published| SlicePrediction {
        instance: published.slice.instance.clone(),
        probability: published.probability,
        mask: voxels(&published.mask),
        pseudo_mask: voxels(&published.pseudo_mask),
    });
    slices.collect()
}

/// What is true of a case.
fn true_of(case: &Case, loaded: &Loaded) -> SeriesTruth {
    let slices: Vec<Slice> = loaded.slices.iter().map(|found| found.slice.clone()).collect();
    let slabs = geometry::slabs_mm(&slices, operators::record::MethodConfig::default().max_gap_mm);
    let truth = |(found, slab): (&operators::layout::CaseSlice, &f64)| SliceTruth {
        instance: found.slice.instance.clone(),
        label: found.labels.is_some_and(|labels| labels.any),
        subtypes: found.labels.map_or([None; 5], |labels| labels.subtypes),
        mask: found.mask.clone(),
        voxel_ml: found.slice.geometry.pixel_area_mm2() * slab / 1e3,
    };
    let side = |side: u32| usize::try_from(side).unwrap_or(usize::MAX);
    let sizes = slices.iter().map(|slice| [side(slice.geometry.rows), side(slice.geometry.columns)]);
    let first = sizes.clone().next();
    let size = first.filter(|first| sizes.clone().all(|size| size == *first));
    let in_plane = slices.first().map_or([1.0; 2], |slice| slice.geometry.spacing_mm());
    let mut thickness = slabs.clone();
    thickness.sort_by(f64::total_cmp);
    let between = thickness.get(thickness.len() / 2).copied().unwrap_or(1.0);
    SeriesTruth {
        series: loaded.key.series.clone(),
        patient: case.patient.clone(),
        size,
        spacing_mm: [between, in_plane[0], in_plane[1]],
        slices: loaded.slices.iter().zip(&slabs).map(truth).collect(),
    }
}

/// The slice of a series on which truth and prediction (segmentation or pseudo-mask) differ most; `None` if they do not.
fn worst(truth: &SeriesTruth, slices: &[SlicePrediction], planes: &Planes) -> Option<Worst> {
    let by: BTreeMap<_, _> = slices.iter().map(|slice| (&slice.instance, slice)).collect();
    let (mut both, mut all) = (0, 0);
    let mut most: Option<Worst> = None;
    for (number, slice) in (1..).zip(&truth.slices) {
        let Some(drawn) = &slice.mask else { continue };
        let found = by.get(&slice.instance);
        let get = |mask: Option<&Vec<u8>>| {
            mask.filter(|mask| mask.len() == drawn.len()).cloned().unwrap_or_else(|| vec![0; drawn.len()])
        };
        let predicted = union(
            &get(found.and_then(|found| found.mask.as_ref())),
            &get(found.and_then(|found| found.pseudo_mask.as_ref())),
        );
        let pairs = || drawn.iter().zip(&predicted).map(|(a, b)| (*a != 0, *b != 0));
        both += 2 * pairs().filter(|(a, b)| *a && *b).count();
        all += pairs().map(|(a, b)| usize::from(a) + usize::from(b)).sum::<usize>();
        let differ = pairs().filter(|(a, b)| a != b).count();
        if differ <= most.as_ref().map_or(0, |most| most.differ) {
            continue;
        }
        let Some((plane, spacing_mm)) = planes.get(&slice.instance) else { continue };
        let probability = found.map_or(0.0, |found| found.probability);
        most = Some(Worst {
            dice: 0.0,
            differ,
            caption: format!("{}, slice {number} of {}, p = {probability:.2}", truth.patient, truth.slices.len()),
            plane: Arc::clone(plane),
            spacing_mm: *spacing_mm,
            truth: drawn.clone(),
            predicted,
        });
    }
    #[allow(clippy::as_conversions, reason = "counts of voxels stay below 2^53")]
    let dice = if all == 0 { 1.0 } else { both as f64 / all as f64 };
    most.map(|most| Worst { caption: format!("{}, Dice of the volume {dice:.2}", most.caption), dice, ..most })
}
