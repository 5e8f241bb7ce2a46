//! Follows a stream: every message after a sequence, once and in order, for as long as the process lives.
//!
//! An ephemeral consumer of our own making. Every delivery must be the successor of the one before; on anything
//! else, and on any error, the consumer is made anew behind the last sequence that was handed out.

use std::collections::VecDeque;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::log_message::LogMessage;
use crate::log_reader::{LogReader, StreamState};
use crate::nats::names::MESSAGE_ID;
use crate::nats::pull::{Batch, Broken, Pull};
use crate::nats::{Headers, Nats, wait_up};

mod consumer;
mod own;

pub(crate) use consumer::Deliver;

const BATCH: Batch = Batch { messages: 500, bytes: 4 * 1024 * 1024 };
/// The first pause after an error; it doubles, so that a stream that stays away costs no pile of consumers.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where a follower begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// 0 begins with the oldest message there is.
    AfterSequence(u64),
    /// With the first message stored at or after this time.
    Time(OffsetDateTime),
}

#[derive(Clone, Default, Debug)]
pub struct FollowOptions {
    pub headers_only: bool,
    /// Only subjects that match; everything when `None`.
    pub filter: Option<String>,
    /// How late messages may be; together they cost a fraction of what each costs alone. `None`: each at once.
    pub pace: Option<Duration>,
    /// Own appends are told from their acknowledgements, with the time of those and without a payload, instead of
    /// being read back. Only for followers of a whole stream that want headers alone.
    pub own: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FollowEvent {
    /// Connected to the stream (again), which looked like this just before; what comes next continues without a gap.
    Attached(StreamState),
    /// In the stream's order, never empty.
    Messages(Vec<LogMessage>),
    /// The stream is not the one that was followed: it was restored from an older copy or made anew. Positions in it
    /// mean nothing any more. The follower goes on with the oldest message unless it is told otherwise by `restart`.
    Rewound(StreamState),
}

pub struct Follower {
    nats: Nats,
    reader: LogReader,
    stream: String,
    options: FollowOptions,
    deliver: Deliver,
    last: Option<Last>,
    epoch: Option<u32>,
    flow: Option<Flow>,
    known: Option<own::Known>,
    /// Until then a consumer is used although own appends are known.
    consumer_until: Option<Instant>,
    told: VecDeque<FollowEvent>,
    pause: Duration,
    /// Whether the last consumer broke without having delivered anything.
    tired: bool,
    pending: u64,
}

/// The last message handed out, or the sequence to begin after.
#[derive(Clone, Debug)]
struct Last {
    sequence: u64,
    /// What tells it from another message in its place; unknown for a sequence that was given to us.
    mark: Option<Mark>,
}

#[derive(Clone, Debug)]
enum Mark {
    StoredAt(i64),
    /// Of one's own append, whose exact time is not known.
    Sent(Headers),
}

impl Mark {
    fn is_of(&self, message: &LogMessage) -> bool {
        match self {
            Self::StoredAt(time) => message.stored_at == *time,
            Self::Sent(headers) => headers.get(MESSAGE_ID) == message.headers.get(MESSAGE_ID),
        }
    }
}

struct Flow {
    pull: Pull,
    consumer_sequence: u64,
}

impl Follower {
    pub fn new(nats: &Nats, stream: &str, start: Start, options: FollowOptions) -> Self {
        let (deliver, last) = begin(start);
        Self::with_deliver(nats, stream, deliver, last, options)
    }

    /// Begins with the last message of every subject.
    pub(crate) fn last_per_subject(nats: &Nats, stream: &str, options: FollowOptions) -> Self {
        Self::with_deliver(nats, stream, Deliver::LastPerSubject, None, options)
    }

    fn with_deliver(
        nats: &Nats,
        stream: &str,
        deliver: Deliver,
        last: Option<Last>,
        options: FollowOptions,
    ) -> Self {
        Self {
            nats: nats.clone(),
            reader: nats.log_reader(),
            stream: stream.to_owned(),
            options,
            deliver,
            last,
            epoch: None,
            flow: None,
            known: None,
            consumer_until: None,
            told: VecDeque::new(),
            pause: PAUSE,
            tired: false,
            pending: 0,
        }
    }

    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// How many messages the server held for this follower when it attached or sent the last one.
    pub fn lag(&self) -> u64 {
        self.pending
    }

    /// Makes a stream whose epoch is not this one count as rewound, for a position that was kept elsewhere.
    #[must_use]
    pub fn expecting_epoch(mut self, epoch: u32) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Forgets where it stood and begins elsewhere.
    pub fn restart(&mut self, start: Start) {
        (self.deliver, self.last) = begin(start);
        (self.flow, self.known) = (None, None);
        self.told.clear();
    }

