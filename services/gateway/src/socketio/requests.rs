//! What a client may ask for by an event, and the answers: through its callback, or as events of the connection.

use domain::Channel;
use runtime::clock;
use serde_json::{Map, Value, json};

use super::platform::{Platform, closing};
use super::{Closing, Outbox};
use crate::commands::Answer;
use crate::commands::desk::{Answered, Asked, Then, To};
use crate::edge::{FORBIDDEN, Refused};
use crate::line::GapReason;
use crate::member::{Joined, position_in};
use crate::throttle::Verdict;
use crate::wires::socketio::{Event, MAIN};
use crate::wires::websocket::Request;
use crate::{publish, queries, signals, voice};

const RATE_LIMITED: Refused = Refused::new(
    "rate_limited",
    "Too many messages; send fewer a second. This one was not processed.",
);
const TOO_LARGE: Refused =
    Refused::new("too_large", "The message is longer than allowed; send less at once.");
const UNKNOWN_EVENT: Refused =
    Refused::new("unknown_event", "No event of this name is understood; see the list of events.");
const NO_CHANNEL: Refused =
    Refused::new("bad_payload", "Name a channel: \"calls\" or {\"channel\":\"calls\"}.");
const NO_ID: Refused =
    Refused::new("bad_payload", "Name what it is about: its id, or an object that holds it.");
const NO_CURSOR: Refused =
    Refused::new("bad_payload", "Name a cursor: the string that events end with.");
const NO_TOKEN: Refused =
    Refused::new("bad_payload", "Bring a token: the token, or {\"token\":\"…\"}.");

/// A chunk of voice, which may be longer than other messages.
const VOICE: &str = "voice:data";

/// Rooms that the applications name by an id of their own.
const ROOMS: [(&str, &str, &[&str]); 4] = [
    ("_to_call", "call", &["callSid", "sid", "id"]),
    (":whatsapp", "whatsapp", &["accountId", "whatsappAccountId", "id"]),
    (":campaign", "campaign", &["campaignId", "id"]),
    (":contact", "contact", &["contactId", "id"]),
];

/// What a request comes to: its answer, or `None` for one that comes later; or the connection ends.
type Reply = Result<Option<Answer>, Closing>;
/// What a request that is answered at once comes to: the payload of its answer, or a refusal.
type AtOnce = Result<Result<Value, Refused>, Closing>;

/// What a client wants with a channel.
enum Wish {
    Join { channel: String, after: Option<String> },
    Leave(String),
}

impl Platform {
    pub(super) async fn request(
        &mut self,
        event: Event,
        outbox: &mut Outbox,
    ) -> Result<(), Closing> {
        let (to, name, catalogue) = (to(&event), event.name.clone(), self.edge.catalogue.clone());
        if let Some(answer) = self.admit(event, outbox).await? {
            let command = || catalogue.command(&name)?.failure.as_deref();
            let failure = if name == VOICE { Some(voice::FAILURE) } else { command() };
            self.answer_to(&to, failure, answer, outbox);
        }
        Ok(())
    }

    /// Whoever has no callback hears of failures alone, in the words that an application expects.
    fn answer_to(&mut self, to: &To, failure: Option<&str>, answer: Answer, outbox: &mut Outbox) {
        match to {
            To::Callback(id) => outbox.ack(MAIN, *id, &[answer.into_payload()], &[]),
            To::Event(name) if answer.is_ok() => {
                self.emit(name, &answer.into_payload(), outbox);
            }
            To::Greeting(name) => {
                if answer.is_ok() && !queries::is_empty(&answer) {
                    self.emit(name, &answer.into_payload(), outbox);
                }
            }
            To::Nobody | To::Reference(_) if answer.is_ok() => {}
            To::Nobody | To::Event(_) | To::Reference(_) => {
                let message = failure.unwrap_or_else(|| answer.message());
                let payload = json!({ "message": message, "code": answer.code() });
                self.emit("error", &payload, outbox);
            }
        }
    }

    /// Tells what has come of what was asked for.
    pub(super) async fn tell_answers(&mut self, outbox: &mut Outbox) -> Result<(), Closing> {
        let Some(member) = &mut self.member else { return Ok(()) };
        let answers = member.answers().await.map_err(|lost| closing(&lost))?;
        for Answered { asked: Asked { to, then, failure }, answer } in answers {
            let answer = match then {
                Then::Follow(channel) => self.followed(&channel, answer, outbox),
                Then::Nothing | Then::Stay(_) | Then::Leave(_) => answer,
            };
            if let Some(listed) = queries::snapshot_after_gap(&to, &answer) {
                self.emit(listed.event, &listed.list, outbox);
            }
            self.answer_to(&to, failure.as_deref(), answer, outbox);
        }
        Ok(())
    }

    /// What is going on now, before what follows of it.
    fn followed(&mut self, channel: &Channel, answer: Answer, outbox: &mut Outbox) -> Answer {
        let Some(listed) = queries::snapshot_of(channel, &answer) else {
            return answer;
        };
        self.emit(listed.event, &listed.list, outbox);
        let told = json!({ "ok": true, "room": channel.as_str(), "recovered": true });
        Answer::done(listed.marked(told))
    }

