//! The stages of device work that the graphs share: a desk and a shelf for each.
//!
//! What runs networks and kernels has one executor, which takes the most urgent work first whatever its stage; what runs on
//! the host has another. Who adds operators to a graph opens stages of their own beside these ([`Setup`]), so that their
//! work queues with the rest.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use kernels::executor::{Builder, Fault, Limits, Urgency};
use kernels::{Client, Device, DeviceError};
use operators::classify::ClassifyTask;
use operators::decode::{DecodeTask, Decoded, decode};
use operators::dicom::{Instance, Pixels};
use operators::encode::{EncodeError, EncodeTask, Encoding, encode};
use operators::event::{Metrics, Telemetry};
use operators::fuse::{FuseTask, FusedMap, fuse};
use operators::model::{Model, ModelError};
use operators::plumbing::Stage;
use operators::publish::Shelves;
use operators::reconcile::ReconcileTask;
use operators::record::{Change, Digest, Mask, Method, MethodConfig, Methods, Plane, Tick};
use operators::refine::{RefineTask, consistent, refine};
use operators::segment::{SegmentError, SegmentTask, segment};
use operators::store::{Block, Shelf, Store};
use prometheus::Registry;
use timely::worker::Worker;

use crate::readers::Readers;
use crate::setup::Opener;

pub use crate::setup::Setup;

/// Everything that a graph needs beside its inputs. One for all workers of a process.
#[derive(Clone)]
pub struct Stages {
    /// Where blocks stand.
    pub store: Store,
    /// What was received, until it is taken back.
    pub pixels: Shelf<Pixels>,
    pub(crate) fault: Fault,
    pub(crate) readers: Readers,
    /// Pixels to planes.
    pub decode: Stage<DecodeTask, Decoded>,
    /// Planes to features, activation maps and single-slice probabilities.
    pub encode: Stage<EncodeTask, Encoding>,
    /// Windows of features to logits.
    pub classify: Stage<ClassifyTask, Vec<f32>>,
    /// Neighboring activation maps to one.
    pub fuse: Stage<FuseTask, FusedMap>,
    /// Fused maps to candidate masks.
    pub refine: Stage<RefineTask, Mask>,
    /// Candidate masks to pseudo-masks.
    pub reconcile: Stage<ReconcileTask, Mask>,
    /// Planes to the segmenter's masks.
    pub segment: Stage<SegmentTask, Mask>,
    pub(crate) threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// What work runs on, and how it queues.
#[derive(Clone, Copy, Debug)]
pub struct Compute {
    /// Runs networks and kernels.
    pub device: Device,
    /// Queues and batches of each stage.
    pub limits: Limits,
    /// Threads for what runs on the host.
    pub host_threads: NonZeroUsize,
}

impl Compute {
    /// Compute on `device` with the usual queues, and all cores of the host but one.
    #[must_use]
    pub fn on(device: Device) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            device,
            limits: Limits { queue: 64, batch: 8, deadline: Duration::from_millis(2) },
            host_threads: NonZeroUsize::new(cores - 1).unwrap_or(NonZeroUsize::MIN),
        }
    }
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
    /// A stage beside those of the graphs failed.
    #[error("the stage failed")]
    Own(#[from] Box<dyn std::error::Error + Send + Sync>),
    /// The executors have stopped.
    #[error("{0}")]
    Stopped(String),
    /// A block that a task needs is not on its shelf: a broken promise of the graph.
    #[error("the {kind} {name} is not on its shelf")]
    Missing {
        /// The kind of block.
        kind: &'static str,
        /// Its name.
        name: Digest,
    },
}

/// The block that a task needs, from the shelf where an earlier stage has put it.
///
/// # Errors
///
/// Returns [`StageError::Missing`] if it is not there, which is a bug of the graph: a stage is asked once all that its
/// task names stands on the shelves.
pub fn take<V: Block>(shelf: &Shelf<V>, name: &Digest, kind: &'static str) -> Result<Arc<V>, StageError> {
    shelf.get(name).ok_or(StageError::Missing { kind, name: *name })
}

fn plane(shelf: &Shelf<Decoded>, name: &Digest) -> Result<Arc<Plane>, StageError> {
    let decoded = take(shelf, name, "plane")?;
    decoded.as_ref().as_ref().map(Arc::clone).map_err(|_| StageError::Missing { kind: "plane", name: *name })
}

