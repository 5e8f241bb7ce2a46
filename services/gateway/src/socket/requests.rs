//! What a client may ask for over its WebSocket, and the answers.

use bytes::Bytes;
use domain::Channel;
use runtime::clock;
use serde_json::{Value, json};

use super::connection::Connection;
use super::ending::Ending;
use super::opening::who;
use crate::commands::Answer;
use crate::commands::desk::{Answered, Asked, Then, To};
use crate::edge::{FORBIDDEN, Refused};
use crate::line::GapReason;
use crate::member::{Joined, position_in};
use crate::rooms::{self, Wish};
use crate::throttle::Verdict;
use crate::wires::websocket::{self, Request};
use crate::{publish, queries, signals, voice};

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

/// What a request comes to: its answer, or `None` for one that comes later; or the end of the connection.
type Reply = Result<Option<Answer>, Ending>;
/// What a request that is answered at once comes to: the payload of its answer, or a refusal.
type AtOnce = Result<Result<Value, Refused>, Ending>;

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
        let to = request.reference.clone().map_or(To::Nobody, To::Reference);
        if let Some(answer) = self.reply(request, &to).await? {
            self.answer_to(&to, answer);
        }
        Ok(())
    }

    async fn reply(&mut self, request: Request, to: &To) -> Reply {
        let at_once = match request.kind.as_str() {
            "ping" => {
                self.pong(&request);
                return Ok(None);
            }
            "auth" if self.guest.is_some() => {
                return Ok(Box::pin(self.introduce(&request)).await?.err().map(Answer::from));
            }
            "auth" | "token:refresh" => self.refresh(&request).await?,
            "join" | "subscribe" => match room(&request) {
                Some(room) => {
                    let after = position_in(&request.payload, "after");
                    self.join(room, after.as_deref()).await?
                }
                None => Err(NO_ROOM),
            },
            "leave" | "unsubscribe" => match room(&request) {
                Some(room) => self.leave(room).await?,
                None => Err(NO_ROOM),
            },
            "ack" => self.acknowledge(&request).await?,
            kind if signals::NAMES.contains(&kind) => self.signal(&request).await?,
            kind if queries::NAMES.contains(&kind) => return Ok(self.question(request, to)),
            kind if self.edge.catalogue.command(kind).is_some() => {
                return self.command(request, to).await;
            }
            voice::NAME => Err(voice::NOT_BINARY),
            kind => match rooms::wish(kind, Some(&request.payload)) {
                Ok(Some(Wish::Join { channel, after })) => {
                    self.join(&channel, after.as_deref()).await?
                }
                Ok(Some(Wish::Leave(channel))) => self.leave(&channel).await?,
                Ok(None) => self.publish(&request).await?,
                Err(refused) => Err(refused),
            },
        };
        Ok(Some(at_once.into()))
    }

    fn answer_to(&mut self, to: &To, answer: Answer) {
        match (to, answer.is_ok()) {
            (To::Reference(id), true) => self.queue(websocket::answer(id, &answer.into_payload())),
            (To::Reference(id), false) => {
                self.queue(websocket::failure(Some(id), &answer.into_error()));
            }
            (To::Event(name), true) => self.send(name, &answer.into_payload()),
            (To::Greeting(name), true) if !queries::is_empty(&answer) => {
                self.send(name, &answer.into_payload());
            }
            (To::Greeting(_), _) => {}
            (To::Nobody | To::Callback(_), true) => {}
            (To::Nobody | To::Event(_) | To::Callback(_), false) => {
                self.queue(websocket::failure(None, &answer.into_error()));
            }
        }
    }

    /// Tells what has come of what was asked for.
    pub(super) async fn tell_answers(&mut self) -> Result<(), Ending> {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        for Answered { asked, answer } in member.answers().await.map_err(Ending::lost)? {
            let Asked { to, then, .. } = asked;
            let answer = match then {
                Then::Follow(channel) => self.followed(&channel, answer),
                Then::Nothing | Then::Stay(_) | Then::Leave(_) => answer,
            };
            if let Some(listed) = queries::snapshot_after_gap(&to, &answer) {
                self.send(listed.event, &listed.marked(json!({ "calls": listed.list })));
            }
            self.answer_to(&to, answer);
        }
        Ok(())
    }

    /// What is going on now, before what follows of it.
    fn followed(&mut self, channel: &Channel, answer: Answer) -> Answer {
        let Some(listed) = queries::snapshot_of(channel, &answer) else { return answer };
        self.send(listed.event, &listed.marked(json!({ "calls": listed.list })));
        let payload = listed.marked(json!({ "room": channel.as_str(), "recovered": true }));
        self.send("room_joined", &payload);
        Answer::done(payload)
    }

    async fn command(&mut self, request: Request, to: &To) -> Reply {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let Request { kind, payload, .. } = request;
        member.command(&kind, Some(payload), to.clone()).await.map_err(Ending::lost)
    }

    fn question(&mut self, request: Request, to: &To) -> Option<Answer> {
        let Some(member) = &mut self.member else { return Some(FORBIDDEN.into()) };
        queries::ask(&self.edge, member, &request.kind, request.payload, to.clone())
    }

    /// A binary message is a chunk of what is being said in the latest conversation.
    pub(super) fn voice(&mut self, chunk: Bytes) -> Result<(), Ending> {
        match self.throttle.take() {
            Verdict::Accept => {}
            Verdict::Refuse => {
                self.answer_refusal(None, RATE_LIMITED);
                return Ok(());
            }
            Verdict::End => return Err(Ending::rate_limited()),
        }
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        member.check_identity().map_err(Ending::lost)?;
        if let Some(refused) = voice::hand_over(&self.edge, member, None, chunk, To::Nobody) {
            self.answer_to(&To::Nobody, refused);
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
    async fn refresh(&mut self, request: &Request) -> AtOnce {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let token = request.text("token").unwrap_or_default();
        let lost = match member.refresh(token).await.map_err(Ending::lost)? {
            Ok(lost) => lost,
            Err(refused) => return Ok(Err(refused)),
        };
        let expires_at = member.identity.expires_at;
        // The answer goes to whoever gave an id; an application that did not waits for this frame.
        let who = (request.kind == "auth" && request.reference.is_none()).then(|| who(member));
        if let Some(who) = who {
            self.send("authenticated", &who);
        }
        if !lost.is_empty() {
            self.tell_gap(&lost, GapReason::Forbidden);
        }
        self.reset_timer();
        Ok(Ok(json!({ "ok": true, "expiresAt": expires_at })))
    }

    async fn join(&mut self, asked: &str, after: Option<&str>) -> AtOnce {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let joined = member.join(asked, after).await.map_err(Ending::lost)?;
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

    async fn leave(&mut self, asked: &str) -> AtOnce {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let channel = match member.leave(asked).await.map_err(Ending::lost)? {
            Ok(channel) => channel,
            Err(refused) => return Ok(Err(refused)),
        };
        let payload = json!({ "room": channel.as_str() });
        self.send("room_left", &payload);
        Ok(Ok(payload))
    }

    /// Stored before it is answered, so that the device goes on from there wherever it comes back.
    async fn acknowledge(&mut self, request: &Request) -> AtOnce {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let Some(cursor) = request.text("cursor") else { return Ok(Err(NO_CURSOR)) };
        let stored = member.acknowledge(cursor).await;
        Ok(stored.map(|()| json!({ "ok": true, "cursor": cursor })))
    }

    async fn signal(&mut self, request: &Request) -> AtOnce {
        let Some(member) = &self.member else { return Err(Ending::protocol()) };
        Ok(signals::answer(&self.edge, member, &request.kind, &request.payload).await)
    }

    async fn publish(&mut self, request: &Request) -> AtOnce {
        let Some(member) = &self.member else { return Ok(Err(FORBIDDEN)) };
        let published =
            publish::from_socket(&self.edge, &member.identity, &member.client_id, request);
        Ok(published.await)
    }
}

fn room(request: &Request) -> Option<&str> {
    request.text("room").or_else(|| request.field("channel"))
}
