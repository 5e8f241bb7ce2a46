//! Key-value buckets: the newest value per key, with compare-and-set and a watch.
//!
//! A bucket is a stream with the layout that every NATS client knows; it is written through the event log and
//! followed like any stream, so an outage costs it nothing more than it costs them.

use std::time::Duration;

use bytes::Bytes;

use crate::event_log::{Append, AppendError, EventLog, Expect};
use crate::follow::{FollowEvent, FollowOptions, Follower};
use crate::ids;
use crate::log_message::LogMessage;
use crate::log_reader::{LogReader, ReadError};
use crate::nats::Nats;

const OPERATION: &str = "KV-Operation";
const TTL: &str = "Nats-TTL";

#[derive(Clone)]
pub struct Bucket {
    nats: Nats,
    name: String,
    stream: String,
    log: EventLog,
    reader: LogReader,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
    /// The sequence in the bucket's stream.
    pub revision: u64,
    /// Unix milliseconds.
    pub stored_at: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum KvError {
    #[error("a key is made of A-Z a-z 0-9 - _ = / and single dots")]
    BadKey,
    /// Someone else wrote the key first.
    #[error("the key has another revision")]
    Conflict,
    #[error("the bucket could not be written")]
    Write(#[source] AppendError),
    #[error("the bucket could not be read")]
    Read(#[from] ReadError),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchEvent {
    Put(Entry),
    /// Deleted, purged or expired.
    Gone {
        key: String,
        revision: u64,
    },
    /// Everything that stood in the bucket has been told; what follows is news.
    Current,
    /// The bucket was made anew: forget everything, it is told again.
    Reset,
}

impl Nats {
    pub fn bucket(&self, name: &str) -> Bucket {
        Bucket {
            nats: self.clone(),
            name: name.to_owned(),
            stream: format!("KV_{name}"),
            log: self.event_log(),
            reader: self.log_reader(),
        }
    }
}

impl Bucket {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The newest value as some replica knows it.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let subject = self.subject(key)?;
        Ok(self.live(self.reader.last_of_subject(&self.stream, &subject).await?))
    }

    /// The newest value as the leader knows it, to decide on.
    pub async fn get_from_leader(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let subject = self.subject(key)?;
        Ok(self.live(self.reader.last_of_subject_from_leader(&self.stream, &subject).await?))
    }

    /// Whatever the key holds now; returns the new revision.
    pub async fn put(&self, key: &str, value: Bytes) -> Result<u64, KvError> {
        self.write(key, value, Vec::new(), None).await
    }

    /// Like `put`, and the key expires after the time (whole seconds, at least one).
    pub async fn put_with_ttl(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<u64, KvError> {
        self.write(key, value, vec![ttl_header(ttl)], None).await
    }

    /// Only if the key does not exist (any more).
    pub async fn create(&self, key: &str, value: Bytes) -> Result<u64, KvError> {
        match self.write(key, value.clone(), Vec::new(), Some(0)).await {
            Err(KvError::Conflict) => {
                // A deleted key still has a revision: that of its tombstone.
                let subject = self.subject(key)?;
                match self.reader.last_of_subject_from_leader(&self.stream, &subject).await? {
                    Some(tombstone) if is_gone(&tombstone) => {
                        self.write(key, value, Vec::new(), Some(tombstone.sequence)).await
                    }
                    Some(_) | None => Err(KvError::Conflict),
                }
            }
            other => other,
        }
    }

    /// Only if the key still has this revision.
    pub async fn update(&self, key: &str, value: Bytes, revision: u64) -> Result<u64, KvError> {
        self.write(key, value, Vec::new(), Some(revision)).await
    }

    pub async fn update_with_ttl(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Duration,
    ) -> Result<u64, KvError> {
        self.write(key, value, vec![ttl_header(ttl)], Some(revision)).await
    }

    /// Leaves a tombstone; returns its revision.
    pub async fn delete(&self, key: &str) -> Result<u64, KvError> {
        let headers = vec![(OPERATION, "DEL".to_owned())];
        self.write(key, Bytes::new(), headers, None).await
    }

    /// Every key that matches (`>` for all): first what there is, then `Current`, then every change.
    pub fn watch(&self, keys: &str) -> Watch {
        let filter = Some(format!("$KV.{}.{keys}", self.name));
        let options = FollowOptions { filter, ..FollowOptions::default() };
        let follower = Follower::last_per_subject(&self.nats, &self.stream, options);
        Watch {
            follower,
            prefix: self.prefix(),
            queue: std::collections::VecDeque::new(),
            is_current: false,
        }
    }

    fn prefix(&self) -> String {
        format!("$KV.{}.", self.name)
    }

    fn subject(&self, key: &str) -> Result<String, KvError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_=/.".contains(c);
        let good = !key.is_empty()
            && key.chars().all(fits)
            && key.split('.').all(|token| !token.is_empty());
        if good { Ok(format!("{}{key}", self.prefix())) } else { Err(KvError::BadKey) }
    }

    fn live(&self, message: Option<LogMessage>) -> Option<Entry> {
        message.filter(|message| !is_gone(message)).map(|message| entry(&self.prefix(), message))
    }

    async fn write(
        &self,
        key: &str,
        payload: Bytes,
        headers: Vec<(&'static str, String)>,
        revision: Option<u64>,
    ) -> Result<u64, KvError> {
        let subject = self.subject(key)?;
        let expect = revision.map(|sequence| Expect { guard: subject.clone(), sequence });
        let message_id = ids::ordered();
        match self.log.append(Append { subject, message_id, headers, payload, expect }).await {
            Ok(appended) => Ok(appended.sequence),
            Err(AppendError::Conflict) => Err(KvError::Conflict),
            Err(error) => Err(KvError::Write(error)),
        }
    }
}

pub struct Watch {
    follower: Follower,
    prefix: String,
    queue: std::collections::VecDeque<WatchEvent>,
    is_current: bool,
}

impl Watch {
    /// Never gives up. Safe to drop while waiting.
    pub async fn next(&mut self) -> WatchEvent {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return event;
            }
            match self.follower.next().await {
                FollowEvent::Attached(_) if self.follower.lag() == 0 => self.say_current(),
                FollowEvent::Attached(_) => {}
                FollowEvent::Messages(messages) => {
                    for message in messages {
                        self.queue.push_back(event(&self.prefix, message));
                    }
                    if self.follower.lag() == 0 {
                        self.say_current();
                    }
                }
                FollowEvent::Rewound(_) => {
                    self.is_current = false;
                    self.queue.push_back(WatchEvent::Reset);
                }
            }
        }
    }

    fn say_current(&mut self) {
        if !std::mem::replace(&mut self.is_current, true) {
            self.queue.push_back(WatchEvent::Current);
        }
    }
}

fn event(prefix: &str, message: LogMessage) -> WatchEvent {
    if is_gone(&message) {
        let Entry { key, revision, .. } = entry(prefix, message);
        return WatchEvent::Gone { key, revision };
    }
    WatchEvent::Put(entry(prefix, message))
}

fn entry(prefix: &str, message: LogMessage) -> Entry {
    let key = message.subject.strip_prefix(prefix).unwrap_or_default().to_owned();
    let (revision, stored_at) = (message.sequence, message.stored_at);
    Entry { key, value: message.payload, revision, stored_at }
}

fn is_gone(message: &LogMessage) -> bool {
    // The second is what the server leaves behind for an expired key.
    matches!(message.headers.get(OPERATION), Some("DEL" | "PURGE"))
        || message.headers.get("Nats-Marker-Reason").is_some()
}

fn ttl_header(ttl: Duration) -> (&'static str, String) {
    (TTL, format!("{}s", ttl.as_secs().max(1)))
}
