//! Webhooks: find the source, verify the raw body, hand it over, answer once it is stored.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use domain::signatures::standard_webhooks;
use futures_util::future::BoxFuture;
use runtime::clock;
use runtime::http::{Peer, Problem, read_body};
use runtime::telemetry::chain;
use serde::Deserialize;
use tracing::debug;

use super::unproven::no_room;
use super::{App, audio};
use crate::answer::{self, Answer};
use crate::metrics::Way;
use crate::proof::{self, Claim};
use crate::receive::{self, ReceiveError, Received, Webhook};
use crate::sources::{Provider, Source};

/// What [`receive`] does, without the way through the router, which is a tenth of what a webhook costs.
/// Paths that need decoding and other methods are the router's.
#[expect(clippy::result_large_err, reason = "what is not taken is the router's, unboxed")]
pub(super) fn ahead(
    app: &Arc<App>,
    request: Request,
) -> Result<BoxFuture<'static, Response>, Request> {
    let Some((source, kind)) = plain(&request) else { return Err(request) };
    let source = app.sources.current().named(source).cloned();
    let (app, kind) = (app.clone(), kind.to_owned());
    Ok(Box::pin(async move {
        counted(&app, source, &kind, None, request).await.unwrap_or_else(Problem::into_response)
    }))
}

fn plain(request: &Request) -> Option<(&str, &str)> {
    let path = request.uri().path().strip_prefix("/webhooks/")?;
    let (source, kind) = path.split_once('/')?;
    let is_plain = |text: &str| !text.is_empty() && !text.contains(['/', '%']);
    (request.method() == Method::POST && is_plain(source) && is_plain(kind))
        .then_some((source, kind))
}

