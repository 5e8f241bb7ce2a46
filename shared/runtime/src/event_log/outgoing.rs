//! A message as it goes out: its header block is written once, however many copies are sent.

use async_nats::{HeaderMap, HeaderName, HeaderValue, Subject};
use bytes::Bytes;
use domain::Envelope;
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error;

use super::{Append, AppendError, Expect, Reason};
use crate::nats::{Headers, names};

const MESSAGE_ID: &str = "Nats-Msg-Id: ";

pub(super) struct Outgoing {
    pub(super) subject: Subject,
    pub(super) payload: Bytes,
    /// Every header on a line of its own, the message id first.
    block: Bytes,
}

/// What tells an append from every other, to look for it in the log.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) subject: &'a str,
    pub(super) message_id: &'a str,
    pub(super) expect: Option<&'a Expect>,
}

impl Outgoing {
    pub(super) fn of(append: &Append) -> Result<Self, AppendError> {
        let mut block = Block::begin(&append.message_id);
        for (name, value) in &append.headers {
            block.line(name, value);
        }
        block.expect(append.expect.as_ref());
        block.message(&append.subject, append.payload.clone())
    }

    pub(super) fn of_envelope(
        wanted: Wanted<'_>,
        envelope: &Envelope,
    ) -> Result<Self, AppendError> {
        let mut block = Block::begin(wanted.message_id);
        envelope.each_header(|name, value| block.line(name, value));
        block.expect(wanted.expect);
        block.message(wanted.subject, envelope.data.clone())
    }

    /// The headers as whoever reads the message finds them.
    pub(super) fn lines(&self) -> Headers {
        Headers::of_block(self.block.clone())
    }

    /// The headers of one copy. A map of a dozen headers costs the client three allocations for each; it writes a
    /// value as it is, so one value carries all lines. [`Block`] lets no other line break in.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut map = HeaderMap::new();
        let lines = String::from_utf8_lossy(&self.block[MESSAGE_ID.len()..]).into_owned();
        // A value made from a string by its parser would be refused its line breaks.
        let value: Result<HeaderValue, Error> = HeaderValue::deserialize(lines.into_deserializer());
        if let Ok(value) = value {
            map.insert(HeaderName::from_static(names::MESSAGE_ID), value);
        }
        map
    }
}

/// A header block while it is written.
struct Block {
    text: String,
    /// Whether a value held a line break, which would make headers of its own.
    is_broken: bool,
}

impl Block {
    fn begin(message_id: &str) -> Self {
        let mut block = Self { text: String::with_capacity(512), is_broken: false };
        block.text.push_str(MESSAGE_ID);
        block.value(message_id);
        block
    }

    fn line(&mut self, name: &str, value: &str) {
        self.text.push_str("\r\n");
        self.text.push_str(name);
        self.text.push_str(": ");
        self.value(value);
    }

    fn value(&mut self, value: &str) {
        self.is_broken |= value.bytes().any(|byte| matches!(byte, b'\r' | b'\n'));
        self.text.push_str(value);
    }

    fn expect(&mut self, expect: Option<&Expect>) {
        if let Some(expect) = expect {
            self.line(names::EXPECTED_SUBJECT_SEQUENCE, &expect.sequence.to_string());
            self.line(names::EXPECTED_SUBJECT_SEQUENCE_SUBJECT, &expect.guard);
        }
    }

    fn message(self, subject: &str, payload: Bytes) -> Result<Outgoing, AppendError> {
        if self.is_broken {
            let reason = "a header holds a line break".to_owned();
            return Err(AppendError::Unavailable(Reason::Unsendable(reason)));
        }
        Ok(Outgoing { subject: subject.into(), payload, block: self.text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(value: &str) -> Append {
        Append {
            subject: "events.acme.call.CA1.update".to_owned(),
            message_id: "m1".to_owned(),
            headers: vec![("ce-id", value.to_owned())],
            payload: Bytes::new(),
            expect: Some(Expect { guard: "events.acme.call.CA1.>".to_owned(), sequence: 7 }),
        }
    }

    #[test]
    fn every_header_is_a_line() {
        let block = Outgoing::of(&append("e1")).unwrap().block;
        let lines: Vec<&str> = std::str::from_utf8(&block).unwrap().split("\r\n").collect();
        assert_eq!(
            lines,
            [
                "Nats-Msg-Id: m1",
                "ce-id: e1",
                "Nats-Expected-Last-Subject-Sequence: 7",
                "Nats-Expected-Last-Subject-Sequence-Subject: events.acme.call.CA1.>",
            ]
        );
    }

    #[test]
    fn a_value_cannot_bring_headers_of_its_own() {
        for value in ["e1\r\nNats-Rollup: all", "e1\nx", "\r"] {
            assert!(Outgoing::of(&append(value)).is_err(), "{value:?}");
        }
    }
}
