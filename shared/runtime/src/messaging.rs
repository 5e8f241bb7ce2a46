//! Plain messages that are not stored: ephemeral signals and replies to gateways. Lost when nobody listens.

use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{HeaderMap, HeaderName, HeaderValue, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::nats::{Headers, Nats};

const SEND_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessagingError {
    #[error("the message is larger than the server accepts")]
    TooLarge,
    #[error("NATS is not reachable")]
    Unavailable,
    #[error("a subject or header is malformed")]
    Malformed,
}

/// A message as it came over the wire.
#[derive(Clone, Debug)]
pub struct Signal {
    pub subject: Subject,
    pub headers: Headers,
    pub payload: Bytes,
}

pub struct Subscription(Subscriber);

impl Nats {
    /// Fails while the connection is down: a signal that arrives late is worse than none.
    pub async fn publish(
        &self,
        subject: &str,
        headers: &[(&'static str, String)],
        payload: Bytes,
    ) -> Result<(), MessagingError> {
        let connection = self.publishing();
        if !connection.link().up {
            return Err(MessagingError::Unavailable);
        }
        let map = header_map(headers)?;
        let sent = connection.client().publish_with_headers(subject.to_owned(), map, payload);
        match tokio::time::timeout(SEND_WITHIN, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => MessagingError::TooLarge,
                PublishErrorKind::InvalidSubject => MessagingError::Malformed,
                PublishErrorKind::Send => MessagingError::Unavailable,
            }),
            Err(_) => Err(MessagingError::Unavailable),
        }
    }

    /// What nobody takes off in time is dropped beyond the client's buffer, and logged.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscription, MessagingError> {
        let subscribed = self.tailing().client().subscribe(subject.to_owned());
        match tokio::time::timeout(SEND_WITHIN, subscribed).await {
            Ok(Ok(subscriber)) => Ok(Subscription(subscriber)),
            Ok(Err(_)) => Err(MessagingError::Malformed),
            Err(_) => Err(MessagingError::Unavailable),
        }
    }
}

impl Subscription {
    /// `None` when the connection is closed for good. Safe to drop while waiting.
    pub async fn next(&mut self) -> Option<Signal> {
        let Message { subject, headers, payload, .. } = self.0.next().await?;
        Some(Signal { subject, headers: headers.into(), payload })
    }
}

pub(crate) fn header_map(headers: &[(&'static str, String)]) -> Result<HeaderMap, MessagingError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let value: HeaderValue = value.parse().map_err(|_| MessagingError::Malformed)?;
        map.insert(HeaderName::from_static(name), value);
    }
    Ok(map)
}
