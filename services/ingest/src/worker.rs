//! Jobs of one durable, several at a time: what is begun is finished on stop, the rest is given back.
//!
//! A job that is not done comes again from the log, after a pause that grows with its deliveries; nothing is kept here.
//! One that takes longer than its durable's `ack_wait` is looked after, so that it is not begun a second time meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use runtime::durable::{Durable, Job};
use runtime::ids;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::waiting::{self, Waiting};

const SHORTEST: Duration = Duration::from_secs(1);

/// What is to become of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Settled {
    Done,
    /// Again after this long.
    Later(Duration),
    /// It cannot be understood, now or ever; why stands in the log.
    Never,
}

/// Works until `shutdown`. `at_once` is the bound: with so many begun, fetching waits. Everything that is done with a
/// job has a deadline.
pub(crate) async fn work<F>(
    mut durable: Durable,
    at_once: usize,
    shutdown: CancellationToken,
    handle: impl Fn(Arc<Job>) -> F,
) -> Result<(), BoxError>
where
    F: Future<Output = Settled>,
{
    let (mut begun, mut waiting) = (FuturesUnordered::new(), Waiting::default());
    let mut looks = waiting::looks();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = looks.tick() => waiting.tell().await,
            Some(()) = begun.next(), if !begun.is_empty() => {}
            job = durable.next(), if begun.len() < at_once => {
                let job = waiting.hold(job);
                begun.push(settle(job.clone(), handle(job)));
            }
        }
    }
    durable.close().await;
    while begun.next().await.is_some() {}
    Ok(())
}

async fn settle(job: Arc<Job>, handled: impl Future<Output = Settled>) {
    let answered = match handled.await {
        Settled::Done => job.ack().await,
        Settled::Later(pause) => job.nak(pause).await,
        Settled::Never => job.term().await,
    };
    if let Err(error) = answered {
        debug!(%error, sequence = job.message.sequence, "a job");
    }
}

/// Doubles with each delivery up to `longest`, with a little jitter.
pub(crate) fn pause(delivered: u64, longest: Duration) -> Duration {
    let doubled = SHORTEST.saturating_mul(1 << delivered.saturating_sub(1).min(16));
    doubled.min(longest) + Duration::from_millis(ids::jitter(250))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let longest = Duration::from_secs(60);
        for (delivered, seconds) in [(1, 1), (2, 2), (4, 8), (7, 60), (u64::MAX, 60)] {
            let pause = pause(delivered, longest);
            assert_eq!(pause.as_secs(), seconds, "{delivered}");
        }
    }
}
