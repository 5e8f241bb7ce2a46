//! A conversation from its start to its end, with the client that its application uses.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{client, count, log_of, post, websocket};
use crate::checker::History;
use crate::clients::http::{Request, encode};
use crate::clients::socketio::url;
use crate::clients::token::token;
use crate::harness::cast::journey;
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};

#[tokio::test]
async fn a_conversation_runs_from_its_start_to_its_end() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let gateway = platform.gateway();
        let mut boss = client(&history, "boss", "admin");
        boss.connect(gateway, websocket()).await;
        let mut ann = client(&history, "ann", "user");
        ann.connect(gateway, websocket()).await;

        let started = ann.request("conversation:start", json!([{ "avatarId": "maya" }])).await;
        assert_eq!(started["ok"], true, "{started}");
        let id = started["conversationId"].as_str().unwrap().to_owned();
        let told = ann.event("conversation:started").await;
        assert_eq!(told["args"][0]["conversationId"], *id, "{told}");
        assert_eq!(boss.event("session:started").await["args"][0]["conversationId"], *id);

        // A bare text belongs to the latest conversation, and what comes of it reaches its owner.
        ann.emit("conversation:message", json!(["I slept well."])).await;
        let said = ann.event("conversation:message").await;
        assert_eq!(said["args"][0]["message"], "I slept well.", "{said}");
        assert_eq!(said["args"][0]["conversationId"], *id);

        let ended = ann.request("conversation:end", json!([{ "conversationId": id }])).await;
        assert_eq!((&ended["ok"], &ended["success"]), (&json!(true), &json!(true)), "{ended}");
        assert!(ended["duration"].is_u64(), "{ended}");
        assert_eq!(ann.event("conversation:ended").await["args"][0]["success"], true);
        assert!(boss.event("session:ended").await["args"][0]["duration"].is_u64());

        // Nothing is open any more, and the guide's words say so to who has no callback.
        ann.emit("conversation:message", json!(["Is anybody there?"])).await;
        let error = ann.event("error").await;
        assert_eq!(error["args"][0]["message"], "Failed to get AI response", "{error}");
        assert_eq!(error["args"][0]["code"], "no_conversation", "{error}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_conversation_is_its_owners_on_every_gateway_and_nobody_elses() {
    journey(90, async {
        let mut platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        let history = History::new();
        let mut ann = client(&history, "ann", "user");
        ann.connect(platform.gateway(), websocket()).await;
        let started = ann.request("conversation:start", json!([{}])).await;
        let id = started["conversationId"].as_str().unwrap().to_owned();
        let channel = format!("conversation:{id}");

        // The session is in the conversation wherever it goes on.
        ann.tell(json!({ "op": "hold" })).await;
        platform.kill(Service::Gateway);
        ann.wait("disconnect").await;
        ann.tell(json!({ "op": "resume", "url": url(platform.second_gateway()) })).await;
        assert_eq!(ann.wait("connect").await["recovered"], true);
        ann.event("throughline:ready").await;
        let ready = ann.event("throughline:ready").await;
        assert!(ready["args"][0]["rooms"].as_array().unwrap().contains(&json!(channel)), "{ready}");
        let said = ann.request("conversation:message", json!(["still here"])).await;
        assert_eq!(said["ok"], true, "{said}");

        // Another device of the owner joins by its name, another user does not, and reads nothing of it.
        let mut phone = client(&history, "ann", "user");
        phone.connect(platform.second_gateway(), websocket()).await;
        let joined = phone.request("subscribe", json!([format!("conversation_{id}")])).await;
        assert_eq!((&joined["ok"], &joined["room"]), (&json!(true), &json!(channel)), "{joined}");
        let mut eve = client(&history, "eve", "user");
        eve.connect(platform.second_gateway(), websocket()).await;
        for (event, argument) in [("subscribe", json!(channel)), ("history", json!(channel))] {
            let refused = eve.request(event, json!([argument])).await;
            assert_eq!(refused["code"], "forbidden", "{event}: {refused}");
        }
        let message = json!({ "conversationId": id, "message": "let me in" });
        let refused = eve.request("conversation:message", json!([message])).await;
        assert_eq!(refused["ok"], false, "{refused}");
        let target = format!("/v1/history?channel={}", encode(&channel));
        for (user, status) in [("ann", 200), ("eve", 403)] {
            let request = Request::get(&target).bearer(&token(TENANT, user, "user"));
            assert_eq!(request.send(platform.second_gateway()).await.unwrap().status, status);
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_client_says_at_once_is_said_in_its_order() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut ann = client(&history, "ann", "user");
        ann.connect(platform.gateway(), websocket()).await;
        // Nothing of this waits for an answer: the messages belong to a conversation that is being started.
        ann.emit("conversation:start", json!([{ "avatarId": "maya" }])).await;
        for n in 0..30 {
            ann.emit("conversation:message", json!([format!("m{n}")])).await;
        }
        let started = ann.event("conversation:started").await;
        let id = started["args"][0]["conversationId"].as_str().unwrap().to_owned();
        for n in 0..30 {
            let said = ann.event("conversation:message").await;
            assert_eq!(said["args"][0]["message"], format!("m{n}"), "{said}");
        }
        let log = log_of(platform.gateway(), &format!("conversation:{id}")).await;
        assert_eq!(
            (count(&log, "conversation.started"), count(&log, "conversation.message")),
            (1, 30)
        );
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_notification_that_is_read_is_read_on_all_devices() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut devices = [client(&history, "ann", "user"), client(&history, "ann", "user")];
        for device in &mut devices {
            device.connect(platform.gateway(), websocket()).await;
        }
        for id in ["n-1", "n-2"] {
            let data = json!({ "id": id, "userId": "ann", "title": "New match" });
            let event = json!({ "type": "notification.new", "data": data });
            let request =
                Request::post("/v1/events").bearer(&crate::clients::token::service(TENANT));
            assert_eq!(request.json(&event).send(platform.ingest()).await.unwrap().status, 200);
        }
        for device in &mut devices {
            device.event("notification:new").await;
            device.event("notification:new").await;
        }
        devices[0].emit("notification:read", json!(["n-1"])).await;
        for device in &mut devices {
            let read = device.event("notification:read").await;
            assert_eq!(read["args"][0], "n-1", "a bare id: {read}");
        }
        for device in &mut devices {
            let mut unread = Json::Null;
            while unread != 1 {
                unread = device.event("notification:badge").await["args"][0]["unread"].clone();
            }
        }
        // Of nobody else's notifications anything is known.
        let other = json!({ "type": "notification.read", "data": { "notificationId": "n-2" } });
        let refused = post(platform.gateway(), ("eve", "user"), &other).await;
        assert!(refused.status >= 400, "{}", refused.text());
        eventually(Duration::from_secs(5), "one is read", async || {
            count(&log_of(platform.gateway(), "user:ann").await, "notification.read") == 1
        })
        .await;
        platform.finish().await;
    })
    .await;
}
