//! The session as server-sent events, in plain SSE and as a tRPC subscription. The response body is pulled by the HTTP
//! server, so a client that does not read holds nothing but its position.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, Version, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use domain::cursor::Cursor;
use domain::{Channel, Identity};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, unfold};
use futures_util::{FutureExt as _, StreamExt as _};
use runtime::auth::{Admitted, AuthError};
use runtime::http::Peer;
use runtime::{clock, ids};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::commands::Answer;
use crate::devices::Device;
use crate::edge::{Edge, Opening};
use crate::line::{GapReason, Line, Step};
use crate::queries;
use crate::session::Session;

mod dialect;
mod sse;
mod stalls;
mod trpc;

use dialect::Dialect;
pub(crate) use sse::open;
pub(crate) use stalls::{Stalls, run};
pub(crate) use trpc::subscribe;

/// Proxies give an idle response up after a minute or so. Where connections are pinged more often, so are these.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
const EVENTS: &str = "text/event-stream";
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// The same while whom to ask cannot be reached.
const ASK_SOON: Duration = Duration::from_secs(3);
/// The most snapshots that wait to be told; of the rest a client asks for the view itself.
const SNAPSHOTS: usize = 64;

fn response(stream: EventStream, peer: Peer, version: Version) -> Response {
    let (stalls, identity) = (stream.edge.stalls.clone(), stream.identity.clone());
    let frames = unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((chunk, stream))
    });
    // A connection of HTTP/2 carries other requests as well.
    let own = (version < Version::HTTP_2).then_some(peer);
    let body = stalls.watch(frames.boxed(), identity, own);
    let headers = [
        (header::CONTENT_TYPE, EVENTS),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (StatusCode::OK, headers, Body::from_stream(body)).into_response()
}

/// A stream that has nothing but this to say.
fn ended_at_once(said: Bytes) -> Response {
    ([(header::CONTENT_TYPE, EVENTS), (header::CACHE_CONTROL, "no-cache")], said).into_response()
}

struct EventStream {
    edge: Edge,
    admitted: Admitted,
    identity: Arc<Identity>,
    line: Line,
    dialect: Dialect,
    first: Option<Bytes>,
    checks: watch::Receiver<u64>,
    comment_every: Duration,
    comment_at: Instant,
    ask_at: Instant,
    /// The position that the client was last told.
    told: Option<Cursor>,
    /// What follows a gap, in the order of the channels.
    snapshots: FuturesOrdered<BoxFuture<'static, Option<Answer>>>,
}

impl EventStream {
    fn begin(
        edge: Edge,
        admitted: Admitted,
        dialect: Dialect,
        device: &str,
        channels: &[Channel],
        opening: &Opening,
        recovered: bool,
    ) -> Self {
        let identity = Arc::new(admitted.identity.clone());
        let (tenant, wire) = (identity.tenant.clone(), dialect.wire());
        let mut line = Line::open(&edge.hub, &edge.library, wire, tenant, opening);
        let floor = edge.hub.with_tail(|tail| Session::floor_of(&opening.start, tail));
        let joined: Vec<_> = channels.iter().map(|channel| (channel.clone(), floor)).collect();
        line.join_above(&joined);
        // A subscription without a device is one of its own.
        let name = if device.is_empty() { ids::unguessable() } else { device.to_owned() };
        line.attend(edge.presence.enter(&identity, &name));
        let (tenant, user) = (identity.tenant.clone(), identity.user.to_string());
        line.witness(edge.receipts.of(&Device { tenant, user, name }), opening);
        edge.meters.event_streams.inc();
        let comment_every = COMMENT_EVERY.min(edge.limits.heartbeat);
        let greeting = dialect.greeting(&identity, device, channels, recovered, comment_every);
        let position = (!opening.recovers()).then(|| line.cursor());
        let mut checks = edge.checks.subscribe();
        // Whatever was revoked while this was being opened.
        checks.mark_changed();
        let now = Instant::now();
        let mut stream = Self {
            edge,
            admitted,
            identity,
            line,
            dialect,
            first: None,
            checks,
            comment_every,
            comment_at: now + comment_every,
            ask_at: now + ASK_AGAIN,
            told: None,
            snapshots: FuturesOrdered::new(),
        };
        let gap = opening.gap.map(|reason| stream.gap(channels, reason));
        if !recovered && gap.is_none() && dialect.has_snapshots() {
            let alerts = queries::open_alerts_of(&stream.edge, &stream.identity, channels);
            // Where there are none, nobody is told so.
            let told = |alerts: Answer| Some(alerts).filter(|it| !queries::is_empty(it));
            stream.snapshots.extend(alerts.map(|alerts| alerts.map(told).boxed()));
        }
        // From here on, also when the connection is cut before the first event.
        let position = position.map(|cursor| dialect.position(&cursor));
        stream.first = Some(join([Some(greeting), gap, position].into_iter().flatten().collect()));
        stream
    }

