//! Decisions on their way back: one subscription for the whole process, and who waits for which.
//! A reply that nobody waits for any more is thrown away: its outcome is in the log.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use runtime::messaging::{MessagingError, Subscription};
use runtime::nats::Nats;
use runtime::tasks::BoxError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Commands of one process that wait for their decision; more are refused.
const WAITING: usize = 16_384;

type Awaited = HashMap<u64, watch::Sender<Option<Bytes>>>;

#[derive(Clone)]
pub(crate) struct Replies {
    inner: Arc<Inner>,
}

struct Inner {
    prefix: String,
    next: AtomicU64,
    waiting: Mutex<Awaited>,
}

/// A place for one reply, given up when it is dropped.
pub(super) struct Waiting {
    replies: Replies,
    token: u64,
    subject: String,
    reply: watch::Receiver<Option<Bytes>>,
}

impl Replies {
    /// `node` names this process's life.
    pub(crate) fn new(node: &str) -> Self {
        let prefix = format!("reply.{node}.");
        let inner = Inner { prefix, next: AtomicU64::new(1), waiting: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Awaited> {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` when too many wait already.
    pub(super) fn wait(&self) -> Option<Waiting> {
        let token = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = watch::channel(None);
        let mut waiting = self.lock();
        if waiting.len() >= WAITING {
            return None;
        }
        waiting.insert(token, sender);
        drop(waiting);
        let subject = format!("{}{token}", self.inner.prefix);
        Some(Waiting { replies: self.clone(), token, subject, reply })
    }

    pub(crate) async fn subscribe(&self, nats: &Nats) -> Result<Subscription, MessagingError> {
        nats.subscribe(&format!("{}*", self.inner.prefix)).await
    }

    /// Hands replies to who waits for them until `shutdown`.
    pub(crate) async fn serve(
        self,
        mut replies: Subscription,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        loop {
            let reply = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                reply = replies.next() => reply,
            };
            let Some(reply) = reply else {
                return Err("the connection to NATS is closed".into());
            };
            self.take(&reply.subject, reply.payload);
        }
    }

    fn take(&self, subject: &str, payload: Bytes) {
        let token = subject.strip_prefix(&*self.inner.prefix).and_then(|token| token.parse().ok());
        if let Some(waiting) = token.and_then(|token: u64| self.lock().remove(&token)) {
            // Whoever asked may be gone.
            let _gone = waiting.send(Some(payload));
        }
    }
}

impl Waiting {
    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// Safe to drop while waiting. Several may wait, and who comes later has it at once.
    pub(super) async fn reply(&self) -> Option<Bytes> {
        let mut reply = self.reply.clone();
        let came = reply.wait_for(Option::is_some).await.ok()?;
        came.clone()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.replies.lock().remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reply_finds_who_waits_for_it() {
        let replies = Replies::new("n-1");
        let (first, second) = (replies.wait().unwrap(), replies.wait().unwrap());
        assert_ne!(first.subject(), second.subject());
        replies.take(second.subject(), Bytes::from_static(b"two"));
        replies.take(first.subject(), Bytes::from_static(b"one"));
        assert_eq!(first.reply().await.unwrap(), "one");
        assert_eq!(second.reply().await.unwrap(), "two");
        replies.take("reply.n-2.1", Bytes::from_static(b"another process's"));
        replies.take("reply.n-1.x", Bytes::from_static(b"nobody's"));
        assert!(replies.lock().is_empty());
    }

    #[test]
    fn who_gives_up_frees_its_place() {
        let replies = Replies::new("n-1");
        let all: Vec<_> = std::iter::from_fn(|| replies.wait()).take(WAITING + 1).collect();
        assert_eq!(all.len(), WAITING);
        assert!(replies.wait().is_none(), "no more than may wait");
        drop(all);
        assert!(replies.lock().is_empty());
    }
}
