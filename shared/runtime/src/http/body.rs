//! Reading a request's body within a size and a time.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;

use crate::http::Problem;

/// How long a sender may take for a body; a slower one only holds resources.
const DEADLINE: Duration = Duration::from_secs(30);

/// The whole body, or the problem to answer with: 413 beyond `limit` bytes, 408 when too slow, 400 when cut off.
pub async fn read_body(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let collecting = Limited::new(body, limit).collect();
    match timeout(DEADLINE, collecting).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(_)) => {
            let detail = "The body ended before it was complete; send it again.";
            Err(Problem::new(StatusCode::BAD_REQUEST, "incomplete_body", detail))
        }
        Err(_) => {
            let detail = "The body took longer than 30 s; send it again.";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail))
        }
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("The body is larger than {limit} bytes; send less at once.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail).with("limit", limit)
}
