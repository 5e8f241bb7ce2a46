//! What a client may ask for by an event, and the answers: through its callback, or as events of the connection.

use domain::Channel;
use runtime::clock;
use serde_json::{Map, Value, json};

use super::platform::{Platform, closing};
use super::{Closing, Outbox};
use crate::edge::{FORBIDDEN, Refused};
use crate::line::GapReason;
use crate::member::Joined;
use crate::publish;
use crate::signals;
use crate::throttle::Verdict;
use crate::wires::socketio::{Event, MAIN};
use crate::wires::websocket::Request;

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

/// Rooms that the applications name by an id of their own.
const ROOMS: [(&str, &str, &[&str]); 4] = [
    ("_to_call", "call", &["callSid", "sid", "id"]),
    (":whatsapp", "whatsapp", &["accountId", "whatsappAccountId", "id"]),
    (":campaign", "campaign", &["campaignId", "id"]),
    (":contact", "contact", &["contactId", "id"]),
];

/// What a request comes to: the payload of its answer, or a refusal; or the connection ends.
type Answer = Result<Result<Value, Refused>, Closing>;

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
        let (id, answer) = (event.id, self.admit(event, outbox).await?);
        match (answer, id) {
            (Ok(payload), Some(id)) => outbox.ack(MAIN, id, &[payload], &[]),
            (Ok(_), None) => {}
            (Err(refused), Some(id)) => {
                let Refused { code, message } = refused;
                let payload = json!({ "ok": false, "code": code, "message": message });
                outbox.ack(MAIN, id, &[payload], &[]);
            }
            (Err(refused), None) => {
                let payload = json!({ "message": refused.message, "code": refused.code });
                self.emit("error", &payload, outbox);
            }
        }
        Ok(())
    }

    async fn admit(&mut self, event: Event, outbox: &mut Outbox) -> Answer {
        match self.throttle.take() {
            Verdict::Accept => {}
            Verdict::Refuse => return Ok(Err(RATE_LIMITED)),
            Verdict::End => return Err(Closing::ForcedServerClose),
        }
        // Authority is looked at with each request, not only when it was given.
        if let Some(member) = &mut self.member {
            member.check_identity().map_err(|lost| closing(&lost))?;
        }
        if event.size > self.edge.limits.message_bytes && event.name != "voice:data" {
            return Ok(Err(TOO_LARGE));
        }
        self.answer(&event, outbox).await
    }

    async fn answer(&mut self, event: &Event, outbox: &mut Outbox) -> Answer {
        match &*event.name {
            "ping" => Ok(Ok(self.pong(event, outbox))),
            "ack" => self.acknowledge(event).await,
            "token:refresh" => self.refresh(event, outbox).await,
            "publish" => self.publish(event).await,
            name if signals::NAMES.contains(&name) => self.signal(event).await,
            name if publish::COMMANDS.contains(&name) => Ok(Err(publish::NOT_AVAILABLE)),
            _ => match wish(event) {
                Ok(Some(Wish::Join { channel, after })) => {
                    self.join(&channel, after.as_deref(), outbox).await
                }
                Ok(Some(Wish::Leave(channel))) => self.leave(&channel).await,
                Ok(None) => Ok(Err(UNKNOWN_EVENT)),
                Err(refused) => Ok(Err(refused)),
            },
        }
    }

    async fn signal(&mut self, event: &Event) -> Answer {
        let Some(member) = &self.member else { return Ok(Err(FORBIDDEN)) };
        let payload = event.arguments.first().unwrap_or(&Value::Null);
        Ok(signals::answer(&self.edge, member, &event.name, payload).await)
    }

    fn pong(&mut self, event: &Event, outbox: &mut Outbox) -> Value {
        let timestamp = clock::unix_millis();
        if event.id.is_none() {
            self.emit("pong", &json!({ "timestamp": timestamp }), outbox);
        }
        json!({ "ok": true, "timestamp": timestamp })
    }

    /// Stored before it is answered, so that the device goes on from there wherever it comes back.
    async fn acknowledge(&mut self, event: &Event) -> Answer {
        let Some(member) = &mut self.member else { return Ok(Err(FORBIDDEN)) };
        let Some(cursor) = text(event, &["cursor"]) else { return Ok(Err(NO_CURSOR)) };
        let stored = member.acknowledge(&cursor).await;
        Ok(stored.map(|()| json!({ "ok": true, "cursor": cursor })))
    }

    /// A newer token of the same user keeps the connection open.
    async fn refresh(&mut self, event: &Event, outbox: &mut Outbox) -> Answer {
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

    async fn publish(&mut self, event: &Event) -> Answer {
        let Some(member) = &self.member else { return Ok(Err(FORBIDDEN)) };
        let request = Request {
            kind: "publish".to_owned(),
            payload: event.arguments.first().cloned().unwrap_or_default(),
            reference: None,
        };
        let (identity, id) = (&member.identity, &member.client_id);
        Ok(publish::from_socket(&self.edge, identity, id, &request).await)
    }

    async fn join(&mut self, channel: &str, after: Option<&str>, outbox: &mut Outbox) -> Answer {
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

    async fn leave(&mut self, channel: &str) -> Answer {
        let Some(member) = &mut self.member else { return Ok(Err(FORBIDDEN)) };
        let left = member.leave(channel).await.map_err(|lost| closing(&lost))?;
        Ok(left.map(|channel| json!({ "ok": true, "room": channel.as_str() })))
    }
}

/// `None` for an event that is about no channel.
fn wish(event: &Event) -> Result<Option<Wish>, Refused> {
    let name = &*event.name;
    if name == "subscribe_to_calls" {
        return Ok(Some(Wish::Join { channel: "calls".to_owned(), after: None }));
    }
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
    let after = object(event).and_then(|fields| fields.get("after")?.as_str());
    Ok(Some(Wish::Join { channel, after: after.map(str::to_owned) }))
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
        check("subscribe", json!(null), "bad_payload");
        check("unsubscribe", json!({ "channel": "calls" }), "leave calls");
        check("subscribe_to_calls", json!(null), "join calls");
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
