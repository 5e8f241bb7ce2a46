//! From an anonymous socket to an open session: the credential, the session that comes back, the first channels.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::cursor::Cursor;
use domain::{Channel, Identity, Position};
use runtime::auth::{Admitted, AuthError};
use runtime::ids;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::Brought;
use super::connection::{Connection, Open};
use super::ending::Ending;
use super::io::Happened;
use crate::devices::{Device, Remembered};
use crate::edge::{Opening, Refused, UNAVAILABLE};
use crate::line::{GapReason, Line};
use crate::records::{Record, RecordError, Revision};
use crate::session::{Fill, Session, Start};
use crate::throttle::Verdict;
use crate::wires::Wire;
use crate::wires::websocket::{self, Request};
use crate::wires::websocket_frame::{Limits, Message};

/// How often a session that several connections want at once is tried for.
const TRIES: usize = 3;

/// What is known of the session before it opens.
struct Found {
    client_id: Arc<str>,
    record: Record,
    revision: Revision,
    opening: Opening,
    remembered: Option<Remembered>,
    is_reconnect: bool,
}

impl Connection {
    /// Greets, waits for a credential if none came with the request, and opens the session.
    pub(super) async fn greet(&mut self, mut brought: Brought) -> Result<(), Ending> {
        let admitted = match self.edge.auth.authenticate(&self.credentials).await {
            Ok(admitted) => Some(admitted),
            Err(AuthError::Missing) => None,
            Err(error) => return Err(self.refuse(&error)),
        };
        // An id is minted here only for the greeting; a session that comes back keeps its own.
        let client_id: Arc<str> = ids::unguessable().into();
        let shown = brought.client_id.as_deref().unwrap_or(&client_id).to_owned();
        let greeting = json!({
            "clientId": shown,
            "authenticated": admitted.is_some(),
            "heartbeatMs": self.edge.limits.heartbeat.as_millis() as u64,
        });
        self.send("connection_established", &greeting);
        let (admitted, reference) = match admitted {
            Some(admitted) => (admitted, None),
            None => {
                let (admitted, request) = self.await_auth(&mut brought).await?;
                (admitted, request.reference)
            }
        };
        self.peer.authenticated();
        self.open_session(admitted, client_id, &brought, reference.as_ref()).await
    }

    fn refuse(&mut self, error: &AuthError) -> Ending {
        self.queue(websocket::error(None, error.code(), error.seed_message()));
        Ending::refused(error)
    }

    /// Reads until the client says who it is.
    async fn await_auth(&mut self, brought: &mut Brought) -> Result<(Admitted, Request), Ending> {
        let deadline = Instant::now() + self.edge.limits.authenticate_within;
        loop {
            if let Some(request) = self.next_request().await? {
                if request.kind == "auth" {
                    return self.authenticate(request, brought).await;
                }
                self.before_auth(&request);
                continue;
            }
            match timeout_at(deadline, self.socket.drive()).await {
                Ok(Ok(Happened::Read | Happened::Wrote)) => {}
                Ok(Ok(Happened::Closed) | Err(_)) => return Err(Ending::gone()),
                Err(_) => return Err(self.refuse(&AuthError::Missing)),
            }
        }
    }

    /// The next request that has arrived, answering control frames on the way.
    async fn next_request(&mut self) -> Result<Option<Request>, Ending> {
        let limits = Limits { text: self.edge.limits.message_bytes, binary: 0 };
        loop {
            match self.socket.reader.next_message(limits) {
                Ok(Some(Message::Text(text))) => {
                    if self.throttle.take() != Verdict::Accept {
                        return Err(Ending::rate_limited());
                    }
                    let Some(request) = Request::parse(&text) else {
                        self.queue(websocket::error(
                            None,
                            super::requests::BAD_MESSAGE.code,
                            super::requests::BAD_MESSAGE.message,
                        ));
                        continue;
                    };
                    return Ok(Some(request));
                }
                Ok(Some(message)) => Box::pin(self.process(message)).await?,
                Ok(None) => return Ok(None),
                Err(violation) => return Err(Ending::violation(violation)),
            }
        }
    }

    fn before_auth(&mut self, request: &Request) {
        if request.kind == "ping" {
            self.pong(request);
        } else {
            let advice =
                "Say who you are first: {\"type\":\"auth\",\"payload\":{\"token\":\"…\"}}.";
            let error = websocket::error(request.reference.as_ref(), "unauthenticated", advice);
            self.queue(error);
        }
    }

