//! Views over HTTP: a call is the same whatever order its callbacks came in, a snapshot and what follows it are the
//! whole, and neither a killed read side nor building anew changes a byte.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::task::JoinSet;

use crate::checker::{History, Start};
use crate::clients::http::{Answer, Request};
use crate::clients::signatures::twilio;
use crate::clients::token::{service, token};
use crate::harness::cast::{agent, journey};
use crate::harness::{PUBLIC_URL, Service, TENANT, TWILIO, TestPlatform, eventually};

const SHORTLY: Duration = Duration::from_secs(10);

async fn get(gateway: SocketAddr, path: &str, role: &str) -> Answer {
    let token = token(TENANT, "ann", role);
    Request::get(&format!("/v1/views/{path}")).bearer(&token).send(gateway).await.unwrap()
}

async fn view(gateway: SocketAddr, path: &str) -> Json {
    let answer = get(gateway, path, "admin").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// One callback of Twilio about a call; the provider's own clock ticks with its order.
async fn callback(ingest: SocketAddr, sid: &str, kind: &str, more: &[(&str, &str)]) {
    let path = format!("/webhooks/acme-twilio/{kind}");
    let base = [("CallSid", sid), ("AccountSid", "AC1")];
    let form = [&base[..], more].concat();
    let answer = twilio(&path, PUBLIC_URL, TWILIO, &form).send(ingest).await.unwrap();
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
}

/// The course of a call: which callback, with what.
fn course(recording: &str) -> Vec<(&'static str, Vec<(&'static str, &str)>)> {
    let status = |status, order, at| {
        let fields = [
            ("CallStatus", status),
            ("SequenceNumber", order),
            ("Timestamp", at),
            ("From", "+15005550006"),
            ("To", "+14155551212"),
            ("Direction", "outbound-api"),
        ];
        ("call-status", fields.to_vec())
    };
    vec![
        status("initiated", "0", "Fri, 02 Jan 2026 03:04:01 +0000"),
        status("ringing", "1", "Fri, 02 Jan 2026 03:04:02 +0000"),
        status("in-progress", "2", "Fri, 02 Jan 2026 03:04:07 +0000"),
        status("completed", "3", "Fri, 02 Jan 2026 03:05:07 +0000"),
        ("amd-status", vec![("AnsweredBy", "human"), ("MachineDetectionDuration", "900")]),
        (
            "recording-status",
            vec![
                ("RecordingSid", recording),
                ("RecordingStatus", "completed"),
                ("RecordingUrl", "https://api.example.com/RE1"),
                ("RecordingDuration", "58"),
            ],
        ),
    ]
}

/// Published for an entity, until it is stored.
async fn publish(ingest: SocketAddr, kind: &str, data: Json) {
    let body = json!({ "type": kind, "data": data });
    let request = Request::post("/v1/events").bearer(&service(TENANT)).json(&body);
    let answer = request.send(ingest).await.unwrap();
    assert_eq!(answer.status / 100, 2, "{}", answer.text());
}

