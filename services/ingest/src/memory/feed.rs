//! Keeps the memory up to date: one follower of headers per stream, and a task that tidies up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::StreamId;
use domain::envelope::header::MESSAGE_ID;
use domain::stream::COUNT;
use runtime::clock;
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::nats::Nats;
use runtime::ops::Condition;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;

use super::{HORIZON, Lag, Memory};
use crate::metrics::Metrics;

const TIDY_EVERY: Duration = Duration::from_secs(1);
/// The stream's own duplicate window covers far more than this.
const PACE: Duration = Duration::from_millis(100);

/// Follows one stream until `shutdown`.
pub(crate) async fn feed(
    memory: Memory,
    nats: Nats,
    stream: StreamId,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let options = FollowOptions {
        headers_only: true,
        pace: Some(PACE),
        own: true,
        ..FollowOptions::default()
    };
    let mut follower = Follower::new(&nats, stream.name(), beginning(), options);
    // What the stream held when it was attached first; known once everything up to it has been seen.
    let mut head = None;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            event = follower.next() => event,
        };
        let mut seen = 0;
        match event {
            FollowEvent::Attached(state) => {
                head.get_or_insert(state.last_sequence);
            }
            FollowEvent::Messages(messages) => {
                let mut index = memory.write(stream);
                for message in &messages {
                    seen = message.sequence;
                    if let Some(id) = message.headers.get(MESSAGE_ID) {
                        index.insert(memory.hash(id), message.sequence, message.stored_at);
                    }
                }
            }
            FollowEvent::Rewound(_) => {
                memory.forget(stream);
                head = None;
                follower.restart(beginning());
            }
        }
        let progress = memory.progress(stream);
        progress.seen.fetch_max(seen, Ordering::Relaxed);
        if head.is_some_and(|head| seen >= head || follower.lag() == 0) {
            progress.caught_up.store(true, Ordering::Release);
        }
    }
}

fn beginning() -> Start {
    Start::Time(clock::now() - HORIZON)
}

/// Tidies once a second until `shutdown`, and says whether the memory is warm.
pub(crate) async fn maintain(
    memory: Memory,
    metrics: Metrics,
    ready: Condition,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let horizon = i64::try_from(HORIZON.as_millis())?;
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut tidied = tokio::time::Instant::now();
    let mut lags = [Lag::default(); COUNT];
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        memory.look_for_stuck(&mut lags, clock::unix_millis());
        match memory.cold().as_slice() {
            [] => ready.holds(),
            cold => ready.missing(format!("reading the last 72 hours of {}", cold.join(", "))),
        }
        if tidied.elapsed() >= TIDY_EVERY {
            let (memory, metrics) = (memory.clone(), metrics.clone());
            let oldest = clock::unix_millis() - horizon;
            tokio::task::spawn_blocking(move || memory.tidy(oldest, &metrics)).await?;
            tidied = tokio::time::Instant::now();
        }
    }
}
