//! Publications over HTTP: every form, answered after the log has them, refused with the reason, stored once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value as Json, json};

use crate::checker::Value;
use crate::clients::http::{Answer, Request};
use crate::clients::publisher::Kind;
use crate::clients::token::{claims, service, sign, token};
use crate::harness::cast::journey;
use crate::harness::{Options, TENANT, TestPlatform};

async fn write_side() -> TestPlatform {
    TestPlatform::start_with(Options::default().write_side_alone()).await
}

fn activity(counter: u64) -> Json {
    Kind::Team.data(&Value::new("w", counter))
}

async fn publish(platform: &TestPlatform, request: Request) -> Answer {
    request.bearer(&service(TENANT)).send(platform.ingest()).await.unwrap()
}

fn event(id: &str, counter: u64) -> Json {
    json!({
        "specversion": "1.0", "id": id, "source": "/crm", "type": "team.activity",
        "data": activity(counter),
    })
}

#[track_caller]
fn stored(answer: &Answer) -> Vec<(u64, bool)> {
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
    let events = answer.json()["events"].clone();
    let one = |event: &Json| {
        assert_eq!(event["stream"], "ACTIVITY", "{event}");
        (event["sequence"].as_u64().unwrap(), event["duplicate"].as_bool().unwrap())
    };
    events.as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn every_form_is_stored_and_a_repeat_is_a_duplicate() {
    journey(60, async {
        let platform = write_side().await;
        let plain = json!({ "type": "team:activity", "data": activity(1), "id": "plain-1" });
        let structured = event("structured-1", 2).to_string();
        let batch = json!([event("batch-1", 3), event("batch-2", 4)]).to_string();
        let binary = || {
            Request::post("/v1/events")
                .header("ce-specversion", "1.0")
                .header("ce-id", "binary-1")
                .header("ce-source", "/crm")
                .header("ce-type", "team.activity")
                .json(&activity(5))
        };
        let of = |kind: &str, body: &str| Request::post("/v1/events").body(kind, body.to_owned());
        let all = || {
            [
                Request::post("/v1/events").json(&plain),
                of("application/cloudevents+json", &structured),
                of("application/cloudevents-batch+json", &batch),
                binary(),
            ]
        };
        let (mut first, mut again) = (Vec::new(), Vec::new());
        for request in all() {
            first.extend(stored(&publish(&platform, request).await));
        }
        for request in all() {
            again.extend(stored(&publish(&platform, request).await));
        }
        assert_eq!(first.len(), 5);
        assert!(first.iter().all(|(_, duplicate)| !duplicate), "{first:?}");
        let same: Vec<_> = first.iter().map(|(sequence, _)| (*sequence, true)).collect();
        assert_eq!(again, same, "the same events, told to be duplicates");
        assert_eq!(platform.admin().await.state("ACTIVITY").await.messages, 5);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_recognised_after_ingest_and_nats_were_killed() {
    journey(60, async {
        let mut platform = write_side().await;
        let request = || Request::post("/v1/events").json(&event("once-1", 1));
        let first = stored(&publish(&platform, request()).await);
        platform.kill(crate::harness::Service::Ingest);
        platform.nats.kill().await;
        platform.nats.restart().await;
        platform.restart(crate::harness::Service::Ingest).await;
        let again = stored(&publish(&platform, request()).await);
        assert_eq!(again, [(first[0].0, true)]);
        assert_eq!(platform.admin().await.state("ACTIVITY").await.messages, 1);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_its_reason_and_nothing_of_its_batch_is_stored() {
    journey(60, async {
        let platform = write_side().await;
        let mut unknown = event("u", 1);
        unknown["type"] = json!("team.nonsense");
        let mut invalid = event("i", 1);
        invalid["data"]["activity"]["userName"] = json!(17);
        let mut closed = event("c", 1);
        closed["type"] = json!("crisis.alert");
        closed["data"] = json!({
            "alertId": "a-1", "userId": "7", "severity": "high", "signals": ["x"],
        });
        let batch = |bad: &Json| {
            let events = json!([event("good", 9), bad]).to_string();
            Request::post("/v1/events").body("application/cloudevents-batch+json", events)
        };
        for (bad, status, pointer) in [
            (&unknown, 422, None),
            (&invalid, 422, Some("/activity/userName")),
            (&closed, 403, None),
        ] {
            let answer = publish(&platform, batch(bad)).await;
            assert_eq!(answer.status, status, "{}", answer.text());
            let problem = answer.json();
            assert!(problem["code"].is_string() && problem["requestId"].is_string(), "{problem}");
            if let Some(pointer) = pointer {
                assert!(problem["pointer"].as_str().unwrap().ends_with(pointer), "{problem}");
            }
        }
        let answer = Request::post("/v1/events").body("application/json", "{broken");
        assert_eq!(publish(&platform, answer).await.status, 400);
        assert_eq!(platform.admin().await.state("ACTIVITY").await.messages, 0);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn only_who_may_publish_a_type_does() {
    journey(60, async {
        let platform = write_side().await;
        let mut narrow = claims(TENANT, "crm", "service");
        narrow["publish"] = json!(["call.*"]);
        for (token, status) in
            [(sign(&narrow), 403), (token(TENANT, "7", "user"), 403), (service(TENANT), 200)]
        {
            let request = Request::post("/v1/events").bearer(&token).json(&event("e-1", 1));
            let answer = request.send(platform.ingest()).await.unwrap();
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        // The same id in another tenant is another event.
        let request = Request::post("/v1/events").bearer(&service("globex")).json(&event("e-1", 1));
        let answer = request.send(platform.ingest()).await.unwrap();
        assert!(!stored(&answer)[0].1, "{}", answer.text());
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn without_the_log_a_publisher_is_told_to_come_again() {
    journey(60, async {
        let mut platform = write_side().await;
        platform.nats.kill().await;
        let answer =
            publish(&platform, Request::post("/v1/events").json(&event("later-1", 1))).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
        platform.nats.restart().await;
        crate::harness::eventually(
            std::time::Duration::from_secs(10),
            "the publication is taken",
            async || {
                let request = Request::post("/v1/events").json(&event("later-1", 1));
                publish(&platform, request).await.status == 200
            },
        )
        .await;
        assert_eq!(platform.admin().await.state("ACTIVITY").await.messages, 1);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn the_same_event_sent_to_two_replicas_at_once_is_stored_once() {
    journey(60, async {
        let options = Options::default().write_side_alone().two_ingests();
        let platform = TestPlatform::start_with(options).await;
        for round in 1..=10 {
            let event = event(&format!("race-{round}"), round);
            let send = |to| {
                let request = Request::post("/v1/events").bearer(&service(TENANT)).json(&event);
                async move { stored(&request.send(to).await.unwrap())[0] }
            };
            let at = [platform.ingest(), platform.second_ingest()];
            let answers: Vec<_> = join_all((0..12).map(|n| send(at[n % 2]))).await;
            let fresh = answers.iter().filter(|(_, duplicate)| !duplicate).count();
            assert_eq!(fresh, 1, "{answers:?}");
            assert!(answers.iter().all(|(at, _)| *at == answers[0].0), "{answers:?}");
            assert_eq!(platform.admin().await.state("ACTIVITY").await.messages, round);
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_recognised_after_the_brokers_own_window_on_every_replica() {
    journey(60, async {
        let options = Options::default().write_side_alone().two_ingests();
        let mut platform = TestPlatform::start_with(options).await;
        platform
            .admin()
            .await
            .forget_duplicates_after("ACTIVITY", Duration::from_millis(100))
            .await;
        let request =
            |id: &str| Request::post("/v1/events").bearer(&service(TENANT)).json(&event(id, 1));
        let first = stored(&request("old-1").send(platform.ingest()).await.unwrap());
        // Another event far enough behind the first that the window is over.
        tokio::time::sleep(Duration::from_millis(300)).await;
        stored(&request("other-1").send(platform.ingest()).await.unwrap());
        for to in [platform.ingest(), platform.second_ingest()] {
            let again = stored(&request("old-1").send(to).await.unwrap());
            assert_eq!(again, [(first[0].0, true)]);
        }
        platform.kill(crate::harness::Service::Ingest);
        platform.restart(crate::harness::Service::Ingest).await;
        let again = stored(&request("old-1").send(platform.ingest()).await.unwrap());
        assert_eq!(again, [(first[0].0, true)]);
        assert_eq!(platform.admin().await.state("ACTIVITY").await.messages, 2);
        platform.finish().await;
    })
    .await;
}