impl Stages {
    /// Starts the executors. What fails later is reported to `fault`.
    ///
    /// # Errors
    ///
    /// Returns [`StageError`] if the device cannot be used or a thread cannot be started.
    pub fn start(compute: Compute, store: Store, telemetry: Telemetry, fault: Fault) -> Result<Self, StageError> {
        Setup::new(compute, store, telemetry)?.start(fault)
    }

    pub(crate) fn open(client: &Client, opener: &Opener, device: &mut Builder, host: &mut Builder) -> Self {
        let (store, readers, fault) = (opener.store.clone(), Readers::default(), Fault::default());
        let pixels: Shelf<Pixels> = store.named_shelf("Receive");
        let decode = opener.stage(host, "Decode", {
            let pixels = pixels.clone();
            move |tasks: Vec<DecodeTask>| {
                tasks.iter().map(|task| Ok(decode(&*take(&pixels, &task.slice, "pixels")?))).collect()
            }
        });
        let planes = decode.shelf.clone();
        let encode = opener.stage(device, "Encode", {
            let (planes, readers, client) = (planes.clone(), readers.clone(), client.clone());
            move |tasks: Vec<EncodeTask>| {
                readers.run(
                    &tasks,
                    |task| task.method,
                    |reader, tasks| {
                        let batch: Result<Vec<_>, _> = tasks.iter().map(|task| plane(&planes, &task.slice)).collect();
                        Ok(encode(&reader.model(), &client, &batch?)?)
                    },
                )
            }
        });
        let encodings = encode.shelf.clone();
        let classify = opener.stage(device, "Classify", {
            let (encodings, readers) = (encodings.clone(), readers.clone());
            move |tasks: Vec<ClassifyTask>| {
                readers.run(
                    &tasks,
                    |task| task.method,
                    |reader, tasks| {
                        let window = |task: &&ClassifyTask| {
                            let names = task.encodings.iter();
                            names.map(|name| take(&encodings, name, "encoding")).collect::<Result<Vec<_>, _>>()
                        };
                        let windows: Vec<Vec<Arc<Encoding>>> = tasks.iter().map(window).collect::<Result<_, _>>()?;
                        let features: Vec<Vec<&[f32]>> = windows
                            .iter()
                            .map(|window| window.iter().map(|encoding| encoding.feature.as_slice()).collect())
                            .collect();
                        Ok(reader.model().classify(&features)?)
                    },
                )
            }
        });
        let fuse = opener.stage(device, "Fuse", {
            let (encodings, readers, client) = (encodings.clone(), readers.clone(), client.clone());
            move |tasks: Vec<FuseTask>| {
                let fused = |FuseTask(near): &FuseTask| {
                    let reader = readers.get(&near.method)?;
                    let maps: Result<Vec<_>, _> =
                        near.encodings.iter().map(|name| take(&encodings, name, "encoding")).collect();
                    Ok(fuse(&client, &near.slices, &maps?, near.target, reader.map.size, &reader.method.config)?)
                };
                tasks.iter().map(fused).collect()
            }
        });
        let refine = opener.stage(host, "Refine", {
            let (planes, fused, readers, client) =
                (planes.clone(), fuse.shelf.clone(), readers.clone(), client.clone());
            move |tasks: Vec<RefineTask>| {
                let refined = |RefineTask(near): &RefineTask| {
                    let (name, reader) = (&near.name, readers.get(&near.method)?);
                    let slice = near.slice().ok_or(StageError::Missing { kind: "slice", name: *name })?;
                    let (plane, fused) = (plane(&planes, &slice.digest)?, take(&fused, name, "fused map")?);
                    let (spacing_mm, config) = (slice.geometry.spacing_mm(), &reader.method.config);
                    let (grid, threshold) = (config.grid(reader.map), config.cam_threshold);
                    Ok(refine(&client, &plane, spacing_mm, &fused.0, grid, threshold, &config.refine)?)
                };
                tasks.iter().map(refined).collect()
            }
        });
        let reconcile = opener.stage(host, "Reconcile", {
            let (candidates, readers) = (refine.shelf.clone(), readers.clone());
            move |tasks: Vec<ReconcileTask>| {
                let reconciled = |task: &ReconcileTask| {
                    let reader = readers.get(&task.method)?;
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
                        &reader.method.config.refine,
                    );
                    Ok(Mask { voxels })
                };
                tasks.iter().map(reconciled).collect()
            }
        });
        let segment = opener.stage(device, "Segment", {
            let (readers, client) = (readers.clone(), client.clone());
            move |tasks: Vec<SegmentTask>| {
                readers.run(
                    &tasks,
                    |task| task.method,
                    |reader, tasks| {
                        let pixels = |task: &&SegmentTask| Ok((plane(&planes, &task.slice)?, task.spacing_mm()));
                        let batch: Result<Vec<_>, StageError> = tasks.iter().map(pixels).collect();
                        Ok(segment(&reader.model(), &client, &batch?, &reader.method.config.refine)?)
                    },
                )
            }
        });
        let threads = Arc::default();
        Self { store, pixels, fault, readers, decode, encode, classify, fuse, refine, reconcile, segment, threads }
    }

    /// Gives these stages up, and waits until the executors have ended: once all other handles are gone, and with them
    /// whoever could still ask. Then nobody but the caller holds the store.
    pub fn end(self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        drop(self);
        // What fails in a thread is told as a fault.
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }

    /// Stages that do no work: enough to install a graph and look at it.
    ///
    /// # Errors
    ///
    /// Returns [`StageError`] if the metrics cannot be registered.
    pub fn outline() -> Result<Self, StageError> {
        let telemetry = Telemetry::new(Metrics::register(&Registry::new())?);
        let store = Store::unbounded();
        let opener =
            Opener { store: store.clone(), limits: Compute::on(Device::Cpu).limits, telemetry, gate: Arc::new(|_| {}) };
        let nobody = &mut Builder::new("nobody");
        fn unused<Q, A>(_: Vec<Q>) -> Result<Vec<A>, StageError> {
            Err(StageError::Outline)
        }
        Ok(Self {
            pixels: store.named_shelf("Receive"),
            store,
            fault: Fault::default(),
            readers: Readers::default(),
            decode: opener.stage(nobody, "Decode", unused),
            encode: opener.stage(nobody, "Encode", unused),
            classify: opener.stage(nobody, "Classify", unused),
            fuse: opener.stage(nobody, "Fuse", unused),
            refine: opener.stage(nobody, "Refine", unused),
            reconcile: opener.stage(nobody, "Reconcile", unused),
            segment: opener.stage(nobody, "Segment", unused),
            threads: Arc::default(),
        })
    }

    /// Makes a model ready to read by these numbers, and gives the method that records name it by.
    ///
    /// # Errors
    ///
    /// Returns [`StageError`] if the method cannot be named.
    pub fn load(&self, model: Model, config: MethodConfig) -> Result<Arc<Method>, StageError> {
        self.readers.load(model, config)
    }

    /// Forgets the model of a method that no record uses any more.
    pub fn unload(&self, method: &Digest) {
        self.readers.unload(method);
    }

    /// The methods that were loaded.
    #[must_use]
    pub fn methods(&self) -> &Methods {
        &self.readers.methods
    }

    /// The same stages, for work of another urgency. What is received is decoded as routine work even in the background:
    /// others may wait for the same plane.
    #[must_use]
    pub fn with_urgency(&self, urgency: Urgency) -> Self {
        Self {
            store: self.store.clone(),
            pixels: self.pixels.clone(),
            fault: self.fault.clone(),
            readers: self.readers.clone(),
            decode: self.decode.with_urgency(urgency.min(Urgency::Routine)),
            encode: self.encode.with_urgency(urgency),
            classify: self.classify.with_urgency(urgency),
            fuse: self.fuse.with_urgency(urgency),
            refine: self.refine.with_urgency(urgency),
            reconcile: self.reconcile.with_urgency(urgency),
            segment: self.segment.with_urgency(urgency),
            threads: Arc::clone(&self.threads),
        }
    }

    /// Puts the pixels of an instance where one dataflow finds them, and gives the change to insert there at `tick`.
    #[must_use]
    pub fn accept(&self, instance: &Instance, tick: Tick) -> Change {
        for frame in &instance.frames {
            self.pixels.hold(frame.slice.digest, 1, tick);
            self.pixels.put(frame.slice.digest, Arc::new(frame.pixels.clone()));
        }
        instance.arrival()
    }

    /// Steps a worker while `goes_on`, parking it where there is nothing to do. If the executors stop, the worker's
    /// dataflows would wait for them for ever, and are dropped.
    ///
    /// # Errors
    ///
    /// Returns [`StageError::Stopped`] with the reason if the executors have stopped.
    pub fn step_while(&self, worker: &mut Worker, goes_on: impl Fn(&Worker) -> bool) -> Result<(), StageError> {
        while goes_on(worker) {
            worker.step_or_park(Some(Duration::from_millis(100)));
            if let Some(message) = self.fault.message() {
                worker.installed_dataflows().into_iter().for_each(|dataflow| worker.drop_dataflow(dataflow));
                return Err(StageError::Stopped(message.to_owned()));
            }
        }
        Ok(())
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
}
