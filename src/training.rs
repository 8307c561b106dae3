//! A model out of a cohort, stage by stage: what `train` does once, and `evaluate` for each fold.

use std::sync::Arc;

use graphs::weak_labels::pseudo_masks;
use kernels::Client;
use operators::layout::Case;
use operators::model::{Card, Model};
use operators::record::{Mask, MethodConfig, Plane};
use operators::segment::segment;
use operators::train::{Course, Images, Teacher, TrainConfig, add_segmenter, aim, train};

use crate::cohort::{Cohort, Run};

/// Masks by run and slice, at the networks' input size.
type Masks = Vec<Vec<Option<Vec<bool>>>>;

/// What is trained on.
pub struct Lessons<'a> {
    cohort: &'a Cohort,
    cases: Vec<&'a Case>,
    images: Images,
    client: &'a Client,
    config: &'a TrainConfig,
    method: MethodConfig,
}

impl<'a> Lessons<'a> {
    /// Reads the images of some cases.
    ///
    /// # Errors
    ///
    /// Returns an error if a slice cannot be brought to the networks' input.
    pub fn new(
        cohort: &'a Cohort,
        cases: Vec<&'a Case>,
        client: &'a Client,
        config: &'a TrainConfig,
        method: Option<&MethodConfig>,
    ) -> anyhow::Result<Self> {
        let images = cohort.images(&cases, client, config)?;
        tracing::info!("{} slices, {} with hemorrhage", images.slices(), images.positive_slices());
        Ok(Self { cohort, cases, images, client, config, method: method.cloned().unwrap_or_default() })
    }

    /// Stages 1 to 3, from slice labels.
    ///
    /// # Errors
    ///
    /// Returns an error if nothing can be learned, or the networks cannot run.
    pub fn classifier(
        &self,
        card: Card,
        start: Option<&Model>,
        device: kernels::Device,
        course: &mut Course,
    ) -> anyhow::Result<Model> {
        Ok(train(card, start, &self.images, self.config, device, course)?)
    }

    /// Stage 4, from the model's own pseudo-masks, and the rounds of self-training of the configuration.
    ///
    /// # Errors
    ///
    /// Returns an error if there are no pseudo-masks, or the networks cannot run.
    pub fn segmenter(&self, model: &Model, course: &mut Course) -> anyhow::Result<Model> {
        // Models of before do not tell where their maps look.
        let model = match model.card().map_before {
            Some(_) => model.clone(),
            None => aim(model, &self.images, self.config)?,
        };
        let maps = self.maps(&model)?;
        let mut model = self.learn(&model, Teacher::Maps, &maps, course)?;
        for round in 1..=self.config.self_training.min(Teacher::ROUNDS) {
            let own = self.own(&model, &maps)?;
            model = self.learn(&model, Teacher::Itself(round), &own, course)?;
        }
        Ok(model)
    }

    /// Stage 4, from masks that people drew.
    ///
    /// # Errors
    ///
    /// Returns an error if there are no masks, or the networks cannot run.
    pub fn supervised(&self, model: &Model, course: &mut Course) -> anyhow::Result<Model> {
        let masks = self.each_run(|run| {
            let drawn = |(mask, size): (&Option<Vec<u8>>, [usize; 2])| {
                let mask = Mask { voxels: mask.clone()? };
                Some(nearest(&mask, size, self.config.input_size))
            };
            Ok(run.masks.iter().zip(sizes(run)).map(drawn).collect())
        })?;
        self.learn(model, Teacher::People, &masks, course)
    }

    fn learn(&self, model: &Model, teacher: Teacher, masks: &Masks, course: &mut Course) -> anyhow::Result<Model> {
        let mask = |run: usize, slice: usize| masks.get(run)?.get(slice)?.clone();
        Ok(add_segmenter(model, teacher, &self.images, mask, self.config, course)?)
    }

    /// The masks of the runs that are used; those that a fraction leaves out have none.
    fn each_run(&self, masks: impl Fn(&Run) -> anyhow::Result<Vec<Option<Vec<bool>>>>) -> anyhow::Result<Masks> {
        let split = self.images.split(self.config)?;
        let runs = self.cases.iter().flat_map(|case| self.cohort.runs(case)).enumerate();
        let of_run = |(index, run): (usize, Run)| {
            if split.uses(index) { masks(&run) } else { Ok(vec![None; run.slices.len()]) }
        };
        let found: Masks = runs.map(of_run).collect::<anyhow::Result<_>>()?;
        let with: usize = found.iter().flatten().filter(|mask| mask.is_some()).count();
        tracing::info!("{with} slices have a mask");
        Ok(found)
    }

    /// The pseudo-masks.
    fn maps(&self, model: &Model) -> anyhow::Result<Masks> {
        self.each_run(|run| {
            let found = pseudo_masks(model, self.client, &run.slices, &self.method)?;
            let at_input = |(mask, size): (&Mask, [usize; 2])| {
                (!mask.is_empty()).then(|| nearest(mask, size, self.config.input_size))
            };
            Ok(found.iter().zip(sizes(run)).map(at_input).collect())
        })
    }

    /// The segmenter's own masks of the slices with hemorrhage; where it finds nothing, those that it learned from.
    fn own(&self, model: &Model, maps: &Masks) -> anyhow::Result<Masks> {
        let mut own = self.each_run(|run| {
            let mut masks = vec![None; run.slices.len()];
            for (slot, labeled) in masks.iter_mut().zip(&run.slices).filter(|(_, labeled)| labeled.label) {
                let plane = (Arc::clone(&labeled.plane), labeled.slice.geometry.spacing_mm());
                let size = [plane.0.rows, plane.0.columns];
                let found = segment(model, self.client, &[plane], &self.method.refine)?;
                let mask = found.first().filter(|mask| !mask.is_empty());
                *slot = mask.map(|mask| nearest(mask, size, self.config.input_size));
            }
            Ok(masks)
        })?;
        for (own, maps) in own.iter_mut().flatten().zip(maps.iter().flatten()) {
            if own.is_none() {
                own.clone_from(maps);
            }
        }
        Ok(own)
    }
}

/// Rows and columns of the slices of a run.
fn sizes(run: &Run) -> impl Iterator<Item = [usize; 2]> {
    let size = |plane: &Plane| [plane.rows, plane.columns];
    run.slices.iter().map(move |labeled| size(&labeled.plane))
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
