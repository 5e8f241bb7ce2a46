//! What administrators see of all gateways' connections, and what they say to a room.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::checker::{History, Start};
use crate::clients::http::{Answer, Request};
use crate::clients::socketio::SocketIo;
use crate::clients::token;
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{agent, journey};
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};

async fn status(to: SocketAddr, role: &str, path: &str) -> Answer {
    Request::get(path).bearer(&token::token(TENANT, "1", role)).send(to).await.unwrap()
}

async fn broadcast(to: SocketAddr, role: &str, body: Json) -> Answer {
    let request = Request::post("/api/ws/broadcast").bearer(&token::token(TENANT, "1", role));
    request.json(&body).send(to).await.unwrap()
}

fn stranger(history: &History) -> WebSocket {
    let own = token::token("other", "eve", "agent");
    WebSocket::new(history, "eve", &own, &["team", "system", "admin:broadcast", "user:eve"])
}

#[tokio::test]
async fn the_status_is_the_sum_over_all_gateways_of_one_tenant() {
    journey(120, async {
        let options = Options::default().two_gateways();
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let [first, second] = [platform.gateway(), platform.second_gateway()];
        let (mut ann, mut bob) = (agent(&history, "ann"), agent(&history, "bob"));
        ann.connect(first).await.unwrap();
        bob.connect(second).await.unwrap();
        ann.join("calls", Start::Now).await.unwrap();
        bob.join("calls", Start::Now).await.unwrap();
        bob.join("campaign:spring", Start::Now).await.unwrap();
        let mut eve = stranger(&history);
        eve.connect(first).await.unwrap();
        eve.join("calls", Start::Now).await.unwrap();

        for (to, path) in [(first, "/api/ws/status"), (second, "/api/ws/rooms")] {
            eventually(Duration::from_secs(10), "both gateways answer", async || {
                let seen = status(to, "agent", path).await.json();
                seen["gateways"].as_array().is_some_and(|gateways| gateways.len() == 2)
            })
            .await;
            let seen = status(to, "agent", path).await.json();
            assert_eq!(seen["totalClients"], 2, "{seen}");
            assert_eq!(seen["authenticatedClients"], 2, "{seen}");
            assert_eq!(seen["rooms"]["calls"], json!({ "clientCount": 2 }), "{seen}");
            assert_eq!(seen["rooms"]["campaign:spring"], json!({ "clientCount": 1 }), "{seen}");
            assert_eq!((&seen["silent"], &seen["complete"]), (&json!([]), &json!(true)), "{seen}");
            // Another's own channel is none that an agent may join; a connection's is nobody's.
            let rooms: Vec<_> = seen["rooms"].as_object().unwrap().keys().collect();
            assert!(
                !rooms.iter().any(|it| it.starts_with("user:") || it.starts_with("connection:"))
            );
        }
        let seen = status(first, "admin", "/api/ws/rooms").await.json();
        assert_eq!(seen["rooms"]["user:bob"], json!({ "clientCount": 1 }), "{seen}");
        let refused = status(first, "user", "/api/ws/status").await;
        assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("forbidden")));

        // A gateway that does not answer is named, and does not hold the answer up for long.
        platform.signal(Service::SecondGateway, "STOP");
        eventually(Duration::from_secs(5), "the frozen one is missed", async || {
            let seen = status(first, "agent", "/api/ws/status").await.json();
            let silent = seen["silent"].as_array().map_or(0, Vec::len);
            (&seen["totalClients"], silent, &seen["complete"]) == (&json!(1), 1, &json!(false))
        })
        .await;
        platform.signal(Service::SecondGateway, "CONT");
        eventually(Duration::from_secs(10), "it is there again", async || {
            status(first, "agent", "/api/ws/status").await.json()["totalClients"] == 2
        })
        .await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_broadcast_reaches_its_room_on_every_wire_and_gateway_and_is_kept() {
    journey(120, async {
        let options = Options::default().two_gateways();
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let [first, second] = [platform.gateway(), platform.second_gateway()];
        let mut ann = agent(&history, "ann");
        ann.connect(second).await.unwrap();
        ann.join("voice:training", Start::Now).await.unwrap();
        let own = token::token(TENANT, "bob", "agent");
        let mut bob = SocketIo::new(&history, "bob", &own, &["team", "system"]);
        bob.connect(first, json!({ "transports": ["websocket"] })).await;
        bob.request("subscribe", json!(["voice:training"])).await;
        let mut eve = stranger(&history);
        eve.connect(first).await.unwrap();
        eve.join("voice:training", Start::Now).await.unwrap();

        // A kind of the application's own.
        let said = json!({ "room": "voice:training", "type": "maintenance", "payload": { "at": "22:00" } });
        let answer = broadcast(first, "admin", said).await;
        assert_eq!((answer.status, &answer.json()["ok"]), (200, &json!(true)), "{}", answer.text());
        let frame = ann.wait_for("maintenance").await.unwrap();
        let payload = &frame["payload"];
        assert_eq!(*payload, json!({ "at": "22:00", "timestamp": payload["timestamp"] }));
        assert!(payload["timestamp"].is_string(), "{frame}");
        assert_eq!((&frame["room"], &frame["id"]), (&json!("voice:training"), &answer.json()["id"]));
        let event = bob.event("maintenance").await;
        assert_eq!(event["args"][0], *payload, "{event}");

        // A kind that the catalogue knows, in its own room.
        let said = json!({ "room": "voice:training", "type": "training:update", "payload": { "activeJobs": 5 } });
        let answer = broadcast(second, "admin", said).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let frame = ann.wait_for("training:update").await.unwrap();
        assert_eq!((&frame["payload"]["activeJobs"], &frame["data"]["activeJobs"]), (&json!(5), &json!(5)));
        assert_eq!(bob.event("training:update").await["args"][0]["activeJobs"], 5);

        // Both are in the log, as what they are.
        let page = Request::get("/v1/history?channel=voice:training").bearer(&own);
        let page = page.send(first).await.unwrap().json();
        let types: Vec<_> = page["events"].as_array().unwrap().iter().map(|it| &it["type"]).collect();
        assert_eq!(types, [&json!("broadcast.message"), &json!("training.update")], "{page}");
        assert_eq!(page["events"][0]["data"]["sentBy"], "1", "{page}");

        // Who comes back later gets it as well.
        let mut late = agent(&history, "late");
        late.connect(second).await.unwrap();
        late.join("voice:training", Start::Earliest).await.unwrap();
        assert_eq!(late.wait_for("maintenance").await.unwrap()["payload"]["at"], "22:00");

        eve.send(&json!({ "type": "ping" })).await.unwrap();
        let next = eve.next(Duration::from_secs(10)).await.unwrap();
        assert_eq!(next["type"], "pong", "another tenant hears nothing: {next}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn only_admins_name_rooms_and_nobody_speaks_for_the_platform() {
    journey(120, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let to = platform.gateway();
        let mut ann = agent(&history, "ann");
        ann.connect(to).await.unwrap();
        let said = |room: &str, kind: &str| json!({ "room": room, "type": kind, "payload": {} });
        for (role, body, status, code) in [
            ("agent", said("team", "hello"), 403, "forbidden"),
            ("service", said("team", "hello"), 403, "forbidden"),
            ("admin", said("no:such", "hello"), 403, "forbidden"),
            ("admin", said("connection:x", "hello"), 403, "forbidden"),
            ("admin", said("admin", "crisis:alert"), 403, "not_allowed"),
            ("admin", said("team", "team:activity"), 422, "invalid_data"),
            ("admin", said("team", "room_joined"), 400, "bad_type"),
            ("admin", json!({ "room": "team" }), 400, "bad_body"),
        ] {
            let answer = broadcast(to, role, body.clone()).await;
            assert_eq!(answer.status, status, "{role} {body}: {}", answer.text());
            assert_eq!(answer.json()["code"], code, "{role} {body}");
        }
        // No other way in takes one, whatever the token may publish.
        let data = json!({ "type": "hello", "payload": {}, "room": "team" });
        let event = json!({ "type": "broadcast.message", "data": data });
        let request = Request::post("/v1/events").bearer(&token::service(TENANT));
        let answer = request.json(&event).send(platform.ingest()).await.unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (403, &json!("closed_type")));

        let wrong = json!({ "room": "team", "type": "team:activity", "payload": { "userId": 1 } });
        let answer = broadcast(to, "admin", wrong).await.json();
        let place = answer["pointer"].as_str().unwrap();
        assert!(place.starts_with("/payload/"), "{answer}");

        // What a publication may leave out is filled in here as well.
        let said_to_her =
            json!({ "room": "user:ann", "type": "notification", "payload": { "message": "hi" } });
        let answer = broadcast(to, "admin", said_to_her).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let frame = ann.wait_for("notification").await.unwrap();
        assert_eq!(frame["payload"]["id"], answer.json()["id"], "{frame}");
        assert!(frame["payload"]["timestamp"].is_string(), "{frame}");

        let answer = broadcast(to, "admin", said("user:ann", "hello")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let frame = ann.wait_for("hello").await.unwrap();
        assert!(frame["room"].is_null(), "a user's own channel is no room: {frame}");
        platform.finish().await;
    })
    .await;
}
