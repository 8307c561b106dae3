//! The metrics, all of them, on a registry of the caller's.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
    exponential_buckets,
};

/// The metrics of the graph. `docs/telemetry.md` lists them.
pub struct Metrics {
    pub(super) slices_received: IntCounter,
    pub(super) instances_rejected: IntCounterVec,
    pub(super) stage_tasks: IntCounterVec,
    pub(super) stage_duration: HistogramVec,
    pub(super) batch_tasks: HistogramVec,
    pub(super) update_tasks: HistogramVec,
    pub(super) queue: HistogramVec,
    pub(super) store_bytes: GaugeVec,
    pub(super) store_blocks: GaugeVec,
    pub(super) frontier_lag: GaugeVec,
    pub(super) results_published: IntCounterVec,
    pub(super) slice_result_latency: Histogram,
}

impl Metrics {
    /// Registers the metrics on `registry`.
    ///
    /// # Errors
    ///
    /// Returns the registry's error if a metric of one of the names is there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: Vec<f64>| {
            let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let metric = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let slices_received =
            IntCounter::new("hemoflow_slices_received_total", "Slices that entered the graph, re-sent ones included.")?;
        registry.register(Box::new(slices_received.clone()))?;
        let latency = HistogramOpts::new(
            "hemoflow_slice_result_latency_seconds",
            "Time from the arrival of a change to the first published result that holds it.",
        );
        let slice_result_latency = Histogram::with_opts(latency.buckets(exponential_buckets(0.005, 2.0, 14)?))?;
        registry.register(Box::new(slice_result_latency.clone()))?;
        Ok(Self {
            slices_received,
            instances_rejected: counter(
                "hemoflow_instances_rejected_total",
                "Inputs that were refused, by the fixed word of rejections.jsonl.",
                &["reason"],
            )?,
            stage_tasks: counter(
                "hemoflow_stage_tasks_total",
                "Blocks that a stage computed because no equal one was there.",
                &["stage"],
            )?,
            stage_duration: histogram(
                "hemoflow_stage_duration_seconds",
                "Time that one batch of a stage took on its device.",
                &["stage"],
                exponential_buckets(0.0005, 2.0, 16)?,
            )?,
            batch_tasks: histogram(
                "hemoflow_device_batch_tasks",
                "Tasks that ran in one batch of a stage.",
                &["stage"],
                vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0],
            )?,
            update_tasks: histogram(
                "hemoflow_update_recomputed_tasks",
                "Blocks that one update made a stage compute.",
                &["stage"],
                vec![0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0],
            )?,
            queue: histogram(
                "hemoflow_device_queue_seconds",
                "Time that a task waited until its batch began.",
                &["stage", "urgency"],
                exponential_buckets(0.0001, 2.0, 18)?,
            )?,
            store_bytes: gauge("hemoflow_store_bytes", "Bytes of the blocks in memory.", &["kind"])?,
            store_blocks: gauge("hemoflow_store_blocks", "Blocks in memory and on disk.", &["kind", "place"])?,
            frontier_lag: gauge(
                "hemoflow_frontier_lag_seconds",
                "Age of the oldest change whose results are not yet published.",
                &["lane"],
            )?,
            results_published: counter(
                "hemoflow_results_published_total",
                "Versions of series results that were published, by status.",
                &["status"],
            )?,
            slice_result_latency,
        })
    }

    /// Registers the facts of a build and a model: gauges that are always 1.
    ///
    /// # Errors
    ///
    /// Returns the registry's error if a metric of one of the names is there already.
    pub fn register_facts(registry: &Registry, build: [&str; 2], model: [&str; 3]) -> Result<(), prometheus::Error> {
        let fact = |name: &str, help: &str, labels: &[(&str, &str)]| {
            let options = labels.iter().fold(Opts::new(name, help), |o, (label, value)| o.const_label(*label, *value));
            let gauge = Gauge::with_opts(options)?;
            gauge.set(1.0);
            registry.register(Box::new(gauge))
        };
        let [version, features] = build;
        fact("hemoflow_build_info", "The program.", &[("version", version), ("features", features)])?;
        let [name, version, sha256] = model;
        let model = [("name", name), ("version", version), ("sha256", sha256)];
        fact("hemoflow_model_info", "The model whose results are published.", &model)
    }

    /// How many blocks a stage has computed.
    #[must_use]
    pub fn tasks_of(&self, stage: &str) -> u64 {
        self.stage_tasks.with_label_values(&[stage]).get()
    }
}
