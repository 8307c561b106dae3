//! The cases of a data set as training and evaluation take them: opened, told, and read one after the other.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::bail;
use graphs::weak_labels::LabeledSlice;
use kernels::{Client, KernelError, window};
use operators::geometry;
use operators::layout::{Case, CaseSlice, DataSet, Given, Loaded};
use operators::record::{MethodConfig, Plane, Rejection, Slice};
use operators::train::{Images, TrainConfig, TrainSeries, TrainSlice};

use crate::arguments::Data;

/// A run of a case: slices in z order without a gap between them.
pub struct Run {
    /// What training sees of them.
    pub slices: Vec<LabeledSlice>,
    /// Their masks, `[rows, columns]`, where somebody drew one.
    pub masks: Vec<Option<Vec<u8>>>,
}

/// A data set whose cases are labeled. What cannot be used was told, and is counted.
pub struct Cohort {
    /// The cases.
    pub set: DataSet,
    rejections: RefCell<BTreeSet<Rejection>>,
    max_gap_mm: f64,
}

impl Cohort {
    /// Opens a data set and tells what is in it.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be opened, or holds no labeled case.
    pub fn open(arguments: &Data) -> anyhow::Result<Self> {
        let given =
            Given { layout: arguments.layout, labels: arguments.labels.clone(), masks: arguments.masks.clone() };
        let mut set = DataSet::open(&arguments.data, &given)?;
        set.keep_labeled();
        let cohort = Self { rejections: RefCell::default(), max_gap_mm: MethodConfig::default().max_gap_mm, set };
        cohort.reject(cohort.set.rejections.clone());
        let Self { set, .. } = &cohort;
        if set.cases.is_empty() {
            bail!("no labeled case under {} (layout {})", arguments.data.display(), set.layout);
        }
        tracing::info!("{} cases of {} patients, layout {}", set.cases.len(), set.patients().len(), set.layout);
        Ok(cohort)
    }

    /// Whether anything was rejected.
    pub fn some_rejected(&self) -> bool {
        !self.rejections.borrow().is_empty()
    }

    /// What was rejected, each once.
    pub fn rejections(&self) -> Vec<Rejection> {
        self.rejections.borrow().iter().cloned().collect()
    }

    /// Names what cannot be used, each once.
    pub fn reject(&self, rejections: impl IntoIterator<Item = Rejection>) {
        for rejection in rejections {
            if !self.rejections.borrow().contains(&rejection) {
                tracing::warn!("rejected {}: {}: {}", rejection.input, rejection.reason, rejection.detail);
                self.rejections.borrow_mut().insert(rejection);
            }
        }
    }

    /// Reads a case; `None`, told by name, if it cannot be used.
    pub fn load(&self, case: &Case) -> Option<Loaded> {
        match case.load() {
            Ok(mut loaded) => {
                self.reject(std::mem::take(&mut loaded.rejections));
                if loaded.conflicts > 0 {
                    tracing::warn!("{}: labels and mask disagree on {} slices", case.name, loaded.conflicts);
                }
                Some(loaded)
            }
            Err(rejection) => {
                self.reject([rejection]);
                None
            }
        }
    }

    /// The runs of a case. Slices that do not decode are told by name and left out.
    pub fn runs(&self, case: &Case) -> Vec<Run> {
        let loaded = self.load(case).map(|loaded| loaded.slices).unwrap_or_default();
        let mut known: Vec<(LabeledSlice, Option<Vec<u8>>)> = Vec::with_capacity(loaded.len());
        for found in loaded {
            match found.plane() {
                Ok(plane) => {
                    let CaseSlice { slice, labels, mask, .. } = found;
                    let label = labels.is_some_and(|labels| labels.any);
                    known.push((LabeledSlice { slice, plane, label }, mask));
                }
                Err(rejection) => self.reject([rejection]),
            }
        }
        let slices: Vec<Slice> = known.iter().map(|(labeled, _)| labeled.slice.clone()).collect();
        let mut known = known.into_iter();
        let runs = geometry::runs(&slices, self.max_gap_mm).into_iter();
        runs.map(|run| {
            let (slices, masks) = known.by_ref().take(run.len()).unzip();
            Run { slices, masks }
        })
        .collect()
    }

    /// The images of some cases, run by run.
    ///
    /// # Errors
    ///
    /// Returns an error if a slice cannot be brought to the networks' input.
    pub fn images(&self, cases: &[&Case], client: &Client, config: &TrainConfig) -> anyhow::Result<Images> {
        let mut images = Images::new(config);
        let size = [config.input_size; 2];
        let preprocess = |plane: &Plane| -> Result<Vec<f32>, KernelError> {
            window::window(client, plane.stored(), [plane.rows, plane.columns], plane.rescale, &config.windows, size)
        };
        for case in cases {
            for run in self.runs(case) {
                let slices = run.slices.iter().map(|labeled| TrainSlice {
                    plane: Arc::clone(&labeled.plane),
                    spacing_mm: labeled.slice.geometry.spacing_mm(),
                    label: labeled.label,
                });
                images.add(&TrainSeries { key: case.patient.clone(), slices: slices.collect() }, preprocess)?;
            }
        }
        Ok(images)
    }
}
