//! Somebody's words are erased while the AI is at them: nothing more is asked, sent or kept.

use std::sync::Arc;
use std::time::Duration;

use domain::command::command_header;
use domain::envelope::header;
use domain::protection::Subject;
use domain::subject::voice_request;
use domain::{EntityToken, StreamId, Tenant, Token};
use runtime::vault::Destroyed;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::harness::{Event, Platform, SOON, TENANT, count, of};
use crate::sick_service::{Act, SickService};

const SECRET: &str = "My cat is called Ottokar.";

fn person() -> Subject {
    let (tenant, kind) = (Tenant::parse(TENANT).unwrap(), Token::parse("user").unwrap());
    Subject::new(&tenant, &kind, "7")
}

async fn erase(platform: &Platform) {
    assert_eq!(platform.vault.destroy(&person()).await.unwrap(), Destroyed::Now);
}

async fn is_asked(service: &SickService) {
    let asked = async {
        while !service.is_busy() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, asked).await.expect("the AI is asked");
}

fn openai(url: &str) -> [(&str, &str); 4] {
    [
        ("AI_PROVIDER", "openai"),
        ("AI_SERVICE_URL", url),
        ("AI_MODEL", "small"),
        ("AI_TIMEOUT_MS", "2000"),
    ]
}

/// The message has its end, which holds no word of it, and nothing was sealed under a key made anew.
async fn ends(platform: &Platform) -> Vec<Event> {
    let events = platform.until("c-1", |it| count(it, "ai.failed", "m-1") == 1).await;
    let failed = &of(&events, "ai.failed", "m-1").next().unwrap().data;
    assert_eq!(
        (&failed["code"], &failed["reason"]),
        (&json!("ai_unavailable"), &json!("erased")),
        "{failed}"
    );
    platform.settled().await;
    let events = platform.events("c-1").await;
    assert_eq!(count(&events, "ai.response", "m-1"), 0, "{events:#?}");
    assert_eq!(count(&events, "ai.failed", "m-1"), 1, "{events:#?}");
    assert_eq!(platform.vault.key(&person()).await.unwrap(), None, "nothing is kept anew");
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_erased_is_not_asked_again_and_goes_along_with_nothing_later() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Hang).await;
    let url = service.url();
    let running = platform.service(&openai(&url)).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", SECRET).await;
    is_asked(&service).await;
    erase(&platform).await;
    let events = ends(&platform).await;
    let spent = &of(&events, "ai.usage", "m-1").next().unwrap().data;
    assert_eq!((&spent["outcome"], &spent["attempt"]), (&json!("erased"), &json!(1)));
    assert_eq!(service.asked().len(), 1);
    service.otherwise(Act::Say(vec!["Hello."]));
    platform.say("c-1", "m-2", "Hello again.").await;
    platform.answer("c-1", "m-2").await;
    let asked = service.asked();
    assert_eq!(asked.len(), 2);
    let messages = asked[1].json()["messages"].as_array().unwrap().clone();
    let expected = json!({ "role": "user", "content": "Hello again." });
    assert_eq!(&messages[1..], [expected], "behind what the AI is told first");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_erased_between_two_attempts_is_not_waited_for() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Status(503, "retry-after: 15\r\n")).await;
    let url = service.url();
    let running = platform.service(&openai(&url)).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", SECRET).await;
    platform.until("c-1", |it| count(it, "ai.usage", "m-1") == 1).await;
    erase(&platform).await;
    ends(&platform).await;
    assert_eq!(service.asked().len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_being_written_breaks_off() {
    let platform = Box::pin(Platform::start()).await;
    let mut pieces = vec!["What ", "a "];
    pieces.extend(vec!["fine "; 40]);
    pieces.push("name.");
    let service = SickService::start(Act::Slowly(pieces, Duration::from_millis(100))).await;
    let url = service.url();
    let running = platform.service(&openai(&url)).await;
    let mut live = platform.listen().await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", SECRET).await;
    while live.next().await.0 != "ai.delta" {}
    erase(&platform).await;
    loop {
        let (kind, data) = live.next().await;
        assert!(!data.to_string().contains("name."), "it went on to its end: {kind} {data}");
        if kind == "conversation.state" && data["state"] == "idle" {
            break;
        }
    }
    ends(&platform).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_answer_that_comes_late_is_not_kept() {
    let platform = Box::pin(Platform::start()).await;
    let given = Arc::new(Notify::new());
    let told = json!({ "response": "Ottokar is a fine name." });
    let service = SickService::start(Act::Held(told, given.clone())).await;
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", SECRET).await;
    is_asked(&service).await;
    erase(&platform).await;
    given.notify_one();
    ends(&platform).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_said_before_is_left_out_and_the_message_is_answered() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Say(vec!["I see."])).await;
    service.then([Act::Say(vec!["Hello."]), Act::Hang]);
    let url = service.url();
    let running = platform.service(&openai(&url)).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", SECRET).await;
    platform.answer("c-1", "m-1").await;
    let other = json!({ "conversationId": "c-1", "userId": "8", "messageId": "m-2",
        "message": "Listen to me." });
    platform.append(TENANT, "conversation.message", other).await;
    is_asked(&service).await;
    erase(&platform).await;
    platform.answer("c-1", "m-2").await;
    let asked = service.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].json().to_string().contains("Ottokar"), "the test shows nothing");
    assert!(!asked[2].json().to_string().contains("Ottokar"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_that_came_before_an_erasure_is_not_asked_for_again() {
    let platform = Box::pin(Platform::start()).await;
    platform.vault.key_to_seal(&person()).await.unwrap();
    let service = SickService::start(Act::Hang).await;
    let url = service.url();
    let variables =
        [("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", url.as_str()), ("AI_TIMEOUT_MS", "2000")];
    let running = platform.service(&variables).await;
    platform.hearing().await;
    let tenant = Tenant::parse(TENANT).unwrap();
    let subject = voice_request(&tenant, &EntityToken::from_external("c-1"));
    let headers = [(command_header::ACTOR, "7".to_owned()), (header::SUBJECT, "c-1".to_owned())];
    let answer = platform.admin.request_with(&subject, &headers, "noise".into(), SOON).await;
    let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
    assert_eq!(answer["ok"], true, "{answer}");
    is_asked(&service).await;
    erase(&platform).await;
    let failed = |it: &Event| it.kind == "ai.failed";
    let events = platform.until("c-1", |it| it.iter().any(failed)).await;
    assert_eq!(events.iter().find(|it| failed(it)).unwrap().data["reason"], "erased");
    assert_eq!(service.asked().len(), 1);
    assert!(!events.iter().any(|it| it.kind == "voice.transcription"));
    assert_eq!(platform.vault.key(&person()).await.unwrap(), None, "nothing is kept anew");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_the_person_is_in_an_alert_that_an_ai_raises() {
    let platform = Box::pin(Platform::start()).await;
    let told = json!({ "response": "Please call.", "crisis_detected": true, "severity": "high",
        "safety_state": "Ottokar", "detected_signals": ["plan", "cat Ottokar", SECRET, "means"] });
    let service = SickService::start(Act::Whole(told)).await;
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    let mut commands = platform.admin.subscribe("commands.*.crisis.>").await.unwrap();
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", SECRET).await;
    let raised = timeout(SOON, commands.next()).await.expect("an alert").unwrap();
    let raised: Value = serde_json::from_slice(&raised.payload).unwrap();
    assert_eq!(raised["signals"], json!(["plan", "other", "means"]));
    platform.answer("c-1", "m-1").await;
    let help = platform.all(StreamId::Crisis, None).await;
    assert_eq!((help.len(), &help[0].data["state"]), (1, &json!("crisis")), "{help:?}");
    running.stop().await;
}
