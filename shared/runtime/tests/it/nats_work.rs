//! Durables, buckets, object stores and the provisioner.

use std::time::Duration;

use runtime::durable::Durable;
use runtime::kv::{KvError, WatchEvent};
use runtime::object_store::ObjectError;
use runtime::provision::{self, ApplyOptions, Definitions, Durability, Promise, State, Update};
use runtime::test_support::TestNats;

use crate::nats_log::append;

const SOON: Duration = Duration::from_secs(5);

async fn soon<T>(waiting: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, waiting).await.expect("it happens soon")
}

#[tokio::test]
async fn a_job_comes_again_until_it_is_acknowledged() {
    let server = TestNats::start().await;
    let (ingest, gateway) = (server.nats("ingest").await, server.nats("gateway").await);
    gateway.event_log().append(append("commands.acme.crisis.c1.assign", "a")).await.unwrap();
    let mut work = Durable::open(&ingest, "CRISIS_COMMANDS", "ingest");
    let first = soon(work.next()).await;
    assert_eq!((first.delivered, first.message.sequence), (1, 1));
    first.nak(Duration::from_millis(50)).await.unwrap();
    let second = soon(work.next()).await;
    assert_eq!((second.delivered, second.message.sequence), (2, 1));
    second.ack_confirmed().await.unwrap();
    let left =
        server.nats("admin").await.log_reader().stream_info("CRISIS_COMMANDS").await.unwrap();
    assert_eq!(left.messages, 0);
}

#[tokio::test]
async fn crisis_commands_wait_behind_nothing() {
    let server = TestNats::start().await;
    let (ingest, gateway) = (server.nats("ingest").await, server.nats("gateway").await);
    for i in 0..50 {
        let subject = "commands.acme.conversation.c1.send";
        gateway.event_log().append(append(subject, &format!("m{i}"))).await.unwrap();
    }
    gateway.event_log().append(append("commands.acme.crisis.c1.assign", "a")).await.unwrap();
    let mut crisis = Durable::open(&ingest, "CRISIS_COMMANDS", "ingest");
    let job = soon(crisis.next()).await;
    assert_eq!(job.message.subject.as_str(), "commands.acme.crisis.c1.assign");
}

#[tokio::test]
async fn a_crisis_command_has_room_when_all_others_have_none() {
    let server = TestNats::start().await;
    let (ingest, gateway) = (server.nats("ingest").await, server.nats("gateway").await);
    let admin = server.nats("admin").await;
    let told = admin.request("$JS.API.STREAM.INFO.COMMANDS", "{}".into(), SOON).await.unwrap();
    let mut told: serde_json::Value = serde_json::from_slice(&told).unwrap();
    told["config"]["max_bytes"] = serde_json::json!(10_000);
    let small = told["config"].to_string().into();
    admin.request("$JS.API.STREAM.UPDATE.COMMANDS", small, SOON).await.unwrap();
    let mut refused = None;
    for i in 0..500 {
        let other = append("commands.acme.conversation.c1.send", &format!("m{i}"));
        refused = gateway.event_log().append(other).await.err();
        if refused.is_some() {
            break;
        }
    }
    assert!(matches!(refused, Some(runtime::event_log::AppendError::Full)), "{refused:?}");
    gateway.event_log().append(append("commands.acme.crisis.c1.assign", "a")).await.unwrap();
    let mut crisis = Durable::open(&ingest, "CRISIS_COMMANDS", "ingest");
    let job = soon(crisis.next()).await;
    assert_eq!(job.message.subject.as_str(), "commands.acme.crisis.c1.assign");
}

#[tokio::test]
async fn a_closed_durable_gives_back_what_it_had_not_begun() {
    let server = TestNats::start().await;
    let (ingest, gateway) = (server.nats("ingest").await, server.nats("gateway").await);
    for i in 0..5 {
        let subject = "commands.acme.conversation.c1.send";
        gateway.event_log().append(append(subject, &format!("m{i}"))).await.unwrap();
    }
    let mut leaving = Durable::open(&ingest, "COMMANDS", "ingest");
    soon(leaving.next()).await.ack_confirmed().await.unwrap();
    leaving.close().await;
    // Long before the 30 s that an unanswered delivery takes.
    let mut staying = Durable::open(&ingest, "COMMANDS", "ingest");
    let mut got = Vec::new();
    for _ in 0..4 {
        let job = soon(staying.next()).await;
        got.push(job.message.sequence);
        job.ack().await.unwrap();
    }
    got.sort_unstable();
    assert_eq!(got, [2, 3, 4, 5]);
}

