//! Jobs of one durable in lanes: what shares a lane is worked on one after the other, as it was delivered, and lanes run
//! beside each other.
//!
//! That is no promise of an order. A job that is handed back, or whose instance dies, comes again behind what was
//! delivered meanwhile, and another instance has lanes of its own: who needs one thing behind the other waits for the
//! first one's answer. What waits in a lane is looked after, so that the server hands it to nobody else meanwhile.

use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use runtime::durable::{Durable, Job, NotSettled};
use runtime::tasks::{BoxError, Tasks};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::waiting::{self, Waiting};

/// Jobs that wait in a lane: as many as the durables let be unacknowledged in all (`max_ack_pending`), so that a lane
/// that stands still holds up no other one. Should one be full all the same, what is more is handed back.
const DEPTH: usize = 1_000;
/// What jobs may hold of memory, in KiB; with so much, fetching waits, for all lanes.
const ROOM: u32 = 64 * 1024;
const UNTIL_THERE_IS_ROOM: Duration = Duration::from_secs(1);

/// What is done with the jobs.
pub(crate) trait Work: Clone + Send + Sync + 'static {
    /// What shares a lane, by the subject.
    fn lane<'a>(&self, subject: &'a str) -> impl std::hash::Hash + use<'a, Self>;

    /// Does one job and settles it. Everything in it has a deadline.
    fn work(
        &self,
        job: &Job,
        shutdown: &CancellationToken,
    ) -> impl Future<Output = Result<(), NotSettled>> + Send;
}

/// A job in its lane, with the memory that it takes.
struct Held {
    job: Arc<Job>,
    _room: OwnedSemaphorePermit,
}

/// Works in `count` lanes until `shutdown`, then finishes what has begun and gives the rest back.
pub(crate) async fn run(
    mut durable: Durable,
    count: usize,
    work: impl Work,
    grace: Duration,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    // Lanes end when their senders are dropped, after the last job, not at the shutdown itself.
    let ended = CancellationToken::new();
    let mut tasks = Tasks::new(&ended);
    let lanes: Vec<_> = (0..count.max(1))
        .map(|number| {
            let (sender, jobs) = mpsc::channel(DEPTH);
            tasks.spawn(format!("lane {number}"), lane(work.clone(), jobs, shutdown.clone()));
            sender
        })
        .collect();
    let room = Arc::new(Semaphore::new(ROOM as usize));
    let (hashes, mut waiting, mut looks) =
        (RandomState::new(), Waiting::default(), waiting::looks());
    loop {
        let job = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = looks.tick() => {
                waiting.tell().await;
                continue;
            }
            job = durable.next() => waiting.hold(job),
        };
        let enough = room.clone().acquire_many_owned(size_of(&job));
        let enough = tokio::select! {
            () = shutdown.cancelled() => None,
            enough = waiting.tell_until(enough, &mut looks) => enough.ok(),
        };
        let Some(enough) = enough else {
            settled(&job, job.nak(Duration::ZERO).await);
            break;
        };
        let hash = hashes.hash_one(work.lane(&job.message.subject));
        match lanes[hash as usize % lanes.len()].try_send(Held { job, _room: enough }) {
            Ok(()) => {}
            Err(TrySendError::Full(Held { job, .. })) => {
                settled(&job, job.nak(UNTIL_THERE_IS_ROOM).await);
            }
            Err(TrySendError::Closed(_)) => break,
        }
    }
    drop(lanes);
    durable.close().await;
    ended.cancel();
    Ok(tasks.finish(grace).await?)
}

async fn lane(
    work: impl Work,
    mut jobs: mpsc::Receiver<Held>,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    while let Some(Held { job, _room }) = jobs.recv().await {
        let outcome = match shutdown.is_cancelled() {
            true => job.nak(Duration::ZERO).await,
            false => work.work(&job, &shutdown).await,
        };
        settled(&job, outcome);
    }
    Ok(())
}

/// In KiB. One that is larger than all the room is let in alone.
fn size_of(job: &Job) -> u32 {
    let whole = u32::try_from(job.message.payload.len() / 1024).unwrap_or(ROOM);
    whole.saturating_add(1).min(ROOM)
}

fn settled(job: &Job, outcome: Result<(), NotSettled>) {
    if let Err(error) = outcome {
        debug!(%error, sequence = job.message.sequence, "a job");
    }
}

/// Doubles with each delivery up to `longest`, with a little jitter.
pub(crate) fn backoff(delivered: u64, longest: Duration) -> Duration {
    let doubled = Duration::from_secs(1).saturating_mul(1 << delivered.min(6));
    doubled.min(longest) + Duration::from_millis(runtime::ids::jitter(500))
}

#[cfg(test)]
mod tests;
