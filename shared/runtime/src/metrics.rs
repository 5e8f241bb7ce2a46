//! What the process counts, in the Prometheus text format.
//! It must not know who reads it. Labels never hold tenants, users or ids: their number must stay small.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// Handles are cheap to clone and may be kept where the counting happens.
pub use prometheus_client::metrics;

/// The prefix of every metric.
const PREFIX: &str = "throughline";

/// A cheap-clone handle on one service's metrics.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Registry::with_prefix(PREFIX))))
    }
}

impl Metrics {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a metric under `throughline_<name>` and gives it back.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help.trim_end_matches('.'), metric.clone());
        metric
    }

    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.register(name, help, Counter::default())
    }

    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.register(name, help, Gauge::default())
    }

    /// Seconds, from 0.5 ms to about 16 s.
    pub fn seconds(&self, name: &str, help: &str) -> Histogram {
        use prometheus_client::metrics::histogram::exponential_buckets;
        self.register(name, help, Histogram::new(exponential_buckets(0.000_5, 2.0, 16)))
    }

    /// A counter per label set, such as `Vec<(&'static str, &'static str)>`.
    pub fn counters<L>(&self, name: &str, help: &str) -> Family<L, Counter>
    where
        L: EncodeLabelSet + Clone + Eq + std::hash::Hash + std::fmt::Debug + Send + Sync + 'static,
    {
        self.register(name, help, Family::default())
    }

    /// Everything as text.
    pub fn encode(&self) -> String {
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::with_capacity(4096);
        // Writing into a string cannot fail; what a metric refuses to encode is left out.
        let _written = text::encode(&mut out, &registry);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told_under_the_common_prefix() {
        let metrics = Metrics::new();
        metrics.clone().counter("appends", "Events appended.").inc();
        let rejected = metrics.counters::<[(&str, &str); 1]>("refusals", "Requests refused.");
        rejected.get_or_create(&[("code", "too_large")]).inc_by(2);
        let text = metrics.encode();
        assert!(text.contains("throughline_appends_total 1"), "{text}");
        assert!(text.contains(r#"throughline_refusals_total{code="too_large"} 2"#), "{text}");
    }
}
