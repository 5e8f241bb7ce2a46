//! The appends that wait for their acknowledgement.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Client;
use async_nats::client::PublishErrorKind;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::answer::{Answer, Refusal};
use super::outgoing::Outgoing;
use super::own::OwnAppends;
use super::{AppendError, Reason};
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
    /// The client would not send it.
    Unsent(AppendError),
    Expired {
        maybe_stored: bool,
    },
}

struct Entry {
    message: Arc<Outgoing>,
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
    /// What is to be sent for the first time; never more than there are places, but for what was given up meanwhile.
    outbox: Mutex<Vec<u64>>,
    posted: Notify,
    pub(super) own: OwnAppends,
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
        Self {
            inbox,
            entries: Mutex::default(),
            outbox: Mutex::default(),
            posted: Notify::new(),
            own: OwnAppends::default(),
            places,
        }
    }

    pub(super) fn places(&self) -> Arc<Semaphore> {
        self.places.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn enter(
        &self,
        message: Outgoing,
        place: OwnedSemaphorePermit,
        deadline: Instant,
    ) -> Ticket<'_> {
        let (waiter, closed) = oneshot::channel();
        let token = self.inbox.token();
        let entry = Entry {
            message: Arc::new(message),
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

    /// Hands an entry to the sender, which sends together what comes at one time.
    pub(super) fn post(&self, ticket: &Ticket<'_>) {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner).push(ticket.token);
        self.posted.notify_one();
    }

    /// Waits for something to send.
    pub(super) async fn posted(&self) {
        self.posted.notified().await;
    }

    pub(super) fn take_posted(&self) -> Vec<u64> {
        std::mem::take(&mut self.outbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a copy of an entry that is still open.
    pub(super) async fn send_token(&self, client: &Client, token: u64) -> Result<(), AppendError> {
        let Some(message) = self.count_copy(token) else { return Ok(()) };
        let reply = self.inbox.reply_to(token);
        client
            .publish_with_reply_and_headers(
                message.subject.clone(),
                reply,
                message.headers(),
                message.payload.clone(),
            )
            .await
            .map_err(|error| match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => AppendError::TooLarge,
                PublishErrorKind::InvalidSubject | PublishErrorKind::Send => {
                    AppendError::Unavailable(Reason::Unsendable(error.kind().to_string()))
                }
            })
    }

    /// Closes an entry that the client would not send.
    pub(super) fn refuse(&self, token: u64, error: AppendError) {
        if let Some(entry) = self.lock().remove(&token) {
            let _ = entry.waiter.send(Closed::Unsent(error));
        }
    }

    fn count_copy(&self, token: u64) -> Option<Arc<Outgoing>> {
        let mut entries = self.lock();
        let entry = entries.get_mut(&token)?;
        // Counted before it is sent: a copy that may have left must never be forgotten.
        entry.copies += 1;
        entry.again_at = Instant::now() + UNANSWERED;
        Some(entry.message.clone())
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
                drop(entries);
                if !duplicate {
                    self.own.acknowledged(&stream, sequence, &entry.message);
                }
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