    async fn admit(&mut self, event: Event, outbox: &mut Outbox) -> Reply {
        match self.throttle.take() {
            Verdict::Accept => {}
            Verdict::Refuse => return Ok(Some(RATE_LIMITED.into())),
            Verdict::End => return Err(Closing::RateLimited),
        }
        // Authority is looked at with each request, not only when it was given.
        if let Some(member) = &mut self.member {
            member.check_identity().map_err(|lost| closing(&lost))?;
        }
        if event.name == VOICE {
            return Ok(self.voice(event));
        }
        if event.size > self.edge.limits.message_bytes {
            return Ok(Some(TOO_LARGE.into()));
        }
        self.reply(event, outbox).await
    }

    async fn reply(&mut self, event: Event, outbox: &mut Outbox) -> Reply {
        let at_once = match &*event.name {
            "ping" => Ok(self.pong(&event, outbox)),
            "ack" => self.acknowledge(&event).await?,
            "token:refresh" => self.refresh(&event, outbox).await?,
            "publish" => self.publish(&event).await?,
            name if signals::NAMES.contains(&name) => self.signal(&event).await,
            name if queries::NAMES.contains(&name) => return Ok(self.question(event)),
            name if self.edge.catalogue.command(name).is_some() => {
                return self.command(event).await;
            }
            _ => match wish(&event) {
                Ok(Some(Wish::Join { channel, after })) => {
                    self.join(&channel, after.as_deref(), outbox).await?
                }
                Ok(Some(Wish::Leave(channel))) => self.leave(&channel).await?,
                Ok(None) => Err(UNKNOWN_EVENT),
                Err(refused) => Err(refused),
            },
        };
        Ok(Some(at_once.into()))
    }

    async fn signal(&mut self, event: &Event) -> Result<Value, Refused> {
        let Some(member) = &self.member else { return Err(FORBIDDEN) };
        let payload = event.arguments.first().unwrap_or(&Value::Null);
        signals::answer(&self.edge, member, &event.name, payload).await
    }

    async fn command(&mut self, event: Event) -> Reply {
        let Some(member) = &mut self.member else { return Ok(Some(FORBIDDEN.into())) };
        let (to, name) = (to(&event), event.name);
        let argument = event.arguments.into_iter().next();
        member.command(&name, argument, to).await.map_err(|lost| closing(&lost))
    }

    fn question(&mut self, event: Event) -> Option<Answer> {
        let Some(member) = &mut self.member else { return Some(FORBIDDEN.into()) };
        let (to, name) = (to(&event), event.name);
        let argument = event.arguments.into_iter().next().unwrap_or_default();
        queries::ask(&self.edge, member, &name, argument, to)
    }

    /// A chunk of what is being said, as an attachment; it may come with the conversation it belongs to.
    fn voice(&mut self, event: Event) -> Option<Answer> {
        let Some(member) = &mut self.member else { return Some(FORBIDDEN.into()) };
        let to = to(&event);
        let conversation = object(&event)
            .and_then(|fields| fields.get("conversationId"))
            .or_else(|| event.arguments.get(1))
            .and_then(Value::as_str)
            .map(str::to_owned);
        let Some(chunk) = event.attachments.into_iter().next() else {
            return Some(voice::NOT_BINARY.into());
        };
        voice::hand_over(&self.edge, member, conversation, chunk, to)
    }

    fn pong(&mut self, event: &Event, outbox: &mut Outbox) -> Value {
        let timestamp = clock::unix_millis();
        if event.id.is_none() {
            self.emit("pong", &json!({ "timestamp": timestamp }), outbox);
        }
        json!({ "ok": true, "timestamp": timestamp })
    }

    /// Stored before it is answered, so that the device goes on from there wherever it comes back.
    async fn acknowledge(&mut self, event: &Event) -> AtOnce {
        let Some(member) = &mut self.member else { return Ok(Err(FORBIDDEN)) };
        let Some(cursor) = text(event, &["cursor"]) else { return Ok(Err(NO_CURSOR)) };
        let stored = member.acknowledge(&cursor).await;
        Ok(stored.map(|()| json!({ "ok": true, "cursor": cursor })))
    }

    /// A newer token of the same user keeps the connection open.
    async fn refresh(&mut self, event: &Event, outbox: &mut Outbox) -> AtOnce {
        let Some(member) = &mut self.member else { return Ok(Err(FORBIDDEN)) };
        let Some(token) = text(event, &["token"]) else { return Ok(Err(NO_TOKEN)) };
        let lost = match member.refresh(&token).await.map_err(|lost| closing(&lost))? {
            Ok(lost) => lost,
            Err(refused) => return Ok(Err(refused)),
        };
        let expires_at = member.identity.expires_at;
        self.set_tick();
        if !lost.is_empty() {
            self.tell_gap(&lost, GapReason::Forbidden, outbox);
        }
        Ok(Ok(json!({ "ok": true, "expiresAt": expires_at })))
    }

