//! What is wrong is said to be wrong, on every wire in the same way, and nothing that a client brings is passed over.

use futures_util::SinkExt as _;
use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::Message;

use crate::checker::History;
use crate::clients::http::Request;
use crate::clients::socketio::SocketIo;
use crate::clients::token::{service, token};
use crate::clients::websocket::{WebSocket, handshake, handshake_with};
use crate::harness::cast::{admin, agent, journey};
use crate::harness::{TENANT, TestPlatform};

async fn get(platform: &TestPlatform, role: &str, target: &str) -> (u16, Json) {
    let request = Request::get(target).bearer(&token(TENANT, "boss", role));
    let answer = request.send(platform.gateway()).await.unwrap();
    (answer.status, answer.json())
}

/// A socket that has not said who it is.
async fn nobody(platform: &TestPlatform, history: &History) -> WebSocket {
    let mut socket = agent(history, "ann");
    let mut bare = handshake(platform.gateway(), "/ws").await.unwrap();
    bare.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    socket.adopt(bare);
    socket
}

/// What Socket.IO answers to a CONNECT with this, by polling as it stands in its protocol.
async fn connect(platform: &TestPlatform, auth: &Json) -> String {
    let to = platform.gateway();
    let path = "/socket.io/?EIO=4&transport=polling";
    let open = Request::get(path).send(to).await.unwrap().text();
    let open: Json = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    let path = format!("{path}&sid={}", open["sid"].as_str().unwrap());
    let sent = Request::post(&path).body("text/plain", format!("40{auth}")).send(to).await;
    assert_eq!(sent.unwrap().status, 200);
    Request::get(&path).send(to).await.unwrap().text()
}

