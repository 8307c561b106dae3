//! A running graph with a tiny model, of which all can be counted.

use std::collections::BTreeMap;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use crossbeam_channel::Receiver;
use graphs::stages::{Compute, Stages};
use kernels::Device;
use kernels::executor::Fault;
use operators::event::{Metrics, Telemetry};
use operators::model::Model;
use operators::record::{Digest, MethodConfig, Role, SeriesKey, Tick};
use operators::store::Store;
use operators::train::TrainConfig;
use prometheus::Registry;

use crate::engine::{Engine, Output};

/// The stages, in the order of the graph.
pub(super) const STAGES: [&str; 7] = ["Decode", "Encode", "Classify", "Fuse", "Refine", "Reconcile", "Segment"];

/// A result that was published.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) key: SeriesKey,
    pub(super) role: Role,
    pub(super) tick: Tick,
    /// From the arrival of the change that it is the first to hold.
    pub(super) milliseconds: f64,
}

/// A running graph.
pub(super) struct Rig {
    pub(super) engine: Engine,
    /// The methods that it can read by.
    pub(super) methods: [Digest; 2],
    /// What was published, if anybody listens.
    pub(super) heard: Receiver<Heard>,
    telemetry: Telemetry,
    registry: Registry,
    listener: JoinHandle<()>,
}

/// What was counted up to some moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    /// Blocks computed, by stage.
    pub(super) tasks: BTreeMap<&'static str, u64>,
    /// Time that stages ran batches, seconds.
    pub(super) busy_seconds: f64,
}

impl Counted {
    /// What came since.
    pub(super) fn since(&self, before: &Self) -> Self {
        let more = |(stage, count): (&&'static str, &u64)| {
            (*stage, count - before.tasks.get(stage).copied().unwrap_or_default())
        };
        let tasks = self.tasks.iter().map(more).collect();
        Self { tasks, busy_seconds: self.busy_seconds - before.busy_seconds }
    }

    /// Blocks computed by all stages.
    pub(super) fn all(&self) -> u64 {
        self.tasks.values().sum()
    }
}

/// The buckets of a histogram: upper bound and how many up to there. With the sum of all.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) count: u64,
    pub(super) sum: f64,
    buckets: Vec<(f64, u64)>,
}

impl Buckets {
    /// The upper bound of the bucket that a quantile lies in; infinite for what is above all bounds.
    pub(super) fn quantile_at_most(&self, percent: u64) -> f64 {
        let rank = (self.count * percent).div_ceil(100);
        self.buckets.iter().find(|(_, up_to)| *up_to >= rank).map_or(f64::INFINITY, |(bound, _)| *bound)
    }
}

fn model(seed: u64, device: Device) -> anyhow::Result<Model> {
    let config = TrainConfig { width: 2, input_size: 32, context_hidden: 16, unet_width: 2, ..TrainConfig::default() };
    let mut card = config.card("bench", "0");
    card.segmenter = true;
    Ok(Model::untrained(card, seed, device)?)
}

/// The usual numbers, but every slice has its masks.
fn method() -> MethodConfig {
    MethodConfig { mask_gate: 0.0, cam_gate: 0.0, ..MethodConfig::default() }
}

impl Rig {
    /// Starts a graph on one worker with the first of its methods. What is published is kept only if somebody `listens`.
    pub(super) fn start(device: Device, store: Store, seed: u64, listens: bool) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let telemetry = Telemetry::new(Metrics::register(&registry)?);
        let fault = Fault::default();
        let stages = Stages::start(Compute::on(device), store, telemetry.clone(), fault.clone())?;
        let load = |seed| Ok::<_, anyhow::Error>(stages.load(model(seed, device)?, method())?.digest);
        let methods = [load(seed)?, load(seed.wrapping_add(1))?];
        let (mut engine, outputs) = Engine::start(stages, 1, telemetry.clone(), fault, 0)?;
        engine.activate(methods[0])?;
        let (tell, heard) = crossbeam_channel::unbounded();
        let listen = move || {
            for output in outputs {
                let Output::Published(publication, arrived) = output else { continue };
                if listens {
                    let milliseconds = arrived.elapsed().as_secs_f64() * 1e3;
                    let (key, role, tick) = (publication.key.clone(), publication.role, publication.tick);
                    // It fails only when nobody listens any more.
                    tell.send(Heard { key, role, tick, milliseconds }).ok();
                }
            }
        };
        let listener = std::thread::Builder::new().name("bench".to_owned()).spawn(listen)?;
        Ok(Self { engine, methods, heard, telemetry, registry, listener })
    }

    /// What was counted so far.
    pub(super) fn counted(&self) -> Counted {
        let metrics = self.telemetry.metrics();
        let tasks = STAGES.into_iter().map(|stage| (stage, metrics.tasks_of(stage))).collect();
        let busy_seconds = self.histogram("hemoflow_stage_duration_seconds").iter().map(|stage| stage.sum).sum();
        Counted { tasks, busy_seconds }
    }

    /// The histograms of a name, one for each set of labels.
    pub(super) fn histogram(&self, name: &str) -> Vec<Buckets> {
        let families = self.registry.gather();
        let family = families.iter().filter(|family| family.name() == name);
        let metrics = family.flat_map(|family| family.get_metric());
        let buckets = metrics.map(|metric| {
            let (labels, histogram) = (metric.get_label().iter(), metric.get_histogram());
            Buckets {
                labels: labels.map(|label| (label.name().to_owned(), label.value().to_owned())).collect(),
                count: histogram.get_sample_count(),
                sum: histogram.get_sample_sum(),
                buckets: histogram
                    .get_bucket()
                    .iter()
                    .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
                    .collect(),
            }
        });
        buckets.collect()
    }

    /// Does something to the graph, waits for all its effects, and tells how long that took, milliseconds.
    pub(super) fn timed(&mut self, act: impl FnOnce(&mut Engine) -> anyhow::Result<Tick>) -> anyhow::Result<f64> {
        let start = Instant::now();
        act(&mut self.engine)?;
        self.engine.settle()?;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    /// Waits for the result of a series by the active model at a tick. What else is heard meanwhile is dropped.
    pub(super) fn result_at(&self, key: &SeriesKey, tick: Tick) -> anyhow::Result<Heard> {
        loop {
            let heard = self.heard.recv_timeout(Duration::from_secs(120)).context("no result came")?;
            if heard.key == *key && heard.tick == tick && heard.role == Role::Active {
                return Ok(heard);
            }
        }
    }

    /// Names and blocks that the store still holds.
    pub(super) fn held(&self) -> usize {
        self.engine.stages().store.usage().iter().map(|kind| kind.names).sum()
    }

    /// Ends the graph.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.engine.finish()?;
        self.listener.join().map_err(|_| anyhow!("the listener panicked"))
    }
}
