//! `GET /sse`: what a client asks for, and where it goes on.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use domain::cursor::Cursor;
use domain::{Channel, Identity};
use runtime::auth::Credentials;
use runtime::http::Peer;
use runtime::ids;
use serde::Deserialize;

use super::dialect::Dialect;
use super::{EventStream, response};
use crate::devices::Device;
use crate::edge::{Edge, Opening, Refused, Shared, TOO_MANY_CHANNELS, UNAVAILABLE};
use crate::problems;
use crate::session::Start;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    channels: Option<String>,
    after: Option<String>,
    device: Option<String>,
    #[serde(rename = "lastEventId")]
    last_event_id: Option<String>,
}

pub(crate) async fn open(
    State(edge): State<Edge>,
    Extension(peer): Extension<Peer>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Result<Response, Response> {
    let credentials = Credentials::of(request.headers(), request.uri().query());
    let admitted = edge.auth.authenticate(&credentials).await.map_err(|e| e.into_response())?;
    peer.authenticated();
    if edge.is_draining() {
        return Err(problems::refused(UNAVAILABLE).into_response());
    }
    let after = last_event_id(request.headers()).or(asked.last_event_id).or(asked.after);
    let identity = Arc::new(admitted.identity.clone());
    let pid = ids::unguessable();
    let channels = channels(&edge, &identity, asked.channels.as_deref(), &pid)
        .map_err(|refused| problems::refused(refused).into_response())?;
    let device = Device {
        tenant: identity.tenant.clone(),
        user: identity.user.to_string(),
        name: asked.device.clone().unwrap_or_else(ids::unguessable),
    };
    let opening =
        opening(&edge, &device, asked.device.is_some(), &channels, after.as_deref()).await;
    let opening = opening.map_err(|refused| problems::refused(refused).into_response())?;
    let stream =
        EventStream::begin(edge, admitted, Dialect::Sse, &device.name, &channels, &opening);
    Ok(response(stream))
}

/// The header that an `EventSource` sends when it reconnects wins over what stands in its address.
fn last_event_id(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("last-event-id")?.to_str().ok()?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// The channels asked for and those that everyone like this client is in. One refused refuses the request.
fn channels(
    edge: &Shared,
    identity: &Identity,
    asked: Option<&str>,
    pid: &str,
) -> Result<Vec<Channel>, Refused> {
    let mut channels = Vec::new();
    for name in asked.unwrap_or_default().split(',').filter(|name| !name.is_empty()) {
        channels.push(edge.authorise(identity, name.trim())?);
    }
    let own = edge.catalogue.auto_join(identity, pid);
    channels.extend(own.into_iter().filter(|channel| channel.kind() != "connection"));
    channels.sort_unstable();
    channels.dedup();
    if channels.len() > edge.limits.channels { Err(TOO_MANY_CHANNELS) } else { Ok(channels) }
}

/// An explicit position wins over what the device acknowledged.
async fn opening(
    edge: &Shared,
    device: &Device,
    is_named: bool,
    channels: &[Channel],
    after: Option<&str>,
) -> Result<Opening, Refused> {
    if let Some(after) = after {
        return edge.opening(&device.tenant, after).await;
    }
    if !is_named {
        return Ok(Opening::NOW);
    }
    let position = edge.hub.with_tail(|tail| *tail.head());
    let now = Cursor { position, ..Cursor::default() };
    let acknowledged = edge.devices.resume(device, channels).await.map_err(|_| UNAVAILABLE)?;
    let Some(cursor) = acknowledged else {
        // From now on the device is known, so that it misses nothing that comes before its first acknowledgement.
        edge.devices.begin(device, channels, &now).await.map_err(|_| UNAVAILABLE)?;
        return Ok(Opening { start: Start::After(now), gap: None });
    };
    edge.opening_at(cursor).await
}
