//! What administrators follow without asking: what is done, and how the platform is.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::checker::History;
use crate::clients::http::Request;
use crate::clients::sse::EventSource;
use crate::clients::token::token;
use crate::commands::{log_of, post};
use crate::harness::cast::{self, journey};
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};
use crate::safety::{admin, user, websocket};

const SOON: Duration = Duration::from_secs(20);

/// Action and resource of everything that administrators have been told of, in the order of the log.
async fn activities(platform: &TestPlatform) -> Vec<(String, String)> {
    let log = log_of(platform.gateway(), "admin").await;
    let told = log.iter().filter(|(kind, _)| kind == "system.activity");
    let text = |data: &Json, name: &str| data[name].as_str().unwrap_or_default().to_owned();
    told.map(|(_, data)| (text(data, "action"), text(data, "resource"))).collect()
}

/// Asks again until it is decided, as an instance may have died with it.
async fn insist(
    platform: &TestPlatform,
    who: (&str, &str),
    kind: &str,
    id: &str,
    data: &Json,
) -> Json {
    let command = json!({ "type": kind, "id": id, "data": data });
    loop {
        let answer = post(platform.gateway(), who, &command).await;
        assert!(answer.status < 300, "{kind}: {}", answer.text());
        let answer = answer.json();
        if answer["pending"] != true {
            return answer;
        }
    }
}

async fn begin(platform: &TestPlatform, id: &str) -> String {
    let maya = json!({ "avatarId": "maya" });
    let begun = insist(platform, ("ann", "user"), "conversation.start", id, &maya).await;
    begun["conversationId"].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned()
}

#[tokio::test]
async fn administrators_follow_what_is_done_and_nothing_is_told_twice_whoever_dies() {
    journey(180, async {
        let mut platform = TestPlatform::start_with(Options::default().two_ingests()).await;
        let history = History::new();
        let mut boss = admin(&history, "boss");
        boss.connect(platform.gateway(), websocket()).await;
        let (ann, boss_too) = (("ann", "user"), ("boss", "admin"));
        let mut expected = Vec::new();
        for round in 0..4 {
            let id = begin(&platform, &format!("s-{round}")).await;
            let said = json!({ "conversationId": id, "message": "I slept badly." });
            insist(&platform, ann, "conversation.message", &format!("m-{round}"), &said).await;
            if round % 2 == 0 {
                platform.kill(Service::Ingest);
                platform.begin_restart(Service::Ingest);
            }
            let about = json!({ "conversationId": id });
            insist(&platform, ann, "conversation.end", &format!("e-{round}"), &about).await;
            expected.push(("session.started".to_owned(), id.clone()));
            expected.push(("session.ended".to_owned(), id));
        }
        let danger = json!({ "userId": "ann", "conversationId": "c-9", "severity": "low", "signals": ["x"] });
        insist(&platform, ("screen", "service"), "crisis.raise", "r-1", &danger).await;
        let alert = json!({ "alertId": "c-9-1" });
        insist(&platform, boss_too, "crisis.acknowledge", "a-1", &alert).await;
        let notes = json!({ "alertId": "c-9-1", "notes": "Spoke to her." });
        insist(&platform, boss_too, "crisis.resolve", "r-2", &notes).await;
        for action in ["crisis.alert", "crisis.acknowledged", "crisis.resolved"] {
            expected.push((action.to_owned(), "c-9-1".to_owned()));
        }
        expected.sort();
        let all = async || {
            let mut told = activities(&platform).await;
            told.sort();
            told
        };
        eventually(SOON, "all is told", async || all().await.len() >= expected.len()).await;
        assert_eq!(all().await, expected);

        // Whatever is delivered again is recognised, also by an instance that begins.
        let hands = platform.admin().await;
        let work = [("CONVERSATIONS", "ingest-activity"), ("CRISIS", "ingest-activity")];
        for (stream, durable) in work {
            hands.deliver_again(stream, durable).await;
        }
        eventually(SOON, "all is delivered again", async || {
            hands.unsettled(work[0].0, work[0].1).await + hands.unsettled(work[1].0, work[1].1).await == 0
        })
        .await;
        assert_eq!(all().await, expected);

        // The stock client has it, with who did it, and nothing that anybody said.
        let resolved = loop {
            let told = boss.event("admin:activity").await["args"][0].clone();
            assert!(!told.to_string().contains("slept") && !told.to_string().contains("Spoke"), "{told}");
            if told["action"] == "crisis.resolved" {
                break told;
            }
        };
        assert_eq!((&resolved["userId"], &resolved["resource"]), (&json!("boss"), &json!("c-9-1")));
        platform.finish().await;
    })
    .await;
}

