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
    pub(super) acknowledged: IntCounterVec,
    pub(super) acknowledged_bytes: IntCounterVec,
    pub(super) acknowledge: Histogram,
    pub(super) turned_away: IntCounterVec,
    pub(super) associations_asked: IntCounterVec,
    pub(super) associations: Gauge,
    pub(super) inbox_waiting: Gauge,
    pub(super) start_seconds: Gauge,
    pub(super) start_replayed: Gauge,
    pub(super) studies_forgotten: IntCounter,
    pub(super) forgotten_bytes: IntCounter,
    pub(super) forgetting_failures: IntCounter,
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
        let single = |name: &str, help: &str| {
            let metric = Gauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let count = |name: &str, help: &str| {
            let metric = IntCounter::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let slices_received =
            count("hemoflow_slices_received_total", "Slices that entered the graph, re-sent ones included.")?;
        let latency = HistogramOpts::new(
            "hemoflow_slice_result_latency_seconds",
            "Time from the arrival of a change to the first published result that holds it.",
        );
        let slice_result_latency = Histogram::with_opts(latency.buckets(exponential_buckets(0.005, 2.0, 14)?))?;
        registry.register(Box::new(slice_result_latency.clone()))?;
        let acknowledge = HistogramOpts::new(
            "hemoflow_acknowledge_seconds",
            "Time from the last byte of an instance until it was kept as the configuration promises.",
        );
        let acknowledge = Histogram::with_opts(acknowledge.buckets(exponential_buckets(0.0001, 2.0, 16)?))?;
        registry.register(Box::new(acknowledge.clone()))?;
        Ok(Self {
            slices_received,
            acknowledged: counter(
                "hemoflow_instances_acknowledged_total",
                "Instances that were kept and acknowledged, re-sent ones included.",
                &["via"],
            )?,
            acknowledged_bytes: counter(
                "hemoflow_acknowledged_bytes_total",
                "Bytes of the instances that were acknowledged.",
                &["via"],
            )?,
            acknowledge,
            turned_away: counter(
                "hemoflow_instances_turned_away_total",
                "Instances that were not kept, and whose senders were told so.",
                &["via", "reason"],
            )?,
            associations_asked: counter(
                "hemoflow_associations_total",
                "Associations that were asked for, by whether they were accepted.",
                &["outcome"],
            )?,
            associations: single("hemoflow_associations_open", "Associations that are open.")?,
            inbox_waiting: single("hemoflow_inbox_waiting", "Acknowledged records that the graph was not given yet.")?,
            start_seconds: single(
                "hemoflow_start_seconds",
                "Time from the start of the node until all that it had kept had its effect.",
            )?,
            start_replayed: single(
                "hemoflow_start_replayed_entries",
                "Entries of the log that were done again at the start of the node.",
            )?,
            studies_forgotten: count("hemoflow_studies_forgotten_total", "Studies that were forgotten by their age.")?,
            forgotten_bytes: count(
                "hemoflow_forgotten_bytes_total",
                "Bytes of log, inbox and payloads that left the disk with them.",
            )?,
            forgetting_failures: count(
                "hemoflow_forgetting_failures_total",
                "Times that studies, or what the inbox has left of them, could not be forgotten.",
            )?,
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
