//! The stages of device work that the graphs share: an executor and a shelf for each.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kernels::executor::{Executor, Fault, Limits};
use kernels::{Device, DeviceError};
use operators::classify::ClassifyTask;
use operators::decode::{DecodeTask, Decoded, decode};
use operators::dicom::Pixels;
use operators::encode::{EncodeError, EncodeTask, Encoding, encode};
use operators::event::{Metrics, StageRan, Telemetry};
use operators::fuse::{FuseTask, FusedMap, fuse};
use operators::model::{Model, ModelError};
use operators::plumbing::Stage;
use operators::publish::Shelves;
use operators::reconcile::ReconcileTask;
use operators::record::{Digest, Mask, Method, MethodConfig, Plane, Tick};
use operators::refine::{RefineTask, consistent, refine};
use operators::segment::{SegmentError, SegmentTask, segment};
use operators::store::Shelf;
use prometheus::Registry;

/// Everything that a graph needs beside its inputs. One for all workers of a process.
#[derive(Clone)]
pub struct Stages {
    /// The method, which names results.
    pub method: Method,
    /// What was received, until it is taken back.
    pub pixels: Shelf<Pixels>,
    pub(crate) decode: Stage<DecodeTask, Decoded>,
    pub(crate) encode: Stage<EncodeTask, Encoding>,
    pub(crate) classify: Stage<ClassifyTask, Vec<f32>>,
    pub(crate) fuse: Stage<FuseTask, FusedMap>,
    pub(crate) refine: Stage<RefineTask, Mask>,
    pub(crate) reconcile: Stage<ReconcileTask, Mask>,
    pub(crate) segment: Stage<SegmentTask, Mask>,
}