    /// Waits for news; never gives up. Safe to drop while waiting: nothing is lost.
    pub async fn next(&mut self) -> FollowEvent {
        loop {
            if let Some(event) = self.told.pop_front() {
                return event;
            }
            if self.known.is_some() {
                if let Some(messages) = self.receive_known().await {
                    return FollowEvent::Messages(messages);
                }
                continue;
            }
            if self.flow.is_none() {
                self.attach().await;
                continue;
            }
            if self.may_know() {
                self.know();
                continue;
            }
            if let Some(messages) = self.receive().await {
                (self.pause, self.tired) = (PAUSE, false);
                return FollowEvent::Messages(messages);
            }
        }
    }

    async fn receive(&mut self) -> Option<Vec<LogMessage>> {
        let flow = self.flow.as_mut()?;
        let mut messages = Vec::new();
        self.tired = true;
        let mut next = flow.pull.next().await.map(Some);
        let broken = loop {
            match next {
                Err(Broken::Ended(error)) => {
                    // Expected when a server goes: the next connection waits for it, no reason to wait before.
                    self.tired = false;
                    break Some(error.to_string());
                }
                Ok(Some((message, delivery))) => {
                    if delivery.consumer_sequence != flow.consumer_sequence + 1 {
                        break Some("a delivery is missing".to_owned());
                    }
                    flow.consumer_sequence += 1;
                    self.pending = delivery.pending;
                    messages.push(LogMessage::delivered(message, &delivery));
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
            if messages.len() >= BATCH.messages {
                break None;
            }
            next = flow.pull.try_next();
        };
        if let Some(reason) = broken {
            debug!(stream = %self.stream, %reason, "the tail broke and is made anew");
            self.flow = None;
        }
        if let Some(last) = messages.last() {
            self.tired = false;
            self.last =
                Some(Last { sequence: last.sequence, mark: Some(Mark::StoredAt(last.stored_at)) });
        }
        (!messages.is_empty()).then_some(messages)
    }

    async fn attach(&mut self) {
        if std::mem::take(&mut self.tired) {
            self.rest().await;
        }
        match self.try_attach().await {
            Ok(event) => self.told.push_back(event),
            Err(reason) => {
                warn!(stream = %self.stream, %reason, "the tail waits for its stream");
                self.rest().await;
            }
        }
    }

    async fn rest(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    async fn try_attach(&mut self) -> Result<FollowEvent, AttachError> {
        wait_up(self.reader.watch_link()).await;
        let state = self.reader.stream_info(&self.stream).await?;
        if self.is_rewound(&state).await? {
            self.restart(Start::AfterSequence(0));
            self.epoch = Some(state.epoch);
            return Ok(FollowEvent::Rewound(state));
        }
        self.epoch = Some(state.epoch);
        if self.options.own {
            // From now on, so that there is no hole when the consumer is left.
            self.nats.event_log().watch_own(&self.stream);
        }
        let deliver = match &self.last {
            Some(last) => Deliver::From(last.sequence + 1),
            None => self.deliver,
        };
        let (name, pending) = consumer::create(
            &self.reader,
            self.nats.service(),
            &self.stream,
            deliver,
            &self.options,
        )
        .await?;
        let pull =
            Pull::open(self.nats.servers(), &self.stream, &name, BATCH, self.options.pace).await?;
        self.flow = Some(Flow { pull, consumer_sequence: 0 });
        self.pending = pending;
        Ok(FollowEvent::Attached(state))
    }

    /// Whether the stream is another one than the one whose message was handed out last.
    async fn is_rewound(&self, state: &StreamState) -> Result<bool, AttachError> {
        if self.epoch.is_some_and(|epoch| epoch != state.epoch) {
            return Ok(true);
        }
        let Some(last) = &self.last else { return Ok(false) };
        if state.last_sequence < last.sequence {
            return Ok(true);
        }
        // A restored copy may have grown past our place since: then another message stands there.
        let Some(mark) = &last.mark else { return Ok(false) };
        let there = self.reader.get_from_leader(&self.stream, last.sequence).await?;
        Ok(there.is_some_and(|message| !mark.is_of(&message)))
    }
}

#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error(transparent)]
    Read(#[from] crate::log_reader::ReadError),
    #[error(transparent)]
    Pull(#[from] Broken),
}

fn begin(start: Start) -> (Deliver, Option<Last>) {
    match start {
        Start::AfterSequence(0) => (Deliver::All, None),
        Start::AfterSequence(sequence) => (Deliver::All, Some(Last { sequence, mark: None })),
        Start::Time(time) => (Deliver::Since(time), None),
    }
}
