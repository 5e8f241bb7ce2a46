//! The only place that spawns: named long-running tasks, tasks owned by a handle, and connections.
//! It must not know what the tasks do.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

mod connections;
#[cfg(test)]
mod tests;

pub use connections::Connections;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Name = Cow<'static, str>;

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("{name} failed")]
    Failed { name: String, source: BoxError },
    #[error("{name} ended before it was told to")]
    Ended { name: String },
    #[error("{name} panicked")]
    Panicked { name: String },
}

/// Long-running tasks that stand and fall together: the first to end stops the rest.
pub struct Tasks {
    set: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, Name>,
    shutdown: CancellationToken,
}

impl Tasks {
    /// Tasks that stop when `shutdown` is cancelled; their own end never cancels the parent's token.
    pub fn new(shutdown: &CancellationToken) -> Self {
        Self { set: JoinSet::new(), names: HashMap::new(), shutdown: shutdown.child_token() }
    }

    /// Cancelled when the tasks are to stop.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    pub fn spawn<F>(&mut self, name: impl Into<Name>, task: F)
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let handle = self.set.spawn(task);
        self.names.insert(handle.id(), name.into());
    }

    /// Waits for the first task to end or for the shutdown, then stops all; those not done after `grace` are aborted and named.
    pub async fn finish(mut self, grace: Duration) -> Result<(), TaskError> {
        let first = tokio::select! {
            () = self.shutdown.cancelled() => None,
            ended = self.set.join_next_with_id() => ended,
        };
        let asked = self.shutdown.is_cancelled();
        let mut result = first.map_or(Ok(()), |ended| self.outcome(ended, asked));
        self.shutdown.cancel();
        let deadline = Instant::now() + grace;
        while let Ok(Some(ended)) = timeout_at(deadline, self.set.join_next_with_id()).await {
            match self.outcome(ended, true) {
                Err(error) if result.is_ok() => result = Err(error),
                Err(error) => {
                    warn!(error = %crate::telemetry::chain(&error), "failed while stopping")
                }
                Ok(()) => {}
            }
        }
        if !self.names.is_empty() {
            let mut late: Vec<_> = self.names.values().map(AsRef::as_ref).collect();
            late.sort_unstable();
            error!(tasks = late.join(", "), grace_ms = grace.as_millis(), "did not stop in time");
            self.set.shutdown().await;
        }
        result
    }

    fn outcome(
        &mut self,
        ended: Result<(Id, Result<(), BoxError>), JoinError>,
        asked: bool,
    ) -> Result<(), TaskError> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let name = self.names.remove(&id).unwrap_or_default().into_owned();
        match ended {
            Ok((_, Ok(()))) if asked => Ok(()),
            Ok((_, Ok(()))) => Err(TaskError::Ended { name }),
            Ok((_, Err(source))) => Err(TaskError::Failed { name, source }),
            Err(_) => Err(TaskError::Panicked { name }),
        }
    }
}

/// A task that lives no longer than its handle, for modules that own a background loop.
#[derive(Debug)]
pub struct Owned<T>(JoinHandle<T>);

#[expect(clippy::disallowed_methods, reason = "the handle supervises it: dropped means aborted")]
pub fn owned<F>(task: F) -> Owned<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Owned(tokio::spawn(task))
}

impl<T> Owned<T> {
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// The task's result; `None` if it panicked.
    pub async fn join(mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A token that SIGTERM or Ctrl-C cancels; a second signal ends the process at once.
/// SIGHUP, which has files read again, ends nothing: also while nobody listens for it yet, and where there is no file.
pub fn stop_on_signals() -> std::io::Result<(CancellationToken, Owned<()>)> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    // The handler stays for as long as the process, whoever reads from it.
    let _taken_off = signal(SignalKind::hangup())?;
    let cancel = token.clone();
    let listener = owned(async move {
        for _ in 0..2 {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            if cancel.is_cancelled() {
                std::process::exit(130);
            }
            info!(signal = name, "stopping");
            cancel.cancel();
        }
    });
    Ok((token, listener))
}
