//! What clients ask over their sockets: the calls that are going on, history, views, metrics.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{client, websocket};
use crate::checker::History;
use crate::clients::http::Request;
use crate::clients::token::{service, token};
use crate::harness::cast::{agent, journey};
use crate::harness::{TENANT, TestPlatform, eventually};

pub(super) async fn call(platform: &TestPlatform, sid: &str, status: &str) {
    let event = json!({ "type": "call.update", "data": { "callSid": sid, "status": status } });
    let request = Request::post("/v1/events").bearer(&service(TENANT)).json(&event);
    assert_eq!(request.send(platform.ingest()).await.unwrap().status, 200);
}

pub(super) fn sids(list: &Json) -> Vec<&str> {
    let calls = list.as_array().unwrap_or_else(|| panic!("{list}"));
    calls.iter().filter_map(|call| call["callSid"].as_str()).collect()
}

#[tokio::test]
async fn a_dashboard_gets_the_calls_that_are_going_on_and_then_every_change() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        for (sid, status) in [("CA1", "in-progress"), ("CA2", "ringing"), ("CA1", "completed")] {
            call(&platform, sid, status).await;
        }
        let mut ann = client(&history, "ann", "agent");
        ann.connect(platform.gateway(), websocket()).await;
        ann.emit("subscribe_to_calls", json!([])).await;
        let active = ann.event("active_calls").await;
        assert_eq!(sids(&active["args"][0]), ["CA2"], "{active}");
        call(&platform, "CA3", "in-progress").await;
        let update = ann.event("call_update").await;
        assert_eq!(
            update["args"][0]["callSid"], "CA3",
            "what follows, and nothing before it: {update}"
        );
        // Asked again it answers anew, and the changes go on, each once.
        let answer = ann.request("subscribe_to_calls", json!([])).await;
        assert_eq!((&answer["ok"], &answer["room"]), (&json!(true), &json!("calls")), "{answer}");
        let mut now = sids(&ann.event("active_calls").await["args"][0])
            .iter()
            .map(|s| (*s).to_owned())
            .collect::<Vec<_>>();
        now.sort_unstable();
        assert_eq!(now, ["CA2", "CA3"]);
        call(&platform, "CA2", "completed").await;
        assert_eq!(ann.event("call_update").await["args"][0]["callSid"], "CA2");
        assert_eq!(ann.unread("call_update"), 0);
        let mut eve = client(&history, "eve", "user");
        eve.connect(platform.gateway(), websocket()).await;
        let refused = eve.request("subscribe_to_calls", json!([])).await;
        assert_eq!(refused["code"], "forbidden", "{refused}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn history_and_views_are_the_same_over_a_socket_as_over_http() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        for status in ["ringing", "in-progress", "completed"] {
            call(&platform, "CA1", status).await;
        }
        let gateway = platform.gateway();
        let get = |target: &str| Request::get(target).bearer(&token(TENANT, "ann", "agent"));
        let page = get("/v1/history?channel=call:CA1&limit=2").send(gateway).await.unwrap().json();
        let mut ann = client(&history, "ann", "agent");
        ann.connect(gateway, websocket()).await;
        let asked = json!({ "channel": "call:CA1", "limit": 2 });
        let over_socket = ann.request("history", json!([asked])).await;
        assert_eq!(over_socket["ok"], true, "{over_socket}");
        assert_eq!(over_socket["events"][0]["data"], page["events"][0]["data"]);
        assert_eq!(over_socket["events"].as_array().unwrap().len(), 2);
        let rest = json!({ "channel": "call:CA1", "after": over_socket["cursor"], "types": ["call.update"] });
        let rest = ann.request("history", json!([rest])).await;
        assert_eq!(rest["events"][0]["data"]["status"], "completed", "{rest}");
        let mut socket = agent(&history, "ann");
        socket.connect(gateway).await.unwrap();
        for (kind, payload, code) in [
            ("history", json!({ "channel": "admin" }), "forbidden"),
            ("history", json!({ "channel": "calls", "limit": 5_000 }), "limit_exceeded"),
            ("history", json!({ "channel": 7 }), "bad_query"),
            ("view", json!({ "view": "no-such" }), "unknown_view"),
            ("view", json!("alerts"), "forbidden"),
        ] {
            let refused = socket.request(kind, payload).await.unwrap();
            assert_eq!(refused["type"], "error", "{refused}");
            assert_eq!(refused["payload"]["code"], code, "{refused}");
        }
        let asked = json!({ "view": "calls", "key": "CA1" });
        let seen = socket.request("view", asked).await.unwrap();
        let seen = &seen["payload"];
        assert_eq!((&seen["ok"], &seen["value"]["status"]), (&json!(true), &json!("completed")), "{seen}");
        assert!(seen["cursor"].is_string());
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn metrics_are_asked_for_as_the_dashboard_does() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let data = json!({ "type": "voice_call", "calls": 150, "duration": 3600, "cost": 45.5 });
        let event = json!({ "type": "metric_update", "data": data });
        let request = Request::post("/v1/events").bearer(&service(TENANT)).json(&event);
        assert_eq!(request.send(platform.ingest()).await.unwrap().status, 200);
        let mut ann = agent(&history, "ann");
        ann.connect(platform.gateway()).await.unwrap();
        eventually(Duration::from_secs(10), "the metrics are there", async || {
            // Without an id the answer is a message of its own.
            ann.send(&json!({ "type": "metrics:get", "payload": {} })).await.unwrap();
            let metrics = ann.wait_for("metrics").await.unwrap();
            metrics["payload"]["metrics"].to_string().contains("voice_call")
        })
        .await;
        let one = ann.request("metrics:get", json!({ "type": "voice_call" })).await.unwrap();
        assert_eq!((&one["type"], &one["payload"]["type"]), (&json!("ack"), &json!("voice_call")));
        platform.finish().await;
    })
    .await;
}
