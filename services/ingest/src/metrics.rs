//! What ingest counts. Handles are made once: the hot path must not look metrics up by their labels.

use runtime::metrics::Metrics as Registry;
use runtime::metrics::metrics::counter::Counter;
use runtime::metrics::metrics::family::Family;
use runtime::metrics::metrics::gauge::Gauge;
use runtime::metrics::metrics::histogram::Histogram;

type Labels = [(&'static str, &'static str); 1];

/// How an event came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    Webhook,
    Http,
    Inbox,
    Redrive,
    /// What the platform itself has done or collected.
    Own,
}

impl Way {
    const ALL: [Self; 5] = [Self::Webhook, Self::Http, Self::Inbox, Self::Redrive, Self::Own];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Http => "http",
            Self::Inbox => "inbox",
            Self::Redrive => "redrive",
            Self::Own => "own",
        }
    }
}

/// What became of a clock that has run out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Escalated,
    Reopened,
    /// Somebody had answered before.
    Answered,
}

impl Step {
    const ALL: [Self; 3] = [Self::Escalated, Self::Reopened, Self::Answered];

    const fn name(self) -> &'static str {
        match self {
            Self::Escalated => "escalated",
            Self::Reopened => "reopened",
            Self::Answered => "answered",
        }
    }
}

/// What became of the question whose number it is that a report of a call names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lookup {
    Named,
    /// No contact has the number, or none with a name that can still be read.
    Unknown,
    Unanswered,
}

impl Lookup {
    const ALL: [Self; 3] = [Self::Named, Self::Unknown, Self::Unanswered];

    const fn name(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Unknown => "unknown",
            Self::Unanswered => "unanswered",
        }
    }
}

/// What became of an attempt to do something outside of the platform.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    Paged,
    PageRetried,
    PageFailed,
    CallEnded,
    CallRetried,
    CallFailed,
}

impl Effect {
    const ALL: [Self; 6] = [
        Self::Paged,
        Self::PageRetried,
        Self::PageFailed,
        Self::CallEnded,
        Self::CallRetried,
        Self::CallFailed,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Paged => "paged",
            Self::PageRetried => "page_retried",
            Self::PageFailed => "page_failed",
            Self::CallEnded => "call_ended",
            Self::CallRetried => "call_retried",
            Self::CallFailed => "call_failed",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    accepted: [Counter; 5],
    duplicates: [Counter; 5],
    refused: Family<Labels, Counter>,
    pub quarantined: Counter,
    pub append_seconds: Histogram,
    pub remembered_events: Gauge,
    pub remembered_bytes: Gauge,
    pub forgotten: Counter,
    lookups: [Counter; 3],
    steps: [Counter; 3],
    effects: [Counter; 6],
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let by_way = |name, help| {
            let family: Family<Labels, Counter> = registry.counters(name, help);
            Way::ALL.map(|way| family.get_or_create(&[("way", way.name())]).clone())
        };
        Self {
            accepted: by_way("ingest_accepted", "Events stored or sent live, by the way they came"),
            duplicates: by_way("ingest_duplicates", "Events that were stored before"),
            refused: registry.counters("ingest_refused", "Requests and publications refused"),
            quarantined: registry.counter("ingest_quarantined", "Payloads put into quarantine"),
            append_seconds: registry.seconds("ingest_append_seconds", "From append to its answer"),
            remembered_events: registry
                .gauge("ingest_idempotency_events", "Message ids remembered over 72 hours"),
            remembered_bytes: registry
                .gauge("ingest_idempotency_bytes", "Memory that remembering them takes"),
            forgotten: registry
                .counter("ingest_idempotency_forgotten", "Message ids dropped before their time"),
            lookups: {
                let help = "Names asked for when a call was reported";
                let family: Family<Labels, Counter> = registry.counters("ingest_contacts", help);
                Lookup::ALL.map(|of| family.get_or_create(&[("outcome", of.name())]).clone())
            },
            steps: {
                let family: Family<Labels, Counter> =
                    registry.counters("ingest_alert_clocks", "Clocks of alerts that ran out");
                Step::ALL.map(|step| family.get_or_create(&[("step", step.name())]).clone())
            },
            effects: {
                let help = "What was done outside of the platform, and how it went";
                let family: Family<Labels, Counter> = registry.counters("ingest_effects", help);
                Effect::ALL.map(|e| family.get_or_create(&[("outcome", e.name())]).clone())
            },
        }
    }

    pub(crate) fn stored(&self, way: Way, duplicate: bool) {
        let counters = if duplicate { &self.duplicates } else { &self.accepted };
        counters[way as usize].inc();
    }

    pub(crate) fn looked_up(&self, outcome: Lookup) {
        self.lookups[outcome as usize].inc();
    }

    pub(crate) fn step(&self, step: Step) {
        self.steps[step as usize].inc();
    }

    pub(crate) fn effect(&self, effect: Effect) {
        self.effects[effect as usize].inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }
}
