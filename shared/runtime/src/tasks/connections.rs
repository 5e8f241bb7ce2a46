//! Tasks of connections: many, short of name, counted, and drained together.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span, info_span};

use crate::telemetry::TARGET;

/// A cheap-clone handle. Dropping it ends nothing; `drain` does.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    tracker: TaskTracker,
    abort: CancellationToken,
    /// Whether each is a span of its own.
    is_traced: bool,
}

impl Connections {
    pub fn new() -> Self {
        Self::default()
    }

    /// Each is told to the collector, where there is one: connections of clients, not other work.
    pub fn traced() -> Self {
        Self { is_traced: true, ..Self::default() }
    }

    /// Runs one connection. It is counted before it runs, so a drain that starts now waits for it.
    pub fn spawn<F>(&self, connection: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let abort = self.abort.clone();
        let running = async move {
            tokio::select! {
                () = abort.cancelled() => {}
                () = connection => {}
            }
        };
        let span = if self.is_traced {
            info_span!(target: TARGET, parent: None, "connection")
        } else {
            Span::none()
        };
        drop(self.tracker.spawn(running.instrument(span)));
    }

    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Whether they are being drained: nothing new is to begin.
    pub fn is_draining(&self) -> bool {
        self.tracker.is_closed()
    }

    /// Waits for all to end; those left after `grace` are dropped, and their number is returned.
    pub async fn drain(&self, grace: Duration) -> usize {
        self.tracker.close();
        if tokio::time::timeout(grace, self.tracker.wait()).await.is_ok() {
            return 0;
        }
        let late = self.tracker.len();
        self.abort.cancel();
        self.tracker.wait().await;
        late
    }
}
