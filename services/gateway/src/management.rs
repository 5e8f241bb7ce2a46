//! Who is connected to any gateway, and messages of administrators to a room.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use domain::catalogue::{Admitted, Catalogue, Defaults, Publication, Violation, timestamped};
use domain::{Channel, Identity, Role};
use runtime::http::Problem;
use runtime::{clock, ids};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::admin::{admin, identify, read};
use crate::edge::{Edge, Refused, Shared};
use crate::presence::Tally;
use crate::problems;
use crate::publish::{INVALID, NOT_ALLOWED, store};

/// The event that holds a message of a kind the catalogue does not know.
const MESSAGE: &str = "broadcast.message";
/// The longest name of a message's type.
const LONGEST_TYPE: usize = 128;
/// Names that a Socket.IO client raises itself.
const LIBRARY_NAMES: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

const BAD_TYPE: Refused = Refused::new(
    "bad_type",
    "The type is 1 to 128 characters, none of them a control character, and no name that sessions use themselves.",
);

/// `GET /api/ws/status` and `GET /api/ws/rooms`: one tenant's connections at all gateways.
pub(crate) async fn status(
    State(edge): State<Edge>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Response> {
    let identity = identify(&edge, &headers, &uri).await?;
    if !matches!(identity.role, Role::Agent | Role::Admin) {
        let detail = "This needs the role agent or admin.";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into_response());
    }
    let tally = edge.presence.tally(&identity.tenant).await;
    Ok(Json(summary(&edge.catalogue, &identity, &tally)).into_response())
}

/// The rooms that the caller may join; a connection's own is its client's secret.
fn summary(catalogue: &Catalogue, identity: &Identity, tally: &Tally) -> Value {
    let mut rooms: BTreeMap<&str, u64> = BTreeMap::new();
    for (room, count) in tally.gateways.iter().flat_map(|gateway| &gateway.rooms) {
        let may_see = Channel::parse(room).is_ok_and(|room| catalogue.may_join(identity, &room));
        if may_see {
            *rooms.entry(room).or_default() += count;
        }
    }
    let rooms: Map<String, Value> = rooms
        .into_iter()
        .map(|(room, count)| (room.to_owned(), json!({ "clientCount": count })))
        .collect();
    let clients: u64 = tally.gateways.iter().map(|gateway| gateway.clients).sum();
    let authenticated: u64 = tally.gateways.iter().map(|gateway| gateway.authenticated).sum();
    let gateways = tally.gateways.iter();
    let gateways: Vec<_> =
        gateways.map(|it| json!({ "id": &*it.node, "clients": it.clients })).collect();
    let silent: Vec<_> = tally.silent.iter().map(|node| &**node).collect();
    json!({
        "totalClients": clients,
        "authenticatedClients": authenticated,
        "connected": clients,
        "rooms": rooms,
        "gateways": gateways,
        "silent": silent,
        "complete": silent.is_empty() && !tally.gateways.iter().any(|gateway| gateway.more),
    })
}

#[derive(Debug, Deserialize)]
struct Broadcast {
    room: String,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default, alias = "data")]
    payload: Value,
}

/// `POST /api/ws/broadcast` `{room, type, payload}`: stored when it is answered, and given to who is in the room.
pub(crate) async fn broadcast(
    State(edge): State<Edge>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Response> {
    let identity = admin(&edge, &headers, &uri).await?;
    let asked: Broadcast = read(&edge, body).await?;
    match send(&edge, &identity, asked).await {
        Ok(answer) => Ok(Json(answer).into_response()),
        Err(problem) => Err(problem.into_response()),
    }
}

async fn send(edge: &Shared, identity: &Identity, asked: Broadcast) -> Result<Value, Problem> {
    let room = edge.authorise(identity, &asked.room).map_err(problem)?;
    let admitted = admit(&edge.catalogue, identity, &room, asked).map_err(|problem| *problem)?;
    let named = (admitted.envelope.event_type == MESSAGE).then_some(&room);
    let id = store(edge, admitted, named).await.map_err(problem)?;
    Ok(json!({ "ok": true, "id": id, "room": room.as_str() }))
}

fn problem(refused: Refused) -> Problem {
    match refused.code {
        code if code == NOT_ALLOWED.code => {
            Problem::new(StatusCode::FORBIDDEN, code, refused.message)
        }
        code if code == INVALID.code => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, refused.message)
        }
        _ => problems::refused(refused),
    }
}

