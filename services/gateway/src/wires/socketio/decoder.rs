//! From Engine.IO messages to whole packets: the text, then the attachments it announces.

use bytes::Bytes;
use serde_json::Value;

use crate::wires::json;

use super::{Body, Event, Fault, MAIN, MAX_ATTACHMENTS, Packet, RESERVED};

/// Puts packets together; holds at most one that waits for its attachments.
pub(crate) struct Decoder {
    waiting: Option<Box<Waiting>>,
    /// The most bytes of a packet with its attachments.
    limit: usize,
}

struct Waiting {
    raw: Raw,
    due: usize,
    attachments: Vec<Bytes>,
}

impl Decoder {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { waiting: None, limit }
    }

    /// Takes a text message; the packet, unless attachments are due. Nothing is kept for a namespace that the client
    /// is not in.
    pub(crate) fn text(
        &mut self,
        text: &str,
        is_in: impl FnOnce(&str) -> bool,
    ) -> Result<Option<Packet>, Fault> {
        if self.waiting.is_some() {
            return Err(Fault::TextDue);
        }
        let (raw, due) = parse(text)?;
        if due == 0 {
            return raw.finish(Vec::new()).map(Some);
        }
        // What cannot be valid is refused before anything is kept for it.
        raw.check()?;
        if !is_in(&raw.namespace) {
            return Err(Fault::NotConnected);
        }
        self.waiting = Some(Box::new(Waiting { raw, due, attachments: Vec::new() }));
        Ok(None)
    }

    /// Takes a binary message; the packet once it was the last attachment.
    pub(crate) fn binary(&mut self, bytes: Bytes) -> Result<Option<Packet>, Fault> {
        let Some(mut waiting) = self.waiting.take() else { return Err(Fault::BinaryDue) };
        waiting.raw.size += bytes.len();
        if waiting.raw.size > self.limit {
            return Err(Fault::TooLong);
        }
        waiting.attachments.push(bytes);
        if waiting.attachments.len() < waiting.due {
            self.waiting = Some(waiting);
            return Ok(None);
        }
        let Waiting { raw, attachments, .. } = *waiting;
        raw.finish(attachments).map(Some)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
}

/// A packet whose attachments are not there yet.
struct Raw {
    kind: Kind,
    namespace: String,
    id: Option<u64>,
    data: Option<Value>,
    /// Bytes of the text and of the attachments that are there.
    size: usize,
}

fn parse(text: &str) -> Result<(Raw, usize), Fault> {
    let mut characters = text.chars();
    let (kind, is_binary) = match characters.next() {
        Some('0') => (Kind::Connect, false),
        Some('1') => (Kind::Disconnect, false),
        Some('2') => (Kind::Event, false),
        Some('3') => (Kind::Ack, false),
        Some('5') => (Kind::Event, true),
        Some('6') => (Kind::Ack, true),
        // A refusal is the server's to send.
        _ => return Err(Fault::Type),
    };
    let rest = characters.as_str();
    let (due, rest) = if is_binary { attachments(rest)? } else { (0, rest) };
    let (namespace, rest) = namespace(rest);
    let (id, rest) = ack_id(rest)?;
    let data = match rest {
        "" => None,
        text => Some(json::read(text).map_err(|_| Fault::Payload)?),
    };
    Ok((Raw { kind, namespace: namespace.to_owned(), id, data, size: text.len() }, due))
}

fn attachments(text: &str) -> Result<(usize, &str), Fault> {
    let (count, rest) = text.split_once('-').ok_or(Fault::Attachments)?;
    let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse().ok().filter(|_| is_number).ok_or(Fault::Attachments)?;
    if count > MAX_ATTACHMENTS { Err(Fault::Attachments) } else { Ok((count, rest)) }
}

fn namespace(text: &str) -> (&str, &str) {
    if !text.starts_with('/') {
        return (MAIN, text);
    }
    text.split_once(',').unwrap_or((text, ""))
}

fn ack_id(text: &str) -> Result<(Option<u64>, &str), Fault> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Ok((None, text));
    }
    let (id, rest) = text.split_at(digits);
    Ok((Some(id.parse().map_err(|_| Fault::AckId)?), rest))
}

impl Raw {
    fn check(&self) -> Result<(), Fault> {
        match (self.kind, &self.data) {
            (Kind::Connect, None | Some(Value::Object(_))) | (Kind::Disconnect, None) => Ok(()),
            (Kind::Ack, Some(Value::Array(_))) => Ok(()),
            (Kind::Event, Some(Value::Array(items))) => match items.first() {
                Some(Value::Number(_)) => Ok(()),
                Some(Value::String(name)) if RESERVED.contains(&&**name) => Err(Fault::Reserved),
                Some(Value::String(_)) => Ok(()),
                _ => Err(Fault::Payload),
            },
            _ => Err(Fault::Payload),
        }
    }

    fn finish(self, attachments: Vec<Bytes>) -> Result<Packet, Fault> {
        self.check()?;
        let body = match (self.kind, self.data) {
            (Kind::Connect, data) => {
                Body::Connect(data.unwrap_or_else(|| Value::Object(serde_json::Map::default())))
            }
            (Kind::Disconnect, _) => Body::Disconnect,
            (Kind::Ack, _) => Body::Ack,
            (Kind::Event, Some(Value::Array(items))) => {
                Body::Event(event(items, attachments, self.id, self.size)?)
            }
            (Kind::Event, _) => return Err(Fault::Payload),
        };
        Ok(Packet { namespace: self.namespace, body })
    }
}

fn event(
    items: Vec<Value>,
    attachments: Vec<Bytes>,
    id: Option<u64>,
    size: usize,
) -> Result<Event, Fault> {
    if !attachments.is_empty() && !items.iter().all(|item| fits(item, attachments.len())) {
        return Err(Fault::Attachments);
    }
    let mut items = items.into_iter();
    let name = match items.next() {
        Some(Value::String(name)) => name,
        Some(other) => other.to_string(),
        None => return Err(Fault::Payload),
    };
    Ok(Event { name, arguments: items.collect(), attachments, id, size })
}

/// Whether every placeholder stands for an attachment that is there.
fn fits(value: &Value, attachments: usize) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, attachments)),
        Value::Object(fields) if fields.get("_placeholder") == Some(&Value::Bool(true)) => {
            let number = fields.get("num").and_then(Value::as_u64);
            number.is_some_and(|number| number < attachments as u64)
        }
        Value::Object(fields) => fields.values().all(|item| fits(item, attachments)),
        _ => true,
    }
}
