//! What the tasks of one replay node share: the index, the quarantine's index, how far they have come.
//! It knows nothing of NATS.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use domain::StreamId;

use crate::index::Index;
use crate::index::stream_index::StreamIndex;
use crate::meters::Meters;

pub(crate) struct State {
    index: RwLock<Index>,
    quarantine: RwLock<StreamIndex>,
    caught_up: [AtomicBool; domain::stream::COUNT],
    quarantine_ready: AtomicBool,
    pub(crate) meters: Meters,
}

impl State {
    pub(crate) fn new(meters: Meters) -> Self {
        Self {
            index: RwLock::default(),
            quarantine: RwLock::default(),
            caught_up: Default::default(),
            quarantine_ready: AtomicBool::new(false),
            meters,
        }
    }

    /// For reading; writers wait meanwhile, so it is held for one answer at most.
    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn quarantine(&self) -> RwLockReadGuard<'_, StreamIndex> {
        self.quarantine.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn quarantine_mut(&self) -> RwLockWriteGuard<'_, StreamIndex> {
        self.quarantine.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_caught_up(&self, stream: StreamId, caught_up: bool) {
        self.caught_up[stream.index()].store(caught_up, Ordering::Release);
    }

    /// Whether the index held all that was stored when this node began with the stream.
    pub(crate) fn is_caught_up(&self, stream: StreamId) -> bool {
        self.caught_up[stream.index()].load(Ordering::Acquire)
    }

    pub(crate) fn is_ready(&self) -> bool {
        StreamId::ALL.into_iter().all(|stream| self.is_caught_up(stream))
    }

    pub(crate) fn set_quarantine_ready(&self, is_ready: bool) {
        self.quarantine_ready.store(is_ready, Ordering::Release);
    }

    pub(crate) fn is_quarantine_ready(&self) -> bool {
        self.quarantine_ready.load(Ordering::Acquire)
    }

    /// Brings the gauges of the index's size up to date.
    pub(crate) fn measure(&self) {
        let size = self.index().size();
        self.meters.events.set(size.events as i64);
        self.meters.channels.set(size.channels as i64);
        self.meters.bytes.set(size.bytes as i64);
    }
}