fn invalid(violation: &Violation) -> Problem {
    let detail = format!("payload{}: {}", violation.pointer, violation.reason);
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, INVALID.code, detail);
    problem.with("pointer", format!("/payload{}", violation.pointer))
}

/// An event of the catalogue where its own channels are the room; else a message that has its name there. Either is
/// in the room as what the catalogue says of the type, completed as a publication of it is, and nothing else.
fn admit(
    catalogue: &Catalogue,
    identity: &Identity,
    room: &Channel,
    asked: Broadcast,
) -> Result<Admitted, Box<Problem>> {
    let publication = |event_type: &str, data: Value| {
        Publication::new(event_type, format!("/broadcasts/{}", identity.user), data)
    };
    let defaults = Defaults { id: ids::ordered(), now: clock::now() };
    let (name, payload) = match catalogue.resolve(&asked.event_type) {
        Some(known) if known.closed => return Err(problem(NOT_ALLOWED).into()),
        Some(known) => {
            let data = known.complete(asked.payload, &defaults.id, defaults.now);
            let data = data.map_err(|violation| invalid(&violation))?;
            let own = publication(&known.name, data.clone());
            let own = catalogue.admit(&identity.tenant, own, defaults.clone());
            match own {
                Ok(own) if own.envelope.channels.contains(room) => return Ok(own),
                Ok(_) | Err(_) => (known.wire.name_for(room).to_owned(), data),
            }
        }
        None if is_free(catalogue, &asked.event_type) => {
            (asked.event_type, timestamped(asked.payload, defaults.now))
        }
        None => return Err(problem(BAD_TYPE).into()),
    };
    let data = json!({
        "type": name,
        "payload": payload,
        "room": room.as_str(),
        "sentBy": &*identity.user,
    });
    // Closed to everybody else: the write side takes it from gateways alone.
    let admitted = catalogue.admit_own(&identity.tenant, publication(MESSAGE, data), defaults);
    admitted.map_err(|_| problem(INVALID).into())
}

