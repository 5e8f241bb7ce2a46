//! A pull subscription on one consumer: keeps requests open and tells at once when the flow breaks.
//!
//! The client library's own loop needs up to half a minute to notice a dead consumer; this one a missed heartbeat
//! or two, and nothing at all when the connection itself was replaced.

use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Connection, Link};
use crate::log_message::Delivery;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// Two heartbeats and the jitter of a busy machine.
const SILENCE: Duration = Duration::from_millis(2200);
const EXPIRES: Duration = Duration::from_secs(5);

const STATUS_HEARTBEAT: u16 = 100;
const STATUS_REQUEST_TIMEOUT: u16 = 408;
const STATUS_CONFLICT: u16 = 409;

/// How much may be asked for at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) messages: usize,
    /// Bounds what the client buffers; a single message may still be larger than the rest of the batch.
    pub(crate) bytes: usize,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the connection was replaced")]
    Reconnected,
    #[error("no heartbeat")]
    Silent,
    #[error("the subscription ended")]
    Ended,
    #[error("the server ended the delivery: {0}")]
    Server(String),
    #[error("the request could not be sent")]
    Unsent,
    #[error("a delivery without its place in the stream")]
    Malformed,
}

pub(crate) struct Pull {
    client: Client,
    next_subject: String,
    inbox: String,
    subscriber: Subscriber,
    batch: Batch,
    /// What the open requests still allow the server to send.
    allowed: usize,
    link: watch::Receiver<Link>,
    generation: u64,
    silent_at: Instant,
}

impl Pull {
    pub(crate) async fn open(
        connection: &Connection,
        stream: &str,
        consumer: &str,
        batch: Batch,
    ) -> Result<Self, Broken> {
        let link = connection.watch_link();
        let generation = link.borrow().generation;
        let client = connection.client().clone();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await.map_err(|_| Broken::Unsent)?;
        let next_subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let silent_at = Instant::now() + SILENCE;
        let mut pull = Self {
            client,
            next_subject,
            inbox,
            subscriber,
            batch,
            allowed: 0,
            link,
            generation,
            silent_at,
        };
        pull.request().await?;
        Ok(pull)
    }

    /// The next delivery; safe to drop while waiting.
    pub(crate) async fn next(&mut self) -> Result<(Message, Delivery), Broken> {
        loop {
            // Always a whole batch ahead, so that the server never waits for the next request.
            if self.allowed <= self.batch.messages {
                self.request().await?;
            }
            let message = tokio::select! {
                biased;
                message = self.subscriber.next() => message.ok_or(Broken::Ended)?,
                changed = self.link.changed() => {
                    self.check_link(changed.is_err())?;
                    continue;
                }
                () = tokio::time::sleep_until(self.silent_at) => return Err(Broken::Silent),
            };
            self.silent_at = Instant::now() + SILENCE;
            if let Some(delivery) = self.take(message)? {
                return Ok(delivery);
            }
        }
    }

    /// A delivery that has already arrived.
    pub(crate) fn try_next(&mut self) -> Result<Option<(Message, Delivery)>, Broken> {
        loop {
            let Some(Some(message)) = self.subscriber.next().now_or_never() else {
                return Ok(None);
            };
            if let Some(delivery) = self.take(message)? {
                return Ok(Some(delivery));
            }
        }
    }

    /// `None` for a status that only says that the flow lives, or that a request has ended.
    fn take(&mut self, message: Message) -> Result<Option<(Message, Delivery)>, Broken> {
        let Some(status) = message.status.map(|status| status.as_u16()) else {
            self.allowed = self.allowed.saturating_sub(1);
            let reply = message.reply.as_ref().ok_or(Broken::Malformed)?;
            let delivery = Delivery::parse(reply).ok_or(Broken::Malformed)?;
            return Ok(Some((message, delivery)));
        };
        let text = message.description.as_deref().unwrap_or_default();
        match status {
            STATUS_HEARTBEAT => Ok(None),
            STATUS_REQUEST_TIMEOUT => self.request_ended(&message),
            STATUS_CONFLICT
                if text.contains("Size Exceeds") || text.contains("Batch Completed") =>
            {
                self.request_ended(&message)
            }
            code => Err(Broken::Server(format!("{code} {text}"))),
        }
    }

    fn request_ended<T>(&mut self, message: &Message) -> Result<Option<T>, Broken> {
        let left = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Pending-Messages"))
            .and_then(|left| left.as_str().parse().ok());
        self.allowed = self.allowed.saturating_sub(left.unwrap_or(self.batch.messages));
        Ok(None)
    }

    fn check_link(&mut self, closed: bool) -> Result<(), Broken> {
        let link = *self.link.borrow_and_update();
        match closed || (link.up && link.generation != self.generation) {
            true => Err(Broken::Reconnected),
            // While the connection is down there is nothing to hear: the reconnect decides.
            false => {
                self.silent_at = Instant::now() + SILENCE;
                Ok(())
            }
        }
    }

    async fn request(&mut self) -> Result<(), Broken> {
        let request = format!(
            r#"{{"batch":{},"max_bytes":{},"expires":{},"idle_heartbeat":{}}}"#,
            self.batch.messages,
            self.batch.bytes,
            EXPIRES.as_nanos(),
            HEARTBEAT.as_nanos(),
        );
        let sent = self.client.publish_with_reply(
            self.next_subject.clone(),
            self.inbox.clone(),
            request.into(),
        );
        match tokio::time::timeout(HEARTBEAT, sent).await {
            Ok(Ok(())) => {
                self.allowed += self.batch.messages;
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(Broken::Unsent),
        }
    }
}
