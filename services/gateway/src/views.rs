//! `GET /v1/views/{view}[/{key}]`: what a view is, or was, with the cursor that resumes right after it; the same for
//! who asks over a socket. Who may see what is decided here; what the views hold the read side knows.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use domain::cursor::{self, Cursor};
use domain::envelope::parse_rfc3339;
use domain::position::{Position, StreamPosition, fingerprint};
use domain::protection::holds_sealed;
use domain::replay::view::{
    MOST, Progress, ProgressRequest, RebuildRequest, ViewAnswer, ViewRequest,
};
use domain::replay::{Sequences, question, refusal};
use domain::views::View;
use domain::{Channel, Identity, Role, StreamId};
use runtime::auth::Credentials;
use runtime::http::Problem;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::admin::{admin, read};
use crate::edge::{EARLIEST, Edge, Refused, Shared, UNAVAILABLE};
use crate::library::LibraryError;
use crate::problems;

const UNKNOWN_VIEW: Refused = Refused::new("unknown_view", "There is no such view.");
const FORBIDDEN_VIEW: Refused =
    Refused::new("forbidden", "You may not see this view; ask for a token whose role allows it.");
const BAD_LIMIT: Refused =
    Refused::new("limit_exceeded", "`limit` is 1 to 1000; follow `after` for the next page.");
pub(crate) const BAD_AT: Refused = Refused::new(
    "bad_query",
    "`at` is a time with its zone, such as 2026-01-02T03:04:05Z or, in an address, \
     2026-01-02T08:34:05%2B05:30, or a cursor.",
);
const BAD_SINCE: Refused =
    Refused::new("bad_query", "`startDate` is a day such as 2026-01-02, or a time (RFC 3339).");
const BAD_QUESTION: Refused =
    Refused::new("bad_query", "The view cannot be asked like this; begin without `after`.");
const EXPIRED: Refused =
    Refused::new("expired", "That long ago cannot be told any more; ask for a later moment.");
const GAP: Refused =
    Refused::new("gap", "This cursor does not belong to this log; begin without one.");

/// What is wanted of a view.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    /// A time or a cursor; without it now.
    pub at: Option<String>,
    pub limit: Option<usize>,
    /// Of a list: behind the entry with this key.
    pub after: Option<String>,
    /// Only what happened since this day, where the view can tell.
    #[serde(rename = "startDate")]
    pub since: Option<String>,
}

/// What a view is, and the position right behind which the log goes on.
#[derive(Debug)]
pub(crate) struct Viewed {
    pub value: Box<RawValue>,
    pub cursor: Cursor,
    /// Of a list: the key to go on behind, where there is more.
    pub after: Option<String>,
    /// Of a list: how many entries there are in all.
    pub total: Option<usize>,
}

/// One entry of a view, or a page of all of them, as far as the caller may see it.
pub(crate) async fn fetch(
    edge: &Shared,
    identity: &Identity,
    view: &str,
    key: Option<&str>,
    wanted: &Wanted,
) -> Result<Viewed, Refused> {
    let view = domain::views::find(view).ok_or(UNKNOWN_VIEW)?;
    let key = key.map(|key| canonical(view, key));
    let access = access(identity, view, key.as_deref()).ok_or(FORBIDDEN_VIEW)?;
    if wanted.limit.is_some_and(|limit| !(1..=MOST).contains(&limit)) {
        return Err(BAD_LIMIT);
    }
    let since = wanted.since.as_deref().filter(|since| !since.is_empty());
    if since.is_some_and(|since| !begins_with_a_day(since)) {
        return Err(BAD_SINCE);
    }
    // What the caller may have been given is in the answer, and nothing of the other streams is promised beyond it.
    let head = edge.hub.with_tail(|tail| *tail.head());
    let at = at(edge, identity, wanted.at.as_deref(), &head).await?;
    let request = ViewRequest {
        view: view.name.to_owned(),
        key: key.clone(),
        at: at.map(|at| at.sequences()),
        at_least: Some(head.sequences()),
        limit: wanted.limit,
        after: wanted.after.clone(),
        since: wanted.since.clone(),
    };
    let answer: ViewAnswer =
        edge.library.ask(&identity.tenant, question::VIEW, &request).await.map_err(refused)?;
    let value = opened(edge, identity, answer.value).await?;
    if access == Access::IfOwner && !owns(identity, &value) {
        return Err(FORBIDDEN_VIEW);
    }
    let mut position = at.unwrap_or(head);
    for place in &answer.places {
        if let Some(stream) = StreamId::from_index(usize::from(place.stream)) {
            let known = if place.stored_at == 0 { 0 } else { fingerprint(place.stored_at) };
            let (epoch, sequence) = (place.epoch, place.sequence);
            position.set(stream, StreamPosition { epoch, sequence, fingerprint: known });
        }
    }
    let cursor = Cursor { position, ..Cursor::default() };
    Ok(Viewed { value, cursor, after: answer.after, total: answer.total })
}

