//! The frames and answers that clients of the wires rely on, one by one.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::checker::{History, Start, Value};
use crate::clients::http::{Answer, Request};
use crate::clients::publisher::Kind;
use crate::clients::token::{service, token};
use crate::clients::websocket::{WebSocket, handshake, handshake_with};
use crate::harness::cast::{agent, calls, journey, publisher, source, team};
use crate::harness::{ORIGIN, Options, TENANT, TestPlatform};

#[tokio::test]
async fn a_websocket_is_greeted_authenticated_joined_and_answered() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.adopt(handshake(platform.gateway(), "/ws").await.unwrap());
        let greeting = socket.wait_for("connection_established").await.unwrap();
        assert_eq!(greeting["payload"]["authenticated"], false, "{greeting}");
        assert!(greeting["payload"]["clientId"].is_string(), "{greeting}");
        assert!(greeting["payload"]["heartbeatMs"].is_u64(), "{greeting}");
        let token = token(TENANT, "ann", "agent");
        socket.send(&json!({ "type": "auth", "payload": { "token": token } })).await.unwrap();
        socket.wait_for("authenticated").await.unwrap();
        socket.send(&json!({ "type": "join", "payload": { "room": "calls" } })).await.unwrap();
        let joined = socket.wait_for("room_joined").await.unwrap();
        assert_eq!(joined["payload"]["room"], "calls", "{joined}");
        socket.send(&json!({ "type": "ping" })).await.unwrap();
        let pong = socket.wait_for("pong").await.unwrap();
        assert!(!pong["payload"]["timestamp"].is_null(), "{pong}");
        let answer = socket.request("join", json!({ "room": "nothing:here:x" })).await.unwrap();
        assert_eq!((&answer["type"], &answer["ref"]), (&json!("error"), &json!("r1")), "{answer}");
        assert!(answer["payload"]["code"].is_string() && answer["payload"]["message"].is_string());
        socket.send(&json!({ "type": "leave", "payload": { "room": "calls" } })).await.unwrap();
        assert_eq!(socket.wait_for("room_left").await.unwrap()["payload"]["room"], "calls");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn rooms_have_the_names_on_a_websocket_that_they_have_with_socket_io() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        for (join, leave, argument, room) in [
            ("subscribe_to_call", "unsubscribe_from_call", json!("CA7"), "call:CA7"),
            ("subscribe:whatsapp", "unsubscribe:whatsapp", json!("a"), "whatsapp:a"),
            (
                "subscribe:campaign",
                "unsubscribe:campaign",
                json!({ "campaignId": 7 }),
                "campaign:7",
            ),
            ("subscribe:contact", "unsubscribe:contact", json!("c"), "contact:c"),
        ] {
            for name in [join, leave] {
                let answer = socket.request(name, argument.clone()).await.unwrap();
                assert_eq!(answer["payload"]["room"], room, "{name}: {answer}");
            }
        }
        let answer = socket.request("voice:data", json!("AQID")).await.unwrap();
        assert_eq!(answer["payload"]["code"], "bad_payload", "{answer}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_token_is_accepted_by_header_and_query_as_well() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let token = token(TENANT, "ann", "agent");
        let query = format!("/ws?token={token}");
        let bearer = format!("Bearer {token}");
        for (path, headers) in [
            (&*query, vec![]),
            ("/ws", vec![("Authorization", &*bearer)]),
            ("/ws", vec![("Authorization", &*token)]),
            ("/ws", vec![("X-Auth-Token", &*token)]),
        ] {
            let mut socket = agent(&history, "ann");
            let opened =
                crate::clients::websocket::handshake_with(platform.gateway(), path, &headers);
            socket.adopt(opened.await.unwrap());
            let greeting = socket.wait_for("connection_established").await.unwrap();
            assert_eq!(greeting["payload"]["authenticated"], true, "{path} {greeting}");
        }
        let log = platform.log(crate::harness::Service::Gateway);
        assert!(!log.contains(&token[..40]), "a token is never logged");
        platform.finish().await;
    })
    .await;
}

const LOBBY: &str = "http://localhost:4004";

/// A platform with an application that lets guests in.
async fn with_guests() -> TestPlatform {
    let lobby = format!(
        "\n[[application]]\nname = \"lobby\"\ntenant = \"{TENANT}\"\norigins = [\"{LOBBY}\"]\n\
         key = {{ secret = \"lobby-secret-that-nobody-signs-with-0123\" }}\nanonymous = \"agent\"\n"
    );
    TestPlatform::start_with(Options::default().applications(lobby)).await
}

