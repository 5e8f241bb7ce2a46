//! Speech in and out: accepted or refused, text in the order it was said, sound back as it came.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use domain::command::command_header;
use domain::envelope::header;
use domain::protection::{Subject, open_bytes};
use domain::subject::voice_request;
use domain::{Command, EntityToken, StreamId, Tenant, Token};
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::nats::Nats;
use runtime::tasks::{Owned, owned};
use serde_json::{Value, json};

use crate::harness::{Event, Platform, SOON, TENANT};
use crate::sick_service::{Act, SickService};

/// As the gateway hands a piece over.
async fn speak(gateway: &Nats, conversation: &str, sound: &[u8]) -> Value {
    speak_in(gateway, TENANT, conversation, sound).await
}

async fn speak_in(gateway: &Nats, tenant: &str, conversation: &str, sound: &[u8]) -> Value {
    let tenant = Tenant::parse(tenant).unwrap();
    let subject = voice_request(&tenant, &EntityToken::from_external(conversation));
    let headers = [
        (command_header::ACTOR, "7".to_owned()),
        (command_header::CONNECTION, "p-1".to_owned()),
        (header::SUBJECT, conversation.to_owned()),
    ];
    let sound = Bytes::copy_from_slice(sound);
    let answer = gateway.request_with(&subject, &headers, sound, SOON).await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

fn kinds<'a>(events: &'a [Event], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |it| it.kind == kind).map(|it| &it.data)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_becomes_text_a_message_and_sound() {
    let platform = Box::pin(Platform::start()).await;
    let told = json!({ "transcription": "I slept well.", "audioResponse": "AAEC" });
    let service = SickService::start(Act::Whole(told)).await;
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    let mut live = platform.listen().await;
    let mut commands = platform.admin.subscribe("commands.>").await.unwrap();
    platform.hearing().await;
    let accepted = speak(&platform.admin, "c-1", b"noise").await;
    assert_eq!(accepted["ok"], true, "{accepted}");
    let chunk = accepted["chunkId"].as_str().unwrap().to_owned();
    let signal = tokio::time::timeout(SOON, commands.next()).await.unwrap().unwrap();
    let command = Command::from_message(&signal.subject, &signal.headers, &signal.payload).unwrap();
    assert_eq!(command.kind, "conversation.message");
    assert_eq!((&*command.actor.user, command.connection.as_deref()), ("7", Some("p-1")));
    let tenant = Tenant::parse(TENANT).unwrap();
    platform.vault.prepare(&tenant, &signal.payload).await.unwrap();
    let data: Value =
        serde_json::from_slice(&platform.vault.open(&tenant, &signal.payload)).unwrap();
    assert_ne!(command.field("message"), Some("I slept well."), "it is sealed in the stream");
    let expected =
        json!({ "conversationId": "c-1", "message": "I slept well.", "messageId": chunk });
    assert_eq!(data, expected);
    let sound = loop {
        let (kind, data) = live.next().await;
        if kind == "voice.audio" {
            break data;
        }
    };
    assert_eq!((&sound["data_base64"], &sound["last"]), (&json!("AAEC"), &json!(true)));
    let events = platform.events("c-1").await;
    let text = kinds(&events, "voice.transcription").next().unwrap();
    assert_eq!((&text["text"], &text["chunkId"]), (&json!("I slept well."), &json!(chunk)));
    assert!(events.iter().all(|it| !it.data.to_string().contains("AAEC")), "sound is in no event");
    running.stop().await;
}