/// A name that means nothing yet.
fn is_free(catalogue: &Catalogue, name: &str) -> bool {
    (1..=LONGEST_TYPE).contains(&name.len())
        && !name.chars().any(char::is_control)
        && !name.starts_with("throughline:")
        && !LIBRARY_NAMES.contains(&name)
        && !catalogue.frames().any(|frame| frame.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use domain::Tenant;

    use super::*;
    use crate::session::test_support::catalogue;

    fn admin() -> Identity {
        Identity {
            tenant: Tenant::parse("acme").unwrap(),
            user: "1".into(),
            role: Role::Admin,
            email: None,
            channels: Vec::new(),
            publish: Vec::new(),
            expires_at: None,
            token_id: None,
            application: "test".into(),
            key: 0,
        }
    }

    #[track_caller]
    fn check(
        room: &str,
        event_type: &str,
        payload: Value,
    ) -> Result<(String, Value), &'static str> {
        let room = Channel::parse(room).unwrap();
        let asked =
            Broadcast { room: room.to_string(), event_type: event_type.to_owned(), payload };
        let admitted = admit(&catalogue(), &admin(), &room, asked).map_err(|it| it.code)?;
        let envelope = admitted.envelope;
        Ok((envelope.event_type, serde_json::from_slice(&envelope.data).unwrap()))
    }

    #[test]
    fn a_known_type_in_its_own_room_is_stored_as_what_it_is() {
        let (event_type, data) =
            check("voice:training", "training:update", json!({ "activeJobs": 5 })).unwrap();
        assert_eq!((&*event_type, &data["activeJobs"]), ("training.update", &json!(5)));
    }

    #[test]
    fn anything_else_is_a_message_with_its_name() {
        let (event_type, data) = check("calls", "maintenance", json!("tonight")).unwrap();
        assert_eq!(event_type, MESSAGE);
        let expected = json!({
            "type": "maintenance", "payload": "tonight", "room": "calls", "sentBy": "1",
            "timestamp": data["timestamp"],
        });
        assert_eq!(data, expected);
        // A known type in a room that is not its own keeps its name there.
        let (event_type, data) =
            check("calls", "training.update", json!({ "activeJobs": 5 })).unwrap();
        assert_eq!((&*event_type, &data["type"]), (MESSAGE, &json!("training:update")));
    }

    #[test]
    fn what_a_publication_may_leave_out_a_broadcast_may_too() {
        // Under the same name and with the same fields, wherever it is stored.
        for (payload, stored_as) in [
            (json!({ "message": "hi", "userId": "7" }), "notification.message"),
            (json!({ "message": "hi" }), MESSAGE),
        ] {
            let (event_type, data) = check("user:7", "notification", payload).unwrap();
            assert_eq!(event_type, stored_as);
            let shown = if event_type == MESSAGE { &data["payload"] } else { &data };
            assert_eq!(shown["message"], "hi", "{data}");
            assert!(shown["id"].is_string() && shown["timestamp"].is_string(), "{data}");
        }
        let (_, data) = check("calls", "maintenance", json!({ "at": "22:00" })).unwrap();
        assert_eq!(data["payload"]["timestamp"], data["timestamp"], "{data}");
        let dated = json!({ "at": "22:00", "timestamp": "tomorrow" });
        let (_, data) = check("calls", "maintenance", dated.clone()).unwrap();
        assert_eq!(data["payload"], dated);
    }

    #[test]
    fn what_is_wrong_with_a_payload_is_named_by_its_place() {
        let violation = Violation { pointer: "/calls".into(), reason: "is required".into() };
        let body = invalid(&violation).body(None);
        assert_eq!((&body["status"], &body["pointer"]), (&json!(422), &json!("/payload/calls")));
        assert_eq!(body["detail"], "payload/calls: is required");
    }

    #[test]
    fn nobody_speaks_for_the_platform_or_in_the_names_of_sessions() {
        assert_eq!(check("admin", "crisis:alert", json!({})), Err("not_allowed"));
        assert_eq!(check("admin", "broadcast.message", json!({})), Err("not_allowed"));
        assert_eq!(
            check("voice:training", "training:update", json!({ "activeJobs": "x" })),
            Err("invalid_data")
        );
        for name in ["", "room_joined", "throughline:gap", "connect", "a\nb", &"x".repeat(129)] {
            assert_eq!(check("calls", name, json!({})), Err("bad_type"), "{name}");
        }
    }

    #[test]
    fn the_sum_of_all_gateways_shows_only_what_the_caller_may_join() {
        let gateway = |node: &str, rooms: &[(&str, u64)]| crate::presence::Connections {
            node: node.into(),
            clients: 2,
            authenticated: 1,
            rooms: rooms
                .iter()
                .map(|(room, count)| ((*room).to_owned(), *count))
                .collect::<HashMap<_, _>>(),
            more: false,
        };
        let tally = Tally {
            gateways: vec![
                gateway("a", &[("calls", 2), ("user:7", 1), ("admin", 1)]),
                gateway("b", &[("calls", 1)]),
            ],
            silent: vec!["c".into()],
        };
        let agent = Identity { role: Role::Agent, ..admin() };
        let seen = summary(&catalogue(), &agent, &tally);
        assert_eq!(seen["rooms"], json!({ "calls": { "clientCount": 3 } }));
        assert_eq!((&seen["totalClients"], &seen["authenticatedClients"]), (&json!(4), &json!(2)));
        assert_eq!((&seen["silent"], &seen["complete"]), (&json!(["c"]), &json!(false)));
        let seen = summary(&catalogue(), &admin(), &tally);
        assert_eq!(seen["rooms"]["user:7"], json!({ "clientCount": 1 }));
    }
}
