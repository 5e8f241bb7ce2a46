//! What a client may ask for over its WebSocket, and the answers.

use domain::Channel;
use domain::cursor::Cursor;
use runtime::clock;
use serde_json::{Value, json};

use super::connection::{Connection, Open};
use super::ending::Ending;
use crate::edge::{FORBIDDEN, Refused, TOO_MANY_CHANNELS, UNAVAILABLE};
use crate::line::GapReason;
use crate::publish;
use crate::throttle::Verdict;
use crate::wires::websocket::{self, Request};

pub(super) const BAD_MESSAGE: Refused = Refused::new(
    "bad_message",
    "A message is a JSON object with a string `type`, for example {\"type\":\"ping\"}.",
);
const RATE_LIMITED: Refused = Refused::new(
    "rate_limited",
    "Too many messages; send fewer a second. This one was not processed.",
);
const BAD_CURSOR: Refused =
    Refused::new("bad_cursor", "This is not a cursor of this platform for this tenant.");
const NO_ROOM: Refused = Refused::new("bad_payload", "Name a channel: {\"room\":\"calls\"}.");

/// What a request comes to: the payload of its answer, or a refusal.
type Answer = Result<Value, Refused>;

impl Connection {
    pub(super) async fn request(&mut self, text: &str) -> Result<(), Ending> {
        match self.throttle.take() {
            Verdict::Accept => {}
            Verdict::Refuse => {
                let reference = Request::parse(text).and_then(|request| request.reference);
                self.answer_refusal(reference.as_ref(), RATE_LIMITED);
                return Ok(());
            }
            Verdict::End => return Err(Ending::rate_limited()),
        }
        let Some(request) = Request::parse(text) else {
            self.answer_refusal(None, BAD_MESSAGE);
            return Ok(());
        };
        // Authority is looked at with each request, not only when it was given.
        self.check_identity()?;
        let answer = match request.kind.as_str() {
            "ping" => {
                self.pong(&request);
                return Ok(());
            }
            "auth" | "token:refresh" => self.refresh(&request).await?,
            "join" | "subscribe" => self.join(&request).await?,
            "leave" | "unsubscribe" => self.leave(&request).await?,
            "ack" => self.acknowledge(&request).await,
            _ => self.publish(&request).await,
        };
        match answer {
            Ok(payload) => {
                if let Some(id) = &request.reference {
                    self.queue(websocket::answer(id, &payload));
                }
            }
            Err(refused) => self.answer_refusal(request.reference.as_ref(), refused),
        }
        Ok(())
    }

    fn answer_refusal(&mut self, reference: Option<&Value>, refused: Refused) {
        self.queue(websocket::error(reference, refused.code, refused.message));
    }

    pub(super) fn pong(&mut self, request: &Request) {
        let payload = json!({ "timestamp": clock::unix_millis() });
        match &request.reference {
            Some(id) => self.queue(websocket::answer(id, &payload)),
            None => self.send("pong", &payload),
        }
    }

    /// A newer token of the same user keeps the connection open.
    async fn refresh(&mut self, request: &Request) -> Result<Answer, Ending> {
        let token = request.text("token").unwrap_or_default();
        let credentials = runtime::auth::Credentials::default().with_token(token);
        let admitted = match self.edge.auth.authenticate(&credentials).await {
            Ok(admitted) => admitted,
            Err(error) => return Ok(Err(Refused::new(error.code(), error.seed_message()))),
        };
        let Some(open) = &mut self.open else { return Err(Ending::protocol()) };
        let is_same = admitted.identity.user == open.identity.user
            && admitted.identity.tenant == open.identity.tenant;
        if !is_same {
            let text = "The new token is another user's; open another connection for it.";
            return Ok(Err(Refused::new("other_user", text)));
        }
        let expires_at = admitted.identity.expires_at;
        open.identity = admitted.identity.into();
        self.leave_what_is_forbidden().await?;
        self.reset_timer();
        Ok(Ok(json!({ "ok": true, "expiresAt": expires_at })))
    }

