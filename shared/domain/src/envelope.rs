//! The event as it is stored: a CloudEvents 1.0 event in the NATS binding's binary mode,
//! attributes in `ce-*` headers, the JSON data as payload.

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::channel::Channel;
use crate::subject;
use crate::token::Tenant;

/// The names of the headers that carry an event's attributes.
pub mod header {
    pub const SPEC_VERSION: &str = "ce-specversion";
    pub const ID: &str = "ce-id";
    pub const SOURCE: &str = "ce-source";
    pub const TYPE: &str = "ce-type";
    /// What a command is about; events have it in their data.
    pub const SUBJECT: &str = "ce-subject";
    pub const TIME: &str = "ce-time";
    pub const CORRELATION: &str = "ce-correlationid";
    pub const CAUSATION: &str = "ce-causationid";
    pub const CONTENT_TYPE: &str = "content-type";
    pub const CHANNELS: &str = "tl-channels";
    pub const VERSION: &str = "tl-version";
    /// Present, with the value `critical`, on events that go before all others.
    pub const DELIVERY: &str = "tl-delivery";
    /// Names a user, as the id of a channel, who does not get an ephemeral event: its own signals are no news to it.
    pub const EXCEPT: &str = "tl-except";
    /// Names the room of an administrator's broadcast, on its way to the gate.
    pub const ROOM: &str = "tl-room";
    pub const MESSAGE_ID: &str = "Nats-Msg-Id";
}

const CRITICAL: &str = "critical";

/// Headers by name, however the transport keeps them.
pub trait Headers {
    fn get(&self, name: &str) -> Option<&str>;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    pub id: String,
    /// Who observed or decided it, unique together with `id` (CloudEvents).
    pub source: String,
    pub event_type: String,
    /// Version of the type's schema.
    pub version: u16,
    pub time: OffsetDateTime,
    pub tenant: Tenant,
    pub channels: Vec<Channel>,
    pub critical: bool,
    pub correlation_id: Option<String>,
    pub causation_id: Option<String>,
    /// A JSON object.
    pub data: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the header {0} is missing")]
    Missing(&'static str),
    #[error("the header {0} is malformed")]
    Malformed(&'static str),
    #[error("the subject names no tenant")]
    Subject,
}

impl Envelope {
    /// The headers of the stored message, without the message id, which only the writer knows.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(11);
        self.each_header(|name, value| headers.push((name, value.to_owned())));
        headers
    }

    /// The same, for who writes them down at once.
    pub fn each_header(&self, mut visit: impl FnMut(&'static str, &str)) {
        visit(header::SPEC_VERSION, "1.0");
        visit(header::ID, &self.id);
        visit(header::SOURCE, &self.source);
        visit(header::TYPE, &self.event_type);
        visit(header::TIME, &rfc3339(self.time));
        visit(header::CONTENT_TYPE, "application/json");
        visit(header::VERSION, &self.version.to_string());
        visit(header::CHANNELS, &join(&self.channels));
        if self.critical {
            visit(header::DELIVERY, CRITICAL);
        }
        for (name, value) in
            [(header::CORRELATION, &self.correlation_id), (header::CAUSATION, &self.causation_id)]
        {
            if let Some(value) = value {
                visit(name, value);
            }
        }
    }

    /// Reads a stored or ephemeral message back.
    pub fn from_message(
        subject: &str,
        headers: &impl Headers,
        data: Bytes,
    ) -> Result<Self, Unreadable> {
        let required = |name| headers.get(name).ok_or(Unreadable::Missing(name));
        let version = headers.get(header::VERSION).unwrap_or("1");
        Ok(Self {
            id: required(header::ID)?.to_owned(),
            source: required(header::SOURCE)?.to_owned(),
            event_type: required(header::TYPE)?.to_owned(),
            version: version.parse().map_err(|_| Unreadable::Malformed(header::VERSION))?,
            time: parse_rfc3339(required(header::TIME)?)
                .ok_or(Unreadable::Malformed(header::TIME))?,
            tenant: subject::tenant_of(subject).map_err(|_| Unreadable::Subject)?,
            channels: split(required(header::CHANNELS)?)?,
            critical: headers.get(header::DELIVERY) == Some(CRITICAL),
            correlation_id: headers.get(header::CORRELATION).map(str::to_owned),
            causation_id: headers.get(header::CAUSATION).map(str::to_owned),
            data,
        })
    }
}

fn join(channels: &[Channel]) -> String {
    let length = channels.iter().map(|channel| channel.as_str().len() + 1).sum();
    let mut text = String::with_capacity(length);
    for channel in channels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(channel.as_str());
    }
    text
}

/// The channels of the `tl-channels` header.
pub fn split(channels: &str) -> Result<Vec<Channel>, Unreadable> {
    channels
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| Channel::parse(name).map_err(|_| Unreadable::Malformed(header::CHANNELS)))
        .collect()
}

