//! What the AI side counts. Handles are made once; labels name no tenant.

use runtime::metrics::Metrics as Registry;
use runtime::metrics::metrics::counter::Counter;
use runtime::metrics::metrics::family::Family;
use runtime::metrics::metrics::gauge::Gauge;
use runtime::metrics::metrics::histogram::Histogram;

use std::time::Duration;

use runtime::tasks::BoxError;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::tenants::Tenants;

type Labels = [(&'static str, &'static str); 1];

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    attempts: Family<Labels, Counter>,
    pub answers: Counter,
    failures: Family<Labels, Counter>,
    pub lost_claims: Counter,
    pub deltas: Counter,
    pub writing: Gauge,
    pub breakers: Gauge,
    pub first_token_seconds: Histogram,
    waited_seconds: Histogram,
    speech: Family<Labels, Counter>,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            attempts: registry.counters("ai_attempts", "Attempts to answer, by how they ended"),
            answers: registry.counter("ai_answers", "Answers stored"),
            failures: registry.counters("ai_failures", "Messages given up, by why"),
            lost_claims: registry
                .counter("ai_lost_claims", "Attempts that another instance had taken over"),
            deltas: registry.counter("ai_deltas", "Pieces of answers sent to listeners"),
            writing: registry.gauge("ai_writing", "Answers being written now"),
            breakers: registry.gauge("ai_open_breakers", "AI services left alone now"),
            first_token_seconds: registry
                .seconds("ai_first_token_seconds", "From the attempt's begin to its first word"),
            waited_seconds: registry
                .seconds("ai_waited_seconds", "From the stored message to its first attempt"),
            speech: registry.counters("ai_speech", "Pieces of speech, by how they ended"),
        }
    }

    pub(crate) fn attempt(&self, ended: &'static str) {
        self.attempts.get_or_create(&[("outcome", ended)]).inc();
    }

    pub(crate) fn waited(&self, millis: i64) {
        let millis = i32::try_from(millis.max(0)).unwrap_or(i32::MAX);
        self.waited_seconds.observe(f64::from(millis) / 1000.0);
    }

    pub(crate) fn gave_up(&self, reason: &'static str) {
        self.failures.get_or_create(&[("reason", reason)]).inc();
    }

    pub(crate) fn speech(&self, ended: &'static str) {
        self.speech.get_or_create(&[("outcome", ended)]).inc();
    }
}

/// Keeps what is read off up to date.
pub(crate) async fn watch(
    metrics: Metrics,
    tenants: Tenants,
    every: Duration,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let mut looks = interval(every);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = looks.tick() => {}
        }
        let open = tenants.open_breakers();
        metrics.breakers.set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}
