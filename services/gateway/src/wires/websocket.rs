//! The plain WebSocket protocol: JSON text frames `{"type","payload","id"?}` both ways.

use bytes::Bytes;
use domain::Channel;
use domain::catalogue::WireForm;
use serde::Deserialize;
use serde_json::{Value, json};

use super::attachment;
use super::json;
use super::websocket_frame::{Opcode, frame};
use crate::entry::{Entry, Variant};

/// Events whose payload is repeated as `data`, which existing dashboards read.
const REPEATED: [&str; 2] = ["notification", "training:update"];

pub(super) fn event_body(entry: &Entry, variant: &Variant) -> Bytes {
    let data = &*entry.data();
    if let WireForm::Binary(field) = &entry.form
        && let Some(bytes) = attachment::bytes_of(data, field)
        && let Some(rest) = attachment::without(data, field)
    {
        return attachment::body(&text_body(entry, variant, &rest), &bytes);
    }
    text_body(entry, variant, data).into()
}

fn text_body(entry: &Entry, variant: &Variant, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(data.len() + 192);
    body.extend(b"{\"type\":");
    push_string(&mut body, &variant.name);
    body.extend(b",\"payload\":");
    body.extend(data);
    if REPEATED.contains(&&*variant.name) {
        body.extend(b",\"data\":");
        body.extend(data);
    }
    let own_room = || variant.channels.iter().find(|channel| is_room(channel));
    if let Some(room) = own_room().or_else(|| entry.room()) {
        body.extend(b",\"room\":");
        push_string(&mut body, room.as_str());
    }
    body.extend(b",\"id\":");
    push_string(&mut body, &entry.envelope.id);
    body.extend(b",\"cursor\":\"");
    body
}

fn is_room(channel: &Channel) -> bool {
    !matches!(channel.kind(), "user" | "connection")
}

pub(super) fn finish_event(body: &Bytes, cursor: &str) -> Bytes {
    attachment::finish(body, cursor, b"\"}")
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// What a client may say.
#[derive(Debug, PartialEq)]
pub(crate) struct Request {
    pub kind: String,
    pub payload: Value,
    /// Present when the client wants an answer.
    pub reference: Option<Value>,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    payload: Value,
    id: Option<Value>,
}

impl Request {
    /// `None` for anything that is no JSON object with a string `type`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let raw: Raw = json::read(text).ok()?;
        Some(Self { kind: raw.kind, payload: raw.payload, reference: raw.id })
    }

    /// A string field of the payload; a bare string payload stands for its only field.
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        match &self.payload {
            Value::String(text) => Some(text),
            payload => payload.get(field)?.as_str(),
        }
    }

    /// A string field of an object payload.
    pub(crate) fn field(&self, field: &str) -> Option<&str> {
        self.payload.get(field)?.as_str()
    }
}

/// A server frame that is no event.
pub(crate) fn message(kind: &str, payload: &Value) -> Bytes {
    text(&json!({ "type": kind, "payload": payload }))
}

/// The answer to a request that carried an id.
pub(crate) fn answer(reference: &Value, payload: &Value) -> Bytes {
    text(&json!({ "type": "ack", "ref": reference, "payload": payload }))
}

/// An error; `reference` is the id of the request that caused it.
pub(crate) fn error(reference: Option<&Value>, code: &str, reason: &str) -> Bytes {
    failure(reference, &json!({ "code": code, "message": reason }))
}

/// An error that says more than its code and message.
pub(crate) fn failure(reference: Option<&Value>, payload: &Value) -> Bytes {
    match reference {
        Some(id) => text(&json!({ "type": "error", "ref": id, "payload": payload })),
        None => message("error", payload),
    }
}

fn text(value: &Value) -> Bytes {
    frame(Opcode::Text, &[value.to_string().as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_and_without_payload() {
        let request =
            Request::parse(r#"{"type":"join","payload":{"room":"calls"},"id":7}"#).unwrap();
        assert_eq!((request.kind.as_str(), request.text("room")), ("join", Some("calls")));
        assert_eq!(request.reference, Some(json!(7)));
        assert_eq!(Request::parse(r#"{"type":"ping"}"#).unwrap().payload, Value::Null);
        assert_eq!(Request::parse(r#"{"payload":{}}"#), None);
        assert_eq!(Request::parse("[]"), None);
        // A text that was cut in the middle of a character is answered like any other.
        let cut = Request::parse(r#"{"type":"x","payload":{"text":"\ud83d"},"id":7}"#).unwrap();
        assert_eq!((cut.text("text"), &cut.reference), (Some("\u{fffd}"), &Some(json!(7))));
    }
}
