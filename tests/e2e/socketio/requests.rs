//! Who is let in, what clients ask for, and what they are answered.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{client, websocket};
use crate::checker::History;
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
        short["exp"] = json!(now() + 3);
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
            [("unsubscribe", json!("calls")), ("unsubscribe_from_call", json!("CA42"))]
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
            ("conversation:start", json!({ "avatarId": "a" }), "not_available"),
            ("voice:data", binary.clone(), "not_available"),
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
        for _ in 0..400 {
            ann.emit("ping", json!([])).await;
        }
        let error = ann.event("error").await;
        assert_eq!(error["args"][0]["code"], "rate_limited", "{error}");
        assert_eq!(ann.wait("disconnect").await["reason"], "transport close");
        platform.finish().await;
    })
    .await;
}
