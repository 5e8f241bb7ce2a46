//! Answers over HTTP: what was stored, or a problem that says what to do.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use domain::signatures::Reason;
use runtime::http::Problem;
use runtime::telemetry::chain;
use serde::Serialize;
use tracing::debug;

use crate::gate::Refused;
use crate::intake::{IntakeError, Stored};

/// The answer after everything of a request is stored.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Stored>>,
    /// The id of what was kept for an operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
}

impl Answer {
    pub(crate) fn response(&self) -> Response {
        let text = serde_json::to_vec(self).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

/// Seconds after which it is worth to try again.
const RETRY_AFTER: u64 = 1;

pub(crate) fn not_stored(error: &IntakeError) -> Problem {
    // Thousands of requests fail alike when the log is away; the connection's own loss is logged once.
    debug!(error = chain(error), "not stored");
    let unavailable = |code, detail: &'static str| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(RETRY_AFTER)
    };
    match error {
        error if error.is_too_large() => {
            let detail = "The event is larger than the log accepts; send less in one event.";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
        }
        IntakeError::Overloaded => {
            unavailable("overloaded", "Too many events are being stored; send this again.")
        }
        IntakeError::Warming => {
            unavailable("warming_up", "Earlier events are still being read; send this again.")
        }
        IntakeError::Recall(_)
        | IntakeError::Seal(_)
        | IntakeError::Append(_)
        | IntakeError::Send(_) => unavailable(
            "log_unavailable",
            "The log did not acknowledge everything; send this again, repeats are recognised.",
        ),
    }
}

pub(crate) fn refused(refused: Refused) -> Problem {
    let status = match refused.code {
        "unreadable_body" => StatusCode::BAD_REQUEST,
        _ if refused.is_forbidden() => StatusCode::FORBIDDEN,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let mut problem = Problem::new(status, refused.code, refused.detail);
    if let Some(pointer) = refused.pointer {
        problem = problem.with("pointer", pointer);
    }
    match refused.index {
        Some(index) => problem.with("index", index),
        None => problem,
    }
}

/// One code for every way of not being believed; the sentence tells a sender's developer which.
pub(crate) fn unproven(reason: Reason) -> Problem {
    let (code, detail) = match reason {
        Reason::Missing => ("signature_missing", "The request carries no proof of its sender."),
        Reason::Malformed => ("signature_malformed", "The signature cannot be read."),
        Reason::Stale => ("signature_stale", "The signature is too old or from the future."),
        Reason::Mismatch => {
            ("signature_mismatch", "The signature fits no secret; check URL, secret and raw body.")
        }
    };
    Problem::new(StatusCode::UNAUTHORIZED, code, detail)
}

pub(crate) fn unknown_source() -> Problem {
    let detail = "No source of this name takes this kind of webhook; see SOURCES_FILE.";
    Problem::new(StatusCode::NOT_FOUND, "unknown_source", detail)
}
