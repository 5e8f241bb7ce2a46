//! A person in danger gets help, and somebody who can give it hears of it, whatever the AI does.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::checker::History;
use crate::clients::http::Request;
use crate::clients::socketio::SocketIo;
use crate::clients::token::token;
use crate::harness::cast::journey;
use crate::harness::{Options, Service, TENANT, TestPlatform, free_port};

pub(crate) fn user(history: &History, name: &str) -> SocketIo {
    let own = format!("user:{name}");
    let automatic = ["system", "admin:broadcast", &own];
    SocketIo::new(history, name, &token(TENANT, name, "user"), &automatic)
}

pub(crate) fn admin(history: &History, name: &str) -> SocketIo {
    let own = format!("user:{name}");
    let automatic = ["admin", "team", "system", "admin:broadcast", &own];
    SocketIo::new(history, name, &token(TENANT, name, "admin"), &automatic)
}

pub(crate) fn websocket() -> Json {
    json!({ "transports": ["websocket"] })
}

/// Starts a conversation and gives its id.
pub(crate) async fn talk(client: &mut SocketIo) -> String {
    let started = client.request("conversation:start", json!([{}])).await;
    started["conversationId"].as_str().unwrap_or_else(|| panic!("{started}")).to_owned()
}

async fn say(client: &mut SocketIo, conversation: &str, message: &str) {
    let said = json!([{ "conversationId": conversation, "message": message }]);
    let answer = client.request("conversation:message", said).await;
    assert_eq!(answer["ok"], true, "{answer}");
}

/// An AI service that nobody can reach.
fn without_a_model() -> Options {
    let nowhere = format!("http://{}", free_port());
    Options::default().with_ai().set(Service::AiProxy, "AI_PROVIDER", "ezri").set(
        Service::AiProxy,
        "AI_SERVICE_URL",
        &nowhere,
    )
}

