//! What every conversation waits for, kept from this instance's own tail of the log.
//!
//! The tail begins a little in the past. A conversation whose beginning lies before that is read from the log when
//! it is needed. It must not know how answers are made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::StreamId;
use domain::subject::entity_filter;
use runtime::clock;
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::log_reader::ReadError;
use runtime::nats::Nats;
use runtime::ops::Condition;
use runtime::tasks::BoxError;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::fact::{self, Fact, Key, Stored};
use super::fold::Conversation;
use crate::tenants::Tenants;

/// Budgets count the last hour, and most conversations that are alive began within it.
const BEGINS_BEFORE: time::Duration = time::Duration::HOUR;
/// Conversations that are kept; beyond it those without an open message are forgotten and read again when needed.
const MOST: usize = 200_000;
/// Events of a conversation kept until somebody needs its beginning; beyond it all are read again.
const MOST_FACTS: usize = 512;
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Conversations read from the log at one time: the server looks for each among all.
const READS: usize = 8;

#[derive(Clone)]
pub(crate) struct Board {
    inner: Arc<Inner>,
}

struct Inner {
    nats: Nats,
    tenants: Tenants,
    entries: Mutex<HashMap<Key, Entry>>,
    /// The last sequence taken in.
    position: watch::Sender<u64>,
    reads: Semaphore,
}

enum Entry {
    Whole(Conversation),
    /// Its beginning lies before the tail's.
    Partial(Vec<Stored>),
}

#[derive(Debug, thiserror::Error)]
#[error("the log could not be read in time")]
pub(crate) struct Unread;

impl Board {
    pub(crate) fn new(nats: &Nats, tenants: Tenants) -> Self {
        let inner = Inner {
            nats: nats.clone(),
            tenants,
            entries: Mutex::default(),
            position: watch::Sender::new(0),
            reads: Semaphore::new(READS),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Follows the log until `stop`. `ready` holds once what was there at the start is taken in.
    pub(crate) async fn follow(
        self,
        ready: Condition,
        stop: CancellationToken,
    ) -> Result<(), BoxError> {
        let since = Start::Time(clock::now() - BEGINS_BEFORE);
        let stream = StreamId::Conversations.name();
        let mut follower = Follower::new(&self.inner.nats, stream, since, FollowOptions::default());
        ready.missing("the newest conversations are being read");
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = follower.next() => event,
            };
            match event {
                // Nothing to read leaves the position at the head, which who waits for it must know.
                FollowEvent::Attached(state) if follower.lag() == 0 => {
                    self.inner.position.send_if_modified(|at| {
                        std::mem::replace(at, state.last_sequence.max(*at)) < state.last_sequence
                    });
                }
                FollowEvent::Attached(_) => {}
                FollowEvent::Messages(messages) => {
                    let mut entries = self.entries();
                    for message in &messages {
                        self.take(&mut entries, message);
                    }
                    shrink(&mut entries);
                    drop(entries);
                    if let Some(last) = messages.last() {
                        self.inner.position.send_replace(last.sequence);
                    }
                }
                FollowEvent::Rewound(_) => {
                    warn!("the stream of conversations was put back; it is read anew");
                    self.entries().clear();
                    self.inner.position.send_replace(0);
                }
            }
            if follower.lag() == 0 {
                ready.holds();
            }
        }
    }

    fn take(&self, entries: &mut HashMap<Key, Entry>, message: &runtime::LogMessage) {
        let Some((key, stored)) = fact::read(message) else { return };
        if let Fact::Used { tokens } = stored.fact {
            self.inner.tenants.used(key.tenant.as_str(), stored.at, tokens);
        }
        let begins = stored.fact == Fact::Started;
        let entry = entries.entry(key).or_insert_with(|| {
            if begins { Entry::Whole(Conversation::default()) } else { Entry::Partial(Vec::new()) }
        });
        match entry {
            Entry::Whole(conversation) => conversation.apply(&stored),
            Entry::Partial(facts) if facts.len() < MOST_FACTS => facts.push(stored),
            // Too many to keep for a conversation that nobody here works on: the next look reads them all.
            Entry::Partial(facts) => {
                facts.clear();
                facts.push(stored);
            }
        }
    }

    /// Waits until the tail has taken a sequence in.
    pub(crate) async fn reached(&self, sequence: u64) -> Result<(), Unread> {
        let mut position = self.inner.position.subscribe();
        let reached = timeout(READ_WITHIN, position.wait_for(|at| *at >= sequence)).await;
        if matches!(reached, Ok(Ok(_))) { Ok(()) } else { Err(Unread) }
    }

    /// What is known of a conversation now, without a look into the log.
    pub(crate) fn known<T>(&self, key: &Key, look: impl FnOnce(&Conversation) -> T) -> Option<T> {
        match self.entries().get(key) {
            Some(Entry::Whole(conversation)) => Some(look(conversation)),
            Some(Entry::Partial(_)) | None => None,
        }
    }

    /// The conversation as far as the tail has come.
    pub(crate) async fn conversation(&self, key: &Key) -> Result<Conversation, Unread> {
        if let Some(known) = self.known(key, Conversation::clone) {
            return Ok(known);
        }
        let read = async {
            let _place = self.inner.reads.acquire().await;
            self.read(key).await
        };
        let facts = timeout(READ_WITHIN, read).await.map_err(|_| Unread)?.map_err(|_| Unread)?;
        let mut conversation = Conversation::default();
        facts.iter().for_each(|stored| conversation.apply(stored));
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_insert_with(|| Entry::Partial(Vec::new()));
        match entry {
            // Somebody else was faster.
            Entry::Whole(known) => return Ok(known.clone()),
            // What came while it was read; the fold passes over what it has seen.
            Entry::Partial(facts) => facts.iter().for_each(|stored| conversation.apply(stored)),
        }
        *entry = Entry::Whole(conversation.clone());
        Ok(conversation)
    }

    /// All that the log holds of it, one after the other: a consumer for it would outlive its use.
    async fn read(&self, key: &Key) -> Result<Vec<Stored>, ReadError> {
        let (reader, stream) = (self.inner.nats.log_reader(), StreamId::Conversations.name());
        let filter = entity_filter(&key.tenant, &key.entity);
        let (mut facts, mut from) = (Vec::new(), 1);
        while let Some(message) = reader.next_from_leader(stream, from, &filter).await? {
            from = message.sequence + 1;
            facts.extend(fact::read(&message).map(|(_, stored)| stored));
        }
        Ok(facts)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.inner.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shrink(entries: &mut HashMap<Key, Entry>) {
    if entries.len() <= MOST {
        return;
    }
    let mut newest: Vec<u64> = entries.values().map(Entry::seen).collect();
    let middle = newest.len() / 2;
    let (_, median, _) = newest.select_nth_unstable(middle);
    let median = *median;
    entries.retain(|_, entry| entry.seen() > median || entry.is_open());
}

impl Entry {
    fn seen(&self) -> u64 {
        match self {
            Self::Whole(conversation) => conversation.seen,
            Self::Partial(facts) => facts.last().map_or(0, |stored| stored.sequence),
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Whole(conversation) if !conversation.open.is_empty())
    }
}