    async fn authenticate(
        &mut self,
        request: Request,
        brought: &mut Brought,
    ) -> Result<(Admitted, Request), Ending> {
        let token = request.text("token").unwrap_or_default();
        let credentials = std::mem::take(&mut self.credentials).with_token(token);
        let field = |name, before: &Option<String>| {
            request.field(name).map(str::to_owned).or_else(|| before.clone())
        };
        brought.client_id = field("clientId", &brought.client_id);
        brought.cursor = field("cursor", &brought.cursor);
        brought.device = field("device", &brought.device);
        match self.edge.auth.authenticate(&credentials).await {
            Ok(admitted) => Ok((admitted, request)),
            Err(error) => Err(self.refuse(&error)),
        }
    }

    async fn open_session(
        &mut self,
        admitted: Admitted,
        client_id: Arc<str>,
        brought: &Brought,
        reference: Option<&Value>,
    ) -> Result<(), Ending> {
        let identity = Arc::new(admitted.identity);
        let checked = self.edge.checks.load(Ordering::Acquire);
        let found = self.find(&identity, client_id, brought).await?;
        let Found { client_id, record, revision, opening, remembered, is_reconnect } = found;
        let tenant = identity.tenant.clone();
        let lease = self.edge.registry.hold(&tenant, &client_id);
        let (hub, library) = (&self.edge.hub, &self.edge.library);
        let line = Line::open(hub, library, Wire::WebSocket, tenant, &opening.start);
        let device = Device {
            tenant: identity.tenant.clone(),
            user: identity.user.to_string(),
            name: record.device.clone(),
        };
        let mut open = Box::new(Open::new(
            identity,
            client_id,
            device,
            line,
            lease,
            record,
            revision,
            remembered,
            admitted.ask_again,
            checked,
        ));
        let forbidden = self.rejoin(&mut open, &opening);
        let recovers = opening.recovers();
        self.open = Some(open);
        self.store_record().await?;
        self.announce(is_reconnect, recovers, reference);
        if let Some(reason) = opening.gap {
            self.tell_gap(&[], reason);
        }
        if !forbidden.is_empty() {
            self.tell_gap(&forbidden, GapReason::Forbidden);
        }
        Ok(())
    }

    fn announce(&mut self, is_reconnect: bool, recovers: bool, reference: Option<&Value>) {
        let Some(open) = &self.open else { return };
        let channels = open.channels();
        let rooms: Vec<_> = channels.iter().map(Channel::as_str).collect();
        let client_id = &*open.client_id;
        let who = json!({
            "clientId": client_id,
            "userId": &*open.identity.user,
            "role": open.identity.role.name(),
            "device": open.device.name,
            "rooms": rooms,
            "cursor": open.line.cursor(),
        });
        let reconnected = json!({ "clientId": client_id, "rooms": rooms, "recovered": recovers });
        if let Some(id) = reference {
            self.queue(websocket::answer(id, &who));
        }
        self.send("authenticated", &who);
        if is_reconnect {
            self.send("reconnected", &reconnected);
        }
    }

    /// Joins what the session was in, where the client may still be there, and what everyone like it is in.
    /// Returns the channels that it may not be in any more.
    fn rejoin(&self, open: &mut Open, opening: &Opening) -> Vec<Channel> {
        let floor = self.edge.hub.with_tail(|tail| Session::floor_of(&opening.start, tail));
        let mut forbidden = Vec::new();
        for (channel, joined) in std::mem::take(&mut open.record.channels) {
            if self.edge.authorise(&open.identity, channel.as_str()).is_ok()
                || channel.id() == Some(&*open.client_id)
            {
                let above = if opening.recovers() { joined } else { joined.max(&floor) };
                open.line.join_above(&channel, above);
            } else {
                forbidden.push(channel);
            }
        }
        for channel in self.edge.catalogue.auto_join(&open.identity, &open.client_id) {
            let floor = self.auto_floor(open, &channel, floor, opening);
            open.line.join_above(&channel, floor);
        }
        let fills: Vec<Fill> = std::mem::take(&mut open.record.fills);
        if let Start::After(cursor) = &opening.start {
            open.record.fills = open.line.resume_fills(&fills, cursor);
        }
        forbidden
    }

    /// A device's acknowledged position speaks only of the channels it was given for.
    fn auto_floor(
        &self,
        open: &Open,
        channel: &Channel,
        floor: Position,
        opening: &Opening,
    ) -> Position {
        match &open.remembered {
            Some(remembered) if opening.recovers() && !remembered.covers(channel) => {
                self.edge.hub.with_tail(|tail| *tail.head())
            }
            _ => floor,
        }
    }

