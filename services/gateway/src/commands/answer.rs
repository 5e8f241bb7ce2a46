//! What a caller is told, in the one form that every wire's own is made from: `{ok, commandId?, …}`.

use domain::catalogue::Violation;
use runtime::http::Problem;
use serde_json::{Map, Value, json};

use super::COMMAND_ID;
use crate::edge::Refused;

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Answer {
    fields: Map<String, Value>,
}

impl Answer {
    pub(crate) fn done(payload: Value) -> Self {
        Self::from_value(payload).unwrap_or_else(|| Self::refused("unavailable", "No answer."))
    }

    pub(crate) fn refused(code: &str, message: &str) -> Self {
        let fields = json!({ "ok": false, "code": code, "message": message });
        Self::from_value(fields).unwrap_or(Self { fields: Map::new() })
    }

    /// Data that does not fit its schema, with the place.
    pub(super) fn invalid(violation: &Violation) -> Self {
        let Violation { pointer, reason } = violation;
        let message = format!("data{pointer}: {reason}; see docs/EVENTS.md.");
        Self::refused("invalid_data", &message).with("pointer", pointer.as_str())
    }

    /// Another service's answer, in this form already.
    pub(crate) fn read(answer: &[u8]) -> Option<Self> {
        serde_json::from_slice(answer).ok().and_then(Self::from_value)
    }

    pub(crate) fn from_problem(problem: &Problem) -> Self {
        let mut answer = Self::refused(problem.code, &problem.detail);
        if let Value::Object(fields) = problem.body(None) {
            let known = ["type", "title", "status", "detail", "code"];
            answer.fields.extend(fields.into_iter().filter(|(n, _)| !known.contains(&n.as_str())));
        }
        answer
    }

    /// The decision as its decider sent it.
    pub(super) fn decided(reply: &[u8], command: &str) -> Self {
        let read = Self::read(reply);
        // It is stored and was decided, or there were no reply: its outcome comes as an event too.
        read.unwrap_or_else(|| Self::pending(command))
    }

    /// Stored: it will be decided, and its outcome comes as an event.
    pub(super) fn pending(command: &str) -> Self {
        Self::done(json!({ "ok": true, "pending": true, COMMAND_ID: command }))
    }

    /// The answer to this command, so that its sender can send it again.
    #[must_use]
    pub(super) fn of(self, command: &str) -> Self {
        self.with(COMMAND_ID, command)
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(fields) => Some(Self { fields }),
            _ => None,
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.fields.get("ok") != Some(&Value::Bool(false))
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.fields.get("pending") == Some(&Value::Bool(true))
    }

    pub(crate) fn code(&self) -> &str {
        self.text("code").unwrap_or("refused")
    }

    pub(crate) fn message(&self) -> &str {
        self.text("message").unwrap_or("This was refused.")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.field(name)?.as_str()
    }

    /// What a callback gets.
    pub(crate) fn into_payload(self) -> Value {
        Value::Object(self.fields)
    }

    /// The same for who knows already that something failed.
    pub(crate) fn into_error(mut self) -> Value {
        self.fields.remove("ok");
        Value::Object(self.fields)
    }
}

impl From<Refused> for Answer {
    fn from(refused: Refused) -> Self {
        let answer = Self::refused(refused.code, refused.message);
        match refused.reason {
            Some(reason) => answer.with("reason", reason),
            None => answer,
        }
    }
}

impl From<Result<Value, Refused>> for Answer {
    fn from(answer: Result<Value, Refused>) -> Self {
        match answer {
            Ok(payload) => Self::done(payload),
            Err(refused) => refused.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_passed_on_as_it_is() {
        let reply = br#"{"ok":false,"commandId":"k","code":"already_assigned","assignedTo":"8"}"#;
        let answer = Answer::decided(reply, "k");
        assert!(!answer.is_ok());
        assert_eq!((answer.code(), answer.text("assignedTo")), ("already_assigned", Some("8")));
        let error = json!({ "commandId": "k", "code": "already_assigned", "assignedTo": "8" });
        assert_eq!(answer.into_error(), error);
    }

    #[test]
    fn a_reply_that_cannot_be_read_is_no_refusal() {
        for reply in ["", "[]", "{", "7"] {
            let answer = Answer::decided(reply.as_bytes(), "k");
            assert!(answer.is_ok() && answer.is_pending(), "{reply}");
        }
    }

    #[test]
    fn what_is_wrong_with_the_data_is_told_with_its_place() {
        let reason = "is required".to_owned();
        let answer = Answer::invalid(&Violation { pointer: "/alertId".to_owned(), reason });
        assert_eq!((answer.code(), answer.text("pointer")), ("invalid_data", Some("/alertId")));
        assert_eq!(answer.message(), "data/alertId: is required; see docs/EVENTS.md.");
    }
}