pub(super) async fn receive(
    State(app): State<Arc<App>>,
    Path((source, kind)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let source = app.sources.current().named(&source).cloned();
    counted(&app, source, &kind, None, request).await
}

pub(super) async fn receive_with_secret(
    State(app): State<Arc<App>>,
    Path((source, kind, secret)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let source = app.sources.current().named(&source).cloned();
    // Only a sender that signs nothing has its secret in the path.
    let source = source.filter(|source| source.provider == Provider::CallerDesk);
    counted(&app, source, &kind, Some(&secret), request).await
}

pub(super) async fn receive_call_with_secret(
    State(app): State<Arc<App>>,
    Path(secret): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    receive_by_default(app, Provider::CallerDesk, "events", Some(&secret), request).await
}

pub(super) async fn receive_by_default(
    app: Arc<App>,
    provider: Provider,
    kind: &str,
    secret: Option<&str>,
    request: Request,
) -> Result<Response, Problem> {
    let source = app.sources.current().default_of(provider).cloned();
    counted(&app, source, kind, secret, request).await
}

async fn counted(
    app: &App,
    source: Option<Arc<Source>>,
    kind: &str,
    secret: Option<&str>,
    request: Request,
) -> Result<Response, Problem> {
    let source = source.filter(|source| source.provider.serves(kind));
    let answer = match source {
        Some(source) => accept(app, &source, kind, secret, request).await,
        None => Err(answer::unknown_source()),
    };
    answer.inspect_err(|problem| app.intake.metrics().refused(problem.code))
}

async fn accept(
    app: &App,
    source: &Source,
    kind: &str,
    secret: Option<&str>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let webhook = match source.provider {
        // The only provider whose bodies may be too large to hold.
        Provider::ElevenLabs => audio::verified(app, source, &parts, body).await?,
        Provider::Twilio | Provider::CallerDesk | Provider::WhatsApp | Provider::Standard => {
            let longest = app.bodies.whole;
            let _room = app.unproven.room(&parts.headers, longest).ok_or_else(no_room)?;
            let body = read_body(body, longest).await?;
            verified(source, kind, secret, &parts, body).map_err(|problem| *problem)?
        }
    };
    if let Some(peer) = parts.extensions.get::<Peer>() {
        peer.authenticated();
    }
    stored(app, source, &webhook).await
}

fn verified(
    source: &Source,
    kind: &str,
    path_secret: Option<&str>,
    parts: &Parts,
    body: Bytes,
) -> Result<Webhook, Box<Problem>> {
    let claim = Claim {
        headers: &parts.headers,
        path_and_query: parts.uri.path_and_query().map_or("/", |path| path.as_str()),
        path_secret,
        peer: parts.extensions.get::<Peer>().map(|peer| peer.address.ip()),
    };
    let received = clock::now();
    proof::verify(source, &claim, &body, received).map_err(answer::unproven)?;
    Ok(Webhook {
        kind: kind.to_owned(),
        body,
        content_type: text(&parts.headers, header::CONTENT_TYPE.as_str()),
        id: text(&parts.headers, standard_webhooks::ID_HEADER),
        audio: None,
        received,
    })
}

pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

async fn stored(app: &App, source: &Source, webhook: &Webhook) -> Result<Response, Problem> {
    let received = receive::store(&app.intake, source, webhook, Way::Webhook).await;
    let repeated = |received: &Received| {
        received.unread.is_none() && received.events.iter().all(|event| event.duplicate)
    };
    // A recording that is kept for nothing expires; one that a stored event names is gone for good.
    if received.as_ref().map_or_else(|error| !error.may_be_stored(), repeated) {
        audio::discard(app, webhook.audio.as_ref()).await;
    }
    let received = received.map_err(|error| problem(&error))?;
    let quarantined = match received.unread {
        None => None,
        Some(reason) => {
            let kept = receive::keep(&app.intake, source, webhook, reason).await;
            Some(kept.map_err(|error| problem(&error))?)
        }
    };
    let none = received.events.is_empty() && quarantined.is_some();
    Ok(Answer { events: (!none).then_some(received.events), quarantined }.response())
}

fn problem(error: &ReceiveError) -> Problem {
    match error {
        ReceiveError::Unreadable(_) => {
            let detail =
                "The body is verified but is neither JSON nor a form of UTF-8; nothing was stored.";
            Problem::new(StatusCode::BAD_REQUEST, "unreadable_body", detail)
        }
        ReceiveError::NotStored(error) | ReceiveError::NotAllStored(error) => {
            answer::not_stored(error)
        }
        ReceiveError::NotKept(_) => {
            debug!(error = chain(error), "not kept");
            let detail = "The log cannot be reached; send this again.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log_unavailable", detail).retry_after(1)
        }
    }
}

/// What WhatsApp asks when its webhook is set up.
#[derive(Deserialize)]
pub(super) struct Challenge {
    #[serde(rename = "hub.mode", default)]
    mode: String,
    #[serde(rename = "hub.verify_token", default)]
    token: String,
    #[serde(rename = "hub.challenge", default)]
    challenge: String,
}

pub(super) async fn challenge(
    State(app): State<Arc<App>>,
    Path((source, kind)): Path<(String, String)>,
    Query(asked): Query<Challenge>,
) -> Result<Response, Problem> {
    let source = app.sources.current().named(&source).cloned();
    let source = source
        .filter(|source| source.provider == Provider::WhatsApp && source.provider.serves(&kind))
        .ok_or_else(answer::unknown_source)?;
    let answer = proof::challenge(&source, &asked.mode, &asked.token, &asked.challenge);
    let refused = || {
        let detail = "hub.verify_token is not the source's verify_token.";
        Problem::new(StatusCode::FORBIDDEN, "challenge_refused", detail)
    };
    let text = answer.ok_or_else(refused)?.to_owned();
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_webhooks_go_ahead_of_the_router() {
        let asked = |method: &str, path: &str| {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .body(axum::body::Body::empty())
                .unwrap();
            plain(&request).map(|(source, kind)| (source.to_owned(), kind.to_owned()))
        };
        let known = Some(("acme".to_owned(), "call-status".to_owned()));
        assert_eq!(asked("POST", "/webhooks/acme/call-status?x=1"), known);
        for (method, path) in [
            ("GET", "/webhooks/acme/call-status"),
            ("POST", "/webhooks/acme/events/secret"),
            ("POST", "/webhooks/ac%6De/call-status"),
            ("POST", "/webhooks/acme/"),
            ("POST", "/webhooks//events"),
            ("POST", "/v1/events"),
        ] {
            assert_eq!(asked(method, path), None, "{method} {path}");
        }
    }
}