async fn guest(platform: &TestPlatform, history: &History, query: &str) -> (WebSocket, Json) {
    let mut socket = agent(history, "ann");
    let headers = [("Origin", LOBBY)];
    let opened = handshake_with(platform.gateway(), &format!("/ws{query}"), &headers).await;
    socket.adopt(opened.unwrap());
    let greeting = socket.wait_for("connection_established").await.unwrap();
    (socket, greeting["payload"].clone())
}

#[tokio::test]
async fn a_guest_says_who_it_is_and_goes_on_as_that_user() {
    journey(60, async {
        let (platform, history) = (with_guests().await, History::new());
        let (mut socket, greeting) = guest(&platform, &history, "").await;
        assert_eq!(
            (&greeting["authenticated"], &greeting["role"]),
            (&json!(false), &json!("agent"))
        );
        assert!(greeting["userId"].as_str().unwrap().starts_with("anonymous-"), "{greeting}");
        let bad = json!({ "type": "auth", "payload": { "token": "nonsense" } });
        socket.send(&bad).await.unwrap();
        let refused = socket.wait_for("error").await.unwrap();
        assert_eq!(refused["payload"]["code"], "token_invalid", "{refused}");

        let auth = json!({ "type": "auth", "payload": { "token": token(TENANT, "ann", "agent") } });
        socket.send(&auth).await.unwrap();
        let who = socket.wait_for("authenticated").await.unwrap()["payload"].clone();
        assert_eq!((&who["userId"], &who["role"]), (&json!("ann"), &json!("agent")), "{who}");
        assert_eq!(who["clientId"], greeting["clientId"], "the id that the client was told");
        assert!(who["rooms"].as_array().unwrap().contains(&json!("user:ann")), "{who}");
        socket.join("call:CA42", Start::Now).await.unwrap();
        // Again, with a newer token and without an id: it hears that it was taken.
        socket.send(&auth).await.unwrap();
        let who = socket.wait_for("authenticated").await.unwrap()["payload"].clone();
        assert!(who["rooms"].as_array().unwrap().contains(&json!("call:CA42")), "{who}");
        let eve = json!({ "type": "auth", "payload": { "token": token(TENANT, "eve", "agent") } });
        socket.send(&eve).await.unwrap();
        let refused = socket.wait_for("error").await.unwrap();
        assert_eq!(refused["payload"]["code"], "other_user", "{refused}");

        // It comes back by the id in its address and says only then who it is: the session is its own.
        let (mut again, greeting) = {
            let id = who["clientId"].as_str().unwrap();
            guest(&platform, &history, &format!("?clientId={id}")).await
        };
        assert_ne!(greeting["clientId"], who["clientId"], "no guest has a user's session");
        again.send(&auth).await.unwrap();
        let back = again.wait_for("reconnected").await.unwrap()["payload"].clone();
        assert_eq!(back["clientId"], who["clientId"], "{back}");
        assert!(back["rooms"].as_array().unwrap().contains(&json!("call:CA42")), "{back}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_comes_while_a_guest_says_who_it_is_is_not_lost() {
    journey(60, async {
        let (platform, history) = (with_guests().await, History::new());
        let (mut socket, _) = guest(&platform, &history, "").await;
        socket.join("calls", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 1).await;
        socket.receive(1).await;
        for round in 1..=20 {
            // Events are on their way before, while and after the guest becomes a user.
            let auth =
                json!({ "type": "auth", "payload": { "token": token(TENANT, "ann", "agent") } });
            let ((), sent) = tokio::join!(writer.publish(platform.ingest(), 3), socket.send(&auth));
            sent.unwrap();
            socket.receive(1 + round * 3).await;
            let (mut next, _) = guest(&platform, &history, "").await;
            next.join("calls", Start::Now).await.unwrap();
            next.received.clone_from(&socket.received);
            socket = next;
        }
        let counters: Vec<_> = socket.received.iter().map(|value| value.counter).collect();
        assert_eq!(counters, (1..=61).collect::<Vec<_>>(), "all of them, once, in order");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_event_has_the_form_of_its_wire() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("dashboard:overview", Start::Now).await.unwrap();
        socket.join("call:CA42", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["dashboard:overview"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let data = json!({ "type": "voice_call", "calls": 150, "duration": 3600, "cost": 45.5 });
        let metric = json!({ "type": "metric_update", "data": data, "id": "m-1" });
        publish(&platform, &metric).await;
        let frame = socket.wait_for("metric_update").await.unwrap();
        assert_eq!((&frame["id"], &frame["room"]), (&json!("m-1"), &json!("dashboard:overview")));
        assert_eq!(frame["payload"]["cost"], 45.5, "{frame}");
        assert!(frame["payload"]["timestamp"].is_string() && frame["cursor"].is_string());
        let block = loop {
            let block = events.next(Duration::from_secs(5)).await.unwrap();
            if block.event.as_deref() == Some("metric_update") {
                break block;
            }
        };
        let told: Json = serde_json::from_str(&block.data.unwrap()).unwrap();
        assert_eq!(told, frame["payload"]);

        // A call's change has another name on the call's own channel.
        calls(&history, "w").publish(platform.ingest(), 1).await;
        let frame = socket.wait_for("call_data").await.unwrap();
        assert_eq!(frame["room"], "call:CA42", "{frame}");
        let note = json!({
            "type": "notification", "id": "n-1", "audience": ["ann"],
            "data": { "message": "Maya answered you." },
        });
        publish(&platform, &note).await;
        let frame = socket.wait_for("notification").await.unwrap();
        assert_eq!(frame["data"], frame["payload"], "{frame}");
        platform.finish().await;
    })
    .await;
}

async fn publish(platform: &TestPlatform, event: &Json) {
    let request = Request::post("/v1/events").bearer(&service(TENANT)).json(event);
    let answer = request.send(platform.ingest()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_member_of_both_channels_of_a_call_gets_both_frames_and_resumes_behind_them() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        socket.join("call:CA42", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 3).await;
        socket.receive(6).await;
        socket.cut();
        writer.publish(platform.ingest(), 2).await;
        socket.resume(platform.gateway()).await.unwrap();
        socket.receive(10).await;
        socket.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_agent_publishes_over_its_socket_and_the_answer_means_stored() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut backend =
            WebSocket::new(&history, "backend", &service(TENANT), &["system", "admin:broadcast"]);
        backend.connect(platform.gateway()).await.unwrap();
        let mut events = source(&History::new(), "bob", &["team"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let data = Kind::Team.data(&Value::new("w", 1));
        let event = json!({ "type": "team.activity", "data": data, "id": "over-1" });
        let answer = backend.request("publish", event.clone()).await.unwrap();
        assert_eq!(answer["type"], "ack", "{answer}");
        events.receive(1).await;
        let answer = backend.request("publish", event).await.unwrap();
        assert_eq!(answer["type"], "ack", "{answer}");
        let bad = json!({ "type": "team.activity", "data": { "activity": 7 } });
        let answer = backend.request("publish", bad).await.unwrap();
        assert_eq!(answer["type"], "error", "{answer}");
        let mut user = agent(&history, "ann");
        user.connect(platform.gateway()).await.unwrap();
        let foreign =
            json!({ "type": "call.update", "data": { "callSid": "CA1", "status": "busy" } });
        let answer = user.request("publish", foreign).await.unwrap();
        assert_eq!(answer["type"], "error", "{answer}");
        events.drain().await;
        assert_eq!(events.received.len(), 1, "stored once");
        platform.finish().await;
    })
    .await;
}

async fn page(platform: &TestPlatform, query: &str) -> Answer {
    let agent = token(TENANT, "ann", "agent");
    Request::get(&format!("/v1/history?{query}"))
        .bearer(&agent)
        .send(platform.gateway())
        .await
        .unwrap()
}

fn counters(page: &Json) -> Vec<u64> {
    let value = |event: &Json| Value::find(&event["data"]).unwrap().counter;
    page["events"].as_array().unwrap().iter().map(value).collect()
}

/// A browser shows a page's script what the answer names, and nothing else.
fn check_readable_by_a_page(answer: &Answer) {
    assert_eq!(answer.header("throughline-more"), Some("false"));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    for name in ["throughline-cursor", "throughline-more", "throughline-gap"] {
        assert!(exposed.split(", ").any(|it| it == name), "{name}: {exposed}");
    }
}

#[tokio::test]
async fn history_is_read_forwards_backwards_by_type_and_as_lines() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let kind = Kind::Message { account: "a1".to_owned(), contact: "c1".to_owned() };
        publisher(&history, "m", kind).publish(platform.ingest(), 10).await;
        let other = json!({
            "type": "message.received", "id": "in-1",
            "data": { "message": {
                "id": "val-in-1", "contactId": "c1", "whatsappAccountId": "a1",
                "direction": "Inbound", "type": "Text", "createdAt": "2025-11-05T10:00:00Z",
            } },
        });
        publish(&platform, &other).await;
        let first = page(&platform, "channel=whatsapp:a1&after=earliest&limit=4").await.json();
        assert_eq!((counters(&first), &first["more"]), (vec![1, 2, 3, 4], &json!(true)));
        let cursor = first["cursor"].as_str().unwrap();
        let next = page(&platform, &format!("channel=whatsapp:a1&after={cursor}&limit=100")).await;
        let next = next.json();
        assert_eq!(counters(&next), [5, 6, 7, 8, 9, 10, 1]);
        assert_eq!(next["more"], false);

        let seventh = next["events"][2]["cursor"].as_str().unwrap();
        let before =
            page(&platform, &format!("channel=whatsapp:a1&before={seventh}&limit=3")).await.json();
        let mut found = counters(&before);
        found.sort_unstable();
        assert_eq!(found, [4, 5, 6], "the three right before the seventh");

        let newest = page(&platform, "channel=whatsapp:a1&before=latest&limit=2").await.json();
        assert_eq!(counters(&newest), [10, 1]);

        let typed =
            page(&platform, "channel=contact:c1&after=earliest&types=message.received").await;
        assert_eq!(counters(&typed.json()), [1]);

        let lines = Request::get("/v1/history?channel=whatsapp:a1&after=earliest")
            .bearer(&token(TENANT, "ann", "agent"))
            .header("Accept", "application/x-ndjson")
            .header("Origin", ORIGIN)
            .send(platform.gateway())
            .await
            .unwrap();
        assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
        check_readable_by_a_page(&lines);
        let events: Vec<Json> =
            lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events.len(), 11);
        let event = &events[0];
        for (field, value) in [("specversion", "1.0"), ("type", "message.sent"), ("tenant", TENANT)]
        {
            assert_eq!(event[field], value, "{event}");
        }
        assert!(event["channels"].as_array().unwrap().contains(&json!("contact:c1")), "{event}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_page_that_cannot_be_meant_is_refused_with_what_was_not_understood() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        team(&history, "t").publish(platform.ingest(), 1).await;
        let first = page(&platform, "channel=team").await.json();
        let cursor = first["cursor"].as_str().unwrap();
        let other = if &cursor[40..41] == "A" { "B" } else { "A" };
        // What is no time may be a position, and this one is none of ours.
        let changed = format!("at={}{other}{}", &cursor[..40], &cursor[41..]);
        let (time, known) = ("2026-01-02T03:04:05Z", "at=2026-01-02T03:04:05%2B05:30");
        for (asked, status, told) in [
            ("limit=x", 400, ""),
            (&*changed, 410, "begin without one"),
            ("at=yesterday", 400, time),
            ("at=", 400, time),
            ("at=2026-01-02T03:04:05", 400, time),
            ("at=2026-01-02T03:04:05+05:30", 400, time),
            ("types=", 400, "is called \"\"."),
            ("types=message.sent,call.nothing", 400, "is called \"call.nothing\"."),
            (&format!("{known}&types=call_update,%20message.sent"), 200, ""),
            ("at=earliest", 200, ""),
        ] {
            let answer = page(&platform, &format!("channel=team&{asked}")).await;
            assert_eq!(answer.status, status, "{asked}: {}", answer.text());
            assert!(
                answer.text().replace("\\\"", "\"").contains(told),
                "{asked}: {}",
                answer.text()
            );
        }
        assert_eq!(page(&platform, "").await.status, 400, "no channel");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_event_source_says_when_to_come_back_and_starts_from_the_earliest_on_demand() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        team(&history, "t").publish(platform.ingest(), 3).await;
        let mut events = source(&history, "bob", &["team"]);
        events.connect(platform.gateway(), Start::Earliest).await.unwrap();
        events.receive(3).await;
        assert!(events.retry.as_ref().is_some_and(|retry| retry.parse::<u32>().is_ok()));
        let comment = async {
            loop {
                if events.next(Duration::from_secs(20)).await.unwrap().comment {
                    break;
                }
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), comment).await.is_ok());
        events.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
