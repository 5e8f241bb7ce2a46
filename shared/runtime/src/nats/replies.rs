//! Answers to pipelined requests, over one wildcard inbox instead of a subscription per request.
//!
//! Knows tokens and waiters, neither what is asked nor how.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::wire::Message;

/// What one wildcard inbox gives: a reply subject per request and the way back from a reply to its request.
pub(crate) struct Inbox {
    prefix: String,
    next: AtomicU64,
}

impl Inbox {
    /// `name` is what nobody else's inbox begins with.
    pub(crate) fn new(name: &str) -> Self {
        Self { prefix: format!("{name}."), next: AtomicU64::new(1) }
    }

    /// What to subscribe to for all answers.
    pub(crate) fn subject(&self) -> String {
        format!("{}*", self.prefix)
    }

    pub(crate) fn token(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn reply_to(&self, token: u64) -> String {
        format!("{}{token}", self.prefix)
    }

    pub(crate) fn token_of(&self, reply: &str) -> Option<u64> {
        reply.strip_prefix(self.prefix.as_str())?.parse().ok()
    }
}

/// A request that waits for its answer. Its place among those in flight is freed by the answer.
struct Waiting {
    answer: oneshot::Sender<Message>,
    _place: OwnedSemaphorePermit,
}

/// Requests in flight, bounded.
pub(crate) struct Replies {
    inbox: Inbox,
    waiting: Mutex<HashMap<u64, Waiting>>,
    places: Arc<Semaphore>,
}

/// The answer to come; an error means that the connection broke and nothing will come.
pub(crate) struct Ticket<'a> {
    replies: &'a Replies,
    token: u64,
    pub(crate) answer: oneshot::Receiver<Message>,
}

impl Replies {
    pub(crate) fn new(inbox: Inbox, bound: usize) -> Self {
        let places = Arc::new(Semaphore::new(bound));
        Self { inbox, waiting: Mutex::new(HashMap::new()), places }
    }

    /// Waits for a free place; the caller holds the deadline.
    pub(crate) async fn register(&self) -> Option<(Ticket<'_>, String)> {
        let place = self.places.clone().acquire_owned().await.ok()?;
        let (sender, answer) = oneshot::channel();
        let token = self.inbox.token();
        self.lock().insert(token, Waiting { answer: sender, _place: place });
        Some((Ticket { replies: self, token, answer }, self.inbox.reply_to(token)))
    }

    /// What to subscribe to for all answers.
    pub(crate) fn subject(&self) -> String {
        self.inbox.subject()
    }

    /// Gives up on everything in flight, since the connection has ended.
    pub(crate) fn give_up(&self) {
        self.lock().clear();
    }

    /// Hands an answer to who waits for it.
    pub(crate) fn answer(&self, message: Message) {
        let waiting =
            self.inbox.token_of(&message.subject).and_then(|token| self.lock().remove(&token));
        if let Some(waiting) = waiting {
            // Whoever asked may have given up.
            let _ = waiting.answer.send(message);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.replies.lock().remove(&self.token);
    }
}
