//! Refusals as HTTP problems.

use axum::http::StatusCode;
use runtime::http::Problem;

use crate::edge::{FORBIDDEN, Refused, TOO_MANY_CHANNELS, UNAVAILABLE};
use crate::library::LibraryError;

pub(crate) fn refused(refused: Refused) -> Problem {
    let status = match refused.code {
        code if code == FORBIDDEN.code => StatusCode::FORBIDDEN,
        code if code == UNAVAILABLE.code => StatusCode::SERVICE_UNAVAILABLE,
        code if code == TOO_MANY_CHANNELS.code => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_REQUEST,
    };
    let problem = with_status(status, refused);
    if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(1) } else { problem }
}

pub(crate) fn with_status(status: StatusCode, refused: Refused) -> Problem {
    let problem = Problem::new(status, refused.code, refused.message);
    match refused.reason {
        Some(reason) => problem.with("reason", reason),
        None => problem,
    }
}

pub(crate) fn library(error: &LibraryError) -> Problem {
    tracing::debug!(%error, "the read side");
    refused(UNAVAILABLE)
}

pub(crate) fn bad_request(
    code: &'static str,
    detail: impl Into<std::borrow::Cow<'static, str>>,
) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, detail)
}