/// RFC 3339 with milliseconds and `Z`, as JavaScript's `toISOString` writes it.
pub fn rfc3339(time: OffsetDateTime) -> String {
    let t = time.to_offset(time::UtcOffset::UTC);
    // Every event is written with one or two of these: by hand it takes a tenth of what a format string takes.
    let mut text = String::with_capacity(24);
    if t.year() < 0 {
        text.push('-');
    }
    push_digits::<4>(&mut text, t.year().unsigned_abs());
    for (before, number) in [
        ('-', u8::from(t.month())),
        ('-', t.day()),
        ('T', t.hour()),
        (':', t.minute()),
        (':', t.second()),
    ] {
        text.push(before);
        push_digits::<2>(&mut text, number.into());
    }
    text.push('.');
    push_digits::<3>(&mut text, t.millisecond().into());
    text.push('Z');
    text
}

/// The last `N` decimal digits.
fn push_digits<const N: usize>(text: &mut String, number: u32) {
    let mut power = 10_u32.pow(N as u32 - 1);
    while power > 0 {
        text.push(char::from(b'0' + (number / power % 10) as u8));
        power /= 10;
    }
}

pub fn parse_rfc3339(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    struct Map(HashMap<&'static str, String>);

    impl Headers for Map {
        fn get(&self, name: &str) -> Option<&str> {
            self.0.get(name).map(String::as_str)
        }
    }

    fn envelope() -> Envelope {
        Envelope {
            id: "CA42:3".into(),
            source: "acme-twilio".into(),
            event_type: "call.update".into(),
            version: 1,
            time: parse_rfc3339("2026-01-02T03:04:05.678Z").unwrap(),
            tenant: Tenant::parse("acme").unwrap(),
            channels: split("calls,call:CA42").unwrap(),
            critical: true,
            correlation_id: None,
            causation_id: Some("c1".into()),
            data: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let headers = Map(envelope().headers().into_iter().collect());
        let back = Envelope::from_message("events.acme.call.CA42.update", &headers, "{}".into());
        assert_eq!(back.unwrap(), envelope());
    }

    #[test]
    fn a_time_is_written_as_it_is_read() {
        for text in ["2026-01-02T03:04:05.678Z", "0001-12-31T23:59:59.009Z"] {
            assert_eq!(rfc3339(parse_rfc3339(text).unwrap()), text);
        }
        let elsewhere = parse_rfc3339("2026-01-02T03:04:05.6789+05:30").unwrap();
        assert_eq!(rfc3339(elsewhere), "2026-01-01T21:34:05.678Z");
    }

    #[test]
    fn a_missing_attribute_is_named() {
        let mut headers = Map(envelope().headers().into_iter().collect());
        headers.0.remove(header::ID);
        let back = Envelope::from_message("events.acme.call.CA42.update", &headers, "{}".into());
        assert_eq!(back.unwrap_err(), Unreadable::Missing(header::ID));
    }
}
