//! What clients ask of each other's presence and tell of themselves, whatever their wire. Nothing of it is stored.

use domain::Channel;
use serde_json::{Value, json};

use crate::edge::{FORBIDDEN, Refused, Shared};
use crate::member::Member;
use crate::rooms::NO_CHANNEL;

/// The requests that are served here.
pub(crate) const NAMES: [&str; 3] = ["presence:list", "typing:start", "typing:stop"];

const NO_CONTACT: Refused = Refused::new(
    "bad_payload",
    "Name the contact: {\"contactId\":\"…\",\"whatsappAccountId\":\"…\"}.",
);

/// One of [`NAMES`] with its payload: an object, or the bare value of its first field.
pub(crate) async fn answer(
    edge: &Shared,
    member: &Member,
    name: &str,
    payload: &Value,
) -> Result<Value, Refused> {
    match name {
        "presence:list" => list(edge, member, payload).await,
        "typing:start" => typing(edge, member, payload, true),
        _ => typing(edge, member, payload, false),
    }
}

/// Who may join a channel may see who is in it; who is in it is told from now on what changes.
async fn list(edge: &Shared, member: &Member, payload: &Value) -> Result<Value, Refused> {
    let asked = text(payload, &["channel", "room"]).ok_or(NO_CHANNEL)?;
    let channel = edge.authorise(&member.identity, &asked)?;
    let own = Channel::with_id("connection", &member.client_id).ok();
    let attendant = member.line.attendant().filter(|_| member.line.session().has(&channel));
    let follower = attendant.map(|attendant| attendant.id).zip(own);
    let tenant = &member.identity.tenant;
    let listing = edge.presence.list(edge, &channel, tenant, follower).await?;
    Ok(listing.answer(&channel))
}

fn typing(
    edge: &Shared,
    member: &Member,
    payload: &Value,
    is_typing: bool,
) -> Result<Value, Refused> {
    let contact = text(payload, &["contactId", "id"]).ok_or(NO_CONTACT)?;
    let channel = Channel::with_id("contact", &contact).map_err(|_| NO_CONTACT)?;
    edge.authorise(&member.identity, channel.as_str())?;
    let connection = member.line.attendant().ok_or(FORBIDDEN)?.id;
    let account = payload.get("whatsappAccountId").and_then(id_of);
    if is_typing {
        edge.typing.start(&member.identity, &contact, account.as_deref(), connection)?;
    } else {
        edge.typing.stop(&member.identity, &contact, connection)?;
    }
    Ok(json!({ "ok": true }))
}

/// The payload itself, or one of its fields; ids may be numbers.
fn text(payload: &Value, fields: &[&str]) -> Option<String> {
    match payload {
        Value::Object(object) => fields.iter().find_map(|field| id_of(object.get(*field)?)),
        value => id_of(value),
    }
}

fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
