//! The HTTP listener: who connects, what is served where, and how it ends.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::health::{self, Health};
use super::stow;
use crate::config::Http;
use crate::connections;
use crate::ingest::Door;
use crate::tls::Tls;

/// How long a handshake or the head of a request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections at once.
const CONNECTIONS: usize = 512;

/// How a listener behaves.
#[derive(Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Who may store.
    pub rules: Http,
    /// How it encrypts, if it does.
    pub tls: Option<Tls>,
    /// How long requests may go on once the listener ends.
    pub drain: Duration,
}

/// What requests share.
pub(super) struct Shared {
    pub(super) address: SocketAddr,
    /// The rules that hold now: they change when the configuration is read again.
    pub(super) rules: watch::Receiver<Arc<Http>>,
    /// Whether connections are encrypted.
    pub(super) encrypted: bool,
    /// Whether whoever connects has shown a certificate of the listed authorities.
    pub(super) certified: bool,
    pub(super) door: Door,
    /// One for each request to store that is served at once.
    pub(super) seats: Arc<Semaphore>,
    health: Health,
}

/// A listener in motion. It ends when dropped; [`Listener::drain`] lets requests end first.
pub struct Listener {
    address: SocketAddr,
    encrypted: bool,
    rules: watch::Sender<Arc<Http>>,
    end: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    drain: Duration,
}

impl Listener {
    /// Listens, hands what comes to `door`, and tells of `health`. Call it within a runtime.
    ///
    /// # Errors
    ///
    /// Returns an error that names the address if it cannot be listened on.
    pub async fn start(options: Options, door: Door, health: Health) -> anyhow::Result<Self> {
        let Options { address, rules, tls, drain } = options;
        let named = || format!("HTTP cannot be served at {address}");
        let listener = TcpListener::bind(address).await.with_context(named)?;
        let address = listener.local_addr().with_context(named)?;
        let (end, ended) = watch::channel(false);
        let (rules, current) = watch::channel(Arc::new(rules));
        let (encrypted, seats) = (tls.is_some(), door.limits().associations);
        let shared = Arc::new(Shared {
            address,
            rules: current,
            encrypted,
            certified: tls.as_ref().is_some_and(Tls::is_mutual),
            door,
            seats: Arc::new(Semaphore::new(seats)),
            health,
        });
        let served = {
            let seated = Arc::clone(&shared.seats);
            let router = router(shared);
            async move {
                accept(listener, router, tls, ended).await;
                // Whoever left before the answer may have left a request behind: it ends as well.
                let all = u32::try_from(seats).unwrap_or(u32::MAX);
                if let Err(error) = seated.acquire_many(all).await {
                    tracing::debug!("requests are not waited for: {error}");
                }
            }
        };
        let task = tokio::spawn(served);
        Ok(Self { address, encrypted, rules, end, task, drain })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as browsers call it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", scheme(self.encrypted), self.address)
    }

    /// Lets other rules hold for requests that come from here on.
    pub fn rule(&self, rules: Http) {
        self.rules.send_replace(Arc::new(rules));
    }

    /// Takes no further request, and waits for the open ones to end, as long as they may.
    pub async fn drain(mut self) {
        self.end.send_replace(true);
        if tokio::time::timeout(self.drain, &mut self.task).await.is_err() {
            tracing::warn!("requests did not end in {} s and were cut off", self.drain.as_secs());
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How URLs begin.
pub(super) fn scheme(encrypted: bool) -> &'static str {
    if encrypted { "https" } else { "http" }
}

/// Answers one request, as it came over a connection without TLS: what a listener does with each, without a socket.
pub async fn answer_one(request: Request, rules: Http, address: SocketAddr, door: Door, health: Health) -> Response {
    // The sender stays here: the rules do not change.
    let (_rules, current) = watch::channel(Arc::new(rules));
    let seats = Arc::new(Semaphore::new(1));
    let shared = Shared { address, rules: current, encrypted: false, certified: false, door, seats, health };
    let answered = TowerToHyperService::new(router(Arc::new(shared))).call(request).await;
    answered.unwrap_or_else(|never| match never {})
}

/// What is served where.
fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/dicom-web/studies", post(store))
        .route("/dicom-web/studies/{study}", post(store_of_study))
        .with_state(shared)
}

async fn live(State(shared): State<Arc<Shared>>) -> Response {
    health::live(&shared.health)
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    health::ready(&shared.health, &shared.door)
}

async fn store(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    stow::store(shared, None, request).await
}

async fn store_of_study(State(shared): State<Arc<Shared>>, Path(study): Path<String>, request: Request) -> Response {
    stow::store(shared, Some(study), request).await
}

async fn accept(listener: TcpListener, router: Router, tls: Option<Tls>, ended: watch::Receiver<bool>) {
    let serve = |stream, _| serve(stream, router.clone(), tls.clone(), ended.clone());
    let too_many = || tracing::warn!("a connection was refused: there are too many");
    connections::accept(listener, CONNECTIONS, ended.clone(), serve, too_many).await;
}

async fn serve(stream: TcpStream, router: Router, tls: Option<Tls>, ended: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        return tracing::debug!("a connection was lost before it began: {error}");
    }
    match tls {
        None => converse(stream, router, ended).await,
        Some(tls) => match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, router, ended).await,
            Ok(Err(error)) => tracing::warn!("a connection was refused: TLS: {error}"),
            Err(_) => tracing::warn!("a connection was refused: TLS: nothing came for too long"),
        },
    }
}

/// Serves the requests of a connection. Once the listener ends, the one that was begun is the last.
async fn converse<S>(stream: S, router: Router, mut ended: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let served = tokio::select! {
        served = connection.as_mut() => Some(served),
        _ = ended.wait_for(|ended| *ended) => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection was cut off: {error}");
    }
}
