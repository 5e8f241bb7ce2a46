//! What the log has stored in the last three days, by message id: the duplicates that JetStream's own window,
//! minutes long, no longer knows.
//!
//! Fed by a follower of headers per stream. What they have not seen yet (their lag) is covered by the duplicate
//! window. A hit is confirmed by reading the message it points at.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use domain::StreamId;
use domain::envelope::header::MESSAGE_ID;
use domain::stream::COUNT;
use runtime::log_reader::{LogReader, ReadError};
use tracing::warn;

use crate::idempotency::{Index, Segment, Shape};
use crate::metrics::Metrics;

mod feed;
mod lag;

pub(crate) use feed::{feed, maintain};
use lag::Lag;

/// How far back a repeat is recognised.
pub(crate) const HORIZON: Duration = Duration::from_secs(72 * 3600);

/// A handle that is cheap to clone.
#[derive(Clone)]
pub(crate) struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    /// Seeded per process, so that nobody outside can make ids collide.
    hashes: RandomState,
    streams: [RwLock<Index>; COUNT],
    progress: [Progress; COUNT],
    reader: LogReader,
    limit: usize,
}

/// How far one stream's follower is.
#[derive(Default)]
struct Progress {
    /// Everything stored before the start has been seen.
    caught_up: AtomicBool,
    /// It has not moved for long although events were appended.
    stuck: AtomicBool,
    seen: AtomicU64,
    /// The highest sequence that an append of this process was given.
    appended: AtomicU64,
}

impl Progress {
    fn is_warm(&self) -> bool {
        self.caught_up.load(Ordering::Acquire) && !self.stuck.load(Ordering::Relaxed)
    }
}

impl Memory {
    pub(crate) fn new(reader: LogReader, limit: usize) -> Self {
        let shape = Shape::for_memory(limit);
        let inner = Inner {
            hashes: RandomState::new(),
            streams: std::array::from_fn(|_| RwLock::new(Index::new(shape))),
            progress: Default::default(),
            reader,
            limit,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Where a message with this id is stored already, if it is.
    pub(crate) async fn recall(
        &self,
        stream: StreamId,
        id: &str,
    ) -> Result<Option<u64>, ReadError> {
        let hash = self.inner.hashes.hash_one(id);
        let mut candidates = self.read(stream).candidates(hash);
        if candidates.is_empty() {
            return Ok(None);
        }
        candidates.sort_unstable();
        let stored = self.inner.reader.get_many(stream.name(), &candidates).await?;
        let mut stored = stored.into_iter().flatten();
        Ok(stored.find(|m| m.headers.get(MESSAGE_ID) == Some(id)).map(|message| message.sequence))
    }

    /// Whether everything stored before the start has been seen, and what came since is being seen.
    /// Otherwise a repeat could be taken for new.
    pub(crate) fn is_warm(&self) -> bool {
        self.inner.progress.iter().all(Progress::is_warm)
    }

    /// The same for one stream.
    pub(crate) fn knows(&self, stream: StreamId) -> bool {
        self.progress(stream).is_warm()
    }

    /// The streams of which too little has been seen.
    pub(crate) fn cold(&self) -> Vec<&'static str> {
        let cold = StreamId::ALL.into_iter().filter(|stream| !self.progress(*stream).is_warm());
        cold.map(StreamId::name).collect()
    }

    /// An event got this place; the follower is to see it too.
    pub(crate) fn appended(&self, stream: StreamId, sequence: u64) {
        self.progress(stream).appended.fetch_max(sequence, Ordering::Relaxed);
    }

    /// Whether the follower of a stream is past this event.
    #[cfg(test)]
    pub(crate) fn has_seen(&self, stream: StreamId, sequence: u64) -> bool {
        self.progress(stream).seen.load(Ordering::Relaxed) >= sequence
    }

    fn progress(&self, stream: StreamId) -> &Progress {
        &self.inner.progress[stream.index()]
    }

    fn look_for_stuck(&self, lags: &mut [Lag; COUNT], now: i64) {
        for (progress, lag) in self.inner.progress.iter().zip(lags) {
            let appended = progress.appended.load(Ordering::Relaxed);
            let stuck = lag.is_stuck(appended, progress.seen.load(Ordering::Relaxed), now);
            progress.stuck.store(stuck, Ordering::Relaxed);
        }
    }

    /// The stream is another one: nothing that was known of it counts.
    fn forget(&self, stream: StreamId) {
        let progress = self.progress(stream);
        progress.caught_up.store(false, Ordering::Release);
        progress.seen.store(0, Ordering::Relaxed);
        progress.appended.store(0, Ordering::Relaxed);
        self.write(stream).clear();
    }

    fn read(&self, stream: StreamId) -> RwLockReadGuard<'_, Index> {
        self.inner.streams[stream.index()].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, stream: StreamId) -> RwLockWriteGuard<'_, Index> {
        self.inner.streams[stream.index()].write().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash(&self, id: &str) -> u64 {
        self.inner.hashes.hash_one(id)
    }

    /// Forgets what has expired, merges what is due, and keeps to the limit.
    fn tidy(&self, horizon: i64, metrics: &Metrics) {
        for stream in StreamId::ALL {
            self.write(stream).expire(horizon);
            while let Some(parts) = self.due_merge(stream) {
                // Sorted outside the lock: lookups go on meanwhile.
                let Some(merged) = Segment::merge(&parts) else { break };
                self.write(stream).replace(&parts, merged);
            }
        }
        self.keep_to_limit(metrics);
        let events: usize = StreamId::ALL.into_iter().map(|stream| self.read(stream).len()).sum();
        metrics.remembered_events.set(i64::try_from(events).unwrap_or(i64::MAX));
        metrics.remembered_bytes.set(i64::try_from(self.bytes()).unwrap_or(i64::MAX));
    }

    fn due_merge(&self, stream: StreamId) -> Option<Vec<Arc<Segment>>> {
        self.read(stream).due_merge()
    }

    fn keep_to_limit(&self, metrics: &Metrics) {
        while self.bytes() > self.inner.limit {
            let oldest = |stream: &StreamId| self.read(*stream).oldest_sealed();
            let sealed = StreamId::ALL.into_iter().filter(|stream| oldest(stream).is_some());
            let Some(stream) = sealed.min_by_key(oldest) else { return };
            let gone = self.write(stream).drop_oldest();
            metrics.forgotten.inc_by(gone as u64);
            warn!(
                stream = stream.name(),
                events = gone,
                "IDEMPOTENCY_MEMORY_BYTES is used up: repeats of the oldest events are no longer recognised"
            );
        }
    }

    fn bytes(&self) -> usize {
        StreamId::ALL.into_iter().map(|stream| self.read(stream).bytes()).sum()
    }
}
