//! Jobs that wait for their turn: the server is told that they are looked after, or it would hand them out again after
//! their durable's `ack_wait`, and where everything is slow that would make it slower.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use runtime::durable::Job;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Well below the shortest `ack_wait` of the durables, together with the time between two looks.
const TOLD_EVERY: Duration = Duration::from_millis(1_500);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// When those that wait are to be looked at.
pub(crate) fn looks() -> Interval {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// The jobs of one durable that this instance holds, the one told of longest ago first.
#[derive(Default)]
pub(crate) struct Waiting {
    told: VecDeque<(Instant, Weak<Job>)>,
}

impl Waiting {
    /// Looked after for as long as somebody has the job.
    pub(crate) fn hold(&mut self, job: Job) -> Arc<Job> {
        let job = Arc::new(job);
        self.told.push_back((Instant::now(), Arc::downgrade(&job)));
        job
    }

    /// Looks after them until something has happened.
    pub(crate) async fn tell_until<T>(
        &mut self,
        happens: impl Future<Output = T>,
        looks: &mut Interval,
    ) -> T {
        tokio::pin!(happens);
        loop {
            tokio::select! {
                biased;
                happened = &mut happens => return happened,
                _ = looks.tick() => self.tell().await,
            }
        }
    }

    /// Tells of those that it is time for; to be called with each of the [`looks`].
    pub(crate) async fn tell(&mut self) {
        let now = Instant::now();
        while let Some((told, _)) = self.told.front()
            && now.duration_since(*told) >= TOLD_EVERY
        {
            let Some((_, waiting)) = self.told.pop_front() else { return };
            let Some(job) = waiting.upgrade() else { continue };
            let is_told = job.in_progress().await.is_ok();
            self.told.push_back((now, waiting));
            // Nor would the others reach the server: who waits for each of them hears nothing else meanwhile.
            if !is_told {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use runtime::durable::Durable;
    use runtime::event_log::Append;
    use runtime::test_support::TestNats;
    use tokio::time::{interval, timeout};

    use super::*;

    #[tokio::test]
    async fn a_job_that_waits_for_its_turn_is_not_handed_out_again() {
        let server = TestNats::start().await;
        let append = Append {
            subject: "commands.acme.crisis.c-1.assign".to_owned(),
            message_id: "a".to_owned(),
            headers: Vec::new(),
            payload: "{}".into(),
            expect: None,
        };
        server.nats("gateway").await.event_log().append(append).await.unwrap();
        let ingest = server.nats("ingest").await;
        let mut durable = Durable::open(&ingest, "CRISIS_COMMANDS", "ingest");
        let mut waiting = Waiting::default();
        let job = waiting.hold(durable.next().await);
        let mut again = Durable::open(&ingest, "CRISIS_COMMANDS", "ingest");
        // Longer than its `ack_wait`.
        let looked_after = async {
            let mut ticks = interval(Duration::from_millis(500));
            for _ in 0..16 {
                ticks.tick().await;
                waiting.tell().await;
            }
        };
        tokio::select! {
            again = again.next() => panic!("delivered again: {}", again.delivered),
            () = looked_after => {}
        }
        drop(job);
        waiting.tell().await;
        let comes = timeout(Duration::from_secs(20), again.next()).await;
        assert_eq!(comes.unwrap().delivered, 2, "nobody has it any more");
    }
}
