//! The clock of crises: whoever is not answered is called again, tier after tier, until a human acknowledges.
//!
//! Everything that matters is in the log. [`arming`] turns an event that starts a clock into a schedule that the server
//! keeps, and acknowledges the event only when the schedule is stored; [`firing`] turns a clock that has run out into a
//! decision that the alert's state may refuse; [`reconciling`] sets clocks again that were lost. All may be killed at
//! any moment and run in any number.

use std::sync::Arc;

use runtime::durable::Durable;
use runtime::nats::Nats;
use runtime::schedules::Schedules;
use runtime::tasks::Tasks;

mod alerts;
mod arming;
mod firing;
mod reconciling;
mod registry;

pub(crate) use alerts::Alerts;
pub(crate) use arming::recorded;
pub use registry::Registry;

use crate::decider::Decider;
use crate::metrics::Metrics;
use crate::worker;

/// Alerts whose clocks are set or run out at one time.
const AT_ONCE: usize = 64;
const EVENTS: &str = "CRISIS";
const ARMING: &str = "ingest-escalation";
pub(crate) const TIMERS: &str = "TIMERS";
const FIRING: &str = "ingest";

/// Starts all three.
pub(crate) fn start(
    tasks: &mut Tasks,
    nats: &Nats,
    chains: &Registry,
    (decider, alerts): (Decider, Alerts),
    metrics: &Metrics,
) {
    let arming = Arc::new(arming::Arming::new(chains.clone(), Schedules::new(nats)));
    let reconciling = reconciling::Reconciling {
        arming: arming.clone(),
        alerts: alerts.clone(),
        decider: decider.clone(),
    };
    tasks.spawn("clocks of open alerts", reconciling.run(tasks.shutdown()));
    let durable = Durable::open(nats, EVENTS, ARMING).with_batch(AT_ONCE);
    let stop = tasks.shutdown();
    tasks.spawn("escalation", async move {
        worker::work(durable, AT_ONCE, stop, |job| arming.handle(job)).await
    });
    let schedules = Schedules::new(nats);
    let metrics = metrics.clone();
    let firing = firing::Firing { chains: chains.clone(), decider, alerts, schedules, metrics };
    let durable = Durable::open(nats, TIMERS, FIRING).with_batch(AT_ONCE);
    let stop = tasks.shutdown();
    tasks.spawn("timers", async move {
        worker::work(durable, AT_ONCE, stop, |job| firing.handle(job)).await
    });
}
