//! What admins do over HTTP: acknowledgements of devices, revocations, the quarantine, and who is connected.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use domain::envelope::rfc3339;
use domain::replay::quarantine::{ItemRequest, ListRequest};
use domain::replay::{question, refusal};
use domain::{Identity, Role};
use runtime::auth::{Credentials, Revocation, Revoked};
use runtime::clock;
use runtime::http::{Problem, read_body};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::devices::{Device, check_name};
use crate::edge::{Edge, Shared, UNAVAILABLE};
use crate::library::LibraryError;
use crate::{problems, publish, revocations};

/// Revocations are remembered this long where the caller does not say when the tokens expire: longer than tokens are
/// made for.
const REMEMBERED: i64 = 400 * 24 * 3_600;
/// The event that tells of a revocation.
const REVOKED: &str = "auth.revoked";
/// No token has a longer id, and no user a longer name.
const LONGEST_REVOKED: usize = 256;

pub(crate) async fn identify(
    edge: &Shared,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Identity, Response> {
    let credentials = Credentials::of(headers, uri.query());
    let admitted = edge.auth.authenticate(&credentials).await;
    admitted.map(|admitted| admitted.identity).map_err(|error| error.into_response())
}

pub(crate) async fn admin(
    edge: &Shared,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Identity, Response> {
    let identity = identify(edge, headers, uri).await?;
    if identity.role == Role::Admin {
        return Ok(identity);
    }
    let detail = "This needs the role admin.";
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into_response())
}

#[derive(Debug, Deserialize)]
struct Ack {
    device: String,
    cursor: String,
    /// The channels that it is about; else those that the device opened last.
    channels: Option<Vec<String>>,
}

/// `POST /v1/acks`: for clients without a way back, such as SSE. Stored when it is answered.
pub(crate) async fn acknowledge(
    State(edge): State<Edge>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Response> {
    let identity = identify(&edge, &headers, &uri).await?;
    let ack: Ack = read(&edge, body).await?;
    check_name(Some(&ack.device)).map_err(|refused| problems::refused(refused).into_response())?;
    let cursor = edge.hub.keys.decode(&identity.tenant, &ack.cursor).map_err(|_| {
        let detail = "This is not a cursor of this platform for this tenant.";
        problems::bad_request("bad_cursor", detail).into_response()
    })?;
    let device = Device {
        tenant: identity.tenant.clone(),
        user: identity.user.to_string(),
        name: ack.device,
    };
    let channels: Option<Vec<_>> = ack
        .channels
        .map(|names| names.iter().filter_map(|name| edge.catalogue.channel(name)).collect());
    edge.receipts.of(&device).received(&cursor);
    let known = edge.devices.acknowledge(&device, channels.as_deref(), &cursor).await;
    if !known.map_err(|_| problems::refused(UNAVAILABLE).into_response())? {
        let detail = "Nothing is known of this device; open /sse with it, or name its channels.";
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_device", detail).into_response());
    }
    Ok(Json(json!({ "ok": true, "cursor": ack.cursor })).into_response())
}

#[derive(Debug, Deserialize)]
struct Revoke {
    jti: Option<String>,
    sub: Option<String>,
    /// Unix seconds after which the tokens have expired anyway.
    until: Option<i64>,
}

/// `POST /v1/revocations` `{jti}` or `{sub}`: in force on every gateway within a second.
pub(crate) async fn revoke(
    State(edge): State<Edge>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Response> {
    let identity = admin(&edge, &headers, &uri).await?;
    let asked: Revoke = read(&edge, body).await?;
    let names_one = |name: &String| (1..=LONGEST_REVOKED).contains(&name.len());
    let (what, mut data) = match (asked.jti, asked.sub) {
        (Some(id), None) if names_one(&id) => {
            (Revoked::Token(id.as_str().into()), json!({ "jti": id }))
        }
        (None, Some(user)) if names_one(&user) => {
            (Revoked::User(user.as_str().into()), json!({ "sub": user }))
        }
        _ => {
            let detail = format!(
                "Name a token by `jti` or a user by `sub`, in 1 to {LONGEST_REVOKED} bytes."
            );
            return Err(problems::bad_request("bad_body", detail).into_response());
        }
    };
    let now = clock::unix_seconds();
    let until = asked.until.unwrap_or(now + REMEMBERED);
    if until <= now {
        let detail = "`until` is past; name when the tokens expire, or leave it out.";
        return Err(problems::bad_request("bad_body", detail).into_response());
    }
    let revocation = Revocation { tenant: identity.tenant.clone(), what, until };
    let stored = revocations::store(&edge.nats, &revocation).await;
    stored.map_err(|_| problems::refused(UNAVAILABLE).into_response())?;
    data["revokedBy"] = (&*identity.user).into();
    if let Ok(until) = OffsetDateTime::from_unix_timestamp(until) {
        data["expiresAt"] = rfc3339(until).into();
    }
    // In force it is already; who repeats what fails here has it recorded then.
    let source = format!("/revocations/{}", identity.user);
    let recorded = publish::record(&edge, &identity.tenant, REVOKED, source, data).await;
    recorded.map_err(|refused| problems::refused(refused).into_response())?;
    Ok((StatusCode::CREATED, Json(json!({ "ok": true, "until": until }))).into_response())
}

/// The most items of a page.
const ITEMS: usize = 100;

#[derive(Debug, Deserialize)]
pub(crate) struct AskedItems {
    limit: Option<usize>,
    after: Option<String>,
    origin: Option<String>,
}

/// `GET /v1/quarantine`.
pub(crate) async fn quarantine(
    State(edge): State<Edge>,
    headers: HeaderMap,
    uri: Uri,
    Query(asked): Query<AskedItems>,
) -> Result<Response, Response> {
    let AskedItems { limit, after, origin } = asked;
    let limit = limit.unwrap_or(ITEMS);
    if !(1..=ITEMS).contains(&limit) {
        let detail = format!("`limit` is 1 to {ITEMS}; follow `after` for the next page.");
        return Err(problems::bad_request("limit_exceeded", detail).into_response());
    }
    let identity = admin(&edge, &headers, &uri).await?;
    if after.as_deref().is_some_and(|after| !is_item(after)) {
        let detail = "`after` is the `id` of the last item of the page before.";
        return Err(problems::bad_request("bad_query", detail).into_response());
    }
    let asked = ListRequest { limit, after, origin };
    Ok(ask(&edge, &identity, question::QUARANTINE_LIST, &asked).await)
}

/// `GET /v1/quarantine/{id}`, with the payload.
pub(crate) async fn quarantined(
    State(edge): State<Edge>,
    headers: HeaderMap,
    uri: Uri,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    about(&edge, &headers, &uri, question::QUARANTINE_SHOW, id).await
}

/// `POST /v1/quarantine/{id}/redrive`.
pub(crate) async fn redrive(
    State(edge): State<Edge>,
    headers: HeaderMap,
    uri: Uri,
    Path(id): Path<String>,
) -> Result<Response, Response> {
    about(&edge, &headers, &uri, question::QUARANTINE_REDRIVE, id).await
}

/// The id of an item, as the quarantine gives them out.
fn is_item(id: &str) -> bool {
    id.parse::<u64>().is_ok()
}

/// An admin's question about one item. What cannot be an id is nothing's.
async fn about(
    edge: &Shared,
    headers: &HeaderMap,
    uri: &Uri,
    question: &str,
    id: String,
) -> Result<Response, Response> {
    let identity = admin(edge, headers, uri).await?;
    if !is_item(&id) {
        return Err(no_item());
    }
    Ok(ask(edge, &identity, question, &ItemRequest { id }).await)
}

/// A question to the read side, and its answer as it comes.
async fn ask(
    edge: &Shared,
    identity: &Identity,
    question: &str,
    asked: &(impl Serialize + Sync),
) -> Response {
    passed_on(edge.library.ask(&identity.tenant, question, asked).await)
}

fn no_item() -> Response {
    let detail = "Nothing is quarantined under this id.";
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail).into_response()
}

fn passed_on(answer: Result<Value, LibraryError>) -> Response {
    match answer {
        Ok(answer) => Json(answer).into_response(),
        Err(LibraryError::Refused(code)) if code == refusal::NOT_FOUND => no_item(),
        Err(LibraryError::Refused(code)) => {
            let detail = format!("The read side refused it: {code}.");
            Problem::new(StatusCode::CONFLICT, "refused", detail).into_response()
        }
        Err(error) => problems::library(&error).into_response(),
    }
}

/// What a body holds. It is read when it is known who sends it, or anybody could have the gateway keep bodies.
pub(crate) async fn read<T: serde::de::DeserializeOwned>(
    edge: &Shared,
    body: Body,
) -> Result<T, Response> {
    let body = read_body(body, edge.limits.message_bytes).await;
    let body = body.map_err(|problem| problem.into_response())?;
    serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("The body is not what is expected: {error}.");
        problems::bad_request("bad_body", detail).into_response()
    })
}