#[tokio::test]
async fn a_device_with_a_name_that_is_too_long_is_refused_on_every_wire() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let to = platform.gateway();
        let own = token(TENANT, "ann", "agent");
        let (longest, longer) = ("ä".repeat(200), "x".repeat(201));

        // In the address there is no connection to say it on.
        assert!(handshake_with(to, &format!("/ws?device={longer}"), &[]).await.is_err());
        let mut socket = nobody(&platform, &history).await;
        let auth = json!({ "token": own, "device": longer });
        let refused = socket.request("auth", auth).await.unwrap();
        assert_eq!(refused["payload"]["code"], "bad_device", "{refused}");
        // The connection is still there, for a name that fits.
        let auth = json!({ "token": own, "device": longest });
        let answer = socket.request("auth", auth).await.unwrap();
        assert_eq!(answer["payload"]["device"], longest, "{answer}");

        let refused = connect(&platform, &json!({ "token": own, "device": longer })).await;
        assert!(refused.starts_with("44") && refused.contains("bad_device"), "{refused}");
        let ready = connect(&platform, &json!({ "token": own, "device": longest })).await;
        assert!(ready.starts_with("40"), "{ready}");

        let (status, body) = get(&platform, "agent", &format!("/sse?device={longer}")).await;
        assert_eq!((status, &body["code"]), (400, &json!("bad_device")));
        let ack = json!({ "device": longer, "cursor": "x", "channels": ["calls"] });
        let ack = Request::post("/v1/acks").bearer(&own).json(&ack).send(to).await.unwrap();
        assert_eq!((ack.status, &ack.json()["code"]), (400, &json!("bad_device")));
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_credential_that_is_refused_is_answered_to_who_asked() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = nobody(&platform, &history).await;
        let refused = socket.request("auth", json!({ "token": "nonsense" })).await.unwrap();
        assert_eq!(refused["payload"]["code"], "token_invalid", "{refused}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn bytes_of_who_has_not_said_who_it_is_get_the_answer_that_everything_else_gets() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = nobody(&platform, &history).await;
        let answer = socket.wait_for("error").await.unwrap();
        assert_eq!(answer["payload"]["code"], "unauthenticated", "{answer}");
        let auth = json!({ "token": token(TENANT, "ann", "agent") });
        assert_eq!(socket.request("auth", auth).await.unwrap()["type"], "ack");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_id_that_is_no_text_is_refused_and_not_forgotten() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = admin(&history, "boss");
        socket.connect(platform.gateway()).await.unwrap();
        let activity =
            json!({ "userId": "boss", "userName": "Boss", "action": "x", "resource": "y" });
        let data = json!({ "activity": activity });
        let said = |id: Json| json!({ "type": "team.activity", "data": data, "id": id });
        for id in [json!(7), json!({}), json!(""), json!("x".repeat(513))] {
            let refused = socket.request("publish", said(id.clone())).await.unwrap();
            assert_eq!(refused["payload"]["code"], "invalid_attribute", "{id}: {refused}");
        }
        for id in [json!("own-1"), Json::Null] {
            let stored = socket.request("publish", said(id.clone())).await.unwrap();
            assert_eq!(stored["type"], "ack", "{id}: {stored}");
        }
        // As over HTTP.
        let request = Request::post("/v1/events").bearer(&service(TENANT)).json(&said(json!(7)));
        let answer = request.send(platform.ingest()).await.unwrap();
        assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("invalid_attribute")));
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_position_that_is_no_text_is_a_gap_and_not_nothing() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        for (room, after) in [("calls", json!(5)), ("call:CA1", json!({}))] {
            let join = json!({ "room": room, "after": after });
            let answer = socket.request("join", join).await.unwrap();
            assert_eq!(answer["payload"]["recovered"], false, "{answer}");
            let gap = socket.gaps.pop().unwrap();
            assert_eq!(gap, json!({ "channels": [room], "reason": "unknown_position" }));
        }
        let mut back = nobody(&platform, &history).await;
        let auth = json!({ "token": token(TENANT, "ann", "agent"), "cursor": 5 });
        back.send(&json!({ "type": "auth", "payload": auth })).await.unwrap();
        let gap = back.wait_for("gap").await.unwrap();
        assert_eq!(gap["payload"]["reason"], "unknown_position", "{gap}");

        let own = token(TENANT, "bob", "agent");
        let automatic = ["team", "system", "admin:broadcast", "user:bob"];
        let mut bob = SocketIo::new(&history, "bob", &own, &automatic);
        bob.connect(platform.gateway(), json!({ "transports": ["websocket"] })).await;
        let join = json!([{ "channel": "calls", "after": 5 }]);
        assert_eq!(bob.request("subscribe", join).await["recovered"], false);
        let gap = bob.event("throughline:gap").await;
        assert_eq!(gap["args"][0]["reason"], "unknown_position", "{gap}");

        // Half of a character, as JavaScript writes it, costs nobody the connection.
        let text = "{\"type\":\"ping\",\"payload\":{\"text\":\"\\ud83d\"},\"id\":\"half\"}";
        socket.send_text(text.to_owned()).await.unwrap();
        let answer = socket.wait(|frame| frame["ref"] == "half").await.unwrap();
        assert_eq!(answer["type"], "ack", "{answer}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_told_so() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        for target in ["/v1/quarantine/abc", "/v1/quarantine/9999"] {
            let (status, body) = get(&platform, "admin", target).await;
            assert_eq!((status, &body["code"]), (404, &json!("not_found")), "{target}");
        }
        let (status, body) = get(&platform, "admin", "/v1/quarantine?after=abc").await;
        assert_eq!((status, &body["code"]), (400, &json!("bad_query")));
        for since in ["garbage", "2026-13-01", "2026-01-02x", "20260102"] {
            let (status, body) =
                get(&platform, "agent", &format!("/v1/views/metrics?startDate={since}")).await;
            assert_eq!((status, &body["code"]), (400, &json!("bad_query")), "{since}");
            assert!(body["detail"].as_str().unwrap().contains("2026-01-02"), "{body}");
        }
        for since in ["2026-01-02", "2026-01-02T10:00:00.000Z", ""] {
            let target = format!("/v1/views/metrics?startDate={since}");
            assert_eq!(get(&platform, "agent", &target).await.0, 200, "{since}");
        }
        let unknown = "A".repeat(120);
        for target in
            [&*format!("/v1/views/calls?at={unknown}"), "/v1/history?channel=calls&after=nonsense"]
        {
            let (status, body) = get(&platform, "agent", target).await;
            assert_eq!((status, &body["code"]), (410, &json!("gap")), "{target}");
            assert_eq!(body["reason"], "unknown_position", "{target}: {body}");
        }
        platform.finish().await;
    })
    .await;
}
