//! The operations port: is it alive, is it ready and if not what is missing, what has it counted.
//! It must not know what the conditions are about.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::http::{ServeOptions, serve};
use crate::metrics::Metrics;
use crate::tasks::BoxError;
use crate::telemetry::DROPPED;

#[cfg(test)]
mod tests;

/// Condition name → what is missing (`None` once it holds).
type Conditions = BTreeMap<&'static str, Option<String>>;

/// Ready when every declared condition holds, and not before one is declared: whoever asks while a service begins
/// must not hear that nothing is missing. A cheap-clone handle.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<watch::Sender<Conditions>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Conditions::new())))
    }
}

impl Readiness {
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a condition, which does not hold yet.
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition { name, readiness: self.clone() };
        condition.missing("waiting");
        condition
    }

    /// Each missing condition as `name: what is missing`.
    pub fn missing(&self) -> Vec<String> {
        let conditions = self.0.borrow();
        if conditions.is_empty() {
            return vec!["start: the service begins".to_owned()];
        }
        let missing = conditions.iter().filter_map(|(name, why)| Some((name, why.as_ref()?)));
        missing.map(|(name, why)| format!("{name}: {why}")).collect()
    }

    /// The names of what is missing, without the reasons.
    pub fn unmet(&self) -> Vec<String> {
        let conditions = self.0.borrow();
        if conditions.is_empty() {
            return vec!["start".to_owned()];
        }
        let unmet = conditions.iter().filter(|(_, why)| why.is_some());
        unmet.map(|(name, _)| (*name).to_owned()).collect()
    }

    /// Changes whenever a condition does.
    pub fn changes(&self) -> watch::Receiver<Conditions> {
        self.0.subscribe()
    }

    pub fn is_ready(&self) -> bool {
        self.missing().is_empty()
    }

    /// Waits until every condition but one's own holds. Whoever does something then lets its own hold afterwards, or
    /// others would see a service ready that has missed its moment.
    pub async fn others(&self, own: &Condition) {
        let mut conditions = self.0.subscribe();
        let hold =
            |all: &Conditions| all.iter().all(|(name, why)| *name == own.name || why.is_none());
        // The sender lives in `self`, so waiting cannot fail.
        let _ready = conditions.wait_for(hold).await;
    }

    /// The first step of stopping: no longer ready, whatever holds.
    pub fn stopping(&self) {
        self.condition("stopping").missing("draining connections");
    }
}

/// One named condition of readiness. A cheap-clone handle.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    readiness: Readiness,
}

impl Condition {
    pub fn holds(&self) {
        self.set(None);
    }

    /// Not (or no longer) there; `why` says what to look at and is shown to operators.
    pub fn missing(&self, why: impl Into<String>) {
        self.set(Some(why.into()));
    }

    fn set(&self, why: Option<String>) {
        self.readiness.0.send_if_modified(|conditions| {
            let changed = conditions.get(self.name) != Some(&why);
            conditions.insert(self.name, why);
            changed
        });
    }
}

/// Serves `/livez`, `/readyz` and `/metrics` until `shutdown`.
pub async fn run(
    listener: TcpListener,
    readiness: Readiness,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let help = "Spans that the collector did not get.";
    metrics.register("spans_dropped", help, DROPPED.clone());
    serve(vec![listener], router(readiness, metrics), ServeOptions::default(), shutdown).await?;
    Ok(())
}

fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(expose).with_state(metrics))
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    let missing = readiness.missing();
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": missing.is_empty(), "missing": missing}))).into_response()
}

async fn expose(State(metrics): State<Metrics>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.encode()).into_response()
}
