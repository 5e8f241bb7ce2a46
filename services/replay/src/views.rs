//! Views: folds of the streams in memory, answered as of now and as of earlier moments.
//!
//! Every node folds everything, so any of them can answer. What is folded is kept in the object store from time to
//! time; nothing here is the truth, the log is.

mod answering;
mod asking;
mod folded;
mod following;
mod reading;
mod table;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use domain::StreamId;
use tokio::sync::watch;

pub(crate) use answering::serve;
use folded::{Folded, views_of};
pub(crate) use following::Live;

/// What the tasks of one node share of its views.
pub(crate) struct Views {
    live: [RwLock<Folded>; domain::stream::COUNT],
    /// How far each stream is folded, for those who wait for it.
    heads: [watch::Sender<u64>; domain::stream::COUNT],
    caught_up: [AtomicBool; domain::stream::COUNT],
}

impl Views {
    pub(crate) fn new() -> Self {
        let empty = |stream| RwLock::new(Folded::new(stream, views_of(stream), 0));
        Self {
            live: StreamId::ALL.map(empty),
            heads: std::array::from_fn(|_| watch::Sender::new(0)),
            caught_up: Default::default(),
        }
    }

    /// For reading; the fold waits meanwhile, so it is held for one page at most.
    fn live(&self, stream: StreamId) -> RwLockReadGuard<'_, Folded> {
        self.live[stream.index()].read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For folding a batch. Whoever waits for what it brings is woken by [`Views::tell_head`].
    fn live_mut(&self, stream: StreamId) -> RwLockWriteGuard<'_, Folded> {
        self.live[stream.index()].write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_head(&self, stream: StreamId) {
        let head = self.live(stream).head();
        self.heads[stream.index()].send_replace(head);
    }

    fn head(&self, stream: StreamId) -> watch::Receiver<u64> {
        self.heads[stream.index()].subscribe()
    }

    fn set_caught_up(&self, stream: StreamId, caught_up: bool) {
        self.caught_up[stream.index()].store(caught_up, Ordering::Release);
    }

    /// Whether everything was folded that was stored when this node began with the stream.
    fn is_caught_up(&self, stream: StreamId) -> bool {
        self.caught_up[stream.index()].load(Ordering::Acquire)
    }
}

/// What readiness calls a stream's views.
pub(crate) const fn condition(stream: StreamId) -> &'static str {
    match stream {
        StreamId::Calls => "views of CALLS",
        StreamId::Messages => "views of MESSAGES",
        StreamId::Crisis => "views of CRISIS",
        StreamId::Conversations => "views of CONVERSATIONS",
        StreamId::Activity => "views of ACTIVITY",
    }
}
