//! Commands while something is missing: nothing is decided twice, nothing is said to be stored that is not.

use std::time::Duration;

use serde_json::json;

use super::{client, count, log_of, post, try_post, websocket};
use crate::checker::History;
use crate::clients::http::Request;
use crate::clients::token::token;
use crate::harness::cast::{calls, journey};
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};

#[tokio::test]
async fn a_command_sent_again_gets_its_first_answer_wherever_it_is_sent() {
    journey(90, async {
        let options = Options::default().two_gateways().two_ingests();
        let platform = TestPlatform::start_with(options).await;
        let gateways = [platform.gateway(), platform.second_gateway()];
        let start = json!({ "type": "conversation:start", "data": {}, "id": "k-1" });
        let first = post(gateways[0], ("ann", "user"), &start).await;
        assert_eq!(first.status, 200, "{}", first.text());
        let again = post(gateways[1], ("ann", "user"), &start).await;
        assert_eq!((again.status, again.json()), (200, first.json()));
        let id = first.json()["conversationId"].clone();
        let end =
            json!({ "type": "conversation.end", "data": { "conversationId": id }, "id": "k-2" });
        for gateway in gateways.iter().cycle().take(4) {
            assert_eq!(post(*gateway, ("ann", "user"), &end).await.status, 200);
        }
        // What comes too late is refused, with a code and every time.
        let late = json!({ "conversationId": id, "message": "one more thing" });
        let late = json!({ "type": "conversation.message", "data": late, "id": "k-3" });
        let refused = post(gateways[0], ("ann", "user"), &late).await;
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert!(refused.status == 409 && refused.json()["code"].is_string(), "{}", refused.text());
        let refused_again = post(gateways[1], ("ann", "user"), &late).await;
        assert_eq!(refused_again.json()["code"], refused.json()["code"]);
        // The same id of another caller is another command.
        let other = post(gateways[0], ("bob", "user"), &start).await;
        assert_ne!(other.json()["conversationId"], id);
        let channel = format!("conversation:{}", id.as_str().unwrap());
        let log = log_of(gateways[0], &channel).await;
        let counts = (count(&log, "conversation.started"), count(&log, "conversation.ended"));
        assert_eq!(counts, (1, 1));
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn who_insists_while_nobody_decides_stores_one_command_and_has_the_decision_when_it_comes() {
    journey(90, async {
        let platform = TestPlatform::start().await;
        let admin = platform.admin().await;
        platform.signal(Service::Ingest, "STOP");
        let start = json!({ "type": "conversation.start", "data": {}, "id": "k-1" });
        let other =
            json!({ "type": "conversation.start", "data": { "avatarId": "a" }, "id": "k-1" });
        for ask in [&start, &start, &start, &other] {
            let answer = post(platform.gateway(), ("ann", "user"), ask).await;
            assert_eq!((answer.status, &answer.json()["pending"]), (202, &json!(true)));
        }
        assert_eq!(admin.unsettled("COMMANDS", "ingest").await, 2, "repeats wait with the first");

        platform.signal(Service::Ingest, "CONT");
        let mut decided = None;
        eventually(Duration::from_secs(30), "the command is decided", async || {
            let answer = post(platform.gateway(), ("ann", "user"), &start).await;
            decided = (answer.status == 200).then(|| answer.json());
            decided.is_some()
        })
        .await;
        let again = post(platform.gateway(), ("ann", "user"), &start).await;
        assert_eq!((again.status, Some(again.json())), (200, decided));
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_is_killed_meanwhile_a_command_is_decided_once() {
    journey(180, async {
        let options = Options::default().two_gateways().two_ingests();
        let mut platform = TestPlatform::start_with(options).await;
        let history = History::new();
        for (round, victim) in
            [Service::Gateway, Service::Ingest, Service::Gateway, Service::SecondIngest]
                .into_iter()
                .enumerate()
        {
            let mut ann = client(&history, "ann", "user");
            ann.connect(platform.gateway(), websocket()).await;
            let id = format!("round-{round}");
            ann.emit("conversation:start", json!([{ "commandId": id }])).await;
            platform.kill(victim);
            // Whatever became of it: the same command again has the one outcome.
            let start = json!({ "type": "conversation.start", "data": {}, "id": id });
            let mut conversation = String::new();
            eventually(Duration::from_secs(30), "the command is decided", async || {
                let answer = post(platform.second_gateway(), ("ann", "user"), &start).await;
                let decided = answer.json();
                conversation = decided["conversationId"].as_str().unwrap_or_default().to_owned();
                !conversation.is_empty()
            })
            .await;
            platform.restart(victim).await;
            let channel = format!("conversation:{conversation}");
            let log = log_of(platform.second_gateway(), &channel).await;
            assert_eq!(count(&log, "conversation.started"), 1, "{victim:?}");
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_not_decided_in_time_is_pending_while_events_go_on() {
    journey(120, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let gateway = platform.gateway();
        let mut ann = client(&history, "ann", "agent");
        ann.connect(gateway, websocket()).await;
        ann.join("subscribe:contact", json!("c-1"), "contact:c-1").await;
        let mut bob = client(&history, "bob", "agent");
        bob.connect(gateway, websocket()).await;
        calls(&history, "w").publish(platform.ingest(), 1).await;
        platform.signal(Service::Ingest, "STOP");
        let note = json!({ "callSid": "CA42", "text": "Call again." });
        let line = json!({ "op": "emit", "name": "call:note", "args": [note], "reference": 99 });
        ann.tell(line).await;
        // A signal of somebody else arrives while the command waits for its decision.
        bob.request("typing:start", json!([{ "contactId": "c-1" }])).await;
        let typing = ann.event("typing:indicator").await;
        assert_eq!(typing["args"][0]["userId"], "bob", "{typing}");
        let answered = ann.wait("ack").await;
        assert_eq!(answered["reference"], 99, "{answered}");
        let answer = &answered["args"][0];
        assert_eq!((&answer["ok"], &answer["pending"]), (&json!(true), &json!(true)), "{answer}");
        let id = answer["commandId"].clone();
        let http =
            json!({ "type": "call.note", "data": { "callSid": "CA42", "text": "And again." } });
        assert_eq!(post(gateway, ("ann", "agent"), &http).await.status, 202);
        platform.signal(Service::Ingest, "CONT");
        // The decision is found by the same id.
        let note = json!({ "type": "call.note", "data": note, "id": id });
        eventually(Duration::from_secs(40), "it is decided", async || {
            post(gateway, ("ann", "agent"), &note).await.status == 200
        })
        .await;
        eventually(Duration::from_secs(40), "both notes are there, once each", async || {
            count(&log_of(gateway, "call:CA42").await, "call.note") == 2
        })
        .await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn without_the_log_a_command_is_refused_and_nothing_comes_of_it() {
    journey(120, async {
        let mut platform = TestPlatform::start().await;
        let gateway = platform.gateway();
        platform.nats.kill().await;
        let start = json!({ "type": "conversation.start", "data": {}, "id": "k-1" });
        // A machine with much to do may need longer than a client waits.
        let refused = loop {
            if let Ok(answer) = try_post(gateway, ("ann", "user"), &start).await {
                break answer;
            }
        };
        assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("unavailable")));
        assert_eq!(refused.json()["commandId"], "k-1", "what to send again");
        platform.nats.restart().await;
        eventually(Duration::from_secs(30), "it is decided when it is sent again", async || {
            post(gateway, ("ann", "user"), &start).await.status == 200
        })
        .await;
        let again = post(gateway, ("ann", "user"), &start).await.json();
        let channel = format!("conversation:{}", again["conversationId"].as_str().unwrap());
        // The read side has to find the broker again, too.
        eventually(Duration::from_secs(30), "it has begun once", async || {
            count(&log_of(gateway, &channel).await, "conversation.started") == 1
        })
        .await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_a_command_is_refused_with_its_reason() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let gateway = platform.gateway();
        for (who, command, status, code) in [
            (("ann", "user"), json!({ "type": "no.such" }), 422, "unknown_type"),
            (
                ("ann", "user"),
                json!({ "type": "crisis.assign", "data": "c-1" }),
                403,
                "not_allowed",
            ),
            (
                ("boss", "admin"),
                json!({ "type": "crisis.assign", "data": {} }),
                422,
                "invalid_data",
            ),
            (
                ("boss", "admin"),
                json!({ "type": "crisis.escalate", "data": {} }),
                422,
                "unknown_type",
            ),
            (("ann", "user"), json!({ "type": "conversation.start", "id": "" }), 400, "bad_id"),
            (("ann", "user"), json!({ "data": {} }), 400, "bad_body"),
            (
                ("boss", "admin"),
                json!({ "type": "crisis:resolve", "data": "c-9-1" }),
                404,
                "unknown_alert",
            ),
        ] {
            let refused = post(gateway, who, &command).await;
            let problem = refused.json();
            assert_eq!((refused.status, &problem["code"]), (status, &json!(code)), "{problem}");
        }
        let pointed = json!({ "type": "crisis.assign", "data": {} });
        let pointed = post(gateway, ("boss", "admin"), &pointed).await.json();
        assert_eq!(pointed["pointer"], "/alertId", "{pointed}");

        // A dashboard ends a call by its path alone; the outcome comes as events.
        let end =
            |role| Request::post("/api/calls/CA42/terminate").bearer(&token(TENANT, "ann", role));
        assert_eq!(end("user").send(gateway).await.unwrap().status, 403);
        let accepted = end("agent").body("application/json", "").send(gateway).await.unwrap();
        assert!([202, 404, 409].contains(&accepted.status), "{}", accepted.text());
        platform.finish().await;
    })
    .await;
}
