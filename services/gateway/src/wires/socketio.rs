//! Socket.IO v5 packets: `<type>[<attachments>-][<namespace>,][<ack id>][JSON]` inside an Engine.IO message,
//! with binary attachments behind it. Pure; it knows no connection and no event.

use bytes::Bytes;
use serde_json::Value;

use super::websocket_frame::{Opcode, frame};

mod decoder;
mod event;
#[cfg(test)]
mod tests;

pub(crate) use decoder::Decoder;
pub(super) use event::{event_body, finish_event};

/// More binary attachments than this in one packet end the connection, as in the stock server.
pub(crate) const MAX_ATTACHMENTS: usize = 10;
/// The namespace that everyone uses and no packet names.
pub(crate) const MAIN: &str = "/";
/// Events that libraries raise themselves; a client that sends one is up to something.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A client's packet, whole and valid.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Packet {
    pub namespace: String,
    pub body: Body,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Body {
    /// With what the client brings; an empty object when it brings nothing.
    Connect(Value),
    Disconnect,
    Event(Event),
    /// The answer to an event that the server sent with an id.
    Ack,
}

/// An event of a client.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    pub name: String,
    /// Without the name; binary ones are placeholders that count `attachments`.
    pub arguments: Vec<Value>,
    pub attachments: Vec<Bytes>,
    /// Where the client waits for an answer.
    pub id: Option<u64>,
    /// Bytes of its text and its attachments.
    pub size: usize,
}

/// Why a connection has to end: what came breaks the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("no such packet type")]
    Type,
    #[error("the number of attachments cannot be read or is too high")]
    Attachments,
    #[error("the acknowledgement id is not a number")]
    AckId,
    #[error("the payload does not fit the packet")]
    Payload,
    #[error("a client may not send an event of this name")]
    Reserved,
    #[error("text came while attachments were due")]
    TextDue,
    #[error("an attachment came while none was due")]
    BinaryDue,
    #[error("attachments are announced for a namespace that the client is not in")]
    NotConnected,
    #[error("the packet is longer than allowed with its attachments")]
    TooLong,
}

/// `0{"sid":…}`; with a pid where the session can be recovered.
pub(crate) fn connected(namespace: &str, sid: &str, pid: Option<&str>) -> Bytes {
    let mut answer = serde_json::json!({ "sid": sid });
    if let Some(pid) = pid {
        answer["pid"] = pid.into();
    }
    packet(b'0', namespace, None, &answer.to_string())
}

/// The client is told and does not try again by itself.
pub(crate) fn refused(namespace: &str, message: &str, data: Option<&Value>) -> Bytes {
    let mut refusal = serde_json::json!({ "message": message });
    if let Some(data) = data {
        refusal["data"] = data.clone();
    }
    packet(b'4', namespace, None, &refusal.to_string())
}

/// An event; `cursor` becomes its last argument, which clients keep as their offset.
pub(crate) fn event(
    namespace: &str,
    name: &str,
    arguments: &[Value],
    cursor: Option<&str>,
) -> Bytes {
    packet(b'2', namespace, None, &argument_list(Some(name), arguments, cursor))
}

/// An event with attachments, which follow it.
pub(crate) fn binary_event(
    namespace: &str,
    name: &str,
    arguments: &[Value],
    attachments: &[Bytes],
) -> Vec<Bytes> {
    let list = argument_list(Some(name), arguments, None);
    with_attachments(b'5', namespace, None, &list, attachments)
}

/// The answer to an event that had an id.
pub(crate) fn ack(
    namespace: &str,
    id: u64,
    arguments: &[Value],
    attachments: &[Bytes],
) -> Vec<Bytes> {
    let list = argument_list(None, arguments, None);
    if attachments.is_empty() {
        return vec![packet(b'3', namespace, Some(id), &list)];
    }
    with_attachments(b'6', namespace, Some(id), &list, attachments)
}

fn argument_list(name: Option<&str>, arguments: &[Value], cursor: Option<&str>) -> String {
    let name = name.map(Value::from);
    let cursor = cursor.map(Value::from);
    let all: Vec<_> = name.iter().chain(arguments).chain(&cursor).map(Value::to_string).collect();
    format!("[{}]", all.join(","))
}

fn packet(kind: u8, namespace: &str, id: Option<u64>, json: &str) -> Bytes {
    let head = head(kind, None, namespace, id);
    frame(Opcode::Text, &[head.as_bytes(), json.as_bytes()])
}

fn with_attachments(
    kind: u8,
    namespace: &str,
    id: Option<u64>,
    json: &str,
    attachments: &[Bytes],
) -> Vec<Bytes> {
    let head = head(kind, Some(attachments.len()), namespace, id);
    let mut frames = vec![frame(Opcode::Text, &[head.as_bytes(), json.as_bytes()])];
    frames.extend(attachments.iter().map(|bytes| frame(Opcode::Binary, &[bytes])));
    frames
}

/// Everything of a packet before its JSON, with Engine.IO's type in front.
fn head(kind: u8, attachments: Option<usize>, namespace: &str, id: Option<u64>) -> String {
    let mut head = format!("4{}", char::from(kind));
    if let Some(count) = attachments {
        head.push_str(&format!("{count}-"));
    }
    if namespace != MAIN {
        head.push_str(namespace);
        head.push(',');
    }
    if let Some(id) = id {
        head.push_str(&id.to_string());
    }
    head
}