fn sids(list: &Json) -> BTreeSet<String> {
    let entries = list["value"].as_array().unwrap();
    entries.iter().map(|call| call["callSid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn callbacks_in_any_order_and_repeated_make_the_same_call() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let (ingest, gateway) = (platform.ingest(), platform.gateway());
        let orders: [&[usize]; 3] =
            [&[0, 1, 2, 3, 4, 5], &[3, 5, 1, 0, 4, 2, 1, 0], &[5, 4, 3, 2, 1, 0, 3, 3]];
        for (call, order) in orders.iter().enumerate() {
            for step in *order {
                let recording = format!("RE{call}");
                let (kind, fields) = &course(&recording)[*step];
                callback(ingest, &format!("CA{call}"), kind, fields).await;
            }
        }
        let told = |call: usize| async move {
            let answer = get(gateway, &format!("calls/CA{call}"), "admin").await;
            let mut value = answer.json()["value"].take();
            // What names the call and its recording.
            for own in value.as_object_mut().into_iter().flat_map(|call| call.get_mut("callSid")) {
                own.take();
            }
            for recording in value["recordings"].as_array_mut().into_iter().flatten() {
                recording["sid"].take();
            }
            value
        };
        eventually(SHORTLY, "the last callback is folded", async || {
            told(2).await["startedAt"] == "2026-01-02T03:04:01.000Z"
        })
        .await;
        let first = told(0).await;
        assert_eq!((&first, &first), (&told(1).await, &told(2).await));
        assert_eq!(first["status"], "completed");
        assert_eq!(first["answeredBy"], "human");
        assert_eq!(first["answeredAt"], "2026-01-02T03:04:07.000Z");
        assert_eq!(first["endedAt"], "2026-01-02T03:05:07.000Z");
        assert_eq!(first["recordings"][0]["url"], "https://api.example.com/RE1");
        assert_eq!(view(gateway, "active-calls").await["value"], json!([]));
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_snapshot_and_what_follows_it_are_all_the_calls() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let (ingest, gateway) = (platform.ingest(), platform.gateway());
        let mut writing = JoinSet::new();
        writing.spawn(async move {
            for call in 0..60 {
                let of = |status: &str| json!({ "callSid": format!("CA{call}"), "status": status });
                publish(ingest, "call.update", of("ringing")).await;
                if call % 3 == 0 {
                    publish(ingest, "call.update", of("completed")).await;
                }
            }
            publish(ingest, "call.update", json!({ "callSid": "CAlast", "status": "busy" })).await;
        });
        eventually(SHORTLY, "calls come", async || {
            !view(gateway, "active-calls").await["value"].as_array().unwrap().is_empty()
        })
        .await;
        // Wherever the writer is by now.
        let snapshot = view(gateway, "active-calls?limit=1000").await;
        let cursor = snapshot["cursor"].as_str().unwrap().to_owned();
        let mut socket = agent(&history, "ann");
        socket.connect(gateway).await.unwrap();
        socket.join("calls", Start::Cursor(cursor)).await.unwrap();
        let mut active = sids(&snapshot);
        loop {
            let frame = socket.wait(|frame| frame["type"] == "call_update").await.unwrap();
            let sid = frame["payload"]["callSid"].as_str().unwrap().to_owned();
            match frame["payload"]["status"].as_str().unwrap() {
                "ringing" => assert!(active.insert(sid), "in the snapshot and behind it: {frame}"),
                "completed" => assert!(active.remove(&sid), "neither in it nor behind it: {frame}"),
                _ => break,
            }
        }
        writing.join_next().await.unwrap().unwrap();
        let end = view(gateway, "active-calls?limit=1000").await;
        assert_eq!(active, sids(&end));
        assert_eq!((active.len(), &end["total"]), (40, &json!(40)));
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn neither_a_killed_read_side_nor_building_anew_changes_a_byte() {
    journey(120, async {
        let mut platform = TestPlatform::start().await;
        let (ingest, gateway) = (platform.ingest(), platform.gateway());
        for call in 0..20 {
            let recording = format!("RE{call}");
            for (kind, fields) in course(&recording).iter().take(1 + call % 6) {
                callback(ingest, &format!("CA{call}"), kind, fields).await;
            }
        }
        let contact = json!({ "id": "c1", "name": "Maya", "phone": "+91 98765 43210" });
        publish(ingest, "contact.created", json!({ "contact": contact })).await;
        let notification = json!({ "id": "n1", "userId": "7", "title": "Hello" });
        publish(ingest, "notification.new", notification).await;
        publish(ingest, "metric.update", json!({ "type": "voice_call", "calls": 3 })).await;
        let paths =
            ["calls", "active-calls", "calls/CA11", "contacts", "notifications/7", "metrics"];
        let all = async || {
            let mut values = Vec::new();
            for path in paths {
                values.push(view(gateway, path).await["value"].to_string());
            }
            values
        };
        let before = all().await;
        platform.kill(Service::Replay);
        platform.restart(Service::Replay).await;
        assert_eq!(all().await, before);

        let admin = token(TENANT, "ann", "admin");
        for name in ["calls", "active-calls", "contacts", "notifications", "metrics"] {
            let wish = Request::post("/v1/rebuilds").bearer(&admin).json(&json!({ "view": name }));
            let begun = wish.send(gateway).await.unwrap();
            assert_eq!(begun.status, 202, "{}", begun.text());
            let begun = begun.json();
            let path = format!("/v1/rebuilds/{}/{}", begun["node"].as_str().unwrap(), begun["job"]);
            let mut told = Json::Null;
            eventually(SHORTLY, "the view is built", async || {
                told = Request::get(&path).bearer(&admin).send(gateway).await.unwrap().json();
                told["state"] == "done"
            })
            .await;
            assert_eq!(told["same"], true, "{name}: {told}");
        }
        assert_eq!(all().await, before);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_view_is_told_as_of_a_moment_and_goes_on_from_there() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let (ingest, gateway) = (platform.ingest(), platform.gateway());
        let call = async |sid: &str, status: &str| {
            publish(ingest, "call.update", json!({ "callSid": sid, "status": status })).await;
        };
        // What was stored a moment ago may be on its way to the gateway that is asked.
        let told = async |calls: &[&str]| {
            let (calls, mut told) = (calls.iter().map(ToString::to_string).collect(), Json::Null);
            eventually(SHORTLY, "the calls that go on", async || {
                told = view(gateway, "active-calls").await;
                sids(&told) == calls
            })
            .await;
            told
        };
        call("CA1", "ringing").await;
        call("CA2", "ringing").await;
        let then = told(&["CA1", "CA2"]).await;
        call("CA1", "completed").await;
        told(&["CA2"]).await;
        let cursor = then["cursor"].as_str().unwrap();
        let again = view(gateway, &format!("active-calls?at={cursor}")).await;
        assert_eq!(sids(&again), sids(&then));
        let one = view(gateway, &format!("calls/CA1?at={cursor}")).await;
        assert_eq!(one["value"]["status"], "ringing");
        let path = format!("/v1/history?channel=calls&after={}", again["cursor"].as_str().unwrap());
        let bearer = token(TENANT, "ann", "agent");
        let rest = Request::get(&path).bearer(&bearer).send(gateway).await.unwrap().json();
        let events = rest["events"].as_array().unwrap();
        assert_eq!(events.len(), 1, "{rest}");
        assert_eq!(events[0]["data"]["status"], "completed");
        let now = view(gateway, "calls?at=2099-01-01T00:00:00Z").await;
        assert_eq!(sids(&now).len(), 2);
        let nothing = view(gateway, "calls?at=2020-01-01T00:00:00Z").await;
        assert_eq!(nothing["value"], json!([]));
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_view_is_for_those_who_may_see_it() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let gateway = platform.gateway();
        let notification = json!({ "id": "n1", "userId": "ann", "title": "Hello" });
        publish(platform.ingest(), "notification.new", notification).await;
        eventually(SHORTLY, "the notification is folded", async || {
            get(gateway, "notifications/ann", "user").await.status == 200
        })
        .await;
        let own = get(gateway, "notifications/ann", "user").await.json();
        assert_eq!(own["value"]["unread"], 1, "{own}");
        for (path, role, status, code) in [
            ("notifications/bob", "user", 403, "forbidden"),
            ("notifications", "agent", 403, "forbidden"),
            ("calls", "user", 403, "forbidden"),
            ("calls", "agent", 200, ""),
            ("alerts", "agent", 403, "forbidden"),
            ("alerts", "admin", 200, ""),
            ("deliveries", "agent", 403, "forbidden"),
            ("conversations/c-9", "user", 403, "forbidden"),
            ("calls/CA404", "agent", 404, "not_found"),
            ("nonsense", "admin", 404, "unknown_view"),
            ("calls?limit=0", "admin", 400, "limit_exceeded"),
            ("calls?at=2026-13-01", "admin", 400, "bad_query"),
            ("calls?at=nonsense", "admin", 400, "bad_query"),
        ] {
            let answer = get(gateway, path, role).await;
            assert_eq!(answer.status, status, "{path} as {role}: {}", answer.text());
            if status != 200 {
                assert_eq!(answer.json()["code"], code, "{path} as {role}");
            }
        }
        platform.finish().await;
    })
    .await;
}
