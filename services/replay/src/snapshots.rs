//! Keeps the index in the object store, a stream at a time, so that a restart reads minutes of the log instead of
//! all of it, and does not forget whose events retention has removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::StreamId;
use runtime::log_reader::{LogReader, StreamState};
use runtime::nats::Nats;
use runtime::object_store::{ObjectError, Objects};
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::IndexConfig;
use crate::index::snapshot;
use crate::index::stream_index::StreamIndex;
use crate::state::State;

const BUCKET: &str = "channel-index";
const PAUSE: Duration = Duration::from_millis(500);
/// For a whole snapshot, read or written.
const DEADLINE: Duration = Duration::from_secs(60);
const LARGEST: usize = 1 << 30;
/// A store that fails is asked again before the index is built from the log instead.
const ATTEMPTS: usize = 3;

#[derive(Clone)]
pub(crate) struct Snapshots {
    nats: Nats,
    reader: LogReader,
    state: Arc<State>,
    config: IndexConfig,
    /// The heads of the snapshots in the store.
    stored: Arc<[AtomicU64; domain::stream::COUNT]>,
}

impl Snapshots {
    pub(crate) fn new(nats: &Nats, state: Arc<State>, config: IndexConfig) -> Self {
        let reader = nats.log_reader();
        Self { nats: nats.clone(), reader, state, config, stored: Arc::default() }
    }

    /// A stream's index as it was last written, if it still is an index of that stream.
    /// Waits for the stream: before it is there nothing can be compared.
    pub(crate) async fn load(&self, stream: StreamId) -> Option<StreamIndex> {
        let found = self.stream_state(stream).await;
        let bytes = self.read(stream).await?;
        let index = self.decode(stream, bytes).await?;
        match self.mismatch(stream, &index, &found).await {
            None => {
                info!(stream = %stream, sequence = index.head(), "index loaded from its snapshot");
                self.stored[stream.index()].store(index.head(), Ordering::Relaxed);
                Some(index)
            }
            Some(reason) => {
                warn!(stream = %stream, reason, "snapshot refused: indexing from the beginning");
                None
            }
        }
    }

    async fn stream_state(&self, stream: StreamId) -> StreamState {
        loop {
            match self.reader.stream_info(stream.name()).await {
                Ok(found) => return found,
                Err(error) => {
                    warn!(stream = %stream, error = %chain(&error), "waiting for the stream");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn read(&self, stream: StreamId) -> Option<Vec<u8>> {
        for _ in 0..ATTEMPTS {
            let read = async { self.objects().await?.get(stream.name(), LARGEST).await };
            match read.await {
                Ok(bytes) => return Some(bytes),
                Err(ObjectError::NotFound) => break,
                Err(error) => {
                    warn!(stream = %stream, error = %chain(&error), "the snapshot cannot be read");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        info!(stream = %stream, "no snapshot: indexing from the beginning");
        None
    }

    async fn objects(&self) -> Result<Objects, ObjectError> {
        self.nats.objects(BUCKET, DEADLINE).await
    }

    async fn decode(&self, stream: StreamId, bytes: Vec<u8>) -> Option<StreamIndex> {
        let decoded = tokio::task::spawn_blocking(move || snapshot::decode(stream, &bytes)).await;
        match decoded.ok()? {
            Ok(index) => Some(index),
            Err(error) => {
                warn!(stream = %stream, %error, "snapshot refused: indexing from the beginning");
                None
            }
        }
    }

    /// Why an index is not one of this stream.
    async fn mismatch(
        &self,
        stream: StreamId,
        index: &StreamIndex,
        found: &StreamState,
    ) -> Option<&'static str> {
        if index.epoch() != found.epoch {
            return Some("the stream has another epoch");
        }
        if index.head() > found.last_sequence {
            return Some("the stream ends before it");
        }
        // A restored older copy that has grown since: another event stands where ours stood.
        let stored_at = index.stored_at(index.head())?;
        match self.reader.get(stream.name(), index.head()).await {
            Ok(Some(message)) if message.stored_at != stored_at => Some("the stream was rewritten"),
            Ok(Some(_) | None) => None,
            Err(_) => Some("the stream could not be compared with it"),
        }
    }

    /// Writes what is due until told to stop, and then everything once more.
    pub(crate) async fn keep(self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let mut written = [Instant::now(); domain::stream::COUNT];
        loop {
            let stopping = tokio::select! {
                () = tokio::time::sleep(self.config.snapshot_check_every) => false,
                () = shutdown.cancelled() => true,
            };
            for stream in StreamId::ALL {
                let last = &mut written[stream.index()];
                if let Some(head) = self.due(stream, *last, stopping)
                    && self.save(stream).await
                {
                    self.stored[stream.index()].store(head, Ordering::Relaxed);
                    *last = Instant::now();
                }
            }
            if stopping {
                return Ok(());
            }
        }
    }

    /// The stream's head if it should be written down now.
    fn due(&self, stream: StreamId, written: Instant, stopping: bool) -> Option<u64> {
        if !self.state.is_caught_up(stream) {
            return None;
        }
        let head = self.state.index().stream(stream).head();
        let grown = head.abs_diff(self.stored[stream.index()].load(Ordering::Relaxed));
        let old = written.elapsed() >= self.config.snapshot_after;
        let due = grown >= self.config.snapshot_after_events || old || stopping;
        (grown > 0 && due).then_some(head)
    }

    async fn save(&self, stream: StreamId) -> bool {
        let state = self.state.clone();
        let encode = move || {
            let content = snapshot::encode(stream, state.index().stream(stream));
            snapshot::seal(content)
        };
        let Ok(bytes) = tokio::task::spawn_blocking(encode).await else { return false };
        let put = async { self.objects().await?.put(stream.name(), &mut bytes.as_slice()).await };
        match put.await {
            Ok(_) => {
                self.state.meters.snapshots.inc();
                true
            }
            Err(error) => {
                let error = chain(&error);
                warn!(stream = %stream, error, "the snapshot could not be written; tried again later");
                false
            }
        }
    }
}