    async fn publish(&mut self, event: &Event) -> AtOnce {
        let Some(member) = &self.member else { return Ok(Err(FORBIDDEN)) };
        let request = Request {
            kind: "publish".to_owned(),
            payload: event.arguments.first().cloned().unwrap_or_default(),
            reference: None,
        };
        let (identity, id) = (&member.identity, &member.client_id);
        Ok(publish::from_socket(&self.edge, identity, id, &request).await)
    }

    async fn join(&mut self, channel: &str, after: Option<&str>, outbox: &mut Outbox) -> AtOnce {
        let Some(member) = &mut self.member else { return Ok(Err(FORBIDDEN)) };
        let joined = member.join(channel, after).await.map_err(|lost| closing(&lost))?;
        let Joined { channel, recovered, gap } = match joined {
            Ok(joined) => joined,
            Err(refused) => return Ok(Err(refused)),
        };
        let payload = json!({ "ok": true, "room": channel.as_str(), "recovered": recovered });
        if let Some(reason) = gap {
            self.tell_gap(&[channel], reason, outbox);
        }
        Ok(Ok(payload))
    }

    async fn leave(&mut self, channel: &str) -> AtOnce {
        let Some(member) = &mut self.member else { return Ok(Err(FORBIDDEN)) };
        let left = member.leave(channel).await.map_err(|lost| closing(&lost))?;
        Ok(left.map(|channel| json!({ "ok": true, "room": channel.as_str() })))
    }
}

fn to(event: &Event) -> To {
    event.id.map_or(To::Nobody, To::Callback)
}

/// `None` for an event that is about no channel.
fn wish(event: &Event) -> Result<Option<Wish>, Refused> {
    let name = &*event.name;
    let (is_join, what) = match (name.strip_prefix("subscribe"), name.strip_prefix("unsubscribe")) {
        (Some(what), _) => (true, what),
        (None, Some(what)) => (false, what),
        (None, None) => return Ok(None),
    };
    let channel = match what {
        "" => text(event, &["channel", "room"]).ok_or(NO_CHANNEL)?,
        "_from_calls" if !is_join => "calls".to_owned(),
        "_from_call" if !is_join => room_of(event, &ROOMS[0])?,
        what => match ROOMS.iter().find(|(suffix, ..)| *suffix == what) {
            Some(room) => room_of(event, room)?,
            None => return Ok(None),
        },
    };
    if !is_join {
        return Ok(Some(Wish::Leave(channel)));
    }
    let after = event.arguments.first().and_then(|argument| position_in(argument, "after"));
    Ok(Some(Wish::Join { channel, after }))
}

fn room_of(event: &Event, (_, kind, fields): &(&str, &str, &[&str])) -> Result<String, Refused> {
    let id = text(event, fields).ok_or(NO_ID)?;
    let channel = Channel::with_id(kind, &id).map_err(|_| NO_ID)?;
    Ok(channel.as_str().to_owned())
}

/// The first argument, or one of its fields; ids may be numbers.
fn text(event: &Event, fields: &[&str]) -> Option<String> {
    let value = match event.arguments.first()? {
        Value::Object(object) => fields.iter().find_map(|field| object.get(*field))?,
        value => value,
    };
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn object(event: &Event) -> Option<&Map<String, Value>> {
    event.arguments.first()?.as_object()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, argument: Value, expected: &str) {
        let event = Event {
            name: name.to_owned(),
            arguments: vec![argument],
            attachments: Vec::new(),
            id: None,
            size: 0,
        };
        let found = match wish(&event) {
            Ok(Some(Wish::Join { channel, after })) => {
                format!("join {channel} {}", after.unwrap_or_default())
            }
            Ok(Some(Wish::Leave(channel))) => format!("leave {channel}"),
            Ok(None) => "none".to_owned(),
            Err(refused) => refused.code.to_owned(),
        };
        assert_eq!(found.trim_end(), expected);
    }

    #[test]
    fn the_applications_name_rooms_in_their_own_ways() {
        check("subscribe", json!("calls"), "join calls");
        check("subscribe", json!({ "channel": "calls", "after": "c" }), "join calls c");
        check("subscribe", json!({ "channel": "calls", "after": null }), "join calls");
        // No text is no cursor, and is not taken for nothing.
        check("subscribe", json!({ "channel": "calls", "after": 5 }), "join calls 5");
        check("subscribe", json!(null), "bad_payload");
        check("unsubscribe", json!({ "channel": "calls" }), "leave calls");
        check("subscribe_to_call", json!("CA42"), "join call:CA42");
        check("subscribe_to_call", json!({ "callSid": "CA42" }), "join call:CA42");
        check("unsubscribe_from_call", json!("CA42"), "leave call:CA42");
        check("subscribe:whatsapp", json!("a-1"), "join whatsapp:a-1");
        check("subscribe:campaign", json!({ "campaignId": 7 }), "join campaign:7");
        check("unsubscribe:contact", json!({ "contactId": "c" }), "leave contact:c");
        check("subscribe:contact", json!({}), "bad_payload");
        check("subscribe:everything", json!("x"), "none");
        check("hello", json!("x"), "none");
    }
}
