//! A pull subscription on one consumer: keeps requests open and tells at once when the flow breaks.
//!
//! The client library's own loop needs up to half a minute to notice a dead consumer; this one a missed heartbeat
//! or two, and nothing at all when the connection itself was replaced.
//!
//! A paced subscription waits for one delivery, rests, and then takes everything that has come meanwhile: who may be a
//! moment late spares the server and itself a write and a wake-up for each message.

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
const STATUS_NO_MESSAGES: u16 = 404;
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

/// Where a paced subscription is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Nothing is asked for.
    Idle,
    /// For the first delivery.
    Waiting,
    /// Nothing is asked for until then.
    Resting(Instant),
    /// For all that is there.
    Draining,
}

pub(crate) struct Pull {
    pace: Option<Duration>,
    step: Step,
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
        pace: Option<Duration>,
    ) -> Result<Self, Broken> {
        let link = connection.watch_link();
        let generation = link.borrow().generation;
        let client = connection.client().clone();
        let inbox = client.new_inbox();
        let subscriber = client.subscribe(inbox.clone()).await.map_err(|_| Broken::Unsent)?;
        let next_subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let silent_at = Instant::now() + SILENCE;
        let mut pull = Self {
            pace,
            step: Step::Idle,
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
        pull.ask().await?;
        Ok(pull)
    }

    /// The next delivery; safe to drop while waiting.
    pub(crate) async fn next(&mut self) -> Result<(Message, Delivery), Broken> {
        loop {
            self.ask().await?;
            let until = match self.step {
                Step::Resting(until) => until,
                Step::Idle | Step::Waiting | Step::Draining => self.silent_at,
            };
            let message = tokio::select! {
                biased;
                message = self.subscriber.next() => message.ok_or(Broken::Ended)?,
                changed = self.link.changed() => {
                    self.check_link(changed.is_err())?;
                    continue;
                }
                () = tokio::time::sleep_until(until) => match self.step {
                    Step::Resting(_) => {
                        self.drain().await?;
                        continue;
                    }
                    Step::Idle | Step::Waiting | Step::Draining => return Err(Broken::Silent),
                },
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
            self.took_one();
            let reply = message.reply.as_ref().ok_or(Broken::Malformed)?;
            let delivery = Delivery::parse(reply).ok_or(Broken::Malformed)?;
            return Ok(Some((message, delivery)));
        };
        let text = message.description.as_deref().unwrap_or_default();
        match status {
            STATUS_HEARTBEAT => Ok(None),
            STATUS_REQUEST_TIMEOUT | STATUS_NO_MESSAGES => self.request_ended(&message),
            STATUS_CONFLICT
                if text.contains("Size Exceeds") || text.contains("Batch Completed") =>
            {
                self.request_ended(&message)
            }
            code => Err(Broken::Server(format!("{code} {text}"))),
        }
    }

    fn took_one(&mut self) {
        self.allowed = self.allowed.saturating_sub(1);
        match (self.pace, self.step) {
            (Some(pace), Step::Waiting) => self.step = Step::Resting(Instant::now() + pace),
            (Some(_), Step::Draining) if self.allowed == 0 => {
                self.step = Step::Resting(Instant::now())
            }
            _ => {}
        }
    }

    fn request_ended<T>(&mut self, message: &Message) -> Result<Option<T>, Broken> {
        if self.pace.is_some() {
            // A batch that was filled is told as ended too: then the next step is known already, and to begin with
            // waiting and resting again would hold what is behind to a batch per rest.
            if !matches!(self.step, Step::Resting(_)) {
                (self.step, self.allowed) = (Step::Idle, 0);
            }
            return Ok(None);
        }
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

    /// Asks for what is to come next, unless it has been asked for.
    async fn ask(&mut self) -> Result<(), Broken> {
        let (batch, heartbeat) = (self.batch.messages, HEARTBEAT.as_nanos());
        let (expires, bytes) = (EXPIRES.as_nanos(), self.batch.bytes);
        match (self.pace, self.step) {
            // Always a whole batch ahead, so that the server never waits for the next request.
            (None, _) if self.allowed <= batch => {
                let request = format!(
                    r#"{{"batch":{batch},"max_bytes":{bytes},"expires":{expires},"idle_heartbeat":{heartbeat}}}"#
                );
                self.request(request, batch).await
            }
            (Some(_), Step::Idle) => {
                self.step = Step::Waiting;
                let request =
                    format!(r#"{{"batch":1,"expires":{expires},"idle_heartbeat":{heartbeat}}}"#);
                self.request(request, 1).await
            }
            _ => Ok(()),
        }
    }

    async fn drain(&mut self) -> Result<(), Broken> {
        let (batch, bytes) = (self.batch.messages, self.batch.bytes);
        self.step = Step::Draining;
        self.silent_at = Instant::now() + SILENCE;
        let request = format!(r#"{{"batch":{batch},"max_bytes":{bytes},"no_wait":true}}"#);
        self.request(request, batch).await
    }

    async fn request(&mut self, request: String, messages: usize) -> Result<(), Broken> {
        let sent = self.client.publish_with_reply(
            self.next_subject.clone(),
            self.inbox.clone(),
            request.into(),
        );
        match tokio::time::timeout(HEARTBEAT, sent).await {
            Ok(Ok(())) => {
                self.allowed += messages;
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(Broken::Unsent),
        }
    }
}