#[tokio::test]
async fn work_goes_on_after_a_kill_without_losing_a_job() {
    let mut server = TestNats::start().await;
    let (ingest, gateway) = (server.nats("ingest").await, server.nats("gateway").await);
    let mut work = Durable::open(&ingest, "COMMANDS", "ingest");
    let subject = "commands.acme.conversation.c1.send";
    gateway.event_log().append(append(subject, "a")).await.unwrap();
    soon(work.next()).await.ack_confirmed().await.unwrap();
    server.kill().await;
    server.restart().await;
    gateway.event_log().append(append(subject, "b")).await.unwrap();
    let job = soon(work.next()).await;
    assert_eq!(job.message.headers.get("ce-id"), Some("b"));
}

#[tokio::test]
async fn compare_and_set_lets_one_of_two_win() {
    let server = TestNats::start().await;
    let bucket = server.nats("gateway").await.bucket("sessions");
    let first = bucket.create("acme.p1", "one".into()).await.unwrap();
    assert!(matches!(bucket.create("acme.p1", "two".into()).await, Err(KvError::Conflict)));
    let second = bucket.update("acme.p1", "two".into(), first).await.unwrap();
    assert!(matches!(
        bucket.update("acme.p1", "three".into(), first).await,
        Err(KvError::Conflict)
    ));
    let entry = bucket.get_from_leader("acme.p1").await.unwrap().unwrap();
    assert_eq!((entry.value.as_ref(), entry.revision), (&b"two"[..], second));
    bucket.delete("acme.p1").await.unwrap();
    assert_eq!(bucket.get("acme.p1").await.unwrap(), None);
    bucket.create("acme.p1", "again".into()).await.unwrap();
    assert_eq!(bucket.get("acme.p1").await.unwrap().unwrap().value, "again");
    assert!(matches!(bucket.get("a b").await, Err(KvError::BadKey)));
    assert!(matches!(bucket.get("acme.>").await, Err(KvError::BadKey)));
}

#[tokio::test]
async fn a_watch_tells_what_there_is_then_every_change_and_goes_on_after_a_restart() {
    let mut server = TestNats::start().await;
    let nats = server.nats("gateway").await;
    let bucket = nats.bucket("revocations");
    bucket.put("other.x", "0".into()).await.unwrap();
    let mut empty = bucket.watch("acme.>");
    assert_eq!(soon(empty.next()).await, WatchEvent::Current);
    bucket.put("acme.a", "1".into()).await.unwrap();
    bucket.put("acme.a", "2".into()).await.unwrap();
    let mut watch = bucket.watch("acme.>");
    let WatchEvent::Put(entry) = soon(watch.next()).await else { panic!("a value first") };
    assert_eq!((entry.key.as_str(), entry.value.as_ref()), ("acme.a", &b"2"[..]));
    assert_eq!(soon(watch.next()).await, WatchEvent::Current);
    server.kill().await;
    server.restart().await;
    bucket.delete("acme.a").await.unwrap();
    let told = soon(watch.next()).await;
    assert!(matches!(told, WatchEvent::Gone { ref key, .. } if key == "acme.a"), "{told:?}");
}

#[tokio::test]
async fn a_key_with_a_time_to_live_is_told_as_gone() {
    let server = TestNats::start().await;
    let bucket = server.nats("gateway").await.bucket("sessions");
    bucket.put_with_ttl("acme.p1", "x".into(), Duration::from_secs(1)).await.unwrap();
    let mut watch = bucket.watch("acme.>");
    assert!(matches!(soon(watch.next()).await, WatchEvent::Put(_)));
    assert_eq!(soon(watch.next()).await, WatchEvent::Current);
    let told = soon(watch.next()).await;
    assert!(matches!(told, WatchEvent::Gone { ref key, .. } if key == "acme.p1"), "{told:?}");
    assert_eq!(bucket.get("acme.p1").await.unwrap(), None);
}

#[tokio::test]
async fn an_object_larger_than_a_message_is_stored_replaced_and_removed() {
    let server = TestNats::start().await;
    let (ingest, gateway) = (server.nats("ingest").await, server.nats("gateway").await);
    let stored = ingest.objects("media", SOON).await.unwrap();
    let audio = vec![7_u8; 3 << 20];
    stored.put("acme/a.mp3", &mut audio.as_slice()).await.unwrap();
    let read = gateway.objects("media", SOON).await.unwrap();
    assert_eq!(read.get("acme/a.mp3", 4 << 20).await.unwrap(), audio);
    assert!(read.get("acme/a.mp3", 1 << 20).await.is_err());
    stored.put("acme/a.mp3", &mut &b"short"[..]).await.unwrap();
    assert_eq!(read.get("acme/a.mp3", 100).await.unwrap(), b"short");
    stored.delete("acme/a.mp3").await.unwrap();
    let gone = read.get("acme/a.mp3", 100).await;
    assert!(matches!(gone, Err(ObjectError::NotFound)), "{gone:?}");
    let never = stored.delete("acme/b.mp3").await;
    assert!(matches!(never, Err(ObjectError::NotFound)), "{never:?}");
}

