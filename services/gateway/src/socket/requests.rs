//! What a client may ask for over its WebSocket, and the answers.

use runtime::clock;
use serde_json::{Value, json};

use super::connection::Connection;
use super::ending::Ending;
use crate::edge::{FORBIDDEN, Refused};
use crate::line::GapReason;
use crate::member::Joined;
use crate::publish;
use crate::signals;
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
const NO_CURSOR: Refused = Refused::new("bad_payload", "Name a cursor: {\"cursor\":\"…\"}.");
const NO_ROOM: Refused = Refused::new("bad_payload", "Name a channel: {\"room\":\"calls\"}.");

/// What a request comes to: the payload of its answer, or a refusal; or the end of the connection.
type Answer = Result<Result<Value, Refused>, Ending>;

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
        if let Some(member) = &mut self.member {
            member.check_identity().map_err(Ending::lost)?;
        }
        let answer = match request.kind.as_str() {
            "ping" => {
                self.pong(&request);
                return Ok(());
            }
            "auth" | "token:refresh" => self.refresh(&request).await?,
            "join" | "subscribe" => self.join(&request).await?,
            "leave" | "unsubscribe" => self.leave(&request).await?,
            "ack" => self.acknowledge(&request).await?,
            kind if signals::NAMES.contains(&kind) => self.signal(&request).await?,
            _ => self.publish(&request).await?,
        };
        match (answer, &request.reference) {
            (Ok(payload), Some(id)) => self.queue(websocket::answer(id, &payload)),
            (Ok(_), None) => {}
            (Err(refused), reference) => self.answer_refusal(reference.as_ref(), refused),
        }
        Ok(())
    }

    pub(super) fn answer_refusal(&mut self, reference: Option<&Value>, refused: Refused) {
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
    async fn refresh(&mut self, request: &Request) -> Answer {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let token = request.text("token").unwrap_or_default();
        let lost = match member.refresh(token).await.map_err(Ending::lost)? {
            Ok(lost) => lost,
            Err(refused) => return Ok(Err(refused)),
        };
        let expires_at = member.identity.expires_at;
        if !lost.is_empty() {
            self.tell_gap(&lost, GapReason::Forbidden);
        }
        self.reset_timer();
        Ok(Ok(json!({ "ok": true, "expiresAt": expires_at })))
    }

    async fn join(&mut self, request: &Request) -> Answer {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let Some(asked) = room(request) else { return Ok(Err(NO_ROOM)) };
        let joined = member.join(asked, request.field("after")).await.map_err(Ending::lost)?;
        let Joined { channel, recovered, gap } = match joined {
            Ok(joined) => joined,
            Err(refused) => return Ok(Err(refused)),
        };
        let payload = json!({ "room": channel.as_str(), "recovered": recovered });
        self.send("room_joined", &payload);
        if let Some(reason) = gap {
            self.tell_gap(&[channel], reason);
        }
        Ok(Ok(payload))
    }

    async fn leave(&mut self, request: &Request) -> Answer {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let Some(asked) = room(request) else { return Ok(Err(NO_ROOM)) };
        let channel = match member.leave(asked).await.map_err(Ending::lost)? {
            Ok(channel) => channel,
            Err(refused) => return Ok(Err(refused)),
        };
        let payload = json!({ "room": channel.as_str() });
        self.send("room_left", &payload);
        Ok(Ok(payload))
    }

    /// Stored before it is answered, so that the device goes on from there wherever it comes back.
    async fn acknowledge(&mut self, request: &Request) -> Answer {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let Some(cursor) = request.text("cursor") else { return Ok(Err(NO_CURSOR)) };
        let stored = member.acknowledge(cursor).await;
        Ok(stored.map(|()| json!({ "ok": true, "cursor": cursor })))
    }

    async fn signal(&mut self, request: &Request) -> Answer {
        let Some(member) = &self.member else { return Err(Ending::protocol()) };
        Ok(signals::answer(&self.edge, member, &request.kind, &request.payload).await)
    }

    async fn publish(&mut self, request: &Request) -> Answer {
        let Some(member) = &self.member else { return Ok(Err(FORBIDDEN)) };
        let published =
            publish::from_socket(&self.edge, &member.identity, &member.client_id, request);
        Ok(published.await)
    }
}

fn room(request: &Request) -> Option<&str> {
    request.text("room").or_else(|| request.field("channel"))
}
