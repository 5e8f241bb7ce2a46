//! Sets the clocks of open alerts again: one that was lost with its stream, or restored from before it was set, would
//! leave an alert unanswered for ever. Setting a clock that is there changes nothing.

use std::sync::Arc;
use std::time::Duration;

use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Alerts;
use super::arming::Arming;
use crate::decider::Decider;

/// Whoever restores TIMERS waits so long at most.
const EVERY: Duration = Duration::from_secs(300);

pub(super) struct Reconciling {
    pub(super) arming: Arc<Arming>,
    pub(super) alerts: Alerts,
    pub(super) decider: Decider,
}

impl Reconciling {
    /// At the start and ever after, until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) -> Result<(), BoxError> {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = self.set_all() => {}
            }
        }
    }

    async fn set_all(&self) {
        for address in self.decider.open_alerts().await {
            let chains = self.arming.chains();
            let timer = match self.alerts.clock(&address, chains.of(address.tenant())).await {
                Ok(Some(timer)) => timer,
                // Answered meanwhile, or of a severity that waits without a clock.
                Ok(None) => continue,
                Err(error) => {
                    warn!(error = chain(&error), "the clock of an open alert is not looked at");
                    continue;
                }
            };
            if let Err(error) = self.arming.set_again(address.tenant(), &timer).await {
                warn!(error = chain(&error), "the clock of an open alert is not set again");
            }
        }
    }
}
