//! Why a WebSocket ends, with the close code that tells the client what to do:
//! 4000–4099 reconnect and resume, 4100–4199 do not reconnect without a change.

use runtime::auth::AuthError;
use serde_json::json;

use crate::member::Lost;
use crate::wires::websocket_frame::Violation;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    pub code: u16,
    pub reason: String,
    /// The client has closed already and is only answered.
    pub is_answer: bool,
}

impl Ending {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), is_answer: false }
    }

    /// The client closed; answered with its own code.
    pub(super) fn by_client(code: Option<u16>) -> Self {
        Self { is_answer: true, ..Self::new(code.unwrap_or(1000), "") }
    }

    /// Whether the client has ended it in good order.
    pub(super) fn is_goodbye(&self) -> bool {
        self.is_answer && matches!(self.code, 1000..=2999)
    }

    /// The socket is gone: nobody is told.
    pub(super) fn gone() -> Self {
        Self::new(0, "")
    }

    pub(super) fn draining(retry_after_ms: u64) -> Self {
        Self::new(4000, json!({ "retryAfterMs": retry_after_ms }).to_string())
    }

    pub(super) fn lagging() -> Self {
        Self::new(4001, "lagging: resume from the last cursor")
    }

    /// The platform cannot serve right now; the client resumes in a moment.
    pub(super) fn unavailable() -> Self {
        Self::new(4002, "unavailable: resume from the last cursor")
    }

    pub(super) fn rate_limited() -> Self {
        Self::new(4103, "rate_limited")
    }

    pub(super) fn taken_over() -> Self {
        Self::new(4104, "taken_over")
    }

    pub(super) fn unauthenticated() -> Self {
        Self::new(4105, "unauthenticated")
    }

    pub(super) fn refused(error: &AuthError) -> Self {
        match error {
            AuthError::Expired => Self::new(4100, "token_expired"),
            AuthError::Revoked => Self::new(4101, "revoked"),
            AuthError::Unavailable => Self::unavailable(),
            _ => Self::unauthenticated(),
        }
    }

    pub(super) fn lost(lost: Lost) -> Self {
        match lost {
            Lost::TakenOver => Self::taken_over(),
            Lost::Unavailable => Self::unavailable(),
            Lost::Identity(error) => Self::refused(&error),
        }
    }

    pub(super) fn violation(violation: Violation) -> Self {
        Self::new(violation.close_code(), violation.to_string())
    }

    pub(super) fn protocol() -> Self {
        Self::new(4102, "protocol_error")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_that_closes_in_good_order_has_said_goodbye() {
        assert!(Ending::by_client(None).is_goodbye() && Ending::by_client(Some(1001)).is_goodbye());
        assert!(!Ending::by_client(Some(4000)).is_goodbye());
        for violation in [Violation::Protocol, Violation::Utf8, Violation::TooLong] {
            assert!(!Ending::violation(violation).is_goodbye(), "{violation}");
        }
    }
}