/// Reads server-sent events until one of this name comes.
async fn message(client: &mut EventSource, name: &str) -> Json {
    loop {
        let block = client.next(SOON).await.unwrap();
        if block.event.as_deref() == Some(name) {
            return serde_json::from_str(&block.data.unwrap()).unwrap();
        }
    }
}

#[tokio::test]
async fn an_administrator_who_comes_by_an_event_source_is_told_of_the_open_alerts() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let danger = json!({ "userId": "ann", "conversationId": "c-9", "severity": "low", "signals": ["x"] });
        insist(&platform, ("screen", "service"), "crisis.raise", "r-1", &danger).await;
        eventually(SOON, "the alert is among those that are open", async || {
            let request = Request::get("/v1/views/alerts").bearer(&token(TENANT, "boss", "admin"));
            request.send(platform.gateway()).await.unwrap().text().contains("c-9-1")
        })
        .await;
        let mut board = cast::source(&history, "board", &["admin"]);
        board.connect(platform.gateway(), crate::checker::Start::Now).await.unwrap();
        let told = message(&mut board, "snapshot").await;
        assert_eq!(told["value"][0]["alertId"], "c-9-1", "{told}");
        platform.finish().await;
    })
    .await;
}

fn is_told(told: &Json, component: &str, status: &str) -> bool {
    told["component"] == component && told["status"] == status
}

#[tokio::test]
async fn administrators_are_told_when_a_service_is_gone_and_when_it_is_back() {
    journey(120, async {
        let mut platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        let history = History::new();
        let mut boss = admin(&history, "boss");
        boss.connect(platform.gateway(), websocket()).await;
        let mut desk = cast::admin(&history, "desk");
        desk.connect(platform.second_gateway()).await.unwrap();
        let mut board = cast::source(&history, "board", &["admin"]);
        board.connect(platform.gateway(), crate::checker::Start::Now).await.unwrap();
        // Both gateways have heard all services before one is gone.
        tokio::time::sleep(Duration::from_secs(3)).await;
        platform.kill(Service::Replay);
        let down = loop {
            let told = boss.event("system:health").await["args"][0].clone();
            if is_told(&told, "replay", "down") {
                break told;
            }
        };
        assert_eq!(down["message"], "No instance is there.", "{down}");
        desk.wait(|frame| is_told(&frame["payload"], "replay", "down")).await.unwrap();
        assert!(is_told(&message(&mut board, "system:health").await, "replay", "down"));
        // Who comes now is told when it is told again.
        let mut late = admin(&history, "late");
        late.connect(platform.gateway(), websocket()).await;
        assert!(is_told(&late.event("system:health").await["args"][0], "replay", "down"));
        assert!(is_told(&boss.event("system:health").await["args"][0], "replay", "down"));
        // A user is told nothing of it.
        let mut ann = user(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        platform.restart(Service::Replay).await;
        for client in [&mut boss, &mut late] {
            while !is_told(&client.event("system:health").await["args"][0], "replay", "ok") {}
        }
        while !is_told(&message(&mut board, "system:health").await, "replay", "ok") {}
        ann.request("presence:list", json!(["system"])).await;
        assert_eq!(ann.unread("system:health"), 0);
        assert_eq!(boss.unread("system:health"), 0, "two gateways tell each of their clients once");
        platform.finish().await;
    })
    .await;
}
