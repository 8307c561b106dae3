//! `/metrics`: the registry in Prometheus text format.

use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::runtime::Runtime;

/// A server of metrics. It stops when dropped.
pub struct Server {
    _runtime: Runtime,
    address: SocketAddr,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves `registry` at `address`; port 0 takes a free one.
///
/// # Errors
///
/// Returns an error that names the address if it cannot be listened on.
pub fn serve(address: SocketAddr, registry: Registry) -> anyhow::Result<Server> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("metrics")
        .enable_io()
        .build()
        .context("the metrics server has no thread")?;
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(address))
        .with_context(|| format!("metrics cannot be served at {address}"))?;
    let address = listener.local_addr().context("the metrics server has no address")?;
    let router = Router::new().route("/metrics", get(move || async move { exposition(&registry) }));
    runtime.spawn(async move { axum::serve(listener, router).await });
    Ok(Server { _runtime: runtime, address })
}

fn exposition(registry: &Registry) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
