//! Whether the node lives, and whether it should be sent anything: for service managers and load balancers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::ingest::Door;

/// How the node is. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    ready: AtomicBool,
    ended: AtomicBool,
}

/// The life of what feeds the graph: over when dropped.
#[derive(Debug)]
pub struct Life(Health);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.0.ended.store(true, Ordering::Release);
    }
}

impl Health {
    /// Begins the life of what feeds the graph.
    #[must_use]
    pub fn begin(&self) -> Life {
        Life(self.clone())
    }

    /// All that the data folder held has had its effect.
    pub fn set_ready(&self) {
        self.0.ready.store(true, Ordering::Release);
    }

    /// Whether all that the data folder held has had its effect.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    fn is_alive(&self) -> bool {
        !self.0.ended.load(Ordering::Acquire)
    }

    /// Why nothing should be sent: fixed words, none if all is well.
    fn reasons(&self, door: &Door) -> Vec<&'static str> {
        let failed = (!self.is_alive()).then_some("failed");
        let replaying = (!self.is_ready()).then_some("replaying");
        let closed = door.open().err().map(|closed| closed.word());
        [failed, replaying, closed].into_iter().flatten().collect()
    }
}

/// `/livez`: 200 while the graph is fed.
pub(super) fn live(health: &Health) -> Response {
    let alive = health.is_alive();
    answer(alive, &json!({ "alive": alive }))
}

/// `/readyz`: 200 while something may be sent, otherwise 503 and why not.
pub(super) fn ready(health: &Health, door: &Door) -> Response {
    let reasons = health.reasons(door);
    let ready = reasons.is_empty();
    answer(ready, &json!({ "ready": ready, "reasons": reasons }))
}

fn answer(well: bool, body: &serde_json::Value) -> Response {
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body.to_string()).into_response()
}