/// The pieces whose text has come out of the log so far, as a gateway reads it.
fn texts(platform: &Platform) -> (Arc<Mutex<HashSet<String>>>, Owned<()>) {
    let (stream, options) = (StreamId::Conversations.name(), FollowOptions::default());
    let mut follower = Follower::new(&platform.admin, stream, Start::AfterSequence(0), options);
    let seen: Arc<Mutex<HashSet<String>>> = Arc::default();
    let texts = seen.clone();
    let following = owned(async move {
        loop {
            let FollowEvent::Messages(messages) = follower.next().await else { continue };
            for message in messages.iter().filter(|it| it.subject.ends_with(".transcription")) {
                let data: Value = serde_json::from_slice(&message.payload).unwrap();
                texts.lock().unwrap().insert(data["chunkId"].as_str().unwrap().to_owned());
            }
        }
    });
    (seen, following)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_piece_is_known_before_its_sound_goes_out_and_pieces_come_in_order() {
    let platform = Box::pin(Platform::start()).await;
    let told = json!({ "transcription": "I slept well.", "audioResponse": "AAEC" });
    let service = SickService::start(Act::Whole(told)).await;
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    let (mut live, (texts, _following)) = (platform.listen().await, texts(&platform));
    platform.hearing().await;
    let mut said = VecDeque::new();
    for round in 0..24 {
        // Several that wait for each other.
        while said.len() < 3 {
            let accepted = speak(&platform.admin, "c-1", b"noise").await;
            said.push_back(accepted["chunkId"].as_str().expect("a place").to_owned());
        }
        let sound = loop {
            let (kind, data) = live.next().await;
            if kind == "voice.audio" {
                break data;
            }
        };
        assert_eq!(sound["chunkId"], said.pop_front().unwrap(), "{round}");
        let known = texts.lock().unwrap().contains(sound["chunkId"].as_str().unwrap());
        assert!(known, "the sound of piece {round} came first");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_become_text_in_the_order_they_were_said_over_two_instances() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Hear).await;
    let url = service.url();
    let variables = [("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", url.as_str())];
    let first = platform.service(&variables).await;
    let second = platform.service(&variables).await;
    platform.hearing().await;
    for at in 0..8 {
        // The first takes the longest.
        let sound = format!("{} {at}", 400 - at * 50);
        loop {
            let answer = speak(&platform.admin, "c-1", sound.as_bytes()).await;
            if answer["ok"] == true {
                break;
            }
            // As a client does that is told to come again.
            assert_eq!(answer["code"], "voice_busy");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let events = platform.until("c-1", |it| kinds(it, "voice.transcription").count() == 8).await;
    let texts: Vec<_> =
        kinds(&events, "voice.transcription").map(|it| it["text"].clone()).collect();
    let expected: Vec<_> = (0..8).map(|at| json!(format!("{} {at}", 400 - at * 50))).collect();
    assert_eq!(texts, expected);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_faster_than_it_is_understood_is_refused_and_what_fails_is_told() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Hang).await;
    let url = service.url();
    let variables =
        [("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", url.as_str()), ("AI_TIMEOUT_MS", "1500")];
    let running = platform.service(&variables).await;
    platform.hearing().await;
    let mut accepted = 0;
    let refused = loop {
        let answer = speak(&platform.admin, "c-1", b"noise").await;
        if answer["ok"] != true {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 50, "never refused");
    };
    assert_eq!(refused["code"], "voice_busy");
    assert!((4..=6).contains(&accepted), "{accepted}");
    let events = platform.until("c-1", |it| kinds(it, "ai.failed").count() >= 1).await;
    service.otherwise(Act::Whole(json!({ "transcription": "Again.", "audioResponse": null })));
    let failed = kinds(&events, "ai.failed").next().unwrap();
    assert_eq!(failed["message"], "Voice processing failed");
    assert_eq!(
        (&failed["code"], &failed["reason"]),
        (&json!("voice_unavailable"), &json!("timeout"))
    );
    platform.until("c-1", |it| kinds(it, "voice.transcription").count() >= 1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_is_asked_for_again_when_the_service_fails_for_a_moment() {
    let platform = Box::pin(Platform::start()).await;
    let told = json!({ "transcription": "At last.", "audioResponse": null });
    let service = SickService::start(Act::Whole(told)).await;
    service.then([Act::Status(503, ""), Act::Status(502, "")]);
    let url = service.url();
    let running = platform.service(&[("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", &url)]).await;
    platform.hearing().await;
    assert_eq!(speak(&platform.admin, "c-1", b"noise").await["ok"], true);
    let events = platform.until("c-1", |it| kinds(it, "voice.transcription").count() == 1).await;
    assert_eq!(kinds(&events, "voice.transcription").next().unwrap()["text"], "At last.");
    assert_eq!(kinds(&events, "ai.failed").count(), 0);
    let asked = service.asked();
    let asked = asked.iter().filter(|it| it.head.starts_with("post /api/v1/voice/process "));
    let ids: Vec<_> = asked
        .map(|it| (it.header("idempotency-key").unwrap(), it.header("x-request-id").unwrap()))
        .collect();
    let (keys, requests): (BTreeSet<_>, BTreeSet<_>) = ids.iter().copied().unzip();
    assert_eq!((ids.len(), keys.len(), requests.len()), (3, 1, 3));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_that_dies_with_its_process_is_told_by_another() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Hang).await;
    let url = service.url();
    let variables =
        [("AI_PROVIDER", "ezri"), ("AI_SERVICE_URL", url.as_str()), ("AI_TIMEOUT_MS", "5000")];
    let mut first = platform.process(&variables);
    platform.hearing().await;
    let accepted = speak(&platform.admin, "c-1", b"noise").await;
    first.kill().unwrap();
    first.wait().unwrap();
    let others = [platform.service(&variables).await, platform.service(&variables).await];
    let events = platform.until("c-1", |it| kinds(it, "ai.failed").count() > 0).await;
    let failed = kinds(&events, "ai.failed").next().unwrap();
    assert_eq!(failed["message"], "Voice processing failed");
    assert_eq!((&failed["chunkId"], &failed["userId"]), (&accepted["chunkId"], &json!("7")));
    assert_eq!(failed["reason"], "lost");
    for running in others {
        running.stop().await;
    }
    let events = platform.events("c-1").await;
    assert_eq!(kinds(&events, "ai.failed").count(), 1, "both tell it as one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_speech_is_not_understood_leaves_places_to_the_others() {
    let platform = Box::pin(Platform::start()).await;
    let service = SickService::start(Act::Hang).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let url = service.url();
    let text = format!("[[tenant]]\ntenant = 'slow'\nprovider = 'ezri'\nurl = '{url}'\n");
    std::fs::write(file.path(), text).unwrap();
    let variables = [("AI_FILE", file.path().to_str().unwrap()), ("AI_TIMEOUT_MS", "30000")];
    let running = platform.service(&variables).await;
    platform.hearing().await;
    let mut accepted = 0;
    for at in 0..130 {
        let answer = speak_in(&platform.admin, "slow", &format!("s-{at}"), b"noise").await;
        accepted += usize::from(answer["ok"] == true);
    }
    assert_eq!(accepted, 32, "so many places one tenant has");
    assert_eq!(speak(&platform.admin, "c-1", b"noise").await["ok"], true);
    platform.until("c-1", |it| kinds(it, "voice.transcription").count() == 1).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoken_message_is_answered_by_sound_and_sound_is_kept_where_the_settings_say_so() {
    let platform = Box::pin(Platform::start()).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[[tenant]]\ntenant = 'acme'\nkeep_audio_hours = 2\n").unwrap();
    let running = platform.service(&[("AI_FILE", file.path().to_str().unwrap())]).await;
    let mut live = platform.listen().await;
    platform.hearing().await;
    // What the decider makes of a spoken message.
    platform.say("c-1", "voice-1", "I slept well.").await;
    let mut sound = Vec::new();
    loop {
        let (kind, data) = live.next().await;
        if kind == "voice.audio" {
            use base64::Engine as _;
            let piece = data["data_base64"].as_str().unwrap();
            sound.extend(base64::engine::general_purpose::STANDARD.decode(piece).unwrap());
            if data["last"] == true {
                break;
            }
        }
    }
    assert_eq!(&sound[..4], b"RIFF");
    let events = platform.until("c-1", |it| kinds(it, "voice.kept").count() == 1).await;
    let kept = kinds(&events, "voice.kept").next().unwrap();
    let objects = platform.admin.objects("media", SOON).await.unwrap();
    let stored = objects.get(kept["media"]["key"].as_str().unwrap(), 1 << 20).await.unwrap();
    let person = Subject::new(
        &Tenant::parse("acme").unwrap(),
        &Token::parse("user").unwrap(),
        kept["userId"].as_str().unwrap(),
    );
    let key = platform.vault.key(&person).await.unwrap().unwrap();
    assert_eq!(open_bytes(&key, &person, &stored).unwrap(), sound);
    assert!(!stored.windows(64).any(|piece| piece == &sound[..64]), "in the clear");
    running.stop().await;
}
