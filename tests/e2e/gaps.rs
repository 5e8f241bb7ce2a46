//! What cannot be replayed is announced by a gap with its reason; silence never means loss, and quiet is no gap.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::checker::{History, Start, Value};
use crate::clients::events::publish;
use crate::clients::http::Request;
use crate::clients::pages::Pages;
use crate::clients::publisher::Kind;
use crate::clients::sse::EventSource;
use crate::clients::token::{claims, sign, token};
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{agent, calls, journey, publisher, source, team};
use crate::harness::{Service, TENANT, TestPlatform, eventually};

/// The read side stops in order and the gateway dies; meanwhile retention takes what is before `sequence`.
pub(crate) async fn expire(platform: &mut TestPlatform, stream: &str, sequence: u64) {
    platform.signal(Service::Replay, "TERM");
    eventually(Duration::from_secs(12), "the read side ends", async || {
        platform.exit_code(Service::Replay) == Some(0)
    })
    .await;
    platform.kill(Service::Gateway);
    platform.admin().await.expire(stream, sequence).await;
    platform.restart(Service::Replay).await;
    platform.restart(Service::Gateway).await;
}

#[track_caller]
fn assert_gap(gaps: &[Json], channels: &[&str], reason: &str) {
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    let told: Vec<&str> =
        gaps[0]["channels"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for channel in channels {
        assert!(told.contains(channel), "{channel} in {}", gaps[0]);
    }
    assert_eq!(gaps[0]["reason"], reason, "{}", gaps[0]);
}

#[tokio::test]
async fn what_retention_has_removed_is_announced_and_the_rest_is_given() {
    journey(90, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["calls"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 3).await;
        socket.receive(3).await;
        events.receive(3).await;
        socket.cut();
        events.cut();
        writer.publish(platform.ingest(), 7).await;
        let head = platform.admin().await.state("CALLS").await.last_sequence;
        expire(&mut platform, "CALLS", head - 2).await;

        socket.resume(platform.gateway()).await.unwrap();
        let stands = socket.wait_for("active_calls").await.unwrap();
        assert_eq!(stands["payload"]["calls"][0]["callSid"], "CA42", "{stands}");
        let of_calls =
            |frame: &Json| frame["type"] == "snapshot" && frame["payload"]["channel"] == "calls";
        let snapshot = socket.wait(of_calls).await.unwrap();
        assert_eq!(snapshot["payload"]["value"], stands["payload"]["calls"], "{snapshot}");
        events.resume(platform.gateway()).await.unwrap();
        socket.receive(6).await;
        events.receive(6).await;
        assert_gap(&socket.gaps, &["calls"], "expired");
        assert_gap(&events.gaps, &["calls"], "expired");
        writer.publish(platform.ingest(), 2).await;
        socket.receive(8).await;
        events.receive(8).await;
        socket.drain().await;
        events.drain().await;
        let verdict = history.assert_clean();
        assert_eq!(verdict.announced, 8, "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_quiet_channel_below_the_edge_of_retention_is_no_gap() {
    journey(90, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut quiet = publisher(&history, "q", Kind::Call("CAquiet".to_owned()));
        let mut events = source(&history, "bob", &["call:CAquiet"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        quiet.publish(platform.ingest(), 2).await;
        events.receive(2).await;
        events.cut();
        calls(&history, "w").publish(platform.ingest(), 50).await;
        let head = platform.admin().await.state("CALLS").await.last_sequence;
        // Whose events these are must be known before retention takes them, or nobody can say what was lost.
        let mut read = Pages::new(&history, "cat", &token(TENANT, "cat", "agent"), "calls");
        while read.received.len() < 52 {
            read.received.clear();
            read.read(platform.gateway(), Start::Earliest, 100).await;
        }
        expire(&mut platform, "CALLS", head).await;
        events.resume(platform.gateway()).await.unwrap();
        quiet.publish(platform.ingest(), 2).await;
        events.receive(4).await;
        events.drain().await;
        assert_eq!(events.gaps, [Json::Null; 0]);
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

/// A socket and an event source that come with a position from elsewhere.
async fn come_with(
    platform: &TestPlatform,
    tenant: &str,
    history: &History,
    cursor: &str,
) -> (WebSocket, EventSource) {
    let token = token(tenant, "eve", "agent");
    let mut socket = WebSocket::new(history, "eve", &token, &["team"]);
    socket.connect(platform.gateway()).await.unwrap();
    socket.join("calls", Start::Cursor(cursor.to_owned())).await.unwrap();
    let mut events = EventSource::new(history, "eva", &token, &["calls"]);
    events.connect(platform.gateway(), Start::Cursor(cursor.to_owned())).await.unwrap();
    eventually(Duration::from_secs(5), "both were told of a gap", async || {
        let _ = socket.next(Duration::from_millis(20)).await;
        let _ = events.next(Duration::from_millis(20)).await;
        !socket.gaps.is_empty() && !events.gaps.is_empty()
    })
    .await;
    (socket, events)
}

#[tokio::test]
async fn a_forged_position_and_another_tenants_are_gaps_and_then_live() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 2).await;
        socket.receive(2).await;
        let good = socket.cursors[0].clone();
        let middle = good.len() / 2;
        let flipped = if &good[middle..=middle] == "A" { "B" } else { "A" };
        let forged = format!("{}{flipped}{}", &good[..middle], &good[middle + 1..]);

        let elsewhere = History::new();
        for (tenant, cursor, reason) in [
            (TENANT, &*forged, "unknown_position"),
            (TENANT, "nonsense", "unknown_position"),
            ("globex", &good, "other_tenant"),
        ] {
            let (socket, events) = come_with(&platform, tenant, &elsewhere, cursor).await;
            assert_gap(&socket.gaps, &["calls"], reason);
            assert_gap(&events.gaps, &["calls"], reason);
            assert_eq!(socket.received, [], "nothing of the past is guessed");
            assert_eq!(events.received, [], "nothing of the past is guessed");
        }

        let (mut late, mut later) = come_with(&platform, TENANT, &elsewhere, &forged).await;
        writer.publish(platform.ingest(), 1).await;
        late.receive(1).await;
        later.receive(1).await;
        socket.receive(3).await;
        socket.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_gap_on_an_event_source_is_followed_by_the_state_of_its_channels() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let ringing = json!({ "callSid": "CA1", "status": "ringing" });
        publish(platform.ingest(), TENANT, "call.update", &ringing).await;
        let mut events = source(&history, "bob", &["calls", "team"]);
        events.connect(platform.gateway(), Start::Cursor("nonsense".to_owned())).await.unwrap();
        eventually(Duration::from_secs(10), "the snapshots of calls and admin come", async || {
            let _ = events.next(Duration::from_millis(20)).await;
            events.snapshots.len() == 2
        })
        .await;
        assert_gap(&events.gaps, &["calls", "team"], "unknown_position");
        let state = events.snapshots.iter().find(|state| state["channel"] == "calls").unwrap();
        assert_eq!(state["view"], "active-calls", "{state}");
        assert_eq!(state["value"][0]["callSid"], "CA1", "{state}");
        // It goes on behind the snapshot for who wants to.
        let behind =
            format!("/v1/history?channel=calls&after={}", state["cursor"].as_str().unwrap());
        let token = token(TENANT, "bob", "admin");
        let page = Request::get(&behind).bearer(&token).send(platform.gateway()).await.unwrap();
        assert_eq!(page.json()["events"], json!([]), "{}", page.text());
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_page_backwards_says_expired_only_where_retention_ends() {
    journey(90, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        calls(&history, "w").publish(platform.ingest(), 9).await;
        let token = token(TENANT, "ann", "agent");
        let page = async |gateway, query: &str| {
            let path = format!("/v1/history?channel=calls&{query}");
            Request::get(&path).bearer(&token).send(gateway).await.unwrap().json()
        };
        let mut cursor = Json::Null;
        eventually(Duration::from_secs(10), "all are indexed", async || {
            let all = page(platform.gateway(), "after=earliest").await;
            cursor = all["cursor"].clone();
            all["events"].as_array().unwrap().len() == 9
        })
        .await;
        let head = platform.admin().await.state("CALLS").await.last_sequence;
        expire(&mut platform, "CALLS", head - 6).await;

        let mut pages = Vec::new();
        while pages.last().is_none_or(|page: &Json| page["more"] == true) {
            let query = format!("limit=2&before={}", cursor.as_str().unwrap());
            let page = page(platform.gateway(), &query).await;
            cursor = page["cursor"].clone();
            pages.push(page);
        }
        let given = |page: &Json| page["events"].as_array().unwrap().len();
        assert_eq!(pages.iter().map(given).sum::<usize>(), 6, "{pages:?}");
        let (last, before) = pages.split_last().unwrap();
        assert_eq!(last["gap"], json!({ "reason": "expired" }), "{last}");
        assert!(before.len() >= 2, "{pages:?}");
        for page in before {
            assert_eq!(page["gap"], Json::Null, "{page}");
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_stream_put_back_to_an_older_copy_is_announced() {
    journey(90, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let backup = TempDir::new().unwrap();
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["calls"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 4).await;
        socket.receive(4).await;
        events.receive(4).await;
        // A copy of now, then three more that the copy does not know.
        platform.nats.kill().await;
        platform.nats.copy_store(&backup.path().join("store"));
        platform.nats.restart().await;
        for _ in 0..3 {
            writer.insist(platform.ingest()).await;
        }
        socket.receive(7).await;
        events.receive(7).await;
        socket.cut();
        events.cut();
        platform.nats.kill().await;
        platform.nats.put_back(&backup.path().join("store"));
        platform.nats.restart().await;

        // Others are written in their place, past where the clients stand.
        let rewritten = History::new();
        let mut writer = calls(&rewritten, "x");
        for _ in 0..6 {
            writer.insist(platform.ingest()).await;
        }
        let (at_socket, at_events) = (socket.received.len(), events.received.len());
        socket.resume(platform.gateway()).await.unwrap();
        events.resume(platform.gateway()).await.unwrap();
        eventually(Duration::from_secs(10), "both were told of a gap", async || {
            let _ = socket.next(Duration::from_millis(20)).await;
            let _ = events.next(Duration::from_millis(20)).await;
            !socket.gaps.is_empty() && !events.gaps.is_empty()
        })
        .await;
        assert_gap(&socket.gaps, &["calls"], "rewritten");
        assert_gap(&events.gaps, &["calls"], "rewritten");
        writer.insist(platform.ingest()).await;
        let last = Value::new("x", 7);
        eventually(Duration::from_secs(10), "both go on live", async || {
            let _ = socket.next(Duration::from_millis(20)).await;
            let _ = events.next(Duration::from_millis(20)).await;
            socket.received.last() == Some(&last) && events.received.last() == Some(&last)
        })
        .await;
        for (received, before) in [(&socket.received, at_socket), (&events.received, at_events)] {
            let after = &received[before..];
            assert!(after.is_sorted_by(|a, b| a.counter < b.counter), "{after:?}");
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_channel_that_is_no_longer_allowed_is_announced_at_resume() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut rights = claims(TENANT, "dan", "user");
        rights["channels"] = json!(["calls"]);
        let automatic = ["system", "admin:broadcast", "user:dan"];
        let mut socket = WebSocket::new(&history, "dan", &sign(&rights), &automatic);
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 2).await;
        socket.receive(2).await;
        socket.cut();
        writer.publish(platform.ingest(), 2).await;
        socket.become_holder_of(&token(TENANT, "dan", "user"));
        socket.resume(platform.gateway()).await.unwrap();
        socket.drain().await;
        assert_gap(&socket.gaps, &["calls"], "forbidden");
        assert_eq!(socket.received.len(), 2, "nothing of a channel without the right to it");
        team(&history, "t").publish(platform.ingest(), 1).await;
        platform.finish().await;
    })
    .await;
}
