//! `GET /v1/history`: pages of a channel's events as CloudEvents, each with the cursor that resumes right after it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use domain::envelope::parse_rfc3339;
use domain::position::{Position, StreamPosition};
use domain::replay::{RefsAnswer, RefsRequest, Sequences};
use domain::{Channel, Identity, StreamId, Tenant};
use runtime::auth::Credentials;
use runtime::http::Problem;
use serde::Deserialize;
use tokio::time::Instant;

use crate::edge::{Edge, Shared};
use crate::entry::Entry;
use crate::library::range;
use crate::problems;
use crate::views;

mod render;

const LIMIT: usize = 100;
/// Places that are asked for at one time.
const MOST: usize = 1_000;
/// How long a page waits for the index; after that it ends where the index does, and says so by its cursor.
const INDEX_WITHIN: Duration = Duration::from_secs(2);
const INDEX_PAUSE: Duration = Duration::from_millis(10);
/// Places looked at for one page when only some types are asked for.
const LOOKED_AT: usize = 5_000;

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    channel: Option<String>,
    after: Option<String>,
    before: Option<String>,
    at: Option<String>,
    limit: Option<usize>,
    types: Option<Types>,
}

/// Names with commas between them, or a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Types {
    Text(String),
    List(Vec<String>),
}

impl Types {
    fn names(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => text.split(',').map(str::trim).collect(),
            Self::List(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// Stands for the end of the log where a cursor would for a place in it.
const LATEST: &str = "latest";

/// Which way a page goes and from where.
enum From {
    After(Position),
    Before(Position),
}

pub(crate) async fn page(
    State(edge): State<Edge>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Result<Response, Response> {
    let credentials = Credentials::of(request.headers(), request.uri().query());
    let admitted = edge.auth.authenticate(&credentials).await.map_err(|e| e.into_response())?;
    let identity = admitted.identity;
    let found = found(&edge, &identity, &asked).await.map_err(|problem| problem.into_response())?;
    Ok(render::render(&edge, &identity.tenant, found, is_ndjson(request.headers())))
}

/// The same page for who asks over a socket, as JSON.
pub(crate) async fn page_of(
    edge: &Shared,
    identity: &Identity,
    asked: &Asked,
) -> Result<String, Problem> {
    let found = found(edge, identity, asked).await?;
    Ok(render::json(edge, &identity.tenant, &found))
}

fn is_ndjson(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/x-ndjson"))
}

async fn found(edge: &Shared, identity: &Identity, asked: &Asked) -> Result<Found, Problem> {
    let name = asked.channel.as_deref().ok_or_else(|| {
        problems::bad_request("bad_query", "Name a channel: /v1/history?channel=calls.")
    })?;
    let channel = edge.authorise(identity, name).map_err(problems::refused)?;
    let tenant = &identity.tenant;
    let from = from(edge, tenant, asked).await?;
    let limit = limit(asked, edge.limits.history_events).map_err(|problem| *problem)?;
    let types = types(edge, asked).map_err(|problem| *problem)?;
    Box::pin(read(edge, tenant, &channel, &from, limit, &types)).await
}

fn limit(asked: &Asked, most: usize) -> Result<usize, Box<Problem>> {
    let limit = asked.limit.unwrap_or_else(|| LIMIT.min(most));
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    let detail = format!("`limit` is 1 to {most}; follow `cursor` for the next page.");
    Err(Box::new(problems::bad_request("limit_exceeded", detail)))
}

/// A name that nobody knows would look like a channel in which nothing has happened.
fn types<'a>(edge: &Shared, asked: &'a Asked) -> Result<Vec<&'a str>, Box<Problem>> {
    let names = asked.types.as_ref().map_or_else(Vec::new, Types::names);
    let unknown = names.iter().filter(|name| edge.catalogue.resolve(name).is_none());
    let unknown: Vec<String> = unknown
        .take(8)
        .map(|name| format!("{:?}", name.chars().take(64).collect::<String>()))
        .collect();
    if unknown.is_empty() {
        return Ok(names);
    }
    let detail = format!(
        "`types` are names of events with commas between them; no event is called {}.",
        unknown.join(", ")
    );
    Err(Box::new(problems::bad_request("bad_query", detail)))
}

async fn from(edge: &Shared, tenant: &Tenant, asked: &Asked) -> Result<From, Problem> {
    match (&asked.after, &asked.before, &asked.at) {
        (Some(after), None, None) => Ok(From::After(cursor(edge, tenant, after).await?)),
        (None, Some(before), None) if before == LATEST => Ok(From::Before(newest(edge))),
        (None, Some(before), None) => Ok(From::Before(cursor(edge, tenant, before).await?)),
        (None, None, Some(at)) => {
            let Some(time) = parse_rfc3339(at) else {
                if !views::is_place(at) {
                    return Err(problems::refused(views::BAD_AT));
                }
                return Ok(From::After(cursor(edge, tenant, at).await?));
            };
            let millis = (time.unix_timestamp_nanos() / 1_000_000) as i64;
            let answer = edge.library.at(tenant, millis).await;
            let answer = answer.map_err(|error| problems::library(&error))?;
            Ok(From::After(positions(edge, answer.sequences)))
        }
        (None, None, None) => Ok(From::After(Position::default())),
        _ => Err(problems::bad_request("bad_query", "Give one of `after`, `before` and `at`.")),
    }
}

/// Behind the newest event of each stream. A cursor's fingerprint would say that its event is known already.
fn newest(edge: &Shared) -> Position {
    let mut head = edge.hub.with_tail(|tail| *tail.head());
    for stream in StreamId::ALL {
        head.set(stream, StreamPosition { fingerprint: 0, ..head.get(stream) });
    }
    head
}

async fn cursor(edge: &Shared, tenant: &Tenant, text: &str) -> Result<Position, Problem> {
    match edge.read_cursor(tenant, text).await.map_err(problems::refused)? {
        Ok(cursor) => Ok(cursor.position),
        Err(reason) => {
            let detail = "This cursor does not belong to this log; begin without one.";
            let status = axum::http::StatusCode::GONE;
            Err(Problem::new(status, "gap", detail).with("reason", reason.name()))
        }
    }
}

fn positions(edge: &Shared, sequences: Sequences) -> Position {
    let head = edge.hub.with_tail(|tail| *tail.head());
    Position::new(std::array::from_fn(|i| StreamPosition {
        epoch: StreamId::from_index(i).map_or(0, |stream| head.get(stream).epoch),
        sequence: sequences[i],
        fingerprint: 0,
    }))
}

struct Found {
    /// In the log's order, each with the position right after it.
    events: Vec<(Arc<Entry>, Position)>,
    /// Where the next page goes on.
    next: Position,
    more: bool,
    expired: bool,
}

async fn read(
    edge: &Shared,
    tenant: &Tenant,
    channel: &Channel,
    from: &From,
    limit: usize,
    types: &[&str],
) -> Result<Found, Problem> {
    let mut gathering = Gathering::new(edge, channel, from, limit);
    while gathering.wants_more() {
        let request = gathering.request(types);
        let refs = indexed_refs(edge, tenant, &request, &gathering.head).await?;
        let entries = edge.library.entries(tenant, &refs.refs).await;
        let entries = entries.map_err(|error| problems::library(&error))?;
        let has_lost = !refs.removed.is_empty();
        gathering.more = refs.more;
        gathering.clip(&refs.head);
        let before = gathering.at;
        for entry in entries.into_iter().flatten() {
            gathering.take(entry, types);
        }
        // Backwards, what retention has removed is behind the last page, not on this one.
        gathering.expired |= has_lost && (!gathering.newest_first || !gathering.more);
        if gathering.at == before {
            break;
        }
    }
    gathering.finish(edge, tenant, from).await
}

/// The index is a moment behind the live feed: what a client may have been given already is waited for, not left out.
async fn indexed_refs(
    edge: &Shared,
    tenant: &Tenant,
    request: &RefsRequest,
    head: &Position,
) -> Result<Arc<RefsAnswer>, Problem> {
    let deadline = Instant::now() + INDEX_WITHIN;
    loop {
        let refs = edge.library.refs(tenant, request).await;
        let refs = refs.map_err(|error| problems::library(&error))?;
        let is_indexed = StreamId::ALL.into_iter().all(|stream| {
            let wanted = head.sequence(stream).min(request.upto[stream.index()]);
            refs.head[stream.index()] >= wanted
        });
        if is_indexed || Instant::now() >= deadline {
            return Ok(refs);
        }
        tokio::time::sleep(INDEX_PAUSE).await;
    }
}

/// A page while it is put together.
struct Gathering {
    head: Position,
    newest_first: bool,
    channel: Channel,
    /// Behind this, or (newest first) up to this, is what is asked for next.
    at: Position,
    limit: usize,
    events: Vec<Arc<Entry>>,
    more: bool,
    expired: bool,
    looked_at: usize,
}

impl Gathering {
    fn new(edge: &Shared, channel: &Channel, from: &From, limit: usize) -> Self {
        let head = edge.hub.with_tail(|tail| *tail.head());
        let (at, newest_first) = match from {
            From::After(position) => (*position, false),
            From::Before(position) => (*position, true),
        };
        Self {
            head,
            newest_first,
            channel: channel.clone(),
            at,
            limit,
            events: Vec::new(),
            more: true,
            expired: false,
            looked_at: 0,
        }
    }

    fn wants_more(&self) -> bool {
        self.more && self.events.len() < self.limit && self.looked_at < LOOKED_AT
    }

    fn request(&self, types: &[&str]) -> RefsRequest {
        let (after, upto) = if self.newest_first {
            (Position::default(), self.at)
        } else {
            (self.at, self.head.max(&self.at))
        };
        // One more than is missing: the event that a `before` stands on is not given again.
        let missing = self.limit - self.events.len() + usize::from(self.newest_first);
        RefsRequest {
            channels: vec![range(&self.channel, after.sequences())],
            upto: upto.sequences(),
            limit: if types.is_empty() { missing.min(MOST) } else { MOST },
            newest_first: self.newest_first,
        }
    }

    /// Beyond what the answering node has indexed nothing has been looked for.
    fn clip(&mut self, indexed: &Sequences) {
        for stream in StreamId::ALL {
            let at = self.head.get(stream);
            if at.sequence > indexed[stream.index()] {
                let sequence = indexed[stream.index()];
                self.head.set(stream, StreamPosition { sequence, fingerprint: 0, ..at });
            }
        }
    }

    fn take(&mut self, entry: Arc<Entry>, types: &[&str]) {
        let Some(place) = entry.place else { return };
        if self.events.len() == self.limit {
            self.more = true;
            return;
        }
        let at = place.position(self.head.get(place.stream).epoch);
        // Only the newest can be the event whose cursor it is.
        let is_first = self.looked_at == 0;
        self.looked_at += 1;
        let stands_on_it = is_first && self.newest_first && self.at.get(place.stream) == at;
        let behind = if self.newest_first { before(at) } else { at };
        self.at.set(place.stream, behind);
        if !stands_on_it && wanted(&entry, types) {
            self.events.push(entry);
        }
    }

    /// Gives each event its cursor. Of the streams that the channel has nothing in, the cursor says how far they
    /// were when the page begins.
    async fn finish(
        mut self,
        edge: &Shared,
        tenant: &Tenant,
        from: &From,
    ) -> Result<Found, Problem> {
        if self.newest_first {
            self.events.reverse();
        }
        let first = self.events.first().and_then(|entry| entry.place);
        let mut position = match (from, first) {
            (From::After(position), _) if *position != Position::default() => *position,
            (_, Some(first)) => {
                let answer = edge.library.at(tenant, first.stored_at - 1).await;
                let answer = answer.map_err(|error| problems::library(&error))?;
                positions(edge, answer.sequences)
            }
            (_, None) => self.at,
        };
        let mut events = Vec::with_capacity(self.events.len());
        for entry in self.events {
            let Some(place) = entry.place else { continue };
            position.set(place.stream, place.position(self.head.get(place.stream).epoch));
            events.push((entry, position));
        }
        let next = match (self.newest_first, self.more) {
            (true, _) => self.at,
            (false, true) => position.max(&self.at),
            // Behind the last event of a channel its readers stand at the head of the log.
            (false, false) => position.max(&self.at).max(&self.head),
        };
        Ok(Found { events, next, more: self.more, expired: self.expired })
    }
}

/// The position right before an event.
fn before(at: StreamPosition) -> StreamPosition {
    StreamPosition { sequence: at.sequence.saturating_sub(1), fingerprint: 0, ..at }
}

fn wanted(entry: &Entry, types: &[&str]) -> bool {
    types.is_empty()
        || types.contains(&entry.envelope.event_type.as_str())
        || entry.variants().iter().any(|variant| types.contains(&&*variant.name))
}
