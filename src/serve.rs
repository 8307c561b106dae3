//! A node as a hospital runs it: listeners, inbox, graph and results, from a configuration.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use crossbeam_channel::Sender;
use graphs::stages::Compute;
use graphs::views::Reader;
use operators::completion::Completion;
use operators::event::{Metrics, NodeReady, Telemetry};
use operators::model::Model;
use operators::record::MethodConfig;
use prometheus::Registry;
use tokio::runtime::Runtime;

use crate::collector::Watch;
use crate::config::{Ack, Config, Resent};
use crate::dimse::{Listener, Options};
use crate::folders::Folders;
use crate::http::{self, Health, metrics};
use crate::inbox::Promise;
use crate::ingest::{Door, Feeder, Settle};
use crate::node::{Node, Settings};
use crate::results::Results;
use crate::tls::Tls;

/// How long associations and requests may go on once the node is to end.
const DRAIN: Duration = Duration::from_secs(20);

/// A node with its listeners.
pub struct Server {
    config: Config,
    folders: Option<Folders>,
    dicom: Option<Listener>,
    http: Option<http::Listener>,
    metrics: Option<metrics::Server>,
    door: Door,
    end: Arc<AtomicBool>,
    health: Health,
    feeder: Option<JoinHandle<anyhow::Result<Node>>>,
    results: Results,
    views: Reader,
    settles: Sender<Settle>,
    /// Of the DICOM listener and of the HTTP listener.
    tls: [Option<Tls>; 2],
    after_days: Arc<AtomicU32>,
    runtime: Runtime,
}

impl Server {
    /// Starts a node: what its data folder holds first, then the listeners. `watch` sees what comes out.
    ///
    /// # Errors
    ///
    /// Returns an error that names what cannot be used: the data folder, a certificate, an address.
    pub fn start(config: Config, model: Model, watch: impl Watch) -> anyhow::Result<Self> {
        let started = Instant::now();
        let registry = Registry::new();
        let telemetry = Telemetry::new(Metrics::register(&registry)?);
        let name = model.name();
        let facts = [&name.name, &name.version, &name.sha256].map(String::as_str);
        Metrics::register_facts(&registry, [env!("CARGO_PKG_VERSION"), env!("HEMOFLOW_FEATURES")], facts)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("listeners")
            .enable_all()
            .build()
            .context("the listeners have no threads")?;
        // What cannot be used is told before hours of replay.
        let tls = config.dicom.tls.as_ref().map(Tls::load).transpose()?;
        let https = config.http.tls.as_ref().map(Tls::load).transpose()?;
        let shared = [tls.clone(), https.clone()];
        let (results, listening) = Results::start(&config.node.results())?;
        let settings = Settings {
            compute: Compute::on(model.device()),
            workers: config.node.workers.into(),
            memory_bytes: config.node.memory,
            data: Some(config.node.data.clone()),
            series: config.node.series,
            truths: Vec::new(),
            method: MethodConfig::default(),
            synced: config.node.ack == Ack::Fsync,
            collects: false,
        };
        let node = Node::start(model, &settings, telemetry.clone(), (listening, watch))?;
        let data = node.data().context("a node without a data folder keeps nothing")?;
        let inbox = data.inbox(Promise { ack: config.node.ack, ..Promise::default() })?;
        let replaces = config.node.resent == Resent::Replace;
        let door = Door::new(inbox, 0, config.limits.clone(), replaces, &config.node.data, telemetry.clone());
        let after_days = Arc::new(AtomicU32::new(config.retention.after_days));
        let (replayed, views) = (node.replayed(), node.views());
        let (settles, asked) = crossbeam_channel::unbounded();
        let feeder = Feeder::new(
            node,
            door.clone(),
            Completion::new(config.completion.clone()),
            config.selection.clone(),
            asked,
            results.written().clone(),
        )?
        .forgetting(Arc::clone(&after_days));
        let (end, health) = (Arc::<AtomicBool>::default(), Health::default());
        let metrics = config.metrics.address.map(|address| metrics::serve(address, registry)).transpose()?;
        let dicom = config.dicom.address.map(|address| {
            let options = Options { address, rules: config.dicom.clone(), tls, drain: DRAIN };
            runtime.block_on(Listener::start(options, door.clone()))
        });
        let dicom = dicom.transpose()?;
        let http = config.http.address.map(|address| {
            let options = http::Options { address, rules: config.http.clone(), tls: https, drain: DRAIN };
            runtime.block_on(http::Listener::start(options, door.clone(), health.clone()))
        });
        let http = http.transpose()?;
        let folders = (!config.folders.is_empty())
            .then(|| Folders::start(&config.folders, door.clone(), runtime.handle().clone()))
            .transpose()?;
        let feeder = {
            let (end, health) = (Arc::clone(&end), health.clone());
            let life = health.begin();
            std::thread::Builder::new().name("feeder".to_owned()).spawn(move || {
                let ended = feeder.run(&end, || {
                    telemetry.emit(NodeReady { took: started.elapsed(), replayed });
                    health.set_ready();
                    tracing::info!("ready after {:.1} s", started.elapsed().as_secs_f64());
                });
                drop(life);
                ended
            })?
        };
        Ok(Self {
            config,
            folders,
            dicom,
            http,
            metrics,
            door,
            end,
            health,
            feeder: Some(feeder),
            results,
            views,
            settles,
            tls: shared,
            after_days,
            runtime,
        })
    }

