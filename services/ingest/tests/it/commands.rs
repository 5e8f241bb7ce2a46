//! Commands from COMMANDS to their one record, whoever races and whatever dies.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use domain::Role;
use runtime::provision::{self, ApplyOptions, Definitions, ProvisionError, Update};
use runtime::test_support::TestNats;
use serde_json::{Value, json};

use crate::commander::{Asked, Commander};
use crate::harness::{Platform, call_status, eventually};

const CALL: &str = "/webhooks/acme-twilio/call-status";
const OWNER: (&str, Role) = ("7", Role::User);
const ADMIN: (&str, Role) = ("1", Role::Admin);

fn start(entity: &str) -> Asked {
    Asked::new("conversation.start", entity, OWNER, json!({ "avatarId": "maya" }))
}

fn message(entity: &str, text: &str) -> Asked {
    Asked::new("conversation.message", entity, OWNER, json!({ "message": text }))
}

fn end(entity: &str) -> Asked {
    Asked::new("conversation.end", entity, OWNER, json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_started_held_and_ended_and_its_session_told_of() {
    let platform = Platform::start().await;
    let commander = Commander::new(&platform).await;
    let started = commander.ask(&start("c.9")).await;
    assert_eq!((&started["ok"], &started["conversationId"]), (&json!(true), &json!("c.9")));
    let said = commander.ask(&message("c.9", "I slept well.")).await;
    assert_eq!((&said["ok"], &said["userId"]), (&json!(true), &json!("7")));
    let ended = commander.ask(&end("c.9")).await;
    assert!(ended["duration"].is_u64(), "{ended}");
    let refused = commander.ask(&message("c.9", "Still there?")).await;
    assert_eq!((&refused["ok"], &refused["code"]), (&json!(false), &json!("conversation_ended")));

    let events = commander.settled("CONVERSATIONS", 7).await;
    let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    for (event_type, times) in [
        ("conversation.started", 1),
        ("conversation.message", 1),
        ("conversation.ended", 1),
        ("conversation.rejected", 1),
        ("session.started", 1),
        ("session.update", 1),
        ("session.ended", 1),
    ] {
        let found = types.iter().filter(|found| **found == event_type).count();
        assert_eq!(found, times, "{event_type} in {types:?}");
    }
    let rejected = &events.iter().find(|e| e.event_type == "conversation.rejected").unwrap();
    assert_eq!(rejected.channels, ["connection:p-1"], "its sender alone is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gets_the_first_answer_and_changes_nothing() {
    let platform = Platform::start().await;
    let commander = Commander::new(&platform).await;
    let commands = [start("c-1"), message("c-1", "Hello"), end("c-1"), message("c-1", "Late")];
    let mut first = Vec::new();
    for command in &commands {
        first.push(commander.ask(command).await);
    }
    let stored = commander.settled("CONVERSATIONS", 7).await.len();
    for (command, answer) in commands.iter().zip(&first) {
        assert_eq!(commander.ask(command).await, *answer);
    }
    // The same id of somebody else is another command.
    let other = Asked { actor: ADMIN, ..commands[3].clone() };
    assert_eq!(commander.ask(&other).await["code"], "conversation_ended");
    assert_eq!(commander.settled("CONVERSATIONS", stored + 1).await.len(), stored + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_race_through_two_instances_one_wins_and_the_others_are_told_who() {
    let mut platform = Platform::start().await;
    let first = platform.ingest.take();
    platform.start_ingest().await;
    platform.ready().await;
    let commander = Commander::new(&platform).await;
    for round in 0..15 {
        let campaign = format!("spring-{round}");
        commander.observe_campaign(&platform, &campaign).await;
        let racers = ["7", "8", "9", "10", "11"];
        let asked: Vec<_> = racers
            .iter()
            .map(|user| Asked::new("campaign.pause", &campaign, (user, Role::Agent), json!({})))
            .collect();
        let answers = futures_util::future::join_all(asked.iter().map(|a| commander.ask(a))).await;
        let winners: Vec<_> = answers.iter().filter(|answer| answer["ok"] == true).collect();
        assert_eq!(winners.len(), 1, "round {round}: {answers:?}");
        let told: HashSet<_> = answers.iter().map(|answer| &answer["pausedBy"]).collect();
        assert_eq!(told.len(), 1, "everybody is told the same winner: {answers:?}");
    }
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_administrators_one_gets_the_alert_and_the_other_learns_who() {
    let mut platform = Platform::start().await;
    let first = platform.ingest.take();
    platform.start_ingest().await;
    platform.ready().await;
    let commander = Commander::new(&platform).await;
    for round in 0..15 {
        let conversation = format!("c-{round}");
        let data = json!({ "userId": "7", "conversationId": conversation, "severity": "high", "signals": ["x"] });
        let raise = Asked::new("crisis.raise", &conversation, ("screen", Role::Service), data);
        let alert = commander.ask(&raise).await["alertId"].clone();
        let take = |user, after: u64| {
            let data = json!({ "alertId": alert });
            let asked = Asked::new("crisis.assign", &conversation, (user, Role::Admin), data);
            let (commander, after) = (&commander, Duration::from_micros(after));
            async move {
                tokio::time::sleep(after).await;
                commander.ask(&asked).await
            }
        };
        let (one, other) = tokio::join!(
            take("1", runtime::ids::jitter(1_500)),
            take("2", runtime::ids::jitter(1_500))
        );
        assert_ne!(one["ok"], other["ok"], "round {round}: {one} {other}");
        assert_eq!(one["assignedTo"], other["assignedTo"], "round {round}: {one} {other}");
        let loser = if one["ok"] == true { other } else { one };
        assert_eq!(loser["code"], "already_assigned");
    }
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_moment_an_instance_dies_at_every_command_is_decided_once() {
    // What a dead instance held comes again soon.
    let mut platform = Platform::start_with(r#""ack_wait": "10s""#, r#""ack_wait": "2s""#).await;
    let commander = Commander::new(&platform).await;
    let mut commands = Vec::new();
    for round in 0..8_u64 {
        let entity = format!("c-{round}");
        let batch = [start(&entity), message(&entity, "Hello"), end(&entity)];
        for command in &batch {
            commander.store(command).await;
        }
        commands.extend(batch);
        // Somewhere between taking the command and having told everything.
        tokio::time::sleep(Duration::from_micros(700 * round * round)).await;
        drop(platform.ingest.take());
        platform.start_ingest().await;
    }
    platform.ready().await;
    let mut answers = HashMap::new();
    for command in &commands {
        answers.insert(command.id.clone(), commander.ask(command).await);
    }
    for command in &commands {
        let answer = commander.ask(command).await;
        assert_eq!(answers[&command.id], answer);
    }
    let events = commander.settled("CONVERSATIONS", 0).await;
    let told = |kind: &str| events.iter().filter(|event| event.event_type == kind).count();
    assert_eq!((told("conversation.started"), told("session.started")), (8, 8));
    // All three were stored without waiting for answers, and what a dead instance held comes again after the others: a
    // message or an end that finds nothing begun, or a message that finds the end, is decided by being refused.
    let (said, ended) = (told("conversation.message"), told("conversation.ended"));
    assert_eq!(told("session.ended"), ended);
    assert_eq!(said + ended + told("conversation.rejected"), 16, "each command has one record");
    assert!(said > 0 && ended > 0);
    let ids: HashSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), events.len());
    let records = events.iter().filter(|event| event.event_type.starts_with("conversation."));
    let causes: Vec<_> = records.filter_map(|event| event.cause.clone()).collect();
    assert_eq!(causes.len(), causes.iter().collect::<HashSet<_>>().len(), "{causes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_dies_and_comes_back_every_command_is_decided_once() {
    let mut platform = Platform::start().await;
    let commander = Commander::new(&platform).await;
    let commands: Vec<_> = (0..200).map(|number| start(&format!("c-{number}"))).collect();
    for command in &commands {
        commander.store(command).await;
    }
    platform.nats.kill().await;
    platform.nats.restart().await;
    platform.ready().await;
    let asked = commands.iter().map(|command| commander.ask(command));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| answer["ok"] == true), "{answers:?}");
    let events = commander.settled("CONVERSATIONS", 400).await;
    for name in ["conversation.started", "session.started"] {
        let times = events.iter().filter(|event| event.event_type == name).count();
        assert_eq!(times, commands.len(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_ended_while_its_provider_reports_and_never_after() {
    let platform = Platform::start().await;
    let commander = Commander::new(&platform).await;
    let sid = crate::harness::SID;
    let terminate =
        |user| Asked::new("call.terminate", sid, (user, Role::Agent), json!({ "callSid": sid }));
    assert_eq!(commander.ask(&terminate("8")).await["code"], "unknown_call");
    platform.twilio(CALL, &call_status("in-progress", 2)).await.event();
    let first = commander.ask(&terminate("8")).await;
    assert_eq!((&first["ok"], &first["requestedBy"]), (&json!(true), &json!("8")));
    // Either it is being ended already, or that has failed meanwhile: no provider is configured here.
    assert_eq!(commander.ask(&terminate("9")).await["ok"], true);
    platform.twilio(CALL, &call_status("completed", 3)).await.event();
    platform.twilio(CALL, &call_status("ringing", 1)).await.event();
    assert_eq!(commander.ask(&terminate("10")).await["code"], "call_over");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_quarantined_with_its_payload_and_holds_nothing_up() {
    let platform = Platform::start().await;
    let commander = Commander::new(&platform).await;
    let broken = message("c-1", "Hello").message();
    commander.store_raw(broken.subject.clone(), Vec::new(), b"{\"message\":").await;
    let astray = Asked::new("metric.reset", "m", ADMIN, json!({}));
    assert_eq!(commander.ask(&astray).await["code"], "undecidable");
    assert_eq!(commander.ask(&start("c-1")).await["ok"], true);
    eventually("both are in quarantine", async || platform.count("QUARANTINE").await == 2).await;
    let reader = platform.reader().await;
    let kept = reader.get_many("QUARANTINE", &[1, 2]).await.unwrap();
    let kept: Vec<_> = kept.into_iter().flatten().collect();
    assert!(kept.iter().all(|entry| &*entry.subject == "quarantine.acme.commands"));
    assert!(kept.iter().any(|entry| &entry.payload[..] == b"{\"message\":"));
    eventually("COMMANDS is empty", async || platform.count("COMMANDS").await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_counted_and_unread_notifications_too() {
    let platform = Platform::start().await;
    let commander = Commander::new(&platform).await;
    let mut live = platform.nats.nats("gateway").await.subscribe("live.acme.>").await.unwrap();
    for number in 1..=2 {
        let body = format!(
            r#"{{"type":"notification.new","id":"e-{number}","data":{{"id":"n-{number}","userId":"7","title":"Hi"}}}}"#
        );
        platform.publish(Role::Service, &[], &body).await.event();
    }
    commander.ask(&start("c-1")).await;
    commander.ask(&Asked::new("notification.read", "n-1", OWNER, json!({}))).await;
    let (mut unread, mut active) = (None, None);
    let both = async {
        while (unread.clone(), active.clone()) != (Some(json!(1)), Some(json!(1))) {
            let signal = live.next().await.unwrap();
            let data: Value = serde_json::from_slice(&signal.payload).unwrap();
            match &*signal.subject {
                "live.acme.notification.7.badge" => unread = Some(data["unread"].clone()),
                "live.acme.session.active.active" => active = Some(data["count"].clone()),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("both figures are told");
    let all = Asked::new("notification.read_all", "7", OWNER, json!({}));
    assert_eq!(commander.ask(&all).await["ok"], true);
    let none = async {
        loop {
            let signal = live.next().await.unwrap();
            let data: Value = serde_json::from_slice(&signal.payload).unwrap();
            if data["unread"] == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), none).await.expect("nothing is unread");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_folds_what_was_decided_before() {
    let mut platform = Platform::start().await;
    let commander = Commander::new(&platform).await;
    commander.observe_campaign(&platform, "spring").await;
    let pause = |user| Asked::new("campaign.pause", "spring", (user, Role::Agent), json!({}));
    assert_eq!(commander.ask(&pause("7")).await["ok"], true);
    platform.stop_ingest().await;
    // Stored while nobody decides, and decided by who comes.
    let refused = pause("8");
    commander.store(&refused).await;
    platform.start_ingest().await;
    platform.ready().await;
    let answer = commander.ask(&refused).await;
    assert_eq!((&answer["code"], &answer["pausedBy"]), (&json!("already_paused"), &json!("7")));
    let metrics = platform.metrics().await;
    assert!(metrics.contains(r#"ingest_decisions_total{outcome="rejected"} 1"#), "{metrics}");
}

/// As they were before crisis commands had a stream of their own.
fn earlier_definitions() -> Definitions {
    let folder = tempfile::tempdir().unwrap();
    for part in ["streams", "consumers", "buckets", "objects"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
    }
    let declared = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nats");
    let read = |file: &str| {
        serde_json::from_str::<Value>(&std::fs::read_to_string(declared.join(file)).unwrap())
            .unwrap()
    };
    let write = |file: &str, content: Value| {
        std::fs::write(folder.path().join(file), content.to_string()).unwrap();
    };
    let mut commands = read("streams/commands.json");
    commands["subjects"] = json!(["commands.>"]);
    write("streams/commands.json", commands);
    let mut crisis = read("consumers/crisis-commands-ingest.json");
    (crisis["stream"], crisis["durable_name"]) = (json!("COMMANDS"), json!("ingest-crisis"));
    write("consumers/crisis.json", crisis);
    write("consumers/others.json", read("consumers/commands-ingest.json"));
    Definitions::load(folder.path()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crisis_command_from_before_an_upgrade_of_the_streams_is_decided() {
    let nats = TestNats::start_empty().await;
    let admin = nats.nats("admin").await;
    let earlier = earlier_definitions();
    provision::apply(&admin, &earlier, ApplyOptions::default()).await.unwrap();
    let mut platform = Platform::without_ingest(nats);
    let commander = Commander::new(&platform).await;
    let data = json!({ "userId": "7", "conversationId": "c-9", "severity": "low", "signals": [] });
    let raise = Asked::new("crisis.raise", "c-9", ("screen", Role::Service), data);
    commander.store(&raise).await;
    let now = Definitions::builtin().unwrap();
    let refused = provision::apply(&admin, &now, ApplyOptions::default()).await;
    assert!(matches!(refused, Err(ProvisionError::Drift(_))), "{refused:?}");
    let update = ApplyOptions { update: Update::KeepLimits, ..ApplyOptions::default() };
    provision::apply(&admin, &now, update).await.unwrap();
    platform.start_ingest().await;
    platform.ready().await;
    let events = commander.settled("CRISIS", 1).await;
    assert_eq!(events[0].event_type, "crisis.alert");
    // And what comes now goes its new way.
    let acknowledge = json!({ "alertId": "c-9-1" });
    let acknowledge = Asked::new("crisis.acknowledge", "c-9", ADMIN, acknowledge);
    assert_eq!(commander.ask(&acknowledge).await["ok"], true);
}
