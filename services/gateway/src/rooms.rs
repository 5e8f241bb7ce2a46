//! What a client wants with a channel, in each of the ways in which the applications say so. Pure.

use domain::Channel;
use serde_json::Value;

use crate::edge::Refused;
use crate::member::position_in;

pub(crate) const NO_CHANNEL: Refused =
    Refused::new("bad_payload", "Name a channel: \"calls\" or {\"channel\":\"calls\"}.");
const NO_ID: Refused =
    Refused::new("bad_payload", "Name what it is about: its id, or an object that holds it.");

const TOO_LONG: Refused =
    Refused::new("bad_payload", "The id is too long: use one of at most 160 characters.");

/// Rooms that the applications name by an id of their own.
const ROOMS: [(&str, &str, &[&str]); 4] = [
    ("_to_call", "call", &["callSid", "sid", "id"]),
    (":whatsapp", "whatsapp", &["accountId", "whatsappAccountId", "id"]),
    (":campaign", "campaign", &["campaignId", "id"]),
    (":contact", "contact", &["contactId", "id"]),
];

pub(crate) enum Wish {
    Join { channel: String, after: Option<String> },
    Leave(String),
}

/// `None` for an event that is about no channel.
pub(crate) fn wish(name: &str, argument: Option<&Value>) -> Result<Option<Wish>, Refused> {
    let (is_join, what) = match (name.strip_prefix("subscribe"), name.strip_prefix("unsubscribe")) {
        (Some(what), _) => (true, what),
        (None, Some(what)) => (false, what),
        (None, None) => return Ok(None),
    };
    let channel = match what {
        "" => text(argument, &["channel", "room"]).ok_or(NO_CHANNEL)?,
        "_from_calls" if !is_join => "calls".to_owned(),
        "_from_call" if !is_join => room_of(argument, &ROOMS[0])?,
        what => match ROOMS.iter().find(|(suffix, ..)| *suffix == what) {
            Some(room) => room_of(argument, room)?,
            None => return Ok(None),
        },
    };
    if !is_join {
        return Ok(Some(Wish::Leave(channel)));
    }
    let after = argument.and_then(|argument| position_in(argument, "after"));
    Ok(Some(Wish::Join { channel, after }))
}

fn room_of(
    argument: Option<&Value>,
    (_, kind, fields): &(&str, &str, &[&str]),
) -> Result<String, Refused> {
    let id = text(argument, fields).filter(|id| !id.is_empty()).ok_or(NO_ID)?;
    let channel = Channel::with_id(kind, &id).map_err(|_| TOO_LONG)?;
    Ok(channel.as_str().to_owned())
}

/// The argument, or one of its fields; ids may be numbers.
pub(crate) fn text(argument: Option<&Value>, fields: &[&str]) -> Option<String> {
    let value = match argument? {
        Value::Object(object) => fields.iter().find_map(|field| object.get(*field))?,
        value => value,
    };
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(name: &str, argument: Value, expected: &str) {
        let found = match wish(name, Some(&argument)) {
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

    #[test]
    fn an_id_that_is_too_long_is_not_called_a_missing_one() {
        let told = |id: &str| match wish("subscribe:contact", Some(&json!(id))) {
            Err(refused) => refused.message,
            Ok(_) => "",
        };
        assert_eq!(told(""), NO_ID.message);
        assert_eq!(told(&"x".repeat(200)), TOO_LONG.message);
    }
}
