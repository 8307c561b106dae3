//! Arms that are trained: cross validation, the label-fraction curve, and the fully supervised baseline.

use kernels::{Client, Device};
use operators::layout::Case;
use operators::model::Model;
use operators::score::Curve;
use operators::score::folds::folds;
use operators::train::{Course, TrainConfig, TrainError};

use super::FOLDS;
use super::arm::{Findings, segmented, streamed};
use crate::arguments::{Evaluate, Inference};
use crate::cohort::Cohort;
use crate::command::train::{configuration, say};
use crate::training::Lessons;

/// What influenced the arms.
pub(super) const WEAK: &str = "slice labels only";
pub(super) const SUPERVISED: &str = "masks";

/// Trains a model for each fold of a cohort.
pub(super) struct Trainer<'a> {
    cohort: &'a Cohort,
    inference: &'a Inference,
    config: TrainConfig,
    client: Client,
    device: Device,
    /// The patients of each fold.
    folds: Vec<Vec<String>>,
}

impl<'a> Trainer<'a> {
    pub(super) fn new(cohort: &'a Cohort, arguments: &'a Evaluate, device: Device) -> anyhow::Result<Self> {
        let config = configuration(&arguments.training)?;
        let positive = |case: &Case| {
            let labels = cohort.load(case).into_iter().flat_map(|loaded| loaded.slices).map(|slice| slice.labels);
            labels.flatten().any(|labels| labels.any)
        };
        let patients: Vec<(String, bool)> = cohort
            .set
            .patients()
            .into_iter()
            .map(|patient| {
                let mut own = cohort.set.cases.iter().filter(|case| case.patient == patient);
                (patient.to_owned(), own.any(positive))
            })
            .collect();
        let folds = folds(&patients, arguments.folds.unwrap_or(FOLDS).into(), config.seed);
        Ok(Self { cohort, inference: &arguments.inference, client: device.client()?, config, device, folds })
    }

    /// The method on every fold, from slice labels alone.
    pub(super) fn weak(&self) -> anyhow::Result<Findings> {
        self.each_fold("weak", |training, test| {
            let model = self.method(training, &self.config)?;
            streamed(&model, self.cohort, &test, self.inference)
        })
    }

    /// A U-Net on every fold, from masks.
    pub(super) fn supervised(&self) -> anyhow::Result<Findings> {
        self.each_fold("supervised", |training, test| {
            let lessons =
                Lessons::new(self.cohort, training, &self.client, &self.config, self.inference.method.as_ref())?;
            let card = self.config.card("supervised", env!("CARGO_PKG_VERSION"));
            let model = Model::untrained(card, self.config.seed, self.device)?;
            let model = lessons.supervised(&model, &mut Course::new(&mut say))?;
            segmented(&model, self.cohort, &test, self.device)
        })
    }

    /// The method with parts of the labels, tested on the first fold.
    pub(super) fn curve(&self, percents: &[u8], seeds: u8) -> anyhow::Result<Curve> {
        let (training, test) = self.split(0);
        let mut points = Vec::new();
        for percent in percents {
            for seed in (self.config.seed..).take(seeds.into()) {
                tracing::info!("{percent} % of the labels, seed {seed}");
                let fraction = f64::from(*percent) / 100.0;
                let config = TrainConfig { fraction, seed, ..self.config.clone() };
                let model = self.method(training.clone(), &config)?;
                let metrics = streamed(&model, self.cohort, &test, self.inference)?.metrics()?;
                points.push((f64::from(*percent), seed, metrics.slices.auc, metrics.union.dice));
            }
        }
        Ok(Curve { points })
    }

    /// All stages of the method.
    fn method(&self, training: Vec<&Case>, config: &TrainConfig) -> anyhow::Result<Model> {
        let lessons = Lessons::new(self.cohort, training, &self.client, config, self.inference.method.as_ref())?;
        let card = config.card("fold", env!("CARGO_PKG_VERSION"));
        let mut tell = say;
        let mut course = Course::new(&mut tell);
        let model = lessons.classifier(card, None, self.device, &mut course)?;
        match lessons.segmenter(&model, &mut course) {
            // With few labels there may be nothing to learn masks from: that is a result, not a failure.
            Err(error) if matches!(error.downcast_ref(), Some(TrainError::NoMasks { .. })) => {
                tracing::warn!("{error:#}; this model has no segmenter");
                Ok(model)
            }
            result => result,
        }
    }

    /// The cases to train on, and those to test.
    fn split(&self, fold: usize) -> (Vec<&'a Case>, Vec<&'a Case>) {
        let tested = |case: &&Case| self.folds.get(fold).is_some_and(|patients| patients.contains(&case.patient));
        let (test, training) = self.cohort.set.cases.iter().partition(tested);
        (training, test)
    }

    fn each_fold(
        &self,
        name: &str,
        find: impl Fn(Vec<&'a Case>, Vec<&'a Case>) -> anyhow::Result<Findings>,
    ) -> anyhow::Result<Findings> {
        let mut findings = Findings::default();
        for fold in 0..self.folds.len() {
            let (training, test) = self.split(fold);
            tracing::info!(
                "{name}, fold {} of {}: {} cases to train, {} to test",
                fold + 1,
                self.folds.len(),
                training.len(),
                test.len()
            );
            if !test.is_empty() {
                findings.extend(find(training, test)?);
            }
        }
        Ok(findings)
    }
}
