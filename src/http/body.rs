//! The body of a request as it comes.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};

use super::refusal::Refusal;

/// How long a sender may pause.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that are read of a body that is not wanted, so that its sender comes to read the answer.
const SWALLOWED: usize = 16 << 20;
/// How long they are waited for.
const SWALLOWING: Duration = Duration::from_secs(5);

/// The next bytes of a body; `None` at its end.
///
/// # Errors
///
/// Says that the connection was cut, or that nothing came for too long.
pub(super) async fn next(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        let frame = tokio::time::timeout(PATIENCE, frame).await.map_err(|_| Refusal::Silent)?;
        match frame.transpose().map_err(|_| Refusal::Cut)? {
            None => return Ok(None),
            Some(frame) => {
                // Trailers mean nothing here.
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Reads on for a moment, and forgets it.
pub(super) async fn swallow(body: &mut Body) {
    let swallow = async {
        let mut swallowed = 0;
        while let Ok(Some(bytes)) = next(body).await {
            swallowed += bytes.len();
            if swallowed > SWALLOWED {
                break;
            }
        }
    };
    // A sender that is slow may see that the connection is closed.
    tokio::time::timeout(SWALLOWING, swallow).await.ok();
}
