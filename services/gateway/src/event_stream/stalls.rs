//! Event streams whose client does not read. The HTTP server asks such a stream for nothing more, so what ends it must
//! look from outside: an identity that is over, a client that has been behind for too long. It knows no event.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use domain::Identity;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use runtime::http::Peer;
use runtime::tasks::BoxError;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::edge::{Edge, Shared};

/// Revocation and expiry hold within a second, also for who does not read.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Stands for a client that has taken everything and waits for more.
const WAITS: u64 = 0;

/// All event streams of this gateway. A cheap-clone handle.
#[derive(Clone)]
pub(crate) struct Stalls(Arc<Inner>);

struct Inner {
    begun: Instant,
    next: AtomicU64,
    streams: Mutex<HashMap<u64, Arc<Tap>>>,
}

/// A stream that can be ended without its reader.
struct Tap {
    frames: Mutex<Option<BoxStream<'static, Bytes>>>,
    /// When the reader was given something beyond which it has not asked yet, in milliseconds since `begun`.
    given: AtomicU64,
    identity: Arc<Identity>,
    /// The connection, where it carries nothing else.
    peer: Option<Peer>,
}

impl Tap {
    fn frames(&self) -> MutexGuard<'_, Option<BoxStream<'static, Bytes>>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        // Dropped outside the lock: with it goes the session.
        let frames = self.frames().take();
        drop(frames);
        if let Some(peer) = &self.peer {
            peer.close();
        }
    }
}

impl Default for Stalls {
    fn default() -> Self {
        let (next, streams) = (AtomicU64::default(), Mutex::default());
        Self(Arc::new(Inner { begun: Instant::now(), next, streams }))
    }
}

impl Stalls {
    /// The frames as the HTTP server pulls them. `peer` is given where the connection is this stream's alone.
    pub(super) fn watch(
        &self,
        frames: BoxStream<'static, Bytes>,
        identity: Arc<Identity>,
        peer: Option<Peer>,
    ) -> Watched {
        let (frames, given) = (Mutex::new(Some(frames)), AtomicU64::new(WAITS));
        let tap = Arc::new(Tap { frames, given, identity, peer });
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.streams().insert(id, tap.clone());
        Watched { id, tap, stalls: self.clone() }
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<u64, Arc<Tap>>> {
        self.0.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the beginning, never [`WAITS`].
    fn now(&self) -> u64 {
        self.0.begun.elapsed().as_millis() as u64 + 1
    }

    fn look(&self, edge: &Shared) {
        let now = self.now();
        let behind = |tap: &&Arc<Tap>| tap.given.load(Ordering::Relaxed) != WAITS;
        let stalled: Vec<_> = self.streams().values().filter(behind).cloned().collect();
        for tap in stalled {
            let given = tap.given.load(Ordering::Relaxed);
            if given == WAITS {
                continue;
            }
            if edge.auth.still_valid(&tap.identity).is_err() {
                tap.end();
            } else if now.saturating_sub(given) > edge.limits.lag.as_millis() as u64 {
                edge.meters.lagging.inc();
                tap.end();
            }
        }
    }
}

/// Looks at the streams that are behind until `shutdown`.
pub(crate) async fn run(edge: Edge, shutdown: CancellationToken) -> Result<(), BoxError> {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = sleep(LOOK_EVERY) => edge.stalls.look(&edge),
        }
    }
}

pub(super) struct Watched {
    id: u64,
    tap: Arc<Tap>,
    stalls: Stalls,
}

impl Stream for Watched {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let tap = &self.tap;
        tap.given.store(WAITS, Ordering::Relaxed);
        let mut frames = tap.frames();
        let Some(frames) = frames.as_mut() else { return Poll::Ready(None) };
        let polled = frames.as_mut().poll_next(context);
        if let Poll::Ready(Some(_)) = &polled {
            tap.given.store(self.stalls.now(), Ordering::Relaxed);
        }
        polled.map(|frame| frame.map(Ok))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stalls.streams().remove(&self.id);
    }
}
