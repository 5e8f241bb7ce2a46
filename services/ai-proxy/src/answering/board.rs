//! What every conversation waits for, kept from this instance's own tail of the log.
//!
//! The tail begins a little in the past. A conversation whose beginning lies before that is read from the log when
//! it is needed. It must not know how answers are made.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
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
use super::overdue::{Late, Overdue};
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
    read_within: Duration,
    overdue: Mutex<Overdue>,
    /// Whether the tail has come to the end of the log, as far as is known.
    is_current: AtomicBool,
}

enum Entry {
    Whole(Conversation),
    /// Its beginning lies before the tail's.
    Partial(Partial),
}

/// What is known of a conversation while its beginning is being read, which may take several looks.
#[derive(Default)]
struct Partial {
    /// As far as it was read from the log, up to the last sequence that was.
    read: Conversation,
    read_to: u64,
    /// What the tail has brought.
    newest: Vec<Stored>,
}

#[derive(Debug, thiserror::Error)]
#[error("the log could not be read in time")]
pub(crate) struct Unread;

impl Board {
    pub(crate) fn new(nats: &Nats, tenants: Tenants) -> Self {
        Self::reading_within(nats, tenants, READ_WITHIN)
    }

    fn reading_within(nats: &Nats, tenants: Tenants, read_within: Duration) -> Self {
        let inner = Inner {
            nats: nats.clone(),
            tenants,
            entries: Mutex::default(),
            position: watch::Sender::new(0),
            reads: Semaphore::new(READS),
            read_within,
            overdue: Mutex::default(),
            is_current: AtomicBool::new(false),
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
                    *lock(&self.inner.overdue) = Overdue::default();
                    self.inner.position.send_replace(0);
                }
            }
            let is_current = follower.lag() == 0;
            self.inner.is_current.store(is_current, Ordering::Relaxed);
            if is_current {
                ready.holds();
            }
        }
    }

    fn take(&self, entries: &mut HashMap<Key, Entry>, message: &runtime::LogMessage) {
        let Some((key, stored)) = fact::read(message) else { return };
        if let Fact::Used { tokens, .. } = stored.fact {
            self.inner.tenants.used(key.tenant.as_str(), stored.at, tokens);
        }
        lock(&self.inner.overdue).take(&key, &stored);
        let begins = stored.fact == Fact::Started;
        let entry = entries.entry(key).or_insert_with(|| {
            if begins { Entry::Whole(Conversation::default()) } else { Entry::unread() }
        });
        match entry {
            Entry::Whole(conversation) => conversation.apply(&stored),
            Entry::Partial(it) if it.newest.len() < MOST_FACTS => it.newest.push(stored),
            // Too many to keep for a conversation that nobody here works on: the next look reads them.
            Entry::Partial(it) => {
                it.newest.clear();
                it.newest.push(stored);
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
        timeout(self.inner.read_within, read).await.map_err(|_| Unread)?.map_err(|_| Unread)?;
        let mut entries = self.entries();
        let entry = entries.entry(key.clone()).or_insert_with(Entry::unread);
        let conversation = match entry {
            // Somebody else was faster.
            Entry::Whole(known) => return Ok(known.clone()),
            Entry::Partial(it) => {
                let mut conversation = std::mem::take(&mut it.read);
                // What came while it was read; the fold passes over what it has seen.
                it.newest.iter().for_each(|stored| conversation.apply(stored));
                conversation
            }
        };
        *entry = Entry::Whole(conversation.clone());
        Ok(conversation)
    }

    /// Reads what the log holds of it, one after the other: a consumer for it would outlive its use. What was read is
    /// kept at once, so that a look that takes too long is not for nothing: the next one goes on.
    async fn read(&self, key: &Key) -> Result<(), ReadError> {
        let (reader, stream) = (self.inner.nats.log_reader(), StreamId::Conversations.name());
        let filter = entity_filter(&key.tenant, &key.entity);
        while let Some(from) = self.partial(key, |it| it.read_to + 1) {
            let Some(message) = reader.next_from_leader(stream, from, &filter).await? else {
                return Ok(());
            };
            self.partial(key, |it| {
                it.read_to = it.read_to.max(message.sequence);
                if let Some((_, stored)) = fact::read(&message) {
                    it.read.apply(&stored);
                }
            });
        }
        Ok(())
    }

    /// `None` once somebody else has read it to the end.
    fn partial<T>(&self, key: &Key, change: impl FnOnce(&mut Partial) -> T) -> Option<T> {
        match self.entries().entry(key.clone()).or_insert_with(Entry::unread) {
            Entry::Whole(_) => None,
            Entry::Partial(it) => Some(change(it)),
        }
    }

    /// Pieces of speech that nobody has made anything of in time, as far as the tail can know.
    pub(crate) fn late(&self, now: i64) -> Vec<Late> {
        if !self.inner.is_current.load(Ordering::Relaxed) {
            return Vec::new();
        }
        lock(&self.inner.overdue).due(now)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        lock(&self.inner.entries)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn unread() -> Self {
        Self::Partial(Partial::default())
    }

    fn seen(&self) -> u64 {
        match self {
            Self::Whole(conversation) => conversation.seen,
            Self::Partial(it) => it.newest.last().map_or(it.read_to, |stored| stored.sequence),
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Whole(conversation) if !conversation.open.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use domain::Tenant;
    use domain::catalogue::{Catalogue, Defaults, Publication};
    use domain::token::EntityToken;
    use runtime::ids;
    use runtime::test_support::TestNats;
    use serde_json::json;

    use super::*;
    use crate::settings::{Kind, Registry, Settings};

    const EVENTS: usize = 2_000;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_conversation_is_read_to_its_end_however_slowly_the_log_answers() {
        let nats = Box::pin(TestNats::start()).await;
        let admin = nats.nats("admin").await;
        let (catalogue, log) = (Catalogue::builtin().unwrap(), admin.event_log());
        let tenant = Tenant::parse("acme").unwrap();
        for at in 0..EVENTS {
            let data = json!({ "conversationId": "c-1", "messageId": format!("m-{at}"),
                "attempt": 1, "holder": "h", "leaseMs": 1 });
            let publication = Publication::new("ai.attempt.extended", "/test", data);
            let defaults = Defaults { id: ids::ordered(), now: clock::now() };
            let event = catalogue.admit_own(&tenant, publication, defaults).unwrap();
            log.publish_envelope(&event.subject, &event.message_id, &event.envelope, None)
                .await
                .unwrap();
        }
        let registry = Registry::open(Settings::of(Kind::Scripted), None).unwrap();
        let within = Duration::from_millis(50);
        let board = Board::reading_within(&admin, Tenants::new(registry), within);
        let key = Key::new(&tenant, &EntityToken::from_external("c-1"));
        let mut looks = 1;
        let read = loop {
            match board.conversation(&key).await {
                Ok(conversation) => break conversation,
                Err(Unread) => looks += 1,
            }
            assert!(looks < 5_000, "no look comes any further");
        };
        assert_eq!(read.revision, EVENTS as u64);
        assert!(looks > 1, "one look was enough: the test shows nothing");
    }
}
