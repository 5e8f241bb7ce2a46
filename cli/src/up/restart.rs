//! A nats-server that ends is started again on its address with its data, after a pause that grows.
//! The services keep their connections meanwhile; it must not know them.

use std::time::Duration;

use runtime::nats_server::NatsServer;
use runtime::telemetry::chain;
use tokio::time::{Instant, sleep};

use crate::failure::Failure;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A server that ends sooner counts as one that did not start.
const LASTS: Duration = Duration::from_secs(2);
/// How long there may be none that lasts.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// Returns when the server cannot be had back, with the reason.
pub(crate) async fn keep(server: &mut NatsServer) -> Failure {
    let mut started = Instant::now();
    let mut outage = Outage::begin(started);
    loop {
        let how = how(server).await;
        if started.elapsed() >= LASTS {
            outage = Outage::begin(Instant::now());
        }
        eprintln!("nats-server ended ({how}); starting it again …");
        let mut reason = format!("it ended again ({how})");
        loop {
            let Some(pause) = outage.pause(Instant::now()) else { return given_up(&reason) };
            sleep(pause).await;
            match Box::pin(server.restart()).await {
                Ok(()) => break,
                Err(error) => reason = chain(&error),
            }
        }
        started = Instant::now();
        eprintln!("nats-server is running again");
    }
}

async fn how(server: &mut NatsServer) -> String {
    match server.wait().await {
        Ok(Some(status)) => status.to_string(),
        Ok(None) => "how is not known".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn given_up(reason: &str) -> Failure {
    let seconds = GIVE_UP_AFTER.as_secs();
    Failure::Failed(format!(
        "nats-server ended and could not be started again for {seconds} s: {reason}; \
         its log is nats/nats-server.log in the data folder"
    ))
}

/// A time without a server that lasts.
#[derive(Debug)]
struct Outage {
    since: Instant,
    next: Duration,
}

impl Outage {
    fn begin(now: Instant) -> Self {
        Self { since: now, next: FIRST_PAUSE }
    }

    /// How long to wait before the next attempt; `None` when it has taken long enough.
    fn pause(&mut self, now: Instant) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        (now.duration_since(self.since) < GIVE_UP_AFTER).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_an_outage_ends() {
        let begin = Instant::now();
        let mut outage = Outage::begin(begin);
        let mut waited = Duration::ZERO;
        let mut pauses = Vec::new();
        while let Some(pause) = outage.pause(begin + waited) {
            waited += pause;
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses[..7], [200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert!(waited >= GIVE_UP_AFTER && waited < GIVE_UP_AFTER + LONGEST_PAUSE, "{waited:?}");
        assert_eq!(Outage::begin(begin + waited).pause(begin + waited), Some(FIRST_PAUSE));
    }
}
