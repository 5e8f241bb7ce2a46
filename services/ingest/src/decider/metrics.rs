//! What the decider counts.

use runtime::metrics::Metrics as Registry;
use runtime::metrics::metrics::counter::Counter;
use runtime::metrics::metrics::family::Family;
use runtime::metrics::metrics::histogram::Histogram;

type Labels = [(&'static str, &'static str); 1];

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Accepted,
    Rejected,
    /// What it asked for was so already.
    Unchanged,
    /// It had been decided before.
    Repeated,
    Quarantined,
}

impl Outcome {
    const ALL: [Self; 5] =
        [Self::Accepted, Self::Rejected, Self::Unchanged, Self::Repeated, Self::Quarantined];

    const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Unchanged => "unchanged",
            Self::Repeated => "repeated",
            Self::Quarantined => "quarantined",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Metrics {
    outcomes: [Counter; 5],
    pub(super) conflicts: Counter,
    /// Deliveries of commands about alerts that should have been decided long ago.
    pub(super) overdue: Counter,
    pub(super) seconds: Histogram,
}

impl Metrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let outcomes: Family<Labels, Counter> =
            registry.counters("ingest_decisions", "Commands decided, by outcome");
        Self {
            outcomes: Outcome::ALL
                .map(|outcome| outcomes.get_or_create(&[("outcome", outcome.name())]).clone()),
            conflicts: registry.counter(
                "ingest_decision_conflicts",
                "Decisions made again because another event came first",
            ),
            overdue: registry.counter(
                "ingest_crisis_commands_overdue",
                "Hand-backs of crisis commands that were delivered ten times and more",
            ),
            seconds: registry
                .seconds("ingest_decision_seconds", "From a command's delivery to its record"),
        }
    }

    pub(super) fn decided(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }

    #[cfg(test)]
    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].get()
    }
}
