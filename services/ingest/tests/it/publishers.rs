//! `POST /v1/events`: every form, and everything that is refused before anything is written.

use bytes::Bytes;
use domain::identity::Role;
use http::Request;
use serde_json::{Value, json};

use crate::harness::{Platform, eventually};

const METRIC: &str = r#"{"type":"metric.update","id":"m1","data":{"type":"voice_call","calls":150,"duration":3600,"cost":45.5}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_form_is_stored_once_and_answered_with_its_place() {
    let platform = Platform::start().await;
    let first = platform.publish(Role::Service, &[], METRIC).await;
    assert_eq!((&first.event()["id"], &first.event()["duplicate"]), (&json!("m1"), &json!(false)));
    let message = platform.stored(first.event()).await;
    let data: Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(data["calls"], 150);
    assert!(data["timestamp"].is_string(), "{data}");
    let again = platform.publish(Role::Service, &[], METRIC).await;
    assert_eq!(again.event()["sequence"], first.event()["sequence"]);
    assert_eq!(again.event()["duplicate"], true);

    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "b%201"),
        ("ce-source", "/crm"),
        ("ce-type", "metric_update"),
        ("content-type", "application/json"),
    ];
    let answer = platform.publish(Role::Service, &binary, r#"{"type":"sms","calls":1}"#).await;
    assert_eq!(answer.event()["id"], "b 1");
    assert_eq!(answer.event()["type"], "metric.update");

    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/crm", "type": "metric.update", "data": {"type": "sms", "calls": 2}});
    let structured = [("content-type", "application/cloudevents+json")];
    platform.publish(Role::Service, &structured, &event("s1").to_string()).await.event();
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let list = json!([event("s1"), event("s2"), event("s2")]).to_string();
    let answer = platform.publish(Role::Service, &batch, &list).await;
    let flags: Vec<_> =
        answer.body["events"].as_array().unwrap().iter().map(|e| e["duplicate"].clone()).collect();
    assert_eq!(flags, [json!(true), json!(false), json!(true)], "{}", answer.text);
    assert_eq!(platform.publish(Role::Service, &batch, "[]").await.body, json!({"events": []}));
    assert_eq!(platform.count("ACTIVITY").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_of_another_source_or_tenant_is_another_event() {
    let platform = Platform::start().await;
    let event = |source: &str| {
        json!({"type": "metric.update", "id": "1", "source": source, "data": {"type": "sms", "calls": 2}}).to_string()
    };
    for source in ["/a", "/b"] {
        let answer = platform.publish(Role::Service, &[], &event(source)).await;
        assert_eq!(answer.event()["duplicate"], false);
    }
    platform
        .publish(Role::Service, &[], &event("/webhooks/acme-twilio"))
        .await
        .is(403, "reserved_source");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_says_where_and_writes_nothing() {
    let platform = Platform::start().await;
    let metric = |data: Value| json!({"type": "metric.update", "data": data});
    platform.post("/v1/events", &[], METRIC).await.is(401, "token_missing");
    platform
        .post("/v1/events", &[("authorization", "Bearer x.y.z")], METRIC)
        .await
        .is(401, "token_invalid");
    platform.publish(Role::Guest, &[], METRIC).await.is(403, "forbidden");
    let service = async |body: &str| platform.publish(Role::Service, &[], body).await;
    service("{oops").await.is(400, "unreadable_body");
    service(r#"{"type":"no.such"}"#).await.is(422, "unknown_type");
    service(r#"{"data":{}}"#).await.is(422, "invalid_attribute");
    let alert =
        json!({"type": "crisis.alert", "data": {"userId": "7", "severity": "high", "signals": []}});
    service(&alert.to_string()).await.is(403, "closed_type");

    let good = metric(json!({"type": "sms", "calls": 1}));
    let bad = metric(json!({"type": "sms", "calls": "many"}));
    let answer = service(&json!([good, bad]).to_string()).await;
    answer.is(422, "invalid_data");
    assert_eq!(
        (&answer.body["index"], &answer.body["pointer"]),
        (&json!(1), &json!("/data/calls"))
    );
    assert!(answer.body["requestId"].is_string());
    assert!(!answer.text.contains("many"), "the data is not repeated");
    service(&"x".repeat(1024 * 1024 + 1)).await.is(413, "too_large");
    assert_eq!(platform.count("ACTIVITY").await, 0);
    assert_eq!(platform.count("CRISIS").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_of_users_is_added_to_the_channels() {
    let platform = Platform::start().await;
    let body =
        json!({"type": "metric.update", "data": {"type": "sms", "calls": 1}, "audience": ["7", 9]});
    let answer = platform.publish(Role::Service, &[], &body.to_string()).await;
    let message = platform.stored(answer.event()).await;
    let channels = message.headers.get("tl-channels").unwrap();
    assert!(channels.contains("user:7") && channels.contains("user:9"), "{channels}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_event_is_sent_live_and_the_answer_says_so() {
    let platform = Platform::start().await;
    let catalogue = domain::catalogue::Catalogue::builtin().unwrap();
    let open = |event: &&domain::catalogue::EventType| {
        event.stream.is_none() && !event.closed && event.publishers.contains(&Role::Service)
    };
    let event = catalogue.events().find(open).expect("an ephemeral type that services publish");
    let admin = platform.admin().await;
    let mut live = admin.subscribe("live.>").await.unwrap();
    admin.flush(std::time::Duration::from_secs(2)).await.unwrap();
    let body = json!({"type": event.name, "data": event.example, "audience": ["7"]}).to_string();
    let mut seen = false;
    eventually("a subscriber gets it", async || {
        let answer = platform.publish(Role::Service, &[], &body).await;
        assert_eq!(
            (&answer.event()["stream"], &answer.event()["sequence"]),
            (&Value::Null, &Value::Null)
        );
        let next = tokio::time::timeout(std::time::Duration::from_millis(500), live.next()).await;
        seen |= next.is_ok();
        seen
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_asks_may_send() {
    let platform = Platform::start().await;
    let request = Request::options("/v1/events")
        .header("webhook-request-origin", "eventemitter.example.com")
        .body(Bytes::new());
    let answer = platform.send(request.unwrap()).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["webhook-allowed-origin"], "eventemitter.example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_user_publishes_no_more() {
    let platform = Platform::start().await;
    platform.publish(Role::Service, &[], METRIC).await.event();
    let until = runtime::clock::unix_seconds() + 600;
    let revoked = json!({"tenant": "acme", "sub": "7", "until": until}).to_string();
    platform.admin().await.bucket("revocations").put("acme.sub.7", revoked.into()).await.unwrap();
    eventually("it is refused", async || {
        let answer = platform.publish(Role::Service, &[], METRIC).await;
        answer.status == 401 && answer.body["code"] == "token_revoked"
    })
    .await;
}
