//! A stored message, however it was read: by a tail, a durable, a direct get or from the leader.

use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::nats::Headers;
use crate::nats::wire::Message;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogMessage {
    pub subject: async_nats::Subject,
    /// Its place in the stream.
    pub sequence: u64,
    /// Unix milliseconds, truncated: the same whichever way the message was read.
    pub stored_at: i64,
    pub headers: Headers,
    pub payload: Bytes,
}

/// What a delivery says about itself in its reply subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Delivery {
    pub(crate) delivered: u64,
    pub(crate) stream_sequence: u64,
    pub(crate) consumer_sequence: u64,
    pub(crate) stored_at: i64,
    /// How many more the server holds for this consumer.
    pub(crate) pending: u64,
}

impl Delivery {
    /// Reads both forms: `$JS.ACK.<stream>.<consumer>.…` and `$JS.ACK.<domain>.<account>.<stream>.<consumer>.…`.
    pub(crate) fn parse(reply: &str) -> Option<Self> {
        let rest = reply.strip_prefix("$JS.ACK.")?;
        let skipped = if rest.split('.').count() >= 9 { 4 } else { 2 };
        let mut numbers = rest.split('.').skip(skipped);
        let mut next = || numbers.next()?.parse::<u64>().ok();
        let (delivered, stream_sequence, consumer_sequence) = (next()?, next()?, next()?);
        let stored_at = i64::try_from(next()? / 1_000_000).ok()?;
        Some(Self { delivered, stream_sequence, consumer_sequence, stored_at, pending: next()? })
    }
}

impl LogMessage {
    pub(crate) fn delivered(message: Message, delivery: &Delivery) -> Self {
        Self {
            subject: message.subject,
            sequence: delivery.stream_sequence,
            stored_at: delivery.stored_at,
            headers: message.headers,
            payload: message.payload,
        }
    }

    /// The answer to a direct get, which carries the message's place in headers.
    pub(crate) fn direct(message: Message) -> Option<Self> {
        let headers = message.headers;
        Some(Self {
            subject: headers.get("Nats-Subject")?.into(),
            sequence: headers.get("Nats-Sequence")?.parse().ok()?,
            stored_at: unix_millis(headers.get("Nats-Time-Stamp")?)?,
            headers,
            payload: message.payload,
        })
    }
}

/// Milliseconds of an RFC 3339 time with up to nine decimals, as the server writes it.
pub(crate) fn unix_millis(time: &str) -> Option<i64> {
    let nanos = OffsetDateTime::parse(time, &Rfc3339).ok()?.unix_timestamp_nanos();
    i64::try_from(nanos.div_euclid(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_delivery_are_read() {
        let expected = Delivery {
            delivered: 2,
            stream_sequence: 17,
            consumer_sequence: 5,
            stored_at: 1_700_000_000_123,
            pending: 9,
        };
        let first = "$JS.ACK.CALLS.tail.2.17.5.1700000000123456789.9";
        let second = "$JS.ACK._.hash.CALLS.tail.2.17.5.1700000000123456789.9.tok";
        assert_eq!(Delivery::parse(first), Some(expected));
        assert_eq!(Delivery::parse(second), Some(expected));
        assert_eq!(Delivery::parse("$JS.ACK.CALLS.tail.2"), None);
    }

    #[test]
    fn stored_time_is_the_same_from_a_delivery_and_from_a_get() {
        let delivered = Delivery::parse("$JS.ACK.S.c.1.1.1.1767323045678999999.0").unwrap();
        assert_eq!(unix_millis("2026-01-02T03:04:05.678999999Z"), Some(delivered.stored_at));
    }
}
