//! The listener: who connects, how many at a time, and how it ends.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use operators::event::{AssociationAsked, AssociationsOpen};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::association::Association;
use super::stream::{Prompt, Stream};
use crate::config::Dicom;
use crate::connections;
use crate::ingest::Door;
use crate::tls::Tls;

/// How a listener behaves.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Who may send.
    pub rules: Dicom,
    /// How it encrypts, if it does.
    pub tls: Option<Tls>,
    /// How long associations may go on once the listener ends.
    pub drain: Duration,
}

/// What associations share.
pub(super) struct Shared {
    pub(super) options: Options,
    /// The rules that hold now: they change when the configuration is read again.
    pub(super) rules: watch::Receiver<Arc<Dicom>>,
    pub(super) door: Door,
    pub(super) open: Mutex<HashMap<String, usize>>,
}

/// The right to an association of a title. It is given back when dropped.
pub(super) struct Seat {
    shared: Arc<Shared>,
    title: String,
}

impl Shared {
    /// Takes a seat, if one is free.
    pub(super) fn seat(self: &Arc<Self>, title: &str) -> Option<Seat> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let own = open.get(title).copied().unwrap_or_default();
        let limits = self.door.limits();
        if all >= limits.associations || own >= limits.associations_per_peer {
            return None;
        }
        open.insert(title.to_owned(), own + 1);
        self.door.telemetry().emit(AssociationsOpen { count: all + 1 });
        Some(Seat { shared: Arc::clone(self), title: title.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.get(&self.title).copied().unwrap_or_default();
        if own > 1 {
            open.insert(self.title.clone(), own - 1);
        } else {
            open.remove(&self.title);
        }
        self.shared.door.telemetry().emit(AssociationsOpen { count: open.values().sum() });
    }
}

/// A listener in motion. It ends when dropped; [`Listener::drain`] lets associations end first.
pub struct Listener {
    address: SocketAddr,
    rules: watch::Sender<Arc<Dicom>>,
    end: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    drain: Duration,
}

impl Listener {
    /// Listens, and hands what comes to `door`. Call it within a runtime.
    ///
    /// # Errors
    ///
    /// Returns an error that names the address if it cannot be listened on.
    pub async fn start(options: Options, door: Door) -> anyhow::Result<Self> {
        let named = || format!("DICOM cannot be served at {}", options.address);
        let listener = TcpListener::bind(options.address).await.with_context(named)?;
        let address = listener.local_addr().with_context(named)?;
        let (end, ended) = watch::channel(false);
        let (rules, current) = watch::channel(Arc::new(options.rules.clone()));
        let drain = options.drain;
        let shared = Arc::new(Shared { options, rules: current, door, open: Mutex::default() });
        let task = tokio::spawn(accept(listener, shared, ended));
        Ok(Self { address, rules, end, task, drain })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets other rules hold for associations that are asked for from here on.
    pub fn rule(&self, rules: Dicom) {
        self.rules.send_replace(Arc::new(rules));
    }

    /// Takes no further association, and waits for the open ones to end, as long as they may.
    pub async fn drain(mut self) {
        self.end.send_replace(true);
        if tokio::time::timeout(self.drain, &mut self.task).await.is_err() {
            tracing::warn!("associations did not end in {} s and were cut off", self.drain.as_secs());
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one who says what `stream` gives, from `from`, to the end: what a listener does with each connection, over any
/// stream and without a socket.
pub async fn serve_one(stream: impl AsyncRead + AsyncWrite + Unpin + Send, from: IpAddr, options: Options, door: Door) {
    // Both ends stay here: nobody ends it from outside, and the rules do not change.
    let (_end, ended) = watch::channel(false);
    let (_rules, current) = watch::channel(Arc::new(options.rules.clone()));
    let shared = Arc::new(Shared { options, rules: current, door, open: Mutex::default() });
    associate(stream, from, shared, ended).await;
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, ended: watch::Receiver<bool>) {
    // Who connects and asks for nothing must not use all there is.
    let most = shared.door.limits().associations + 64;
    let serve = |stream, from| serve(stream, from, Arc::clone(&shared), ended.clone());
    let flood = || shared.door.telemetry().emit(AssociationAsked { outcome: "flood" });
    connections::accept(listener, most, ended.clone(), serve, flood).await;
}

async fn serve(stream: TcpStream, from: IpAddr, shared: Arc<Shared>, ended: watch::Receiver<bool>) {
    let stream = match Prompt::new(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::debug!("a connection was lost before it began: {error}"),
    };
    match shared.options.tls.clone() {
        None => associate(stream, from, shared, ended).await,
        Some(tls) => {
            let patience = shared.options.rules.timeout;
            match tokio::time::timeout(patience, tls.accept(stream)).await {
                Ok(Ok(stream)) => associate(stream, from, shared, ended).await,
                Ok(Err(error)) => {
                    tracing::warn!("a connection was refused: TLS: {error}");
                    shared.door.telemetry().emit(AssociationAsked { outcome: "tls" });
                }
                Err(_) => shared.door.telemetry().emit(AssociationAsked { outcome: "silent" }),
            }
        }
    }
}

async fn associate<S: Stream>(stream: S, from: IpAddr, shared: Arc<Shared>, ended: watch::Receiver<bool>) {
    if let Err(broken) = Association::serve(stream, from, shared, ended).await {
        tracing::warn!("an association was cut off: {broken}");
    }
}
