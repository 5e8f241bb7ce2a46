//! Who is let in, what clients ask for, and what they are answered.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::{client, websocket};
use crate::checker::History;
use crate::clients::http::Request;
use crate::clients::socketio::{SocketIo, url};
use crate::clients::token::{claims, now, sign, sign_with, token};
use crate::harness::cast::{calls, journey};
use crate::harness::{TENANT, TestPlatform};

async fn refused(socket: &mut SocketIo, to: &str, token: Option<&str>, message: &str) {
    let options = json!({ "transports": ["websocket"], "reconnection": false });
    let mut line = json!({ "op": "connect", "url": to, "options": options });
    if let Some(token) = token {
        line["token"] = json!(token);
    }
    socket.tell(line).await;
    let error = socket.wait("connect_error").await;
    assert_eq!(error["message"], message, "{error}");
    assert!(error["data"]["code"].is_string(), "{error}");
}

#[tokio::test]
async fn refusals_have_the_words_that_applications_compare() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let to = url(platform.gateway());
        let mut ann = client(&history, "ann");
        refused(&mut ann, &to, None, "Authentication token required").await;
        let expired = {
            let mut claims = claims(TENANT, "ann", "agent");
            claims["exp"] = json!(now() - 5);
            sign(&claims)
        };
        let forged =
            sign_with(&claims(TENANT, "ann", "admin"), "another-key-0123456789-0123456789");
        for token in ["nonsense", &expired, &forged] {
            refused(&mut ann, &to, Some(token), "Invalid authentication token").await;
        }
        // The connection is still open: the same socket is let in with a better token.
        let good = ann.token.clone();
        ann.tell(json!({ "op": "resume", "token": good })).await;
        ann.wait("connect").await;

        // By a function, and by a header.
        let line = json!({
            "op": "connect", "socket": "b", "url": to, "token": good, "form": "function",
        });
        ann.tell(line).await;
        ann.wait("connect").await;
        let headers = json!({ "extraHeaders": { "Authorization": format!("Bearer {good}") } });
        ann.tell(json!({ "op": "connect", "socket": "c", "url": to, "options": headers })).await;
        ann.wait("connect").await;
        ann.tell(json!({ "op": "connect", "socket": "d", "url": format!("{to}/nowhere") })).await;
        let error = ann.wait("connect_error").await;
        assert_eq!(error["message"], "Invalid namespace", "{error}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_ends_with_its_token_and_is_refused_afterwards() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut ann = client(&history, "ann");
        let mut short = claims(TENANT, "ann", "agent");
        short["exp"] = json!(now() + 8);
        ann.token = sign(&short);
        ann.connect(platform.gateway(), websocket()).await;
        let newer = token(TENANT, "ann", "agent");
        let mut eve = client(&history, "ann");
        eve.token = ann.token.clone();
        eve.connect(platform.gateway(), websocket()).await;
        let answer = eve.request("token:refresh", json!([newer])).await;
        assert_eq!(answer["ok"], true, "{answer}");
        assert_eq!(ann.wait("disconnect").await["reason"], "transport close");
        let error = ann.wait("connect_error").await;
        assert_eq!(error["message"], "Invalid authentication token");
        // The other one has a newer token and stays.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(eve.request("ping", json!([])).await["ok"], true);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn rooms_are_joined_as_each_application_does_and_left_again() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut ann = client(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        for (event, argument, room) in [
            ("subscribe_to_calls", Json::Null, "calls"),
            ("subscribe_to_call", json!("CA42"), "call:CA42"),
            ("subscribe:whatsapp", json!("account-7"), "whatsapp:account-7"),
            ("subscribe:campaign", json!({ "campaignId": "c-1" }), "campaign:c-1"),
            ("subscribe:contact", json!(17), "contact:17"),
            ("subscribe", json!({ "channel": "dashboard:overview" }), "dashboard:overview"),
        ] {
            let answer = ann.request(event, json!([argument])).await;
            assert_eq!((&answer["ok"], &answer["room"]), (&json!(true), &json!(room)), "{answer}");
        }
        // The change of one call comes under both of its names.
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 1).await;
        let update = ann.event("call_update").await;
        assert_eq!(update["args"][0]["callSid"], "CA42", "{update}");
        ann.event("call_data").await;
        for (event, argument) in
            [("unsubscribe_from_calls", Json::Null), ("unsubscribe_from_call", json!("CA42"))]
        {
            let answer = ann.request(event, json!([argument])).await;
            assert_eq!(answer["ok"], true, "{answer}");
        }
        let before = ann.received.len();
        writer.publish(platform.ingest(), 3).await;
        ann.request("ping", json!([])).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        ann.request("ping", json!([])).await;
        assert_eq!(ann.received.len(), before, "nothing more after leaving");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_is_answered_with_its_code_or_as_an_error_event() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut ann = client(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        let binary = json!({ "binary": "AQIDBA==" });
        for (event, argument, code) in [
            ("subscribe", json!("admin"), "forbidden"),
            ("subscribe", json!("no:such:channel"), "forbidden"),
            ("subscribe", json!(null), "bad_payload"),
            ("ack", json!("no cursor"), "bad_cursor"),
            ("publish", json!({ "type": "crisis.alert", "data": {} }), "not_allowed"),
            ("publish", json!({ "type": "no.such", "data": {} }), "unknown_type"),
            ("conversation:message", json!("hello"), "no_conversation"),
            ("admin:assign_crisis", json!({ "alert": "c-9-1" }), "invalid_data"),
            ("voice:data", binary.clone(), "no_conversation"),
            ("hello", binary, "unknown_event"),
        ] {
            let answer = ann.request(event, json!([argument])).await;
            assert_eq!(answer["ok"], false, "{event}: {answer}");
            assert_eq!(answer["code"], code, "{event}: {answer}");
            assert!(answer["message"].is_string(), "{event}: {answer}");
        }
        ann.emit("subscribe", json!(["admin"])).await;
        let error = ann.event("error").await;
        assert_eq!(error["args"][0]["code"], "forbidden", "{error}");

        ann.emit("ping", json!([])).await;
        let pong = ann.event("pong").await;
        assert!(pong["args"][0]["timestamp"].as_i64().unwrap() > 1_600_000_000_000, "{pong}");
        let cursor = ann.cursor.clone().unwrap();
        let answer = ann.request("ack", json!([cursor])).await;
        assert_eq!(answer["ok"], true, "{answer}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_sends_too_much_is_refused_and_then_closed() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut ann = client(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        ann.tell(json!({ "op": "hold" })).await;
        ann.tell(json!({ "op": "flood", "name": "ping", "count": 5_000 })).await;
        let error = ann.event("error").await;
        assert_eq!(error["args"][0]["code"], "rate_limited", "{error}");
        assert_eq!(ann.wait("disconnect").await["reason"], "transport close");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn bytes_reach_clients_as_bytes_whatever_carries_them() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let (mut ann, mut bob) = (client(&history, "ann"), client(&history, "bob"));
        ann.connect(platform.gateway(), websocket()).await;
        bob.connect(platform.gateway(), json!({ "transports": ["polling"] })).await;
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "sound-1"),
            ("ce-source", "voice"),
            ("ce-type", "voice.audio"),
            ("ce-time", "2026-01-02T03:04:05.000Z"),
            ("content-type", "application/json"),
            ("tl-version", "1"),
            ("tl-channels", "team"),
            ("Nats-Msg-Id", "acme:voice:sound-1"),
        ];
        let data = json!({ "conversationId": "c-9", "data_base64": "SUQzBAA=" });
        let subject = format!("events.{TENANT}.voice.c-9.audio");
        platform.admin().await.append(&subject, &headers, &data).await;
        for client in [&mut ann, &mut bob] {
            let event = client.event("voice:audio").await;
            assert_eq!(event["args"][0], json!({ "binary": "SUQzBAA=" }), "{event}");
            assert_eq!(event["args"].as_array().unwrap().len(), 2, "{event}");
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_revoked_token_ends_connections_at_once_and_lets_nobody_in_again() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let revoked = claims(TENANT, "ann", "agent");
        let (mut ann, mut bob) = (client(&history, "ann"), client(&history, "ann"));
        for (socket, transport) in [(&mut ann, "websocket"), (&mut bob, "polling")] {
            socket.token = sign(&revoked);
            socket.connect(platform.gateway(), json!({ "transports": [transport] })).await;
        }
        let body = json!({ "jti": revoked["jti"] });
        let request = Request::post("/v1/revocations").bearer(&token(TENANT, "1", "admin"));
        let began = Instant::now();
        let answer = request.json(&body).send(platform.gateway()).await.unwrap();
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
        for socket in [&mut ann, &mut bob] {
            assert_eq!(socket.wait("disconnect").await["reason"], "transport close");
            assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
        }
        for socket in [&mut ann, &mut bob] {
            let error = socket.wait("connect_error").await;
            assert_eq!(error["message"], "Invalid authentication token", "{error}");
            assert_eq!(error["data"]["code"], "token_revoked", "{error}");
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_repeats_until_it_is_acknowledged_goes_on() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut ann = client(&history, "ann");
        let options = json!({ "transports": ["websocket"], "retries": 3, "ackTimeout": 2_000 });
        ann.connect(platform.gateway(), options).await;
        // Each waits in the client's queue until the one before was acknowledged.
        ann.emit("subscribe:whatsapp", json!(["a-1"])).await;
        ann.emit("subscribe", json!(["admin"])).await;
        ann.emit("subscribe_to_call", json!(["CA42"])).await;
        let answer = ann.request("unsubscribe", json!(["call:CA42"])).await;
        assert!(answer.is_null(), "{answer}");
        calls(&history, "w").publish(platform.ingest(), 1).await;
        ann.drain().await;
        assert_eq!(ann.received, []);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_publishes_and_another_joins_from_where_it_asks() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut backend = client(&history, "backend");
        let mut rights = claims(TENANT, "backend", "service");
        rights["publish"] = json!(["team.activity"]);
        backend.token = sign(&rights);
        backend.connect(platform.gateway(), websocket()).await;
        let mut ann = client(&history, "ann");
        ann.connect(platform.gateway(), json!({})).await;
        let activity = json!({ "activity": {
            "userId": "7", "userName": "Maya", "action": "created", "resource": "Campaign",
        } });
        let publication = json!({ "type": "team:activity", "data": activity, "id": "a-1" });
        for _ in 0..2 {
            // Repeated with its id, it is stored once.
            let answer = backend.request("publish", json!([publication])).await;
            assert_eq!((&answer["ok"], &answer["id"]), (&json!(true), &json!("a-1")), "{answer}");
        }
        let event = ann.event("team:activity").await;
        assert_eq!(event["args"][0]["activity"], activity["activity"], "{event}");

        calls(&history, "w").publish(platform.ingest(), 3).await;
        let asked = json!([{ "channel": "calls", "after": "earliest" }]);
        let answer = ann.request("subscribe", asked).await;
        assert_eq!((&answer["ok"], &answer["recovered"]), (&json!(true), &json!(true)), "{answer}");
        ann.receive(3).await;
        ann.drain().await;
        assert_eq!((ann.received.len(), ann.unread("team:activity")), (3, 0));
        platform.finish().await;
    })
    .await;
}
