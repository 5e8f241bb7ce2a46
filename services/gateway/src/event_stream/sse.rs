//! `GET /sse`: what a client asks for, and where it goes on.

use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use domain::cursor::Cursor;
use domain::{Channel, Identity};
use runtime::auth::Credentials;
use runtime::http::Peer;
use runtime::ids;
use serde::Deserialize;

use super::dialect::Dialect;
use super::{EVENTS, EventStream, ended_at_once, response};
use crate::devices::{Device, check_name};
use crate::edge::{Edge, Opening, Refused, Shared, TOO_MANY_CHANNELS, UNAVAILABLE};
use crate::problems;
use crate::session::Start;
use crate::wires::sse;

/// The shortest pause before a client that could not be served comes again; the longest is twice this.
const COME_BACK_MS: u64 = 1_000;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    channels: Option<String>,
    after: Option<String>,
    device: Option<String>,
    only: Option<String>,
    #[serde(rename = "lastEventId")]
    last_event_id: Option<String>,
}

pub(crate) async fn open(
    State(edge): State<Edge>,
    Extension(peer): Extension<Peer>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let is_event_source = accepts_events(&parts.headers);
    match begun(edge, &peer, asked, &parts).await {
        Ok(stream) => response(stream, peer, parts.version),
        Err(refusal) if is_event_source && refusal.status() == StatusCode::SERVICE_UNAVAILABLE => {
            come_back()
        }
        Err(refusal) => refusal,
    }
}

/// An `EventSource` gives up for good at any error status, also at one that says to come back. What is over in a
/// moment is therefore a response that ends at once: the browser keeps its last id and comes again.
fn come_back() -> Response {
    let pause = COME_BACK_MS + ids::jitter(COME_BACK_MS);
    ended_at_once(sse::retry(pause))
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok());
    accepted.any(|accepted| accepted.contains(EVENTS))
}

async fn begun(
    edge: Edge,
    peer: &Peer,
    asked: Asked,
    parts: &Parts,
) -> Result<EventStream, Response> {
    let credentials = Credentials::of(&parts.headers, parts.uri.query());
    let admitted = edge.auth.authenticate(&credentials).await.map_err(|e| e.into_response())?;
    peer.authenticated();
    if edge.is_draining() {
        return Err(problems::refused(UNAVAILABLE).into_response());
    }
    check_name(asked.device.as_deref())
        .map_err(|refused| problems::refused(refused).into_response())?;
    let after = last_event_id(&parts.headers).or(asked.last_event_id).or(asked.after);
    let asked_for = asked_for(&edge, &admitted.identity, asked.channels.as_deref())
        .map_err(|refused| problems::refused(refused).into_response())?;
    let device = Device {
        tenant: admitted.identity.tenant.clone(),
        user: admitted.identity.user.to_string(),
        name: asked.device.clone().unwrap_or_else(ids::unguessable),
    };
    let opened = match &asked.device {
        Some(_) => by_device(&edge, &device, &asked_for, after.as_deref()).await,
        None => by_cursor(&edge, &device, after.as_deref()).await,
    };
    let (opening, recovered) =
        opened.map_err(|refused| problems::refused(refused).into_response())?;
    let channels = match asked.only.as_deref() {
        Some("1" | "true") => asked_for,
        _ => with_own(&edge, &admitted.identity, asked_for),
    };
    let (name, dialect) = (&*device.name, Dialect::Sse);
    Ok(EventStream::begin(edge, admitted, dialect, name, &channels, &opening, recovered))
}

/// The header that an `EventSource` sends when it reconnects wins over what stands in its address.
fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("last-event-id")?.to_str().ok()?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// The channels asked for. One refused refuses the request.
fn asked_for(
    edge: &Shared,
    identity: &Identity,
    asked: Option<&str>,
) -> Result<Vec<Channel>, Refused> {
    let names = asked.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let channels: Vec<_> =
        names.map(|name| edge.authorise(identity, name)).collect::<Result<_, _>>()?;
    if channels.len() > edge.limits.channels { Err(TOO_MANY_CHANNELS) } else { Ok(channels) }
}

/// And those that everyone like this client is in, apart from a connection's own, which a response cannot keep.
fn with_own(edge: &Shared, identity: &Identity, mut channels: Vec<Channel>) -> Vec<Channel> {
    let own = edge.catalogue.auto_join(identity, &ids::unguessable());
    channels.extend(own.into_iter().filter(|channel| channel.kind() != "connection"));
    channels.sort_unstable();
    channels.dedup();
    channels
}

/// Where it begins, and whether that is where the client was.
type Opened = Result<(Opening, bool), Refused>;

async fn by_cursor(edge: &Shared, device: &Device, after: Option<&str>) -> Opened {
    let opening = match after {
        Some(after) => edge.opening(&device.tenant, after).await?,
        None => edge.opening_now(),
    };
    let recovered = opening.recovers();
    Ok((opening, recovered))
}

/// An explicit position wins over what the device acknowledged. From now on the device is known to follow these
/// channels, so that it misses nothing that comes before its next acknowledgement.
async fn by_device(
    edge: &Shared,
    device: &Device,
    channels: &[Channel],
    after: Option<&str>,
) -> Opened {
    let known = match after {
        Some(_) => None,
        None => edge.devices.resume(device, channels).await.map_err(|_| UNAVAILABLE)?,
    };
    let (mut opening, recovered) = match known {
        Some(cursor) => (edge.opening_at(cursor).await?, true),
        None => by_cursor(edge, device, after).await?,
    };
    let at = match &opening.start {
        Start::After(cursor) => *cursor,
        Start::Now => {
            let position = edge.hub.with_tail(|tail| *tail.head());
            Cursor { position, ..Cursor::default() }
        }
    };
    // The very position that is kept, not one a moment later.
    opening.start = Start::After(at);
    let has_gap = opening.gap.is_some();
    edge.devices.begin(device, channels, &at, has_gap).await.map_err(|_| UNAVAILABLE)?;
    Ok((opening, recovered && !has_gap))
}
