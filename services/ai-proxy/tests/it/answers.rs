//! What the user gets: an answer in its pieces and as a whole, in order, once, or word that there is none.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::StreamId;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Platform, TENANT, count, of};
use crate::sick_service::{Act, Asked, SickService};

fn openai(service: &SickService) -> [(&'static str, String); 3] {
    [
        ("AI_PROVIDER", "openai".to_owned()),
        ("AI_SERVICE_URL", service.url()),
        ("AI_MODEL", "small".to_owned()),
    ]
}

macro_rules! variables {
    ($service:expr $(, $name:literal = $value:expr)*) => {{
        let mut all: Vec<(&str, String)> = openai(&$service).to_vec();
        all.extend([$(($name, $value.to_string())),*]);
        all
    }};
}

fn borrowed<'a>(variables: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Puts deltas together as a client does.
#[derive(Default)]
struct Text {
    attempt: u64,
    units: Vec<u16>,
}

impl Text {
    fn join(&mut self, delta: &Value) {
        let number = |name: &str| delta[name].as_u64().unwrap();
        if number("attempt") > self.attempt {
            (self.attempt, self.units) = (number("attempt"), Vec::new());
        }
        let offset = number("offset") as usize;
        if offset <= self.units.len() {
            self.units.truncate(offset);
            self.units.extend(delta["text"].as_str().unwrap().encode_utf16());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_answers_in_pieces_and_then_as_a_whole() {
    let platform = Box::pin(Platform::start()).await;
    let mut live = platform.listen().await;
    let service = platform.service(&[]).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "I slept badly").await;
    let (mut text, mut late, mut states) = (Text::default(), Text::default(), Vec::new());
    let mut pieces = 0;
    while states.last().map(String::as_str) != Some("idle") {
        let (kind, data) = live.next().await;
        match kind.as_str() {
            "ai.delta" => {
                pieces += 1;
                text.join(&data);
                // Somebody who has missed the beginning.
                if pieces > 5 {
                    late.join(&data);
                }
            }
            "conversation.state" => states.push(data["state"].as_str().unwrap().to_owned()),
            _ => {}
        }
    }
    let speaking = states.iter().filter(|it| *it == "speaking").count();
    assert!(speaking > 1, "who comes in the middle is told the state too: {states:?}");
    states.dedup();
    assert_eq!(states, ["thinking", "speaking", "idle"]);
    let answer = platform.answer("c-1", "m-1").await;
    assert_eq!(String::from_utf16(&text.units).unwrap(), answer["response"]);
    assert_eq!(late.units, text.units, "the text so far came within the answer");
    assert!(pieces > 5, "{pieces}");
    assert_eq!(answer["conversationId"], "c-1");
    assert_eq!(answer["userId"], "7");
    assert_eq!(answer["crisis_detected"], false);
    platform.settled().await;
    let events = platform.events("c-1").await;
    let kinds: Vec<_> = events.iter().map(|it| it.kind.as_str()).collect();
    let expected =
        ["conversation.started", "conversation.message", "ai.attempt", "ai.usage", "ai.response"];
    assert_eq!(kinds, expected);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_conversation_are_answered_in_order_over_two_instances() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Echo).await;
    let variables = variables!(service);
    let first = platform.service(&borrowed(&variables)).await;
    let second = platform.service(&borrowed(&variables)).await;
    for conversation in ["c-1", "c-2", "c-3"] {
        platform.begin(conversation).await;
        for message in 0..6 {
            let id = format!("m-{message}");
            platform.say(conversation, &id, &format!("{conversation} {id}")).await;
        }
    }
    for conversation in ["c-1", "c-2", "c-3"] {
        let events = platform
            .until(conversation, |it| it.iter().filter(|it| it.kind == "ai.response").count() == 6);
        let events = events.await;
        let answers = events.iter().filter(|it| it.kind == "ai.response");
        let told: Vec<_> = answers.map(|it| it.data["response"].as_str().unwrap()).collect();
        let expected: Vec<_> =
            (0..6).map(|it| format!("You said: {conversation} m-{it}")).collect();
        assert_eq!(told, expected);
    }
    platform.settled().await;
    assert_eq!(service.asked().len(), 18, "nothing was asked twice");
    // What was said before goes along with the next message.
    let last = service
        .asked()
        .iter()
        .map(|it| it.json())
        .find(|it| it["messages"].as_array().unwrap().last().unwrap()["content"] == "c-2 m-5");
    let last = last.unwrap()["messages"].as_array().unwrap().clone();
    assert_eq!(last.len(), 12);
    assert_eq!(last[10], json!({ "role": "assistant", "content": "You said: c-2 m-4" }));
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_followed_by_another_and_both_are_visible() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Say(vec!["Here ", "I am."])).await;
    service.then([Act::Status(500, ""), Act::BreakOff(vec!["Here "])]);
    let variables = variables!(service);
    let running = platform.service(&borrowed(&variables)).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "Hello?").await;
    assert_eq!(platform.answer("c-1", "m-1").await["response"], "Here I am.");
    platform.settled().await;
    let events = platform.events("c-1").await;
    let attempts: Vec<_> = of(&events, "ai.attempt", "m-1")
        .map(|it| (it.data["attempt"].as_u64().unwrap(), it.data["after"].clone()))
        .collect();
    assert_eq!(attempts, [(1, Value::Null), (2, json!("unavailable")), (3, json!("truncated"))]);
    let usages: Vec<_> =
        of(&events, "ai.usage", "m-1").map(|it| it.data["outcome"].clone()).collect();
    assert_eq!(usages, ["unavailable", "truncated", "answered"]);
    let cut = of(&events, "ai.usage", "m-1").nth(1).unwrap();
    let tokens = |name: &str| cut.data[name].as_u64().unwrap();
    assert!(tokens("promptTokens") > 0 && tokens("completionTokens") > 0, "{cut:?}");
    assert_eq!(cut.data["estimated"], true);
    assert_eq!(count(&events, "ai.response", "m-1"), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_is_told_and_the_same_message_can_be_sent_again() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::ErrorInside).await;
    let variables = variables!(service);
    let mut live = platform.listen().await;
    let running = platform.service(&borrowed(&variables)).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "Hello?").await;
    let events = platform.until("c-1", |it| count(it, "ai.failed", "m-1") == 1).await;
    loop {
        let (kind, data) = live.next().await;
        if kind == "conversation.state" && data["state"] == "idle" {
            break;
        }
    }
    let failed = of(&events, "ai.failed", "m-1").next().unwrap();
    assert_eq!(failed.data["message"], "Failed to get AI response");
    assert_eq!(failed.data["code"], "ai_unavailable");
    assert_eq!(failed.data["reason"], "interrupted");
    assert_eq!(failed.data["attempts"], 3);
    assert_eq!(service.asked().len(), 3);
    platform.settled().await;
    service.otherwise(Act::Say(vec!["Better now."]));
    platform.say("c-1", "m-1", "Hello?").await;
    let answer = platform.answer("c-1", "m-1").await;
    assert_eq!(answer["response"], "Better now.");
    assert_eq!(answer["attempt"], 4, "clients take pieces of a higher attempt for newer ones");
    let told = service.asked().pop().unwrap().json()["messages"].as_array().unwrap().clone();
    let expected = json!({ "role": "user", "content": "Hello?" });
    assert_eq!(&told[1..], [expected], "the service is told once, behind what it is told first");
    // And once more it says nothing.
    platform.say("c-1", "m-1", "Hello?").await;
    platform.settled().await;
    assert_eq!(count(&platform.events("c-1").await, "ai.response", "m-1"), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_keeps_failing_is_left_alone() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Status(503, "")).await;
    let variables = variables!(service);
    let running = platform.service(&borrowed(&variables)).await;
    for at in 0..4 {
        platform.say(&format!("c-{at}"), "m-1", "Hello?").await;
    }
    for at in 0..4 {
        platform.until(&format!("c-{at}"), |it| count(it, "ai.failed", "m-1") == 1).await;
    }
    platform.say("c-9", "m-1", "Hello?").await;
    let before = service.asked().len();
    let begun = Instant::now();
    let events = platform.until("c-9", |it| count(it, "ai.failed", "m-1") == 1).await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(of(&events, "ai.failed", "m-1").next().unwrap().data["reason"], "circuit_open");
    assert_eq!(service.asked().len(), before);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_service_hangs_delays_no_other() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Hang).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let url = service.url();
    let text = format!(
        "[[tenant]]\ntenant = 'slow'\nprovider = 'openai'\nurl = '{url}'\nmodel = 'm'\nconcurrency = 8\n"
    );
    std::fs::write(file.path(), text).unwrap();
    let running = platform.service(&[("AI_FILE", file.path().to_str().unwrap())]).await;
    for at in 0..200 {
        platform.say_in("slow", &format!("s-{at}"), "m-1", "Hello?").await;
    }
    let begun = Instant::now();
    platform.say("c-1", "m-1", "Hello").await;
    platform.answer("c-1", "m-1").await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "the script takes about two seconds, it took {took:?}");
    assert_eq!(service.most_at_once(), 8);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_beyond_the_budget_are_not_asked_for() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Say(vec!["Yes."])).await;
    let variables = variables!(service, "AI_TOKENS_PER_HOUR" = 20);
    let running = platform.service(&borrowed(&variables)).await;
    platform.begin("c-1").await;
    for at in 0..2 {
        platform.say("c-1", &format!("m-{at}"), "Hello?").await;
        platform.answer("c-1", &format!("m-{at}")).await;
    }
    platform.say("c-1", "m-2", "Hello?").await;
    let events = platform.until("c-1", |it| count(it, "ai.failed", "m-2") == 1).await;
    assert_eq!(of(&events, "ai.failed", "m-2").next().unwrap().data["code"], "ai_budget_exhausted");
    // Another instance knows it from the log.
    running.stop().await;
    let running = platform.service(&borrowed(&variables)).await;
    platform.say("c-2", "m-1", "Hello?").await;
    platform.until("c-2", |it| count(it, "ai.failed", "m-1") == 1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ais_alarm_is_raised_before_its_answer_is_stored() {
    let platform = Box::pin(Platform::start()).await;
    let told = json!({ "response": "Please call.", "crisis_detected": "true",
        "detected_signals": ["plan"], "timestamp": "yesterday" });
    let service = SickService::start(Act::Whole(told)).await;
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    let commands = platform.admin.subscribe("commands.>").await.unwrap();
    let mut commands = commands;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "A plain message.").await;
    let command =
        tokio::time::timeout(crate::harness::SOON, commands.next()).await.unwrap().unwrap();
    assert!(
        count(&platform.events("c-1").await, "ai.response", "m-1") == 0,
        "the answer waits until the alert is decided, or a moment"
    );
    assert_eq!(&*command.subject, format!("commands.{TENANT}.crisis.c-1.raise"));
    let data: Value = serde_json::from_slice(&command.payload).unwrap();
    assert_eq!(data["severity"], "imminent", "what is not told counts as the highest");
    assert_eq!(data["signals"], json!(["plan"]));
    assert_eq!(data["userId"], "7");
    let answer = platform.answer("c-1", "m-1").await;
    assert_eq!(answer["response"], "Please call.");
    assert_eq!(answer["crisis_detected"], true);
    let help = platform.all(StreamId::Crisis, None).await;
    let help: Vec<_> = help.iter().filter(|it| it.kind == "safety.state_change").collect();
    assert_eq!(help.len(), 1);
    assert_eq!(help[0].data["state"], "crisis");
    assert!(help[0].data["resources"].to_string().contains("988"));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_stops_leaves_its_answers_to_another_at_once() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Hang).await;
    let variables = variables!(service, "AI_TIMEOUT_MS" = 50_000, "SHUTDOWN_GRACE_MS" = 10_000);
    let first = platform.service(&borrowed(&variables)).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "Hello?").await;
    platform.until("c-1", |it| count(it, "ai.attempt", "m-1") == 1).await;
    let second = platform.service(&borrowed(&variables)).await;
    service.otherwise(Act::Say(vec!["Hello."]));
    first.stop().await;
    let stopped = Instant::now();
    platform.answer("c-1", "m-1").await;
    let took = stopped.elapsed();
    // A lease of ten seconds is extended every four, so at least six of it were left.
    assert!(took < Duration::from_secs(5), "no lease had to run out, but it took {took:?}");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_at_a_message_has_one_idempotency_key_that_no_other_message_has() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Whole(json!({ "response": "I am here." }))).await;
    service.then([Act::Status(503, ""), Act::Status(502, "")]);
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    platform.say("c-1", "m-1", "Hello?").await;
    platform.answer("c-1", "m-1").await;
    let attempts = service.asked();
    assert_eq!(attempts.len(), 3);
    let distinct = |asked: &[Asked], name: &str| {
        let all = asked.iter().map(|it| it.header(name).unwrap().to_owned());
        all.collect::<BTreeSet<_>>().len()
    };
    assert_eq!(distinct(&attempts, "idempotency-key"), 1);
    assert_eq!(distinct(&attempts, "x-request-id"), 3);
    // The same id in another conversation and at another tenant, as clients choose them.
    platform.say("c-2", "m-1", "Hello?").await;
    platform.answer("c-2", "m-1").await;
    platform.say_in("other", "c-1", "m-1", "Hello?").await;
    platform.until("c-1", |it| count(it, "ai.response", "m-1") == 2).await;
    let asked = service.asked();
    assert_eq!((asked.len(), distinct(&asked, "idempotency-key")), (5, 3));
    assert!(asked.iter().all(|it| it.header("idempotency-key") != Some("m-1")));
    running.stop().await;
}
