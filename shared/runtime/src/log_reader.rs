//! Reads stored messages by sequence, pipelined over a connection of its own.
//!
//! A direct get may be answered by a replica that has not caught up; a message it does not find is asked of the
//! stream's leader before it counts as gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::log_message::LogMessage;
use crate::nats::names::{STATUS_NO_RESPONDERS, STATUS_NOT_FOUND};
use crate::nats::replies::{Inbox, Replies};
use crate::nats::wire::Message;
use crate::nats::{Link, Servers};

mod driver;
mod leader;
mod state;

pub use state::StreamState;

/// Bounds the requests in flight of one process: they hold a read lock that writers of the stream wait for.
const IN_FLIGHT: usize = 512;
const DEADLINE: Duration = Duration::from_secs(5);
/// While a leader is being elected nobody answers.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the log did not answer in time")]
    Timeout,
    #[error("no such stream, or it has no leader")]
    NoStream,
    #[error("the server refused to read: {description} ({code})")]
    Refused { code: u32, description: String },
    #[error("the server's answer is not understood")]
    Malformed,
}

/// A handle that is cheap to clone.
#[derive(Clone)]
pub struct LogReader {
    inner: Arc<Inner>,
    deadline: Duration,
}

struct Inner {
    asked: mpsc::Sender<driver::Ask>,
    replies: Arc<Replies>,
    link: watch::Receiver<Link>,
    _driver: JoinSet<()>,
}

/// What became of one request.
enum Outcome {
    Answered(Message),
    /// The connection broke, or there is no leader: ask again.
    Again,
}

impl LogReader {
    pub(crate) fn start(servers: &Servers) -> Self {
        let replies = Arc::new(Replies::new(Inbox::new(&servers.inbox()), IN_FLIGHT));
        // One place for each that may be in flight, so that asking waits for nobody.
        let (asked, asks) = mpsc::channel(IN_FLIGHT);
        let (link_sender, link) = watch::channel(Link::default());
        let mut driver = JoinSet::new();
        driver.spawn(driver::run(servers.clone(), replies.clone(), asks, link_sender));
        let inner = Arc::new(Inner { asked, replies, link, _driver: driver });
        Self { inner, deadline: DEADLINE }
    }

    pub(crate) fn link(&self) -> Link {
        *self.inner.link.borrow()
    }

    pub(crate) fn watch_link(&self) -> watch::Receiver<Link> {
        self.inner.link.clone()
    }

    /// The same reader with another deadline per call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { inner: self.inner.clone(), deadline }
    }

    /// `None` when the stream does not hold the sequence (any more, or yet).
    pub async fn get(&self, stream: &str, sequence: u64) -> Result<Option<LogMessage>, ReadError> {
        Ok(self.get_many(stream, &[sequence]).await?.pop().flatten())
    }

    /// All of them at once; the answer has the order of the question.
    pub async fn get_many(
        &self,
        stream: &str,
        sequences: &[u64],
    ) -> Result<Vec<Option<LogMessage>>, ReadError> {
        let deadline = Instant::now() + self.deadline;
        let mut found: Vec<Option<LogMessage>> = vec![None; sequences.len()];
        let mut open: Vec<usize> = (0..sequences.len()).collect();
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let mut missing = Vec::new();
        while !open.is_empty() {
            let requests = open.iter().map(|&at| get_by_sequence(sequences[at]));
            let outcomes = self.ask_all(&subject, requests, deadline).await?;
            let mut again = Vec::new();
            for (at, outcome) in open.into_iter().zip(outcomes) {
                match read_direct(outcome)? {
                    Direct::Found(message) => found[at] = Some(message),
                    Direct::Missing => missing.push(at),
                    Direct::Again => again.push(at),
                }
            }
            open = again;
            self.pause_before_retry(!open.is_empty(), deadline).await?;
        }
        for at in missing {
            found[at] = self.ask_leader(stream, get_by_sequence(sequences[at]), deadline).await?;
        }
        Ok(found)
    }

    /// The last message of a subject, from any replica; used where the newest of moments ago is good enough.
    pub async fn last_of_subject(
        &self,
        stream: &str,
        subject: &str,
    ) -> Result<Option<LogMessage>, ReadError> {
        let deadline = Instant::now() + self.deadline;
        // The subject is part of the request's subject, so that a user's rights can be limited by it.
        let request = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
        let message = self.ask(&request, Bytes::new(), deadline).await?;
        match read_direct(Outcome::Answered(message))? {
            Direct::Found(message) => Ok(Some(message)),
            Direct::Missing => Ok(None),
            Direct::Again => Err(ReadError::NoStream),
        }
    }

    /// Asks until there is an answer that is not "nobody there"; whoever answered may still refuse.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Message, ReadError> {
        loop {
            let outcome =
                self.ask_all(subject, std::iter::once(payload.clone()), deadline).await?.pop();
            match outcome {
                Some(Outcome::Answered(message)) => return Ok(message),
                Some(Outcome::Again) | None => self.pause_before_retry(true, deadline).await?,
            }
        }
    }

    /// Sends all before it waits for the first.
    async fn ask_all(
        &self,
        subject: &str,
        requests: impl Iterator<Item = Bytes>,
        deadline: Instant,
    ) -> Result<Vec<Outcome>, ReadError> {
        let subject: Arc<str> = subject.into();
        let mut tickets = Vec::new();
        for payload in requests {
            let send = async {
                let (ticket, reply) = self.inner.replies.register().await?;
                let ask = driver::Ask { subject: subject.clone(), reply, payload };
                self.inner.asked.send(ask).await.ok().map(|()| ticket)
            };
            let sent = timeout_at(deadline, send).await.map_err(|_| ReadError::Timeout)?;
            tickets.push(sent.ok_or(ReadError::Timeout)?);
        }
        let mut outcomes = Vec::with_capacity(tickets.len());
        for mut ticket in tickets {
            let answer =
                timeout_at(deadline, &mut ticket.answer).await.map_err(|_| ReadError::Timeout)?;
            outcomes.push(match answer {
                Ok(message) if status(&message) == Some(STATUS_NO_RESPONDERS) => Outcome::Again,
                Ok(message) => Outcome::Answered(message),
                Err(_) => Outcome::Again,
            });
        }
        Ok(outcomes)
    }

    async fn pause_before_retry(&self, needed: bool, deadline: Instant) -> Result<(), ReadError> {
        if !needed {
            return Ok(());
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(ReadError::NoStream);
        }
        tokio::time::sleep(PAUSE).await;
        Ok(())
    }
}

enum Direct {
    Found(LogMessage),
    Missing,
    Again,
}

fn read_direct(outcome: Outcome) -> Result<Direct, ReadError> {
    let Outcome::Answered(message) = outcome else { return Ok(Direct::Again) };
    match status(&message) {
        Some(STATUS_NOT_FOUND) => Ok(Direct::Missing),
        None => LogMessage::direct(message).map(Direct::Found).ok_or(ReadError::Malformed),
        Some(code) => Err(ReadError::Refused {
            code: u32::from(code),
            description: message
                .headers
                .status()
                .map(|(_, text)| text.to_owned())
                .unwrap_or_default(),
        }),
    }
}

fn status(message: &Message) -> Option<u16> {
    message.headers.status().map(|(code, _)| code)
}

fn get_by_sequence(sequence: u64) -> Bytes {
    format!(r#"{{"seq":{sequence}}}"#).into()
}