    /// The next piece of the body; `None` ends the response, and the client comes back with its last id.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let until = self.next_tick();
            let mut snapshot = None;
            let is_due = tokio::select! {
                () = self.line.ready() => true,
                Some(answer) = self.snapshots.next() => {
                    snapshot = answer.and_then(|answer| self.dialect.snapshot(answer));
                    false
                }
                () = sleep_until(until) => false,
            };
            if self.edge.is_draining() {
                return self.farewell().await;
            }
            if !self.may_stay().await {
                return None;
            }
            if snapshot.is_some() {
                return snapshot;
            }
            if is_due {
                if let Some(chunk) = self.collect() {
                    return Some(chunk);
                }
            } else if self.comment_at <= Instant::now() {
                // An idle client's position moves on with the log, too.
                return Some(self.collect().unwrap_or_else(|| self.idle()));
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
                let all = || self.line.session().channels().cloned().collect();
                let channels = if channels.is_empty() { all() } else { channels };
                Some(self.gap(&channels, reason))
            }
        }
    }

    /// Tells of a gap, and asks for what follows it. Where the client is told no position it keeps its own, from
    /// which it would hear of the gap again.
    fn gap(&mut self, channels: &[Channel], reason: GapReason) -> Bytes {
        self.edge.meters.gaps.inc();
        if self.dialect.has_snapshots() {
            let snapshots = queries::snapshots_of(&self.edge, &self.identity, channels);
            let room = SNAPSHOTS.saturating_sub(self.snapshots.len());
            self.snapshots.extend(snapshots.take(room).map(|it| it.map(Some).boxed()));
        }
        self.dialect.gap(channels, reason, &self.line.cursor())
    }

    fn spoke(&mut self) {
        self.comment_at = Instant::now() + self.comment_every;
        self.told = Some(self.line.session().cursor());
    }

    /// A sign of life; with the position, where that has moved without an event.
    fn idle(&mut self) -> Bytes {
        let cursor = self.line.session().cursor();
        let has_moved = self.told != Some(cursor);
        self.spoke();
        if has_moved && self.line.session().is_live() {
            self.dialect.position(&self.line.cursor())
        } else {
            self.dialect.keep_alive()
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

    /// Whether the client still is who it was let in as, and may be where it is.
    async fn may_stay(&mut self) -> bool {
        let expired = self.identity.expires_at.is_some_and(|at| at <= clock::unix_seconds());
        if expired || self.checks.has_changed().unwrap_or(true) {
            self.checks.mark_unchanged();
            if self.edge.auth.still_valid(&self.identity).is_err() {
                return false;
            }
        }
        let Some(credentials) = self.admitted.ask_again.as_ref() else { return true };
        if self.ask_at > Instant::now() {
            return true;
        }
        let asked = self.edge.auth.authenticate(credentials).await;
        let is_away = matches!(asked, Err(AuthError::Unavailable));
        self.ask_at = Instant::now() + if is_away { ASK_SOON } else { ASK_AGAIN };
        // Who vouched cannot be reached for the moment, which says nothing of the client.
        let identity = match asked {
            Ok(Admitted { identity, .. }) => identity,
            Err(_) => return is_away,
        };
        let may_join = |channel: &Channel| self.edge.authorise(&identity, channel.as_str()).is_ok();
        identity.user == self.identity.user
            && identity.tenant == self.identity.tenant
            && self.line.session().channels().all(may_join)
    }

    /// Spread over a moment, so that the clients of a node that stops do not come back all at once.
    async fn farewell(&mut self) -> Option<Bytes> {
        tokio::time::sleep(Duration::from_millis(ids::jitter(500))).await;
        None
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.edge.meters.event_streams.dec();
    }
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
