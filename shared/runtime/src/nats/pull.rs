//! A pull subscription on one consumer: keeps requests open and tells at once when the flow breaks.
//!
//! The client library's own loop needs up to half a minute to notice a dead consumer; this one a missed heartbeat
//! or two, and nothing at all when the connection itself ends. It has a connection of its own.
//!
//! A paced subscription waits for one delivery, rests, and then takes everything that has come meanwhile: who may be a
//! moment late spares the server and itself a write and a wake-up for each message.

use std::time::Duration;

use tokio::time::Instant;

use super::servers::Servers;
use super::wire::{Message, Wire, WireError};
use crate::log_message::Delivery;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// Two heartbeats and the jitter of a busy machine.
const SILENCE: Duration = Duration::from_millis(2200);
const EXPIRES: Duration = Duration::from_secs(5);
/// A connection that ends so soon was not ended by a server that went away in order.
const YOUNG: Duration = Duration::from_secs(1);

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
    #[error("no connection")]
    Unconnected(#[source] WireError),
    /// After it had stood for a while: no reason to wait before the next.
    #[error("the connection ended")]
    Ended(#[source] WireError),
    #[error("no heartbeat")]
    Silent,
    #[error("the server ended the delivery: {0}")]
    Server(String),
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
    wire: Wire,
    opened: Instant,
    next_subject: String,
    inbox: String,
    batch: Batch,
    /// What the open requests still allow the server to send.
    allowed: usize,
    silent_at: Instant,
}

impl Pull {
    pub(crate) async fn open(
        servers: &Servers,
        stream: &str,
        consumer: &str,
        batch: Batch,
        pace: Option<Duration>,
    ) -> Result<Self, Broken> {
        // Boxed: a handshake would make every future that follows a stream kilobytes large.
        let opened = Box::pin(Wire::open(servers, "follow")).await;
        let mut wire = opened.map_err(Broken::Unconnected)?;
        let inbox = servers.inbox();
        wire.subscribe(&inbox);
        let opened = Instant::now();
        Ok(Self {
            pace,
            step: Step::Idle,
            wire,
            opened,
            next_subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            inbox,
            batch,
            allowed: 0,
            silent_at: opened + SILENCE,
        })
    }

    /// The next delivery; safe to drop while waiting.
    pub(crate) async fn next(&mut self) -> Result<(Message, Delivery), Broken> {
        loop {
            self.ask();
            let until = match self.step {
                Step::Resting(until) => until,
                Step::Idle | Step::Waiting | Step::Draining => self.silent_at,
            };
            let message = tokio::select! {
                biased;
                message = self.wire.next() => message.map_err(|error| self.ended(error))?,
                () = tokio::time::sleep_until(until) => match self.step {
                    Step::Resting(_) => {
                        self.drain();
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
            let Some(message) = self.wire.try_next().map_err(|error| self.ended(error))? else {
                return Ok(None);
            };
            if let Some(delivery) = self.take(message)? {
                return Ok(Some(delivery));
            }
        }
    }

    fn ended(&self, error: WireError) -> Broken {
        match self.opened.elapsed() < YOUNG {
            true => Broken::Unconnected(error),
            false => Broken::Ended(error),
        }
    }

    /// `None` for a status that only says that the flow lives, or that a request has ended.
    fn take(&mut self, message: Message) -> Result<Option<(Message, Delivery)>, Broken> {
        let Some((status, text)) = message.headers.status() else {
            self.took_one();
            let reply = message.reply.as_ref().ok_or(Broken::Malformed)?;
            let delivery = Delivery::parse(reply).ok_or(Broken::Malformed)?;
            return Ok(Some((message, delivery)));
        };
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
        let left = message.headers.get("Nats-Pending-Messages").and_then(|left| left.parse().ok());
        self.allowed = self.allowed.saturating_sub(left.unwrap_or(self.batch.messages));
        Ok(None)
    }

    /// Asks for what is to come next, unless it has been asked for.
    fn ask(&mut self) {
        let (batch, heartbeat) = (self.batch.messages, HEARTBEAT.as_nanos());
        let (expires, bytes) = (EXPIRES.as_nanos(), self.batch.bytes);
        match (self.pace, self.step) {
            // Always a whole batch ahead, so that the server never waits for the next request.
            (None, _) if self.allowed <= batch => {
                let request = format!(
                    r#"{{"batch":{batch},"max_bytes":{bytes},"expires":{expires},"idle_heartbeat":{heartbeat}}}"#
                );
                self.request(&request, batch);
            }
            (Some(_), Step::Idle) => {
                self.step = Step::Waiting;
                let request =
                    format!(r#"{{"batch":1,"expires":{expires},"idle_heartbeat":{heartbeat}}}"#);
                self.request(&request, 1);
            }
            _ => {}
        }
    }

    fn drain(&mut self) {
        let (batch, bytes) = (self.batch.messages, self.batch.bytes);
        self.step = Step::Draining;
        self.silent_at = Instant::now() + SILENCE;
        let request = format!(r#"{{"batch":{batch},"max_bytes":{bytes},"no_wait":true}}"#);
        self.request(&request, batch);
    }

    fn request(&mut self, request: &str, messages: usize) {
        self.wire.publish(&self.next_subject, &self.inbox, request.as_bytes());
        self.allowed += messages;
    }
}