/// Stages that cannot start, or work that cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The device cannot be used.
    #[error("the device cannot be used")]
    Device(#[from] DeviceError),
    /// A thread cannot be started.
    #[error("no thread can be started")]
    Thread(#[from] std::io::Error),
    /// The method cannot be named.
    #[error("the numbers of the method cannot be written")]
    Method(#[from] serde_json::Error),
    /// The model failed.
    #[error("the model failed")]
    Model(#[from] ModelError),
    /// The metrics cannot be registered.
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    /// A kernel failed.
    #[error("a kernel failed")]
    Kernel(#[from] kernels::KernelError),
    /// Encoding failed.
    #[error("encoding failed")]
    Encode(#[from] EncodeError),
    /// Segmentation failed.
    #[error("segmentation failed")]
    Segment(#[from] SegmentError),
    /// The stages were made to look at a graph, not to run it.
    #[error("these stages do no work")]
    Outline,
    /// A block that a task needs is not on its shelf: a broken promise of the graph.
    #[error("the {kind} {name} is not on its shelf")]
    Missing {
        /// The kind of block.
        kind: &'static str,
        /// Its name.
        name: Digest,
    },
}

const LIMITS: Limits = Limits { queue: 64, batch: 8, deadline: Duration::from_millis(2) };

/// Starts stages under one device, fault and telemetry.
struct Starter {
    fault: Fault,
    telemetry: Telemetry,
}

impl Starter {
    fn stage<Q, A>(
        &self,
        name: &'static str,
        mut run: impl FnMut(Vec<Q>) -> Result<Vec<A>, StageError> + Send + 'static,
    ) -> Result<Stage<Q, A>, StageError>
    where
        Q: Send + 'static,
        A: Send + Sync + 'static,
    {
        let ran = {
            let telemetry = self.telemetry.clone();
            move |ran: kernels::executor::Ran| {
                telemetry.emit(StageRan { stage: name, tasks: ran.questions, duration: ran.duration });
            }
        };
        let run = move |tasks| {
            let blocks = run(tasks).map_err(|error| chain(&error))?;
            Ok::<_, String>(blocks.into_iter().map(Arc::new).collect())
        };
        let (executor, _thread) = Executor::start(name, LIMITS, self.fault.clone(), run, ran)?;
        Ok(Stage { name, executor, shelf: Shelf::default(), telemetry: self.telemetry.clone() })
    }
}

/// An error with its sources, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    line
}

fn take<V>(shelf: &Shelf<V>, name: &Digest, kind: &'static str) -> Result<Arc<V>, StageError> {
    shelf.get(name).ok_or(StageError::Missing { kind, name: *name })
}

fn plane(shelf: &Shelf<Decoded>, name: &Digest) -> Result<Arc<Plane>, StageError> {
    let decoded = take(shelf, name, "plane")?;
    decoded.as_ref().as_ref().map(Arc::clone).map_err(|_| StageError::Missing { kind: "plane", name: *name })
}

impl Stages {
    /// Starts a thread for each stage. What fails later is reported to `fault`.
    ///
    /// # Errors
    ///
    /// Returns [`StageError`] if the device cannot be used or a thread cannot be started.
    pub fn start(
        model: Model,
        config: MethodConfig,
        device: Device,
        telemetry: Telemetry,
        fault: Fault,
    ) -> Result<Self, StageError> {
        let client = device.client()?;
        let method = Method::new(model.digest(), config)?;
        let config = method.config.clone();
        let map = model.map_size();
        let model = Arc::new(Mutex::new(model));
        let starter = Starter { fault, telemetry };

        let pixels: Shelf<Pixels> = Shelf::default();
        let decode = starter.stage("Decode", {
            let pixels = pixels.clone();
            move |tasks: Vec<DecodeTask>| {
                let received: Result<Vec<_>, _> =
                    tasks.iter().map(|task| take(&pixels, &task.slice, "pixels")).collect();
                Ok(received?.iter().map(|pixels| decode(pixels)).collect())
            }
        })?;
        let planes = decode.shelf.clone();
        let encode = starter.stage("Encode", {
            let (planes, model, client) = (planes.clone(), Arc::clone(&model), client.clone());
            move |tasks: Vec<EncodeTask>| {
                let batch: Result<Vec<_>, _> = tasks.iter().map(|task| plane(&planes, &task.slice)).collect();
                Ok(encode(&model.lock().unwrap_or_else(PoisonError::into_inner), &client, &batch?)?)
            }
        })?;
        let encodings = encode.shelf.clone();
        let classify = starter.stage("Classify", {
            let (encodings, model) = (encodings.clone(), Arc::clone(&model));
            move |tasks: Vec<ClassifyTask>| {
                let window = |task: &ClassifyTask| {
                    task.encodings.iter().map(|name| take(&encodings, name, "encoding")).collect::<Result<Vec<_>, _>>()
                };
                let windows: Vec<Vec<Arc<Encoding>>> = tasks.iter().map(window).collect::<Result<_, _>>()?;
                let features: Vec<Vec<&[f32]>> = windows
                    .iter()
                    .map(|window| window.iter().map(|encoding| encoding.feature.as_slice()).collect())
                    .collect();
                Ok(model.lock().unwrap_or_else(PoisonError::into_inner).classify(&features)?)
            }
        })?;
        let fuse = starter.stage("Fuse", {
            let (encodings, client, config) = (encodings.clone(), client.clone(), config.clone());
            move |tasks: Vec<FuseTask>| {
                let fused = |FuseTask(near): &FuseTask| {
                    let maps: Result<Vec<_>, _> =
                        near.encodings.iter().map(|name| take(&encodings, name, "encoding")).collect();
                    Ok(fuse(&client, &near.slices, &maps?, near.target, map, &config)?)
                };
                tasks.iter().map(fused).collect()
            }
        })?;
        let refine = starter.stage("Refine", {
            let (planes, fused, client, config) = (planes.clone(), fuse.shelf.clone(), client.clone(), config.clone());
            move |tasks: Vec<RefineTask>| {
                let refined = |RefineTask(near): &RefineTask| {
                    let name = &near.name;
                    let slice = near.slice().ok_or(StageError::Missing { kind: "slice", name: *name })?;
                    let (plane, fused) = (plane(&planes, &slice.digest)?, take(&fused, name, "fused map")?);
                    let spacing_mm = slice.geometry.spacing_mm();
                    Ok(refine(&client, &plane, spacing_mm, &fused.0, map, config.cam_threshold, &config.refine)?)
                };
                tasks.iter().map(refined).collect()
            }
        })?;
        let reconcile = starter.stage("Reconcile", {
            let candidates = refine.shelf.clone();
            move |tasks: Vec<ReconcileTask>| {
                let reconciled = |task: &ReconcileTask| {
                    let candidate = |name: &Digest| take(&candidates, name, "candidate");
                    let [below, own, above] = task.candidates.map(|name| name.as_ref().map(candidate).transpose());
                    let (below, own, above) = (below?, own?, above?);
                    let probability = take(&encodings, &task.encoding, "encoding")?.probability;
                    let voxels = |mask: &Option<Arc<Mask>>| mask.as_ref().map(|mask| mask.voxels.clone());
                    let [rows, columns] = task.shape;
                    let own = voxels(&own).unwrap_or_else(|| vec![0; rows * columns]);
                    let (below, above) = (voxels(&below), voxels(&above));
                    let voxels = consistent(
                        &own,
                        rows,
                        columns,
                        below.as_deref(),
                        above.as_deref(),
                        probability,
                        &config.refine,
                    );
                    Ok(Mask { voxels })
                };
                tasks.iter().map(reconciled).collect()
            }
        })?;
        let numbers = method.config.refine.clone();
        let segment = starter.stage("Segment", move |tasks: Vec<SegmentTask>| {
            let pixels = |task: &SegmentTask| Ok((plane(&planes, &task.slice)?, task.spacing_mm()));
            let batch: Result<Vec<_>, StageError> = tasks.iter().map(pixels).collect();
            Ok(segment(&model.lock().unwrap_or_else(PoisonError::into_inner), &client, &batch?, &numbers)?)
        })?;
        Ok(Self { method, pixels, decode, encode, classify, fuse, refine, reconcile, segment })
    }

    /// Stages that do no work: enough to install a graph and look at it.
    ///
    /// # Errors
    ///
    /// Returns [`StageError`] if a thread cannot be started.
    pub fn outline() -> Result<Self, StageError> {
        let telemetry = Telemetry::new(Metrics::register(&Registry::new())?);
        let starter = Starter { fault: Fault::default(), telemetry };
        Ok(Self {
            method: Method::new(Digest::of(b"outline"), MethodConfig::default())?,
            pixels: Shelf::default(),
            decode: starter.stage("Decode", |_| Err(StageError::Outline))?,
            encode: starter.stage("Encode", |_| Err(StageError::Outline))?,
            classify: starter.stage("Classify", |_| Err(StageError::Outline))?,
            fuse: starter.stage("Fuse", |_| Err(StageError::Outline))?,
            refine: starter.stage("Refine", |_| Err(StageError::Outline))?,
            reconcile: starter.stage("Reconcile", |_| Err(StageError::Outline))?,
            segment: starter.stage("Segment", |_| Err(StageError::Outline))?,
        })
    }

    /// The shelves that publications are made of.
    #[must_use]
    pub fn shelves(&self) -> Shelves {
        Shelves {
            pixels: self.pixels.clone(),
            planes: self.decode.shelf.clone(),
            encodings: self.encode.shelf.clone(),
            logits: self.classify.shelf.clone(),
            pseudo_masks: self.reconcile.shelf.clone(),
            masks: self.segment.shelf.clone(),
        }
    }

    /// Removes the blocks that no record has named since before `frontier`.
    pub fn compact(&self, frontier: Tick) {
        self.pixels.compact(frontier);
        self.decode.shelf.compact(frontier);
        self.encode.shelf.compact(frontier);
        self.classify.shelf.compact(frontier);
        self.fuse.shelf.compact(frontier);
        self.refine.shelf.compact(frontier);
        self.reconcile.shelf.compact(frontier);
        self.segment.shelf.compact(frontier);
    }

    /// The blocks on each shelf, by stage.
    #[must_use]
    pub fn blocks(&self) -> [(&'static str, usize); 8] {
        [
            ("Receive", self.pixels.len()),
            ("Decode", self.decode.shelf.len()),
            ("Encode", self.encode.shelf.len()),
            ("Classify", self.classify.shelf.len()),
            ("Fuse", self.fuse.shelf.len()),
            ("Refine", self.refine.shelf.len()),
            ("Reconcile", self.reconcile.shelf.len()),
            ("Segment", self.segment.shelf.len()),
        ]
    }
}
