//! Work from a durable consumer that several instances share: each job is acknowledged, handed back or given up.
//!
//! The consumer itself is the provisioner's; this never makes or changes one.

use std::time::Duration;

use async_nats::{Client, Subject};
use bytes::Bytes;
use tracing::{debug, warn};

use crate::log_message::{Delivery, LogMessage};
use crate::nats::pull::{Batch, Broken, Pull};
use crate::nats::wire::Message;
use crate::nats::{Nats, wait_up};

/// What one instance holds unacknowledged and not yet begun; the others get the rest.
const BATCH: Batch = Batch { messages: 32, bytes: 4 * 1024 * 1024 };
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const SEND_WITHIN: Duration = Duration::from_secs(2);

pub struct Durable {
    nats: Nats,
    stream: String,
    durable: String,
    batch: Batch,
    pull: Option<Pull>,
    pause: Duration,
    pending: u64,
}

/// One delivery. Dropped without an answer it comes again after the consumer's `ack_wait`.
#[derive(Debug)]
pub struct Job {
    pub message: LogMessage,
    /// 1 for the first delivery.
    pub delivered: u64,
    reply: Subject,
    client: Client,
}

#[derive(Debug, thiserror::Error)]
#[error("the answer to a job did not reach the server; the job will come again")]
pub struct NotSettled;

impl Durable {
    pub fn open(nats: &Nats, stream: &str, durable: &str) -> Self {
        Self {
            nats: nats.clone(),
            stream: stream.to_owned(),
            durable: durable.to_owned(),
            batch: BATCH,
            pull: None,
            pause: PAUSE,
            pending: 0,
        }
    }

    /// Another bound on what is fetched ahead; 1 for jobs that take long.
    #[must_use]
    pub fn with_batch(mut self, messages: usize) -> Self {
        self.batch.messages = messages.max(1);
        self
    }

    /// How many jobs the server held for this durable when it sent the last one.
    pub fn lag(&self) -> u64 {
        self.pending
    }

    /// Waits for a job; never gives up. Safe to drop while waiting.
    pub async fn next(&mut self) -> Job {
        loop {
            let Some(pull) = &mut self.pull else {
                self.attach().await;
                continue;
            };
            match pull.next().await {
                Ok((message, delivery)) => {
                    self.pause = PAUSE;
                    self.pending = delivery.pending;
                    if let Some(job) = Job::new(message, &delivery, self.nats.tailing().client()) {
                        return job;
                    }
                }
                Err(broken) => self.detach(&broken).await,
            }
        }
    }

    /// Gives back what was fetched and not begun, for an orderly stop: others need not wait for `ack_wait`.
    pub async fn close(mut self) {
        let Some(mut pull) = self.pull.take() else { return };
        while let Ok(Some((message, delivery))) = pull.try_next() {
            if let Some(job) = Job::new(message, &delivery, self.nats.tailing().client()) {
                let _ = job.nak(Duration::ZERO).await;
            }
        }
    }

    async fn attach(&mut self) {
        // Answers go out over another connection.
        wait_up(self.nats.tailing().watch_link()).await;
        let opened = Pull::open(self.nats.servers(), &self.stream, &self.durable, self.batch, None);
        match opened.await {
            Ok(pull) => self.pull = Some(pull),
            Err(broken) => self.detach(&broken).await,
        }
    }

    async fn detach(&mut self, broken: &Broken) {
        self.pull = None;
        if matches!(broken, Broken::Ended(_)) {
            return;
        }
        if self.pause > PAUSE {
            warn!(stream = %self.stream, durable = %self.durable, reason = %broken, "work waits for its consumer");
        } else {
            debug!(stream = %self.stream, durable = %self.durable, reason = %broken, "fetching again");
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

impl Job {
    fn new(mut message: Message, delivery: &Delivery, client: &Client) -> Option<Self> {
        let reply = message.reply.take()?;
        let message = LogMessage::delivered(message, delivery);
        Some(Self { message, delivered: delivery.delivered, reply, client: client.clone() })
    }

    /// Done. Should the acknowledgement get lost, the job comes again: its work must be idempotent.
    pub async fn ack(&self) -> Result<(), NotSettled> {
        self.answer(Bytes::from_static(b"+ACK")).await
    }

    /// Done, and the server has confirmed it.
    pub async fn ack_confirmed(&self) -> Result<(), NotSettled> {
        let request = async_nats::Request::new()
            .payload(Bytes::from_static(b"+ACK"))
            .timeout(Some(SEND_WITHIN));
        let sent = self.client.send_request(self.reply.clone(), request);
        // The queue of a connection that is down can be full, which the request's own time-out does not cover.
        match tokio::time::timeout(SEND_WITHIN, sent).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotSettled),
        }
    }

    /// Not now: comes again after the delay.
    pub async fn nak(&self, delay: Duration) -> Result<(), NotSettled> {
        self.answer(format!(r#"-NAK {{"delay":{}}}"#, delay.as_nanos().max(1)).into()).await
    }

    /// Never again. What it held must have been put somewhere else before.
    pub async fn term(&self) -> Result<(), NotSettled> {
        self.answer(Bytes::from_static(b"+TERM")).await
    }

    /// Still at it: starts `ack_wait` anew.
    pub async fn in_progress(&self) -> Result<(), NotSettled> {
        self.answer(Bytes::from_static(b"+WPI")).await
    }

    async fn answer(&self, text: Bytes) -> Result<(), NotSettled> {
        let sent = self.client.publish(self.reply.clone(), text);
        match tokio::time::timeout(SEND_WITHIN, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotSettled),
        }
    }
}
