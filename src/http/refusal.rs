//! Why a request is refused as a whole, and what is answered then. Nothing of the request is repeated.

use axum::http::StatusCode;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};

use super::access::Denied;
use super::multipart::Malformed;
use crate::ingest::Closed;

/// Seconds after which a sender may come again.
pub(super) const RETRY: &str = "10";

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Whoever asks may not store.
    Denied(Denied),
    /// Nothing is taken now.
    Closed(Closed),
    /// As many requests are served as may be.
    Busy,
    /// The body is not of the type that is taken.
    MediaType,
    /// The study in the path is no unique identifier.
    Study,
    /// The body is not what its type says.
    Malformed(Malformed),
    /// The body ended before its end.
    Cut,
    /// Nothing came for too long.
    Silent,
    /// There are more parts than one request may have.
    TooMany,
    /// It could not be answered because of a fault of the node.
    Failed,
}

impl Refusal {
    /// What is wrong, in words for people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Denied(Denied::Unknown) => "a token or a certificate must be shown",
            Self::Denied(Denied::Wrong) => "the token is not known here",
            Self::Closed(Closed::Draining) => "the node is ending",
            Self::Closed(Closed::Behind) => "too much waits: come again later",
            Self::Closed(Closed::Disk) => "there is no room on the disk",
            Self::Busy => "too many requests at once: come again later",
            Self::MediaType => "the body must be multipart/related; type=\"application/dicom\" with a boundary",
            Self::Study => "the study in the path is no unique identifier",
            Self::Malformed(malformed) => malformed.0,
            Self::Cut => "the body ended before its end",
            Self::Silent => "nothing came for too long",
            Self::TooMany => "too many instances in one request",
            Self::Failed => "the node has a fault",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Denied(_) => StatusCode::UNAUTHORIZED,
            Self::Closed(Closed::Disk) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Closed(Closed::Draining | Closed::Behind) | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Study | Self::Malformed(_) | Self::Cut => StatusCode::BAD_REQUEST,
            Self::Silent => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let words = format!("{}\n", self.words());
        match self {
            Self::Denied(Denied::Unknown) => {
                (self.status(), [(WWW_AUTHENTICATE, "Bearer realm=\"hemoflow\"")], words).into_response()
            }
            Self::Denied(Denied::Wrong) => {
                let challenge = "Bearer realm=\"hemoflow\", error=\"invalid_token\"";
                (self.status(), [(WWW_AUTHENTICATE, challenge)], words).into_response()
            }
            Self::Closed(_) | Self::Busy => (self.status(), [(RETRY_AFTER, RETRY)], words).into_response(),
            Self::MediaType
            | Self::Study
            | Self::Malformed(_)
            | Self::Cut
            | Self::Silent
            | Self::TooMany
            | Self::Failed => (self.status(), words).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_come_again_is_told_when_and_others_are_not() {
        for (refusal, status, again) in [
            (Refusal::Closed(Closed::Behind), 503, true),
            (Refusal::Closed(Closed::Draining), 503, true),
            (Refusal::Closed(Closed::Disk), 507, true),
            (Refusal::Busy, 503, true),
            (Refusal::Denied(Denied::Wrong), 401, false),
            (Refusal::MediaType, 415, false),
            (Refusal::TooMany, 413, false),
        ] {
            let response = refusal.into_response();
            assert_eq!(response.status().as_u16(), status, "{refusal:?}");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), again, "{refusal:?}");
        }
    }
}
