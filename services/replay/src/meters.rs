//! What the read side counts.

use std::borrow::Cow;

use runtime::metrics::Metrics;
use runtime::metrics::metrics::counter::Counter;
use runtime::metrics::metrics::family::Family;
use runtime::metrics::metrics::gauge::Gauge;
use runtime::metrics::metrics::histogram::Histogram;

use crate::answer::Refusal;

type Label = [(&'static str, &'static str); 1];

#[derive(Clone, Debug)]
pub(crate) struct Meters {
    pub(crate) events: Gauge,
    pub(crate) channels: Gauge,
    pub(crate) bytes: Gauge,
    /// Behind the head, per stream.
    pub(crate) lag: Family<Label, Gauge>,
    requests: Family<Label, Counter>,
    refusals: Family<Label, Counter>,
    pub(crate) latency: Histogram,
    pub(crate) snapshots: Counter,
    /// Behind the head, per stream.
    pub(crate) view_lag: Family<Label, Gauge>,
    pub(crate) view_entries: Family<Label, Gauge>,
    pub(crate) view_bytes: Family<Label, Gauge>,
    pub(crate) view_snapshots: Counter,
    pub(crate) view_mismatches: Counter,
}

impl Meters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let lag = metrics.register(
            "replay_index_lag_events",
            "Events stored and not yet indexed.",
            Family::<Label, Gauge>::default(),
        );
        let view_lag = metrics.register(
            "replay_view_lag_events",
            "Events stored and not yet folded into views.",
            Family::<Label, Gauge>::default(),
        );
        let view_entries = metrics.register(
            "replay_view_entries",
            "Entries of a view, of all tenants.",
            Family::<Label, Gauge>::default(),
        );
        let view_bytes = metrics.register(
            "replay_view_bytes",
            "Memory that a view's entries take, without what is kept of the past.",
            Family::<Label, Gauge>::default(),
        );
        Self {
            view_lag,
            view_entries,
            view_bytes,
            view_snapshots: metrics.counter("replay_view_snapshots", "Snapshots of views written."),
            view_mismatches: metrics
                .counter("replay_view_mismatches", "Views that were another when built anew."),
            events: metrics.gauge("replay_index_events", "Events in the channel index."),
            channels: metrics.gauge("replay_index_channels", "Channels in the index, per stream."),
            bytes: metrics.gauge("replay_index_bytes", "Memory that the channel index takes."),
            lag,
            requests: metrics.counters("replay_requests", "Questions answered, by kind."),
            refusals: metrics.counters("replay_refusals", "Questions refused, by code."),
            latency: metrics.seconds("replay_request_seconds", "Time to answer a question."),
            snapshots: metrics.counter("replay_snapshots", "Snapshots of the index written."),
        }
    }

    pub(crate) fn asked(&self, question: &'static str) {
        self.requests.get_or_create(&[("question", question)]).inc();
    }

    pub(crate) fn refused(&self, refusal: &Refusal) {
        // A code that the write side made up is not ours to count by: labels must stay few.
        let code = match &refusal.code {
            Cow::Borrowed(code) => code,
            Cow::Owned(_) => "redrive_refused",
        };
        self.refusals.get_or_create(&[("code", code)]).inc();
    }
}