/// Folds never see what is sealed; who may see the view gets it opened.
async fn opened(
    edge: &Shared,
    identity: &Identity,
    value: Box<RawValue>,
) -> Result<Box<RawValue>, Refused> {
    if !holds_sealed(value.get().as_bytes()) {
        return Ok(value);
    }
    let opened =
        edge.opened(&identity.tenant, &Bytes::from(String::from(Box::<str>::from(value)))).await?;
    serde_json::from_slice(&opened).map_err(|_| UNAVAILABLE)
}

/// Whether it is a day, or a moment of one; the day alone counts.
fn begins_with_a_day(text: &str) -> bool {
    let day = (text.len() == 10).then(|| format!("{text}T00:00:00Z"));
    parse_rfc3339(day.as_deref().unwrap_or(text)).is_some()
}

/// Views of users are kept by the id as channels write it.
fn canonical(view: &View, key: &str) -> String {
    let own = Channel::with_id("user", key).ok().filter(|_| view.name == "notifications");
    own.as_ref().and_then(Channel::id).unwrap_or(key).to_owned()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    Granted,
    /// Only the entry itself tells whose it is.
    IfOwner,
}

fn access(identity: &Identity, view: &View, key: Option<&str>) -> Option<Access> {
    let is_own = || {
        let own = Channel::with_id("user", &identity.user).ok();
        identity.role != Role::Guest && own.as_ref().and_then(Channel::id) == key
    };
    let is_person = matches!(identity.role, Role::User | Role::Agent);
    match (view.name, identity.role) {
        (_, Role::Admin) => Some(Access::Granted),
        ("notifications", _) if key.is_some() && is_own() => Some(Access::Granted),
        ("conversations", _) if key.is_some() && is_person => Some(Access::IfOwner),
        ("agents", _) if key == Some(&*identity.user) && is_person => Some(Access::Granted),
        ("alerts" | "deliveries" | "sessions" | "notifications" | "conversations", _) => None,
        (_, Role::Agent) => Some(Access::Granted),
        (_, Role::Guest | Role::User | Role::Service) => None,
    }
}

#[derive(Deserialize)]
struct Owned {
    #[serde(rename = "userId")]
    user: Option<String>,
}

/// What is not there is nobody's: the same answer as for somebody else's.
fn owns(identity: &Identity, value: &RawValue) -> bool {
    let owned: Option<Owned> = serde_json::from_str(value.get()).ok();
    owned.and_then(|owned| owned.user).is_some_and(|user| *user == *identity.user)
}

async fn at(
    edge: &Shared,
    identity: &Identity,
    at: Option<&str>,
    head: &Position,
) -> Result<Option<Position>, Refused> {
    let Some(at) = at else { return Ok(None) };
    if let Some(time) = parse_rfc3339(at) {
        let millis = (time.unix_timestamp_nanos() / 1_000_000) as i64;
        let answer = edge.library.at(&identity.tenant, millis).await.map_err(refused)?;
        return Ok(Some(positions(&answer.sequences, head)));
    }
    if !is_place(at) {
        return Err(BAD_AT);
    }
    match edge.read_cursor(&identity.tenant, at).await? {
        Ok(cursor) => Ok(Some(cursor.position.min(head))),
        Err(reason) => Err(GAP.because(reason.name())),
    }
}

/// Whether what is no time can be a place in a log.
pub(crate) fn is_place(at: &str) -> bool {
    at == EARLIEST || cursor::is_shaped_like_one(at)
}

