//! The appends that wait for their acknowledgement.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::{Client, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::answer::{Answer, Refusal};
use super::{Append, AppendError, Reason};
use crate::nats::names;
use crate::nats::replies::Inbox;

/// A copy that got no answer for this long is followed by another, for the case that the answer was lost.
const UNANSWERED: Duration = Duration::from_secs(1);
/// Pause before another copy after "no responders" or "duplicate in process".
const PAUSE: Duration = Duration::from_millis(50);

/// How an append ended.
#[derive(Debug)]
pub(super) enum Closed {
    Stored {
        stream: String,
        sequence: u64,
        duplicate: bool,
    },
    /// With the number of copies that had been sent.
    Refused(Refusal, u32),
    Expired {
        maybe_stored: bool,
    },
}

struct Entry {
    append: Arc<Append>,
    waiter: oneshot::Sender<Closed>,
    deadline: Instant,
    /// When another copy goes out unless an answer comes first.
    again_at: Instant,
    copies: u32,
    /// Copies that were answered with "not stored".
    turned_away: u32,
    _place: OwnedSemaphorePermit,
}

pub(super) struct Table {
    inbox: Inbox,
    entries: Mutex<HashMap<u64, Entry>>,
    places: Arc<Semaphore>,
}

/// The caller's side of an entry; dropping it takes the entry out.
pub(super) struct Ticket<'a> {
    table: &'a Table,
    token: u64,
    waiter: Option<oneshot::Receiver<Closed>>,
}

impl Table {
    pub(super) fn new(inbox: Inbox, bound: usize) -> Self {
        let places = Arc::new(Semaphore::new(bound));
        Self { inbox, entries: Mutex::new(HashMap::new()), places }
    }

    pub(super) fn places(&self) -> Arc<Semaphore> {
        self.places.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn enter(
        &self,
        append: Arc<Append>,
        place: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> Ticket<'_> {
        let (waiter, closed) = oneshot::channel();
        let token = self.inbox.token();
        let entry = Entry {
            append,
            waiter,
            deadline,
            // For the case that it is not sent now: the connection is down, or its queue is full.
            again_at: Instant::now() + UNANSWERED,
            copies: 0,
            turned_away: 0,
            _place: place,
        };
        self.lock().insert(token, entry);
        Ticket { table: self, token, waiter: Some(closed) }
    }

    pub(super) async fn send(
        &self,
        client: &Client,
        ticket: &Ticket<'_>,
    ) -> Result<(), AppendError> {
        self.send_token(client, ticket.token).await
    }

    /// Sends a copy of an entry that is still open.
    pub(super) async fn send_token(&self, client: &Client, token: u64) -> Result<(), AppendError> {
        let Some(append) = self.count_copy(token) else { return Ok(()) };
        let headers = headers(&append)?;
        let reply = self.inbox.reply_to(token);
        client
            .publish_with_reply_and_headers(
                append.subject.clone(),
                reply,
                headers,
                append.payload.clone(),
            )
            .await
            .map_err(|error| match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => AppendError::TooLarge,
                PublishErrorKind::InvalidSubject | PublishErrorKind::Send => {
                    AppendError::Unavailable(Reason::Unsendable(error.kind().to_string()))
                }
            })
    }

    fn count_copy(&self, token: u64) -> Option<Arc<Append>> {
        let mut entries = self.lock();
        let entry = entries.get_mut(&token)?;
        // Counted before it is sent: a copy that may have left must never be forgotten.
        entry.copies += 1;
        entry.again_at = Instant::now() + UNANSWERED;
        Some(entry.append.clone())
    }

    /// Everything in flight, oldest first.
    pub(super) fn open_tokens(&self) -> Vec<u64> {
        let mut tokens: Vec<u64> = self.lock().keys().copied().collect();
        tokens.sort_unstable();
        tokens
    }

    /// Closes what is past its deadline and names what is due for another copy, oldest first.
    pub(super) fn sweep(&self, now: Instant) -> Vec<u64> {
        let mut entries = self.lock();
        let (mut due, mut expired) = (Vec::new(), Vec::new());
        for (&token, entry) in entries.iter() {
            if entry.deadline <= now {
                expired.push(token);
            } else if entry.again_at <= now {
                due.push(token);
            }
        }
        for entry in expired.iter().filter_map(|token| entries.remove(token)) {
            let maybe_stored = entry.copies > entry.turned_away;
            let _ = entry.waiter.send(Closed::Expired { maybe_stored });
        }
        due.sort_unstable();
        due
    }

    pub(super) fn answer(&self, reply: &str, answer: Answer) {
        let Some(token) = self.inbox.token_of(reply) else { return };
        let mut entries = self.lock();
        match answer {
            Answer::Stored { stream, sequence, duplicate } => {
                let Some(entry) = entries.remove(&token) else { return };
                // A second copy finds the first one stored: that is no duplicate of anyone else's.
                let duplicate = duplicate && entry.copies == 1;
                let _ = entry.waiter.send(Closed::Stored { stream, sequence, duplicate });
            }
            Answer::Refused(refusal) => {
                let Some(entry) = entries.remove(&token) else { return };
                let _ = entry.waiter.send(Closed::Refused(refusal, entry.copies));
            }
            Answer::TurnedAway => again(entries.get_mut(&token), true),
            Answer::InProcess => again(entries.get_mut(&token), false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn again(entry: Option<&mut Entry>, turned_away: bool) {
    if let Some(entry) = entry {
        entry.turned_away += u32::from(turned_away);
        entry.again_at = Instant::now() + PAUSE;
    }
}

impl Ticket<'_> {
    pub(super) async fn closed(mut self) -> Closed {
        let Some(waiter) = self.waiter.take() else {
            return Closed::Expired { maybe_stored: true };
        };
        // The driver closes every entry; it ends only when the log itself is dropped.
        waiter.await.unwrap_or(Closed::Expired { maybe_stored: true })
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.table.lock().remove(&self.token);
    }
}

fn headers(append: &Append) -> Result<HeaderMap, AppendError> {
    let mut map = HeaderMap::new();
    map.insert(HeaderName::from_static(names::MESSAGE_ID), value(&append.message_id)?);
    for (name, text) in &append.headers {
        map.insert(HeaderName::from_static(name), value(text)?);
    }
    if let Some(expect) = &append.expect {
        let sequence = HeaderValue::from(expect.sequence);
        map.insert(HeaderName::from_static(names::EXPECTED_SUBJECT_SEQUENCE), sequence);
        let guard = HeaderName::from_static(names::EXPECTED_SUBJECT_SEQUENCE_SUBJECT);
        map.insert(guard, value(&expect.guard)?);
    }
    Ok(map)
}

fn value(text: &str) -> Result<HeaderValue, AppendError> {
    text.parse().map_err(|_| {
        AppendError::Unavailable(Reason::Unsendable("a header holds a line break".to_owned()))
    })
}
