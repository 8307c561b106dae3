//! `hemoflow serve`: the node, until it is told to end.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use kernels::Device;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;
use super::inference::load_model;
use crate::collector::Current;
use crate::config::Config;
use crate::console::{self, Console};
use crate::serve::Server;

/// Serves until SIGTERM or an interrupt; SIGHUP lets the configuration be read again.
pub(super) fn serve(path: Option<&Path>, device: Device, console: &mut Console) -> anyhow::Result<Exit> {
    console::keep_values_out_of_panics();
    let config = Config::load(path)?;
    if let Some(missing) = config.missing().first() {
        bail!("{missing}");
    }
    let model = load_model(config.node.model.as_deref(), device)?;
    let mut server = Server::start(config, model, told)?;
    // Before anybody hears that it is there: whoever does may tell it to end.
    let mut signals = Signals::listen(&server)?;
    if let Some(address) = server.dicom() {
        console.line(format!("DICOM at {address}"))?;
    }
    if let Some(url) = server.http() {
        console.line(format!("HTTP at {url}"))?;
    }
    if let Some(address) = server.metrics() {
        console.line(format!("metrics at http://{address}/metrics"))?;
    }
    let mut told_ready = false;
    loop {
        if server.is_ready() && !told_ready {
            told_ready = true;
            notify(&[NotifyState::Ready]);
        }
        if !server.is_alive() {
            break;
        }
        match server.runtime().block_on(signals.next()) {
            Some(Asked::End) => break,
            Some(Asked::Reload) => match Config::load(path) {
                Ok(config) => match server.reload(config) {
                    Ok(later) => {
                        tracing::info!("the configuration was read again");
                        later.iter().for_each(|key| tracing::warn!("{key} has changed, which holds after a restart"));
                    }
                    Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
                },
                Err(error) => tracing::error!("the configuration stays as it was: {error}"),
            },
            None => {}
        }
    }
    tracing::info!("ending: nothing new is taken");
    notify(&[NotifyState::Stopping]);
    server.drain()?;
    Ok(Exit::Done)
}

/// Tells of a result without a name of it: logs are read by more people than results.
fn told(current: &Current) {
    let publication = &current.publication;
    let series = publication.key.digest().to_string();
    tracing::info!(
        "series {}: version {}, {}, {} slices",
        series.get(..12).unwrap_or_default(),
        publication.version,
        publication.status.word(),
        publication.slices.len()
    );
}

/// Tells the service manager, if there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager was not told: {error}");
    }
}

enum Asked {
    End,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen(server: &Server) -> anyhow::Result<Self> {
        let _within = server.runtime().enter();
        let listen = |kind| signal(kind).context("signals cannot be heard");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// What is asked for, or nothing for a moment.
    async fn next(&mut self) -> Option<Asked> {
        tokio::select! {
            _ = self.terminate.recv() => Some(Asked::End),
            _ = self.interrupt.recv() => Some(Asked::End),
            _ = self.hangup.recv() => Some(Asked::Reload),
            () = tokio::time::sleep(Duration::from_millis(200)) => None,
        }
    }
}
