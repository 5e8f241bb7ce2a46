//! Whose turn it is among the wishes to build views: one at a time, but a stream that has not caught up holds nobody
//! else up, and what could not be built comes again after a pause. It must not know how views are built.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{Job, WAITING};
use crate::views::Views;

/// What is away may be back soon.
const PAUSE: Duration = Duration::from_secs(1);
/// A build reads a whole stream.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

pub(super) struct Turns {
    views: Arc<Views>,
    wishes: mpsc::Receiver<Job>,
    /// What waits for its stream, or for a pause to end; further wishes stay where they were made.
    waiting: FuturesUnordered<Pin<Box<dyn Future<Output = Job> + Send>>>,
}

impl Turns {
    pub(super) fn new(views: Arc<Views>, wishes: mpsc::Receiver<Job>) -> Self {
        Self { views, wishes, waiting: FuturesUnordered::new() }
    }

    /// The next that can be built; `None` once nobody can wish for more. Safe to drop while waiting.
    pub(super) async fn next(&mut self) -> Option<Job> {
        loop {
            tokio::select! {
                biased;
                Some(job) = self.wishes.recv(), if self.waiting.len() < WAITING => {
                    self.wait(job, Duration::ZERO);
                }
                Some(job) = self.waiting.next() => return Some(job),
                else => return None,
            }
        }
    }

    /// Has one that could not be built come again, unless somebody who asked for it is told instead.
    pub(super) fn again(&self, mut job: Job) -> bool {
        if job.is_asked {
            return false;
        }
        let pause = PAUSE.saturating_mul(1 << job.failures.min(16)).min(LONGEST_PAUSE);
        job.failures += 1;
        self.wait(job, pause);
        true
    }

    fn wait(&self, job: Job, pause: Duration) {
        let views = self.views.clone();
        self.waiting.push(Box::pin(async move {
            sleep(pause).await;
            // What is compared with must be there first.
            views.caught_up(job.stream).await;
            job
        }));
    }
}

#[cfg(test)]
mod tests {
    use domain::StreamId;
    use tokio::time::{Instant, timeout};

    use super::*;

    fn turns() -> (Turns, mpsc::Sender<Job>) {
        let (wishes, queue) = mpsc::channel(WAITING);
        (Turns::new(Arc::new(Views::new()), queue), wishes)
    }

    fn wish(stream: StreamId, is_asked: bool) -> Job {
        Job { stream, views: Vec::new(), number: 1, is_asked, failures: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_not_caught_up_holds_no_other_up() {
        let (mut turns, wishes) = turns();
        wishes.send(wish(StreamId::Calls, false)).await.unwrap();
        wishes.send(wish(StreamId::Messages, false)).await.unwrap();
        turns.views.set_caught_up(StreamId::Messages, true);
        let first = timeout(LONGEST_PAUSE, turns.next()).await.expect("one can be built");
        assert_eq!(first.unwrap().stream, StreamId::Messages);
        assert!(timeout(LONGEST_PAUSE, turns.next()).await.is_err(), "it has nothing to compare");
        turns.views.set_caught_up(StreamId::Calls, true);
        assert_eq!(turns.next().await.unwrap().stream, StreamId::Calls);
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_built_comes_again_after_longer_and_longer_pauses() {
        let (mut turns, wishes) = turns();
        turns.views.set_caught_up(StreamId::Calls, true);
        wishes.send(wish(StreamId::Calls, false)).await.unwrap();
        let mut job = turns.next().await.unwrap();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let begun = Instant::now();
            assert!(turns.again(job));
            job = turns.next().await.unwrap();
            pauses.push(begun.elapsed().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_asked_for_is_told_and_not_tried_again() {
        let (mut turns, wishes) = turns();
        assert!(!turns.again(wish(StreamId::Calls, true)));
        drop(wishes);
        assert!(turns.next().await.is_none());
    }
}