    /// The new token may allow less than the old one did.
    async fn leave_what_is_forbidden(&mut self) -> Result<(), Ending> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let own = open.client_id.clone();
        let lost: Vec<Channel> = open
            .channels()
            .into_iter()
            .filter(|c| {
                c.id() != Some(&*own) && self.edge.authorise(&open.identity, c.as_str()).is_err()
            })
            .collect();
        for channel in &lost {
            open.line.leave(channel);
        }
        if !lost.is_empty() {
            self.tell_gap(&lost, GapReason::Forbidden);
            self.store_record().await?;
        }
        Ok(())
    }

    async fn join(&mut self, request: &Request) -> Result<Answer, Ending> {
        let Some(open) = &mut self.open else { return Err(Ending::protocol()) };
        let Some(asked) = request.text("room").or_else(|| request.field("channel")) else {
            return Ok(Err(NO_ROOM));
        };
        let channel = match self.edge.authorise(&open.identity, asked) {
            Ok(channel) => channel,
            Err(refused) => return Ok(Err(refused)),
        };
        if open.line.session().has(&channel) {
            return Ok(Ok(self.joined(&channel, true)));
        }
        if open.line.session().subscriptions().len() >= self.edge.limits.channels {
            return Ok(Err(TOO_MANY_CHANNELS));
        }
        let (after, gap) = match self.join_position(&channel, request.field("after")).await {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        self.join_at(&channel, after.as_ref());
        // The membership is stored before it is confirmed, or a crash would forget what the client relies on.
        self.store_record().await?;
        let payload = self.joined(&channel, after.is_some());
        if let Some(reason) = gap {
            self.tell_gap(&[channel], reason);
        }
        Ok(Ok(payload))
    }

    /// Where a join begins: the position it names, else what the connection came back with, else now.
    async fn join_position(
        &self,
        channel: &Channel,
        after: Option<&str>,
    ) -> Result<(Option<Cursor>, Option<GapReason>), Refused> {
        let Some(open) = &self.open else { return Ok((None, None)) };
        match after {
            Some(text) => {
                let read = self.edge.read_cursor(&open.identity.tenant, text).await?;
                Ok(match read {
                    Ok(cursor) => (Some(cursor), None),
                    Err(reason) => (None, Some(reason)),
                })
            }
            None => {
                let remembered = open.remembered.as_ref().filter(|r| r.covers(channel));
                Ok((remembered.map(|remembered| remembered.cursor), None))
            }
        }
    }

    fn join_at(&mut self, channel: &Channel, after: Option<&Cursor>) {
        let Some(open) = &mut self.open else { return };
        match after {
            Some(cursor) => {
                let fill = open.line.join_after(channel, cursor);
                open.record.fills.extend(fill);
                let excess = open.record.fills.len().saturating_sub(FILLS);
                open.record.fills.drain(..excess);
            }
            None => open.line.join(channel),
        }
    }

    fn joined(&mut self, channel: &Channel, recovered: bool) -> Value {
        let payload = json!({ "room": channel.as_str(), "recovered": recovered });
        self.send("room_joined", &payload);
        payload
    }

    async fn leave(&mut self, request: &Request) -> Result<Answer, Ending> {
        let Some(open) = &mut self.open else { return Err(Ending::protocol()) };
        let Some(asked) = request.text("room").or_else(|| request.field("channel")) else {
            return Ok(Err(NO_ROOM));
        };
        let Some(channel) = self.edge.catalogue.channel(asked) else { return Ok(Err(FORBIDDEN)) };
        if open.line.leave(&channel) {
            self.store_record().await?;
        }
        let payload = json!({ "room": channel.as_str() });
        self.send("room_left", &payload);
        Ok(Ok(payload))
    }

    /// Stored before it is answered, so that the device goes on from there wherever it comes back.
    async fn acknowledge(&mut self, request: &Request) -> Answer {
        let Some(open) = &mut self.open else { return Err(FORBIDDEN) };
        let text = request.text("cursor").ok_or(BAD_CURSOR)?;
        let cursor = self.edge.hub.keys.decode(&open.identity.tenant, text);
        let cursor = cursor.map_err(|_| BAD_CURSOR)?;
        open.received(cursor);
        let channels = open.channels();
        let stored = self.edge.devices.acknowledge(&open.device, Some(&channels), &cursor).await;
        stored.map_err(|_| UNAVAILABLE)?;
        Ok(json!({ "ok": true, "cursor": text }))
    }

    async fn publish(&mut self, request: &Request) -> Answer {
        let Some(open) = &self.open else { return Err(FORBIDDEN) };
        let Open { identity, client_id, .. } = &**open;
        publish::from_socket(&self.edge, identity, client_id, request).await
    }
}

/// More back-fills than this are not continued after a cut: their channels begin where they were joined.
const FILLS: usize = 256;
