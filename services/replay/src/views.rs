//! Views: folds of the streams in memory, answered as of now and as of earlier moments.
//!
//! Every node folds everything, so any of them can answer. What is folded is kept in the object store from time to
//! time; nothing here is the truth, the log is.

mod answering;
mod asking;
mod folded;
mod following;
mod keeping;
mod reading;
mod rebuilding;
mod snapshot;
mod store;
mod table;

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use domain::StreamId;
use tokio::sync::watch;

pub(crate) use answering::{serve, serve_builds, serve_contacts};
pub use folded::{Folded, views_of};
pub(crate) use following::Live;
pub(crate) use keeping::Keeper;
pub(crate) use rebuilding::{Builder, Builds};

use crate::meters::Meters;

/// What the tasks of one node share of its views.
pub(crate) struct Views {
    live: [RwLock<Folded>; domain::stream::COUNT],
    /// How far each stream is folded, for those who wait for it.
    heads: [watch::Sender<u64>; domain::stream::COUNT],
    /// Whether everything was folded that was stored when this node began with the stream.
    caught_up: [watch::Sender<bool>; domain::stream::COUNT],
}

impl Views {
    pub(crate) fn new() -> Self {
        let empty = |stream| RwLock::new(Folded::new(stream, views_of(stream), 0));
        Self {
            live: StreamId::ALL.map(empty),
            heads: std::array::from_fn(|_| watch::Sender::new(0)),
            caught_up: std::array::from_fn(|_| watch::Sender::new(false)),
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
        self.caught_up[stream.index()].send_replace(caught_up);
    }

    fn is_caught_up(&self, stream: StreamId) -> bool {
        *self.caught_up[stream.index()].borrow()
    }

    async fn caught_up(&self, stream: StreamId) {
        let mut caught_up = self.caught_up[stream.index()].subscribe();
        // The sender lives as long as we do, so this ends only when it is.
        let _is = caught_up.wait_for(|is| *is).await;
    }

    /// Brings the gauges of the views' size up to date.
    fn measure(&self, meters: &Meters) {
        for view in domain::views::ALL {
            let folded = self.live(view.stream);
            let tables = folded.tables().filter(|(_, table)| table.view().name == view.name);
            let (entries, bytes) = tables.fold((0, 0), |(entries, bytes), (_, table)| {
                (entries + table.count(), bytes + table.bytes())
            });
            let label = [("view", view.name)];
            meters.view_entries.get_or_create(&label).set(entries as i64);
            meters.view_bytes.get_or_create(&label).set(bytes as i64);
        }
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
