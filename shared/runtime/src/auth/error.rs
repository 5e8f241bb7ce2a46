//! Why somebody is not let in, for programs (a code), for people and for the seeds' clients.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::http::Problem;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AuthError {
    #[error("no credential was sent")]
    Missing,
    #[error("the token is longer than 8 KiB")]
    TooLong,
    #[error("the token is not a JWT whose parts can be read")]
    Malformed,
    #[error("the token's algorithm is not the one of the configured key")]
    Algorithm,
    #[error("no configured key verifies the token")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token's claim {0} is missing or cannot be used")]
    Claim(&'static str),
    #[error("the token or its user has been revoked")]
    Revoked,
    #[error("the key or the application that let it in is no longer configured")]
    Withdrawn,
    #[error("this origin may not use a cookie")]
    Origin,
    #[error("the session is not known to its application")]
    Session,
    #[error("the keys or the session check of the application cannot be reached")]
    Unavailable,
}

impl AuthError {
    /// Stable, and in the list of codes in the documents.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Expired => "token_expired",
            Self::Revoked | Self::Withdrawn => "token_revoked",
            Self::Origin => "origin_not_allowed",
            Self::Unavailable => "auth_unavailable",
            Self::TooLong
            | Self::Malformed
            | Self::Algorithm
            | Self::Signature
            | Self::NotYet
            | Self::Audience
            | Self::Claim(_)
            | Self::Session => "token_invalid",
        }
    }

    /// In the words of the seeds' servers, which their clients compare.
    pub const fn seed_message(&self) -> &'static str {
        match self {
            Self::Missing => "Authentication token required",
            _ => "Invalid authentication token",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Origin => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    const fn advice(&self) -> &'static str {
        match self {
            Self::Missing => "Send a token, for example as Authorization: Bearer.",
            Self::Expired => "The token has expired; get a new one.",
            Self::Revoked | Self::Withdrawn => "The token was revoked; log in again.",
            Self::Origin => "Add the origin to the allowed origins of its application.",
            Self::Unavailable => "The credential cannot be checked now; try again.",
            _ => "The token is not accepted; get a new one.",
        }
    }
}

/// What exactly is wrong stays in the log: it would help who guesses tokens.
impl From<&AuthError> for Problem {
    fn from(error: &AuthError) -> Self {
        let problem = Self::new(error.status(), error.code(), error.advice());
        if *error == AuthError::Unavailable { problem.retry_after(2) } else { problem }
    }
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        Problem::from(&self).into_response()
    }
}