fn positions(sequences: &Sequences, head: &Position) -> Position {
    let mut position = *head;
    for stream in StreamId::ALL {
        let (at, sequence) = (head.get(stream), sequences[stream.index()]);
        if sequence < at.sequence {
            position.set(stream, StreamPosition { sequence, fingerprint: 0, ..at });
        }
    }
    position
}

fn refused(error: LibraryError) -> Refused {
    match error {
        LibraryError::Refused(code) if code == refusal::EXPIRED => EXPIRED,
        LibraryError::Refused(code) if code == refusal::BAD_REQUEST => BAD_QUESTION,
        LibraryError::Refused(code) if code == refusal::NOT_FOUND => UNKNOWN_VIEW,
        error => {
            tracing::debug!(%error, "a view");
            UNAVAILABLE
        }
    }
}

pub(crate) async fn list(
    State(edge): State<Edge>,
    Path(view): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Response> {
    answer(&edge, &view, None, &wanted, &headers, &uri).await
}

pub(crate) async fn one(
    State(edge): State<Edge>,
    Path((view, key)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Response> {
    answer(&edge, &view, Some(&key), &wanted, &headers, &uri).await
}

async fn answer(
    edge: &Arc<Shared>,
    view: &str,
    key: Option<&str>,
    wanted: &Wanted,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Response, Response> {
    let credentials = Credentials::of(headers, uri.query());
    let admitted = edge.auth.authenticate(&credentials).await.map_err(|e| e.into_response())?;
    let identity = admitted.identity;
    let viewed = fetch(edge, &identity, view, key, wanted).await;
    let viewed = viewed.map_err(|refused| problem(refused).into_response())?;
    if key.is_some() && viewed.value.get() == "null" {
        let detail = "The view has nothing under this key.";
        return Err(Problem::new(StatusCode::NOT_FOUND, "not_found", detail).into_response());
    }
    let cursor = edge.hub.keys.encode(&identity.tenant, &viewed.cursor);
    let mut body = format!("{{\"value\":{},\"cursor\":\"{cursor}\"", viewed.value.get());
    if let Some(total) = viewed.total {
        body.push_str(&format!(",\"total\":{total}"));
    }
    if let Some(after) = viewed.after {
        body.push_str(&format!(",\"after\":{}", serde_json::Value::from(after)));
    }
    body.push('}');
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// `POST /v1/rebuilds` `{view}`: has a view built anew on every node, and names the one whose progress can be asked.
pub(crate) async fn rebuild(
    State(edge): State<Edge>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Response> {
    let identity = admin(&edge, &headers, &uri).await?;
    let asked: RebuildRequest = read(&edge, body).await?;
    let begun: Result<Progress, _> =
        edge.library.ask(&identity.tenant, question::VIEW_REBUILD, &asked).await;
    let begun = begun.map_err(|error| problem(refused(error)).into_response())?;
    Ok((StatusCode::ACCEPTED, Json(begun)).into_response())
}

/// `GET /v1/rebuilds/{node}/{job}`.
pub(crate) async fn progress(
    State(edge): State<Edge>,
    Path((node, job)): Path<(String, usize)>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Response> {
    let identity = admin(&edge, &headers, &uri).await?;
    let asked = ProgressRequest { node, job };
    let told: Result<Progress, _> =
        edge.library.ask(&identity.tenant, question::VIEW_PROGRESS, &asked).await;
    match told {
        Ok(progress) => Ok(Json(progress).into_response()),
        Err(LibraryError::Refused(code)) if code == refusal::NOT_FOUND => {
            let detail = "Nothing is known of this build; the node may have started anew.";
            Err(Problem::new(StatusCode::NOT_FOUND, "not_found", detail).into_response())
        }
        Err(error) => Err(problem(refused(error)).into_response()),
    }
}

fn problem(refused: Refused) -> Problem {
    match refused.code {
        code if code == UNKNOWN_VIEW.code => problems::with_status(StatusCode::NOT_FOUND, refused),
        code if code == EXPIRED.code || code == GAP.code => {
            problems::with_status(StatusCode::GONE, refused)
        }
        _ => problems::refused(refused),
    }
}
