//! The paths of ingest. Everything behind them speaks of sources, publications and events, not of HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, post};
use runtime::auth::Authenticator;
use runtime::http::{Edge, edge};
use runtime::nats::Nats;
use tokio::sync::Semaphore;

use crate::intake::Intake;
use crate::sources::{Provider, Registry};

mod audio;
mod events;
mod unproven;
mod webhooks;

pub(crate) use unproven::Unproven;

/// The most bytes of a body.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Of a webhook or of a publisher's request.
    pub whole: usize,
    /// Of one that carries audio.
    pub audio: usize,
}

/// What handlers share.
pub(crate) struct App {
    pub intake: Intake,
    pub sources: Registry,
    pub auth: Authenticator,
    pub nats: Nats,
    pub bodies: BodyLimits,
    pub unproven: Unproven,
    /// Places for bodies with audio; they are stored before they can be verified.
    pub uploads: Arc<Semaphore>,
}

#[expect(clippy::result_large_err, reason = "what is not taken is the router's, unboxed")]
pub(crate) fn router(app: App) -> Edge {
    let app = Arc::new(app);
    let routes = Router::new()
        .route("/v1/events", post(events::publish).options(handshake))
        .route(
            "/webhooks/{source}/{kind}",
            post(webhooks::receive).get(webhooks::challenge).options(handshake),
        )
        .route("/webhooks/{source}/{kind}/{secret}", post(webhooks::receive_with_secret))
        .route("/call-status-callback", seed(Provider::Twilio, "call-status"))
        .route("/recording-status-callback", seed(Provider::Twilio, "recording-status"))
        .route("/quality-insights-callback", seed(Provider::Twilio, "quality-insights"))
        .route("/amd-status-callback", seed(Provider::Twilio, "amd-status"))
        .route("/api/callerdesk/webhook", seed(Provider::CallerDesk, "events"))
        .route("/api/callerdesk/webhook/{secret}", post(webhooks::receive_call_with_secret))
        .with_state(app.clone());
    // No browser calls ingest: senders prove who they are by signatures and tokens.
    edge(routes, None).ahead(move |request| webhooks::ahead(&app, request))
}

/// A path of the applications that are replaced, served by the default source of its provider.
fn seed(provider: Provider, kind: &'static str) -> MethodRouter<Arc<App>> {
    post(async move |State(app): State<Arc<App>>, request: Request| {
        webhooks::receive_by_default(app, provider, kind, None, request).await
    })
}

/// CloudEvents' abuse protection: the sender asks whether it may send here. What it sends is verified anyway.
async fn handshake(headers: HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let allow = HeaderValue::from_static("OPTIONS, POST");
    response.headers_mut().insert("allow", allow);
    if let Some(origin) = headers.get("webhook-request-origin") {
        response.headers_mut().insert("webhook-allowed-origin", origin.clone());
        response.headers_mut().insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    }
    response
}