async fn open_alerts(platform: &TestPlatform) -> Vec<Json> {
    let request = Request::get("/v1/views/alerts").bearer(&token(TENANT, "judge", "admin"));
    let page = request.send(platform.gateway()).await.unwrap().json();
    page["value"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
}

#[tokio::test]
async fn a_message_that_tells_of_danger_brings_help_and_one_alert_although_the_ai_is_away() {
    journey(120, async {
        let platform = TestPlatform::start_with(without_a_model()).await;
        let history = History::new();
        let mut boss = admin(&history, "boss");
        boss.connect(platform.gateway(), websocket()).await;
        let mut ann = user(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        let conversation = talk(&mut ann).await;
        say(&mut ann, &conversation, "I slept well.").await;
        say(&mut ann, &conversation, "I am going to kill myself tonight").await;

        let told = ann.event("safety:state_change").await;
        assert_eq!(told["args"][0]["state"], "crisis", "{told}");
        assert!(!told["args"][0]["resources"].as_array().unwrap().is_empty(), "{told}");
        let alert = boss.event("crisis:alert").await;
        let alert = &alert["args"][0];
        assert_eq!((&alert["userId"], &alert["severity"]), (&json!("ann"), &json!("imminent")));
        assert_eq!(alert["conversationId"], conversation, "{alert}");
        assert_eq!(alert["alertId"], format!("{conversation}-1"), "{alert}");
        assert!(!alert.to_string().contains("tonight"), "no text leaves the conversation: {alert}");

        // A second message of the same episode brings help again, and no second alert.
        say(&mut ann, &conversation, "I want to die").await;
        ann.event("safety:state_change").await;
        let resolve = json!([{ "alertId": format!("{conversation}-1"), "notes": "called" }]);
        let resolved = boss.request("admin:resolve_crisis", resolve).await;
        assert_eq!(resolved["ok"], true, "{resolved}");
        boss.event("crisis:resolved").await;
        assert_eq!(boss.unread("crisis:alert"), 0);
        assert!(open_alerts(&platform).await.is_empty());

        // The next episode is an alert of its own.
        say(&mut ann, &conversation, "I took all my pills").await;
        let alert = boss.event("crisis:alert").await;
        assert_eq!(alert["args"][0]["alertId"], format!("{conversation}-2"), "{alert}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_message_refused_because_its_conversation_is_over_is_screened_all_the_same() {
    journey(120, async {
        let platform = TestPlatform::start_with(without_a_model()).await;
        let history = History::new();
        let mut boss = admin(&history, "boss");
        boss.connect(platform.gateway(), websocket()).await;
        let mut ann = user(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        let conversation = talk(&mut ann).await;
        let over = json!([{ "conversationId": conversation }]);
        assert_eq!(ann.request("conversation:end", over).await["ok"], true);
        let said = json!([{ "conversationId": conversation,
            "message": "I want to kill myself tonight" }]);
        // What a stranger says there is about nobody.
        let mut bob = user(&history, "bob");
        bob.connect(platform.gateway(), websocket()).await;
        let refused = bob.request("conversation:message", said.clone()).await;
        assert_eq!(refused["ok"], false, "{refused}");
        let refused = ann.request("conversation:message", said).await;
        assert_eq!(
            (&refused["ok"], &refused["code"]),
            (&json!(false), &json!("conversation_ended"))
        );
        assert!(!refused.to_string().contains("tonight"), "{refused}");

        let told = ann.event("safety:state_change").await;
        assert_eq!(told["args"][0]["state"], "crisis", "{told}");
        assert!(!told["args"][0]["resources"].as_array().unwrap().is_empty(), "{told}");
        let alert = boss.event("crisis:alert").await;
        let alert = &alert["args"][0];
        assert_eq!((&alert["userId"], &alert["severity"]), (&json!("ann"), &json!("imminent")));
        assert_eq!(alert["conversationId"], conversation, "{alert}");
        assert!(!alert.to_string().contains("tonight"), "no text leaves the conversation: {alert}");
        assert_eq!((bob.unread("safety:state_change"), boss.unread("crisis:alert")), (0, 0));
        platform.finish().await;
    })
    .await;
}

/// A client that begins to count anew after each reload.
#[tokio::test]
async fn words_under_an_id_that_was_used_before_are_neither_taken_for_others_nor_passed_over() {
    journey(120, async {
        let platform = TestPlatform::start_with(without_a_model()).await;
        let (history, to) = (History::new(), platform.gateway());
        let mut boss = admin(&history, "boss");
        boss.connect(to, websocket()).await;
        let ann = token(TENANT, "ann", "user");
        let ask = async |kind: &str, data: Json| {
            let command = json!({ "type": kind, "id": "1", "data": data });
            let request = Request::post("/v1/commands").bearer(&ann).json(&command);
            let answer = request.send(to).await.unwrap();
            (answer.status, answer.json())
        };
        let (status, started) = ask("conversation.start", json!({})).await;
        assert_eq!(status, 200, "{started}");
        let conversation = started["conversationId"].as_str().unwrap();
        let say = async |text: &str| {
            ask("conversation.message", json!({ "conversationId": conversation, "message": text }))
                .await
        };
        let (status, said) = say("I slept well.").await;
        assert_eq!((status, &said["message"]), (200, &json!("I slept well.")), "{said}");
        assert_eq!(say("I slept well.").await, (200, said), "a repeat has the first one's answer");

        let (status, refused) = say("I want to kill myself tonight").await;
        assert_eq!((status, &refused["code"]), (409, &json!("id_reused")), "{refused}");
        assert!(!refused.to_string().contains("tonight"), "{refused}");
        let alert = boss.event("crisis:alert").await;
        assert_eq!(alert["args"][0]["conversationId"], conversation, "{alert}");
        let (status, ended) =
            ask("conversation.end", json!({ "conversationId": conversation })).await;
        assert_eq!((status, ended["duration"].is_u64()), (200, true), "{ended}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_said_while_nobody_screened_is_screened_afterwards() {
    journey(120, async {
        let mut platform = TestPlatform::start_with(without_a_model()).await;
        let history = History::new();
        let mut boss = admin(&history, "boss");
        boss.connect(platform.gateway(), websocket()).await;
        let mut ann = user(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        let conversation = talk(&mut ann).await;
        platform.kill(Service::AiProxy);
        say(&mut ann, &conversation, "I want to die").await;
        platform.restart(Service::AiProxy).await;
        let alert = boss.event("crisis:alert").await;
        assert_eq!(alert["args"][0]["severity"], "high", "{alert}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn help_comes_long_before_an_answer_would() {
    journey(120, async {
        let platform = TestPlatform::start_with(without_a_model()).await;
        let history = History::new();
        let mut ann = user(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        let conversation = talk(&mut ann).await;
        for _ in 0..5 {
            let began = Instant::now();
            say(&mut ann, &conversation, "I want to die").await;
            ann.event("safety:state_change").await;
            // A bound that a loaded machine keeps; `throughline bench safety` takes the figure.
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_admin_who_comes_later_is_told_of_the_open_alerts_before_asking() {
    journey(120, async {
        let platform = TestPlatform::start().await;
        let history = History::new();
        let raise = json!({ "type": "crisis.raise", "id": "r-1", "data": {
            "userId": "ann", "conversationId": "c-1", "severity": "high", "signals": ["x"] } });
        let boss = token(TENANT, "boss", "admin");
        let request = Request::post("/v1/commands").bearer(&boss).json(&raise);
        assert_eq!(request.send(platform.gateway()).await.unwrap().status, 200);

        let mut late = admin(&history, "late");
        late.connect(platform.gateway(), websocket()).await;
        let told = late.event("throughline:snapshot").await;
        let told = &told["args"][0];
        assert_eq!(
            (&told["channel"], &told["view"]),
            (&json!("admin"), &json!("alerts")),
            "{told}"
        );
        assert_eq!(told["value"][0]["alertId"], "c-1-1", "{told}");

        // Where nothing is open nothing is said.
        let resolve = json!([{ "alertId": "c-1-1" }]);
        assert_eq!(late.request("admin:resolve_crisis", resolve).await["ok"], true);
        let mut later = admin(&history, "later");
        later.connect(platform.gateway(), websocket()).await;
        later.request("presence:list", json!(["admin"])).await;
        assert_eq!(later.unread("throughline:snapshot"), 0);
        platform.finish().await;
    })
    .await;
}