    async fn find(
        &mut self,
        identity: &Identity,
        minted: Arc<str>,
        brought: &Brought,
    ) -> Result<Found, Ending> {
        for _ in 0..TRIES {
            let result = match &brought.client_id {
                Some(id) => self.find_session(identity, id, brought).await,
                None => Ok(None),
            };
            match result {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => return self.begin(identity, minted, brought).await,
                Err(RecordError::TakenOver) => {}
                Err(RecordError::Unavailable(_)) => return Err(Ending::unavailable()),
            }
        }
        Err(Ending::taken_over())
    }

    /// A session that the client had before, taken over from whoever holds it.
    async fn find_session(
        &mut self,
        identity: &Identity,
        id: &str,
        brought: &Brought,
    ) -> Result<Option<Found>, RecordError> {
        let edge = self.edge.clone();
        let tenant = &identity.tenant;
        let Some((mut record, revision)) = edge.records.load(tenant, id).await? else {
            return Ok(None);
        };
        if record.user != *identity.user {
            return Ok(None);
        }
        // The old connection is ended first; what it stored last is what the new one goes on from.
        edge.registry.fence(&edge.nats, &record.node, tenant, id).await;
        let mut revision = revision;
        if let Some((newer, at)) = edge.records.load(tenant, id).await? {
            (record, revision) = (newer, at);
        }
        record.node = edge.registry.node.to_string();
        let revision = edge.records.save(tenant, id, &record, revision).await?;
        edge.meters.takeovers.inc();
        let opening = match &brought.cursor {
            Some(cursor) => edge.opening(tenant, cursor).await,
            None => self.last_received(&record).await,
        };
        let opening = opening.unwrap_or(Opening::NOW);
        Ok(Some(Found {
            client_id: id.into(),
            record,
            revision,
            opening,
            remembered: None,
            is_reconnect: true,
        }))
    }

    /// For clients that bring no cursor: what they are known to have received.
    async fn last_received(&self, record: &Record) -> Result<Opening, Refused> {
        let Some(received) = record.received else { return Ok(Opening::NOW) };
        Ok(match self.edge.recognise(received).await? {
            Ok(cursor) => Opening { start: Start::After(cursor), gap: None },
            Err(reason) => Opening { start: Start::Now, gap: Some(reason) },
        })
    }

    /// A session of its own, behind the cursor or what the device acknowledged, or from now on.
    async fn begin(
        &mut self,
        identity: &Identity,
        client_id: Arc<str>,
        brought: &Brought,
    ) -> Result<Found, Ending> {
        let device = Device {
            tenant: identity.tenant.clone(),
            user: identity.user.to_string(),
            name: brought.device.clone().unwrap_or_else(ids::unguessable),
        };
        let (opening, remembered) = match (&brought.cursor, &brought.device) {
            (Some(cursor), _) => self.behind(&device, cursor).await,
            (None, Some(_)) => self.acknowledged(&device).await,
            (None, None) => Ok((Opening::NOW, None)),
        }
        .map_err(|_| Ending::unavailable())?;
        let received = match &opening.start {
            Start::After(cursor) => *cursor,
            Start::Now => {
                let position = self.edge.hub.with_tail(|tail| *tail.head());
                Cursor { position, ..Cursor::default() }
            }
        };
        let record = Record {
            user: device.user.clone(),
            device: device.name.clone(),
            node: self.edge.registry.node.to_string(),
            received: Some(received),
            ..Record::default()
        };
        let revision = Revision::NEW;
        Ok(Found { client_id, record, revision, opening, remembered, is_reconnect: false })
    }

    async fn behind(
        &self,
        device: &Device,
        cursor: &str,
    ) -> Result<(Opening, Option<Remembered>), Refused> {
        let opening = self.edge.opening(&device.tenant, cursor).await?;
        let remembered = match &opening.start {
            Start::After(cursor) => {
                Some(Remembered { channels: Vec::new(), cursor: *cursor, all: true })
            }
            Start::Now => None,
        };
        Ok((opening, remembered))
    }

    async fn acknowledged(
        &self,
        device: &Device,
    ) -> Result<(Opening, Option<Remembered>), Refused> {
        let latest = self.edge.devices.latest(device).await.map_err(|_| UNAVAILABLE)?;
        let Some(remembered) = latest else { return Ok((Opening::NOW, None)) };
        Ok(match self.edge.recognise(remembered.cursor).await? {
            Ok(cursor) => (Opening { start: Start::After(cursor), gap: None }, Some(remembered)),
            Err(reason) => (Opening { start: Start::Now, gap: Some(reason) }, None),
        })
    }
}