    /// Where DICOM is served.
    #[must_use]
    pub fn dicom(&self) -> Option<SocketAddr> {
        self.dicom.as_ref().map(Listener::address)
    }

    /// Where HTTP is served, as `http://127.0.0.1:8080`.
    #[must_use]
    pub fn http(&self) -> Option<String> {
        self.http.as_ref().map(http::Listener::url)
    }

    /// Where metrics are served.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(metrics::Server::address)
    }

    /// Whether all that the data folder held has had its effect.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.health.is_ready()
    }

    /// Whether the node still works; it does until it is drained, or something fails.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.feeder.as_ref().is_some_and(|feeder| !feeder.is_finished())
    }

    /// Waits until all that was acknowledged has had its effect and is written, or the node has failed.
    ///
    /// # Errors
    ///
    /// Returns an error if the node has failed.
    pub fn settle(&self) -> anyhow::Result<()> {
        let (done, wait) = crossbeam_channel::bounded(1);
        self.settles.send(done).ok().and_then(|()| wait.recv().ok()).context("the node has failed")?;
        anyhow::ensure!(self.results.written().settle(), "some results cannot be written");
        Ok(())
    }

    /// What all results say together.
    #[must_use]
    pub fn views(&self) -> &Reader {
        &self.views
    }

    /// The runtime that listeners live in.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Lets another configuration hold, as far as a running node can: who may send, certificates, and how long studies are
    /// kept. Gives the keys and sections that differ from what the node runs by and hold after a restart.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file of TLS that cannot be used; all stays as it was.
    pub fn reload(&mut self, config: Config) -> anyhow::Result<Vec<&'static str>> {
        let mut next = self.config.clone();
        let later = next.take(config);
        let files = [&next.dicom.tls, &next.http.tls];
        let used = self.tls.iter().zip(files).filter_map(|(tls, files)| Some((tls.as_ref()?, files.as_ref()?)));
        // All are read before any is used.
        let renewed = used.map(|(tls, files)| Ok((tls, Tls::load(files)?))).collect::<anyhow::Result<Vec<_>>>()?;
        renewed.into_iter().for_each(|(tls, renewed)| tls.renew(&renewed));
        if let Some(dicom) = &self.dicom {
            dicom.rule(next.dicom.clone());
        }
        if let Some(http) = &self.http {
            http.rule(next.http.clone());
        }
        self.after_days.store(next.retention.after_days, Ordering::Relaxed);
        self.config = next;
        Ok(later)
    }

    /// Ends the node: nothing new is taken, what was begun is ended, and all that had its effect is written.
    ///
    /// # Errors
    ///
    /// Returns an error that says what has failed.
    pub fn drain(mut self) -> anyhow::Result<()> {
        self.door.drain();
        drop(self.folders.take());
        if let Some(dicom) = self.dicom.take() {
            self.runtime.block_on(dicom.drain());
        }
        // Until then it tells that the node is ending.
        if let Some(http) = self.http.take() {
            self.runtime.block_on(http.drain());
        }
        self.end.store(true, Ordering::Release);
        let feeder = self.feeder.take().context("the feeder has ended before")?;
        let node = feeder.join().map_err(|_| anyhow!("the feeder panicked"))??;
        node.settle()?;
        if self.results.written().keep() {
            node.keep_book()?;
        }
        node.finish()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Release);
        if let Some(feeder) = self.feeder.take() {
            match feeder.join() {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::error!("{error:#}"),
                Err(_) => tracing::error!("the feeder panicked"),
            }
        }
    }
}