#[tokio::test]
async fn provisioning_twice_changes_nothing_and_keeps_epochs() {
    let server = TestNats::start().await;
    let admin = server.nats("admin").await;
    let before = admin.log_reader().stream_info("CALLS").await.unwrap();
    let definitions = Definitions::builtin().unwrap();
    let again = provision::apply(&admin, &definitions, ApplyOptions::default()).await.unwrap();
    assert!(again.items.iter().all(|item| item.state == State::Unchanged), "{again}");
    assert_eq!(admin.log_reader().stream_info("CALLS").await.unwrap().epoch, before.epoch);
}

#[tokio::test]
async fn what_differs_is_named_refused_and_updated_only_when_asked() {
    let server = TestNats::start().await;
    let admin = server.nats("admin").await;
    let epoch = admin.log_reader().stream_info("CALLS").await.unwrap().epoch;
    let folder = tempfile::tempdir().unwrap();
    let nats_folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../nats");
    for kind in ["streams", "buckets", "objects", "consumers"] {
        std::fs::create_dir(folder.path().join(kind)).unwrap();
    }
    let calls = std::fs::read_to_string(nats_folder.join("streams/calls.json")).unwrap();
    let changed = calls.replace("\"30d\"", "\"7d\"");
    assert_ne!(calls, changed);
    std::fs::write(folder.path().join("streams/calls.json"), changed).unwrap();
    let definitions = Definitions::load(folder.path()).unwrap();

    let refused = provision::apply(&admin, &definitions, ApplyOptions::default()).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("max_age: declared 7d, found 30d"), "{text}");
    let checked = provision::check(&admin, &definitions, 1).await.unwrap();
    assert!(!checked.is_clean());

    let update = ApplyOptions { update: Update::Everything, ..ApplyOptions::default() };
    let report = provision::apply(&admin, &definitions, update).await.unwrap();
    assert_eq!(report.items[0].state, State::Updated);
    assert!(provision::check(&admin, &definitions, 1).await.unwrap().is_clean());
    assert_eq!(admin.log_reader().stream_info("CALLS").await.unwrap().epoch, epoch);
}

#[tokio::test]
async fn services_find_out_how_durable_the_server_is() {
    let server = TestNats::start().await;
    let (admin, gateway) = (server.nats("admin").await, server.nats("gateway").await);
    assert_eq!(Durability::read(&gateway).await.unwrap().promise(), Promise::Unknown);
    let durability = Durability::ask(&server.config("sys")).await.unwrap();
    durability.record(&admin).await.unwrap();
    let read = Durability::read(&gateway).await.unwrap();
    assert_eq!(read.promise(), Promise::Within(Duration::from_millis(10)));
    assert_eq!(read.enforce(true), Ok(()));
}

#[tokio::test]
async fn a_server_left_behind_by_a_killed_parent_is_replaced_and_its_data_kept() {
    use runtime::nats_server::NatsServer;
    let mut server = TestNats::start().await;
    let nats = server.nats("ingest").await;
    nats.event_log().append(append("events.acme.call.CA1.update", "m1")).await.unwrap();
    let left_behind = server.server().unwrap().pid();
    // The first one still runs and holds the port and the store.
    let second = NatsServer::start(server.server_config()).await.unwrap();
    assert_ne!(second.pid(), left_behind);
    assert_eq!(second.url("ingest"), server.url("ingest"));
    let stored = nats.event_log().append(append("events.acme.call.CA1.update", "m2")).await;
    assert_eq!(stored.unwrap().sequence, 2);
    second.stop(SOON).await;
    server.kill().await;
}

#[tokio::test]
async fn a_taken_address_is_named_with_the_variable_that_moves_it() {
    use runtime::nats_server::{NatsServer, ServerConfig};
    let server = TestNats::start().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_owned();
    let config = ServerConfig { data, ..server.server_config().clone() };
    let refused = NatsServer::start(&config).await.err().unwrap().to_string();
    assert!(refused.contains(&config.listen) && refused.contains("NATS_PORT"), "{refused}");
}
