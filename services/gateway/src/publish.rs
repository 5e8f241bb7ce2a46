//! What clients publish: checked here so that they are told at once, stored in the inbox, admitted by the write side.

use domain::catalogue::{Admitted, Defaults, Publication, Refusal};
use domain::envelope::header;
use domain::protection::subjects_in;
use domain::{Channel, Envelope, Identity, Tenant, subject};
use runtime::event_log::Append;
use runtime::{clock, ids};
use serde_json::{Value, json};
use tracing::debug;

use crate::edge::{Refused, Shared, UNAVAILABLE};
use crate::wires::websocket::Request;

/// The event that holds a message of a kind the platform does not know.
const CUSTOM: &str = "custom.message";

const UNKNOWN_TYPE: Refused =
    Refused::new("unknown_type", "No event of this type is in the catalogue; see docs/EVENTS.md.");
pub(crate) const NOT_ALLOWED: Refused = Refused::new(
    "not_allowed",
    "Your token may not publish this type; ask for one whose role or `publish` claim allows it.",
);
pub(crate) const INVALID: Refused =
    Refused::new("invalid_data", "The data does not fit the type's schema; see docs/EVENTS.md.");
const BAD_ATTRIBUTE: Refused = Refused::new(
    "invalid_attribute",
    "An id is a string of 1 to 512 bytes without control characters; leave it out to have one made.",
);
const NO_TYPE: Refused = Refused::new(
    "bad_payload",
    "Publish with {\"type\":\"…\",\"data\":{…}}; `id` makes it idempotent.",
);

/// `publish`, or any other type of message, which becomes a [`CUSTOM`] event.
pub(crate) async fn from_socket(
    edge: &Shared,
    identity: &Identity,
    client_id: &str,
    request: &Request,
) -> Result<Value, Refused> {
    if request.kind == "publish" {
        let event_type = request.field("type").ok_or(NO_TYPE)?;
        let data = request.payload.get("data").cloned().unwrap_or_else(|| json!({}));
        let id = match request.payload.get("id") {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) => Some(id.clone()),
            // Without its id a repeat would be stored twice.
            Some(_) => return Err(BAD_ATTRIBUTE),
        };
        return publish(edge, identity, event_type, data, id).await;
    }
    let data = json!({
        "clientId": client_id,
        "userId": &*identity.user,
        "type": request.kind,
        "payload": request.payload,
    });
    publish(edge, identity, CUSTOM, data, None).await
}

/// Stored in the inbox when this returns.
async fn publish(
    edge: &Shared,
    identity: &Identity,
    event_type: &str,
    data: Value,
    id: Option<String>,
) -> Result<Value, Refused> {
    let known = edge.catalogue.resolve(event_type).ok_or(UNKNOWN_TYPE)?;
    if !edge.catalogue.may_publish(identity, known) {
        return Err(NOT_ALLOWED);
    }
    let source = format!("/clients/{}", identity.user);
    let mut publication = Publication::new(&known.name, source, data);
    publication.id = id;
    let defaults = Defaults { id: ids::ordered(), now: clock::now() };
    let admitted = edge.catalogue.admit(&identity.tenant, publication, defaults);
    let admitted = admitted.map_err(|refusal| refuse(&refusal))?;
    let id = store(edge, admitted, None).await?;
    Ok(json!({ "ok": true, "id": id }))
}

/// Has on record what an administrator did, as an event that nobody else may publish.
pub(crate) async fn record(
    edge: &Shared,
    tenant: &Tenant,
    event_type: &str,
    source: String,
    data: Value,
) -> Result<(), Refused> {
    let publication = Publication::new(event_type, source, data);
    let defaults = Defaults { id: ids::ordered(), now: clock::now() };
    let admitted = edge.catalogue.admit_own(tenant, publication, defaults);
    let admitted = admitted.map_err(|refusal| {
        debug!(%refusal, event_type, "what was done cannot be recorded");
        INVALID
    })?;
    store(edge, admitted, None).await.map(drop)
}

/// Hands an event to the write side, or to who is there if it is ephemeral; returns its id. The room is that of an
/// administrator's broadcast.
pub(crate) async fn store(
    edge: &Shared,
    mut admitted: Admitted,
    room: Option<&Channel>,
) -> Result<String, Refused> {
    let id = admitted.envelope.id.clone();
    if admitted.stream.is_none() {
        let headers = admitted.envelope.headers();
        let sent = edge.nats.publish(admitted.subject.as_str(), &headers, admitted.envelope.data);
        sent.await.map_err(|_| UNAVAILABLE)?;
        return Ok(id);
    }
    seal(edge, &mut admitted.envelope).await?;
    edge.nats.event_log().append(to_inbox(admitted, room)).await.map_err(|_| UNAVAILABLE)?;
    Ok(id)
}

/// What is personal enters no stream in the clear, the inbox neither. Nobody outside has a key: what looks sealed was
/// copied from somewhere.
async fn seal(edge: &Shared, envelope: &mut Envelope) -> Result<(), Refused> {
    if subjects_in(&envelope.data, &envelope.tenant).next().is_some() {
        return Err(INVALID);
    }
    let kind = edge.catalogue.by_type(&envelope.event_type);
    let protection = kind.and_then(|kind| edge.catalogue.protection(&envelope.tenant, kind));
    let Some(protection) = protection else { return Ok(()) };
    edge.vault.seal_event(envelope, protection).await.map_err(|_| UNAVAILABLE)
}

/// The write side decides the channels again, so they do not travel.
fn to_inbox(admitted: Admitted, room: Option<&Channel>) -> Append {
    let headers = admitted.envelope.headers();
    let kept = headers
        .into_iter()
        .filter(|(name, _)| ![header::CHANNELS, header::DELIVERY, header::VERSION].contains(name));
    let room = room.map(|room| (header::ROOM, room.as_str().to_owned()));
    Append {
        subject: subject::publication(&admitted.subject),
        message_id: admitted.message_id,
        headers: kept.chain(room).collect(),
        payload: admitted.envelope.data,
        expect: None,
    }
}

fn refuse(refusal: &Refusal) -> Refused {
    match refusal {
        Refusal::UnknownType(_) => UNKNOWN_TYPE,
        Refusal::Closed(_) => NOT_ALLOWED,
        Refusal::BadAttribute(_) => BAD_ATTRIBUTE,
        _ => INVALID,
    }
}
