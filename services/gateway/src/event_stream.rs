//! `GET /sse`: the session as server-sent events. The response body is pulled by the HTTP server, so a client that does
//! not read holds nothing but its position.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use domain::cursor::Cursor;
use domain::{Channel, Identity};
use futures_util::stream::unfold;
use runtime::auth::{Admitted, Credentials};
use runtime::clock;
use runtime::http::Peer;
use runtime::ids;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::devices::Device;
use crate::edge::{Edge, Opening, Refused, Shared, TOO_MANY_CHANNELS, UNAVAILABLE};
use crate::line::{Line, Step};
use crate::problems;
use crate::session::{Session, Start};
use crate::wires::{Wire, sse};

/// Proxies give an idle response up after a minute or so.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// How long a client waits before it reconnects.
const RETRY_MS: u64 = 2_000;
const ASK_AGAIN: Duration = Duration::from_secs(60);

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
    if edge.drain.is_cancelled() {
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
    let stream = EventStream::begin(edge, admitted, identity, &device, &channels, &opening);
    Ok(response(stream))
}

fn response(stream: EventStream) -> Response {
    let body = unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok::<_, Infallible>(chunk), stream))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (StatusCode::OK, headers, Body::from_stream(body)).into_response()
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

struct EventStream {
    edge: Edge,
    admitted: Admitted,
    identity: Arc<Identity>,
    line: Line,
    first: Option<Bytes>,
    checked: u64,
    comment_at: Instant,
    ask_at: Instant,
    /// The position that the client was last told.
    told: Option<Cursor>,
}

impl EventStream {
    fn begin(
        edge: Edge,
        admitted: Admitted,
        identity: Arc<Identity>,
        device: &Device,
        channels: &[Channel],
        opening: &Opening,
    ) -> Self {
        let tenant = identity.tenant.clone();
        let mut line = Line::open(&edge.hub, &edge.library, Wire::Sse, tenant, &opening.start);
        let floor = edge.hub.with_tail(|tail| Session::floor_of(&opening.start, tail));
        for channel in channels {
            line.join_above(channel, floor);
        }
        edge.meters.event_streams.inc();
        let first = greeting(&edge, &identity, device, channels, opening, &line);
        let checked = edge.checks.load(Ordering::Acquire);
        let now = Instant::now();
        Self {
            edge,
            admitted,
            identity,
            line,
            first: Some(first),
            checked,
            comment_at: now + COMMENT_EVERY,
            ask_at: now + ASK_AGAIN,
            told: None,
        }
    }

    /// The next piece of the body; `None` ends the response, and the client comes back with its last id.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let until = self.next_tick();
            let drain = self.edge.drain.clone();
            let is_due = tokio::select! {
                () = drain.cancelled() => return self.farewell().await,
                () = self.line.ready() => true,
                () = sleep_until(until) => false,
            };
            if !self.may_stay().await {
                return None;
            }
            if is_due {
                if let Some(chunk) = self.collect() {
                    return Some(chunk);
                }
            } else if self.comment_at <= Instant::now() {
                return Some(self.idle());
            }
        }
    }

    fn collect(&mut self) -> Option<Bytes> {
        let mut frames = Vec::new();
        match self.line.collect(&mut frames) {
            Step::Idle => None,
            Step::Write { more } => {
                self.edge.meters.frames.inc_by(frames.len() as u64);
                self.edge.meters.writes.inc();
                if more {
                    self.line.poke();
                }
                self.spoke();
                Some(join(frames))
            }
            Step::Gap { channels, reason } => {
                self.line.poke();
                Some(gap(&self.edge, &self.line, &channels, reason.name()))
            }
        }
    }

    fn spoke(&mut self) {
        self.comment_at = Instant::now() + COMMENT_EVERY;
        self.told = Some(self.line.session().cursor());
    }

    /// A sign of life; with the position, where that has moved without an event.
    fn idle(&mut self) -> Bytes {
        let cursor = self.line.session().cursor();
        let has_moved = self.told != Some(cursor);
        self.spoke();
        if has_moved && self.line.session().is_live() {
            sse::position(&self.line.cursor())
        } else {
            Bytes::from_static(sse::COMMENT)
        }
    }

    fn next_tick(&self) -> Instant {
        let mut next = self.comment_at;
        if self.admitted.ask_again.is_some() {
            next = next.min(self.ask_at);
        }
        if let Some(expires) = self.identity.expires_at {
            let left = (expires * 1_000 - clock::unix_millis()).max(0) as u64;
            next = next.min(Instant::now() + Duration::from_millis(left + 1));
        }
        next
    }

    /// Whether the client still is who it was let in as.
    async fn may_stay(&mut self) -> bool {
        let checks = self.edge.checks.load(Ordering::Acquire);
        let expired = self.identity.expires_at.is_some_and(|at| at <= clock::unix_seconds());
        if (checks != self.checked || expired)
            && self.edge.auth.still_valid(&self.identity).is_err()
        {
            return false;
        }
        self.checked = checks;
        let Some(credentials) = self.admitted.ask_again.as_ref() else { return true };
        if self.ask_at > Instant::now() {
            return true;
        }
        self.ask_at = Instant::now() + ASK_AGAIN;
        self.edge.auth.authenticate(credentials).await.is_ok()
    }

    /// Spread over a moment, so that the clients of a node that stops do not come back all at once.
    async fn farewell(&self) -> Option<Bytes> {
        tokio::time::sleep(Duration::from_millis(ids::jitter(500))).await;
        None
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.edge.meters.event_streams.dec();
    }
}

fn greeting(
    edge: &Shared,
    identity: &Identity,
    device: &Device,
    channels: &[Channel],
    opening: &Opening,
    line: &Line,
) -> Bytes {
    let names: Vec<_> = channels.iter().map(Channel::as_str).collect();
    let ready = json!({
        "userId": &*identity.user,
        "tenant": identity.tenant.as_str(),
        "device": device.name,
        "channels": names,
        "recovered": opening.recovers(),
    });
    let mut frames = vec![sse::retry(RETRY_MS), sse::message("ready", &ready)];
    if let Some(reason) = opening.gap {
        frames.push(gap(edge, line, channels, reason.name()));
    }
    if !opening.recovers() {
        // From here on, also when the connection is cut before the first event.
        frames.push(sse::position(&line.cursor()));
    }
    join(frames)
}

fn gap(edge: &Shared, line: &Line, channels: &[Channel], reason: &str) -> Bytes {
    edge.meters.gaps.inc();
    let all: Vec<Channel>;
    let channels = if channels.is_empty() {
        all = line.session().channels().cloned().collect();
        &all
    } else {
        channels
    };
    let names: Vec<_> = channels.iter().map(Channel::as_str).collect();
    sse::message("gap", &json!({ "channels": names, "reason": reason }))
}

fn join(mut frames: Vec<Bytes>) -> Bytes {
    if frames.len() == 1 {
        return frames.swap_remove(0);
    }
    let mut joined = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    for frame in frames {
        joined.extend_from_slice(&frame);
    }
    joined.freeze()
}
