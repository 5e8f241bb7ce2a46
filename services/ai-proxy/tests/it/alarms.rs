//! Somebody may be in danger: whatever the AI says and however fast, the alert and the help come first and are not lost.

use std::sync::Arc;
use std::time::Duration;

use domain::command::command_header;
use domain::protection::WrappingKeys;
use domain::{Command, StreamId};
use runtime::messaging::{Signal, Subscription};
use runtime::vault::Vault;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::harness::{Event, Platform, SOON, TENANT, count, of};
use crate::sick_service::{Act, SickService};

/// The next command, as a decider takes it.
async fn next(commands: &mut Subscription) -> (Command, Signal) {
    let signal = timeout(SOON, commands.next()).await.expect("a command").unwrap();
    let command = Command::from_message(&signal.subject, &signal.headers, &signal.payload);
    (command.unwrap(), signal)
}

async fn commands(platform: &Platform) -> Subscription {
    platform.admin.subscribe("commands.*.crisis.>").await.unwrap()
}

async fn help(platform: &Platform) -> Vec<Event> {
    let all = platform.all(StreamId::Crisis, None).await;
    all.into_iter().filter(|it| it.kind == "safety.state_change").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_refused_for_what_an_ai_found_is_raised_without_it() {
    let platform = Box::pin(Platform::start()).await;
    let told = json!({ "response": "Please call.", "crisis_detected": true, "severity": "high",
        "detected_signals": [1, null, ["x"], "plan", "x".repeat(500)] });
    let service = SickService::start(Act::Whole(told)).await;
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    let mut commands = commands(&platform).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "A plain message.").await;
    let (first, signal) = next(&mut commands).await;
    assert_eq!(first.data["signals"], json!(["1", "null", "other", "plan"]));
    // As a decider that cannot record it answers.
    let reply = signal.headers.get(command_header::REPLY).unwrap();
    platform.admin.publish(reply, &[], "{\"ok\":false}".into()).await.unwrap();
    let (second, _) = next(&mut commands).await;
    assert_ne!(second.key(), first.key(), "the same command would be refused again");
    assert_eq!((&second.data["signals"], &second.data["severity"]), (&json!([]), &json!("high")));
    assert_eq!(platform.answer("c-1", "m-1").await["response"], "Please call.");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_screen_finds_is_raised_before_the_fastest_answer_begins() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Say(vec!["Tell ", "me more."])).await;
    let url = service.url();
    let variables =
        [("AI_PROVIDER", "openai"), ("AI_SERVICE_URL", url.as_str()), ("AI_MODEL", "small")];
    let running = platform.service(&variables).await;
    let mut commands = commands(&platform).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "I want to die").await;
    // Of the screen and of who answers, one waits for the decision.
    let mut ids = Vec::new();
    let reply = loop {
        let (command, signal) = next(&mut commands).await;
        ids.push(command.key());
        if let Some(reply) = signal.headers.get(command_header::REPLY) {
            break reply.to_owned();
        }
    };
    let events = platform.events("c-1").await;
    assert_eq!(count(&events, "ai.response", "m-1"), 0, "{events:#?}");
    assert_eq!(service.asked().len(), 0, "nothing is asked before the alert is decided");
    platform.admin.publish(&reply, &[], "{\"ok\":true}".into()).await.unwrap();
    platform.answer("c-1", "m-1").await;
    while ids.len() < 2 {
        ids.push(next(&mut commands).await.0.key());
    }
    assert_eq!(ids[0], ids[1], "both ask for one alert");
    assert_eq!(help(&platform).await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_no_longer_than_a_moment_for_a_decision() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Say(vec!["Tell me more."])).await;
    let url = service.url();
    let variables =
        [("AI_PROVIDER", "openai"), ("AI_SERVICE_URL", url.as_str()), ("AI_MODEL", "small")];
    let running = platform.service(&variables).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "I want to die").await;
    assert_eq!(platform.answer("c-1", "m-1").await["response"], "Tell me more.");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_spoken_is_screened_as_text_and_adds_nothing_as_a_message() {
    let platform = Box::pin(Platform::start()).await;
    let mut commands = commands(&platform).await;
    let running = platform.service(&[]).await;
    let spoken = json!({ "conversationId": "c-1", "chunkId": "voice-1", "userId": "7",
        "text": "I want to die" });
    platform.append(TENANT, "voice.transcription", spoken).await;
    let (command, _) = next(&mut commands).await;
    assert_eq!(command.key(), "screen/crisis.raise/screen-voice-1");
    // The decider makes a message of it, which is screened as well.
    platform.say("c-1", "voice-1", "I want to die").await;
    let (command, _) = next(&mut commands).await;
    assert_eq!(command.key(), "screen/crisis.raise/screen-voice-1");
    platform.answer("c-1", "voice-1").await;
    assert_eq!(help(&platform).await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_list_is_offered_by_the_screen_and_by_the_ai_wherever_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for (variable, text) in [
        ("SAFETY_DIR", "[[resources]]\ntenant = '*'\nitems = ['Call Ann']\n"),
        ("AI_TEMPLATES_DIR", "resource = ['Call Ann']\n"),
    ] {
        std::fs::write(folder.path().join("resources.toml"), text).unwrap();
        let platform = Box::pin(Platform::start()).await;
        let told = json!({ "response": "Please call.", "crisis_detected": true });
        let service = SickService::start(Act::Whole(told)).await;
        let url = service.url();
        let variables =
            [("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", url.as_str()), (variable, path)];
        let running = platform.service(&variables).await;
        platform.begin("c-1").await;
        platform.say("c-1", "m-1", "I want to die").await;
        platform.answer("c-1", "m-1").await;
        let offered: Vec<Value> =
            help(&platform).await.iter().map(|it| it.data["resources"].clone()).collect();
        assert_eq!(offered, [json!(["Call Ann"]), json!(["Call Ann"])], "{variable}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_adds_to_its_answer_is_sealed_in_the_log_and_whole_for_the_user() {
    let platform = Box::pin(Platform::start()).await;
    let told = json!({ "response": "I see.", "crisis_detected": false, "mood": "hopeless-mood",
        "detected_signals": ["plan-signal"], "notes": { "of": ["private-notes"] }, "score": 3 });
    let service = SickService::start(Act::Whole(told.clone())).await;
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "Hello.").await;
    let answer = platform.answer("c-1", "m-1").await;
    for (name, value) in told.as_object().unwrap() {
        assert_eq!(&answer[name], value, "{name}");
    }
    let events = platform.events("c-1").await;
    let sequence = of(&events, "ai.response", "m-1").next().unwrap().sequence;
    let reader = platform.admin.log_reader();
    let stored = reader.get(StreamId::Conversations.name(), sequence).await.unwrap().unwrap();
    let stored = String::from_utf8(stored.payload.to_vec()).unwrap();
    for private in ["I see.", "hopeless-mood", "plan-signal", "private-notes"] {
        assert!(!stored.contains(private), "{private} in {stored}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ai_reports_is_raised_although_another_instance_has_taken_its_place() {
    let platform = Box::pin(Platform::start()).await;
    let given = Arc::new(Notify::new());
    let told = json!({ "response": "Please call.", "crisis_detected": true, "severity": "high" });
    let service = SickService::start(Act::Held(told, given.clone())).await;
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    let mut commands = commands(&platform).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "A plain message.").await;
    let asked = async {
        while !service.is_busy() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, asked).await.expect("the AI is asked");
    let other = json!({ "conversationId": "c-1", "messageId": "m-1", "attempt": 2, "failures": 0,
        "provider": "ezri", "holder": "another", "leaseMs": 600_000 });
    platform.append(TENANT, "ai.attempt", other).await;
    given.notify_one();
    let (command, _) = next(&mut commands).await;
    assert_eq!((&command.kind[..], &command.data["severity"]), ("crisis.raise", &json!("high")));
    assert_eq!(count(&platform.events("c-1").await, "ai.response", "m-1"), 0, "it is the other's");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ai_reports_is_raised_although_no_help_can_be_stored() {
    let platform = Box::pin(Platform::start()).await;
    let told = json!({ "response": "Please call.", "crisis_detected": "yes", "severity": "high" });
    let service = SickService::start(Act::Whole(told)).await;
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    let mut commands = commands(&platform).await;
    platform.begin("c-1").await;
    let gone = platform.admin.request("$JS.API.STREAM.DELETE.CRISIS", "".into(), SOON).await;
    assert_eq!(serde_json::from_slice::<Value>(&gone.unwrap()).unwrap()["success"], true);
    platform.say("c-1", "m-1", "A plain message.").await;
    let (command, _) = next(&mut commands).await;
    assert_eq!(command.kind, "crisis.raise");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_ai_reports_before_it_breaks_off_is_raised_whatever_it_says_the_next_time() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Say(vec!["Tell me more."])).await;
    service.then([Act::RawEnd(
        "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":\
         {\"name\":\"report_crisis\",\"arguments\":\"{\\\"severity\\\":\\\"high\\\"}\"}}]}}]}\n\n",
    )]);
    let url = service.url();
    let variables =
        [("AI_PROVIDER", "openai"), ("AI_SERVICE_URL", url.as_str()), ("AI_MODEL", "small")];
    let running = platform.service(&variables).await;
    let mut commands = commands(&platform).await;
    platform.begin("c-1").await;
    platform.say("c-1", "m-1", "A plain message.").await;
    let (command, _) = next(&mut commands).await;
    assert_eq!((&command.kind[..], &command.data["severity"]), ("crisis.raise", &json!("high")));
    assert_eq!(platform.answer("c-1", "m-1").await["crisis_detected"], false);
    assert_eq!(help(&platform).await.len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_of_an_unknown_platform_key_seals_holds_nobody_up() {
    let platform = Box::pin(Platform::start()).await;
    let stranger = Vault::new(&platform.admin, WrappingKeys::new(b"another platform key", None));
    let mut commands = commands(&platform).await;
    platform.begin("c-1").await;
    let said = json!({ "conversationId": "c-1", "userId": "9", "messageId": "m-0",
        "message": "I want to die" });
    platform.append_sealed_by(&stranger, TENANT, "conversation.message", said).await;
    let running = platform.service(&[]).await;
    platform.say("c-1", "m-1", "I want to die").await;
    platform.answer("c-1", "m-1").await;
    assert_eq!(next(&mut commands).await.0.data["userId"], "7");
    let events = platform.events("c-1").await;
    assert_eq!(count(&events, "ai.failed", "m-0"), 1, "{events:#?}");
    platform.settled_by("ai-screen").await;
    platform.settled().await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn help_is_offered_once_however_long_an_alert_waits() {
    let platform = Box::pin(Platform::start()).await;
    let ask = async |subject: &str, payload: String| {
        let subject = format!("$JS.API.{subject}");
        let told = platform.admin.request(&subject, payload.into(), SOON).await.unwrap();
        serde_json::from_slice::<Value>(&told).unwrap()
    };
    // A log that forgets ids at once, as it does after a while.
    let mut config = ask("STREAM.INFO.CRISIS", String::new()).await["config"].take();
    config["duplicate_window"] = json!(100_000_000);
    let updated = ask("STREAM.UPDATE.CRISIS", config.to_string()).await;
    assert_eq!(updated["config"]["duplicate_window"], 100_000_000, "{updated}");
    ask("STREAM.DELETE.CRISIS_COMMANDS", String::new()).await;
    let running = platform.service(&[]).await;
    let spoken = json!({ "conversationId": "c-1", "chunkId": "voice-1", "userId": "7",
        "text": "I want to die" });
    platform.append(TENANT, "voice.transcription", spoken).await;
    let tried = async {
        let delivered = async || {
            let told = ask("CONSUMER.INFO.CONVERSATIONS.ai-screen", String::new()).await;
            told["delivered"]["consumer_seq"].as_u64().unwrap_or(0)
        };
        while delivered().await < 4 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(SOON, tried).await.expect("it is tried again and again");
    assert_eq!(help(&platform).await.len(), 1);
    running.stop().await;
}
