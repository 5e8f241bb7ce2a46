//! Keeps views in the object store: read at the start, written when they have changed enough, when retention comes
//! close to the newest snapshot, and at the end.

use std::sync::Arc;
use std::time::Duration;

use domain::StreamId;
use runtime::log_reader::{LogReader, StreamState};
use runtime::nats::Nats;
use runtime::object_store::ObjectError;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Views;
use super::folded::{Folded, views_of};
use super::store::{Store, content, is_pressed, newest_first};
use crate::config::IndexConfig;
use crate::meters::Meters;

const PAUSE: Duration = Duration::from_millis(500);
/// A store that fails is asked again before the views are folded from the log instead.
const ATTEMPTS: usize = 3;

/// What a start found.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) folded: Folded,
    /// Whether the views are to be built anew beside these: to know the past, or because the fold has changed.
    pub(super) is_partial: bool,
}

/// The newest snapshot of a stream that is one of it, or nothing folded yet.
pub(super) async fn load(store: &Store, log: &LogReader, stream: StreamId) -> Begun {
    let found = stream_state(log, stream).await;
    let views = views_of(stream);
    for kept in newest_first(&list(store, stream).await, &found) {
        let Some(loaded) = store.read(stream, kept, &views).await else { continue };
        if !is_of(&loaded.folded, log, stream).await {
            warn!(%stream, "a snapshot is of another copy of the stream");
            continue;
        }
        let mut folded = loaded.folded;
        if found.first_sequence > folded.head() + 1 && found.messages > 0 {
            warn!(
                %stream,
                from = folded.head() + 1, to = found.first_sequence - 1,
                "events left the log before they could be folded: views lack them"
            );
        }
        info!(%stream, sequence = folded.head(), "views loaded from a snapshot");
        for name in &loaded.outdated {
            info!(%stream, view = name, "the fold has changed: the view is built anew beside this one");
        }
        folded.complete(&views, loaded.outdated);
        return Begun { folded, is_partial: true };
    }
    if found.first_sequence > 1 {
        warn!(%stream, "no snapshot of views: what has left the log is not in them");
    }
    let mut folded = Folded::new(stream, views, found.epoch);
    folded.begin_at(found.first_sequence.saturating_sub(1), 0);
    Begun { folded, is_partial: false }
}

async fn stream_state(log: &LogReader, stream: StreamId) -> StreamState {
    loop {
        match log.stream_info(stream.name()).await {
            Ok(found) => return found,
            Err(error) => {
                warn!(%stream, error = %chain(&error), "waiting for the stream");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn list(store: &Store, stream: StreamId) -> Vec<super::store::Kept> {
    for _ in 0..ATTEMPTS {
        match store.list(stream).await {
            Ok(kept) => return kept,
            Err(error) => {
                warn!(%stream, error = %chain(&error), "snapshots of views cannot be listed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Vec::new()
}

/// Whether the event that a snapshot ends with stands in the stream; a restored older copy has another one there.
async fn is_of(folded: &Folded, log: &LogReader, stream: StreamId) -> bool {
    match log.get(stream.name(), folded.head()).await {
        Ok(Some(message)) => folded.stored_at() == 0 || message.stored_at == folded.stored_at(),
        Ok(None) => true,
        Err(error) => {
            warn!(%stream, error = %chain(&error), "a snapshot cannot be compared with the stream");
            false
        }
    }
}

/// Writes what is due until told to stop, and then everything once more.
pub(crate) struct Keeper {
    pub(crate) views: Arc<Views>,
    pub(crate) store: Store,
    pub(crate) log: LogReader,
    pub(crate) meters: Meters,
    pub(crate) config: IndexConfig,
}

/// A stream's newest snapshot of this node's own making.
#[derive(Clone, Copy)]
struct Written {
    head: Option<u64>,
    at: Instant,
}

impl Keeper {
    pub(crate) fn new(nats: &Nats, views: Arc<Views>, meters: Meters, config: IndexConfig) -> Self {
        Self { views, store: Store::new(nats), log: nats.log_reader(), meters, config }
    }

    pub(crate) async fn keep(self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let mut written = [Written { head: None, at: Instant::now() }; domain::stream::COUNT];
        loop {
            let stopping = tokio::select! {
                () = tokio::time::sleep(self.config.retention_every) => false,
                () = shutdown.cancelled() => true,
            };
            for stream in StreamId::ALL {
                self.look(stream, &mut written[stream.index()], stopping).await;
            }
            self.views.measure(&self.meters);
            if stopping {
                return Ok(());
            }
        }
    }

    async fn look(&self, stream: StreamId, written: &mut Written, stopping: bool) {
        if !self.views.is_caught_up(stream) {
            return;
        }
        let found = match self.log.stream_info(stream.name()).await {
            Ok(found) => found,
            // The follower and readiness tell of a stream that stays away; the next round asks again.
            Err(error) => {
                debug!(%stream, error = %chain(&error), "no word of the stream");
                return;
            }
        };
        let head = {
            let mut folded = self.views.live_mut(stream);
            // Another copy of the stream is the follower's to notice.
            if folded.epoch() != found.epoch {
                return;
            }
            folded.truncate(found.first_sequence);
            folded.head()
        };
        let grown = head - written.head.unwrap_or(0).min(head);
        let is_due = grown >= self.config.snapshot_after_events
            || written.at.elapsed() >= self.config.snapshot_after
            || is_pressed(written.head, head, found.first_sequence)
            || stopping;
        if grown > 0 && is_due && self.save(stream, &found).await {
            *written = Written { head: Some(head), at: Instant::now() };
        }
    }

    async fn save(&self, stream: StreamId, found: &StreamState) -> bool {
        let views = self.views.clone();
        let encode = move || content(&views.live(stream));
        let Ok((place, content)) = tokio::task::spawn_blocking(encode).await else { return false };
        match self.store.write(stream, place, content, found).await {
            Ok(()) => {
                self.meters.view_snapshots.inc();
                true
            }
            Err(ObjectError::TooLarge) => {
                // To try again at once would be as much work for nothing; it is due again when it has grown.
                error!(%stream, "views are too large for a snapshot that could be read again: none is written, and with \
                    what retention removes they cannot be built anew");
                true
            }
            Err(error) => {
                let error = chain(&error);
                warn!(%stream, error, "a snapshot of views could not be written; tried again later");
                false
            }
        }
    }
}
