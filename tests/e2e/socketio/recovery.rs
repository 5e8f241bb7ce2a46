//! Connection state recovery with the log behind it: on any gateway, after a crash, whatever the old socket does.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{client, follower, websocket};
use crate::checker::History;
use crate::clients::socketio::url;
use crate::harness::cast::{calls, journey};
use crate::harness::{Options, Service, TestPlatform, eventually};

#[tokio::test]
async fn missed_events_come_once_in_order_after_the_gateway_was_killed_again_and_again() {
    journey(120, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut writer = calls(&history, "w");
        let (gateway, ingest) = (platform.gateway(), platform.ingest());
        let mut ann = follower(&history, "ann", gateway, websocket(), &mut writer, ingest).await;
        for round in 1..=3 {
            platform.kill(Service::Gateway);
            ann.wait("disconnect").await;
            writer.publish(ingest, 50).await;
            platform.restart(Service::Gateway).await;
            let connected = ann.wait("connect").await;
            assert_eq!(connected["recovered"], true, "{connected}");
            let ready = ann.event("throughline:ready").await;
            assert!(ready["args"][0]["userId"] == "ann", "{ready}");
            ann.receive(5 + round * 51 - 1).await;
            writer.publish(ingest, 1).await;
            ann.receive(5 + round * 51).await;
        }
        ann.drain().await;
        let verdict = history.assert_clean();
        assert_eq!((verdict.ok + verdict.recovered, verdict.gaps), (158, 0), "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_had_no_event_before_the_cut_gets_what_it_missed() {
    journey(60, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut ann = client(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        ann.join("subscribe", json!({ "channel": "calls" }), "calls").await;
        platform.kill(Service::Gateway);
        ann.wait("disconnect").await;
        calls(&history, "w").publish(platform.ingest(), 7).await;
        platform.restart(Service::Gateway).await;
        assert_eq!(ann.wait("connect").await["recovered"], true);
        ann.receive(7).await;
        ann.drain().await;
        let verdict = history.assert_clean();
        assert_eq!(verdict.gaps, 0, "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_session_goes_on_at_another_gateway_with_its_sid_and_rooms() {
    journey(90, async {
        let platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        let history = History::new();
        let mut writer = calls(&history, "w");
        let (gateway, ingest) = (platform.gateway(), platform.ingest());
        let gateways = [gateway, platform.second_gateway()];
        let mut ann = client(&history, "ann");
        let first = ann.connect(gateway, websocket()).await;
        ann.join("subscribe_to_calls", Json::Null, "calls").await;
        for round in 1..=4 {
            ann.tell(json!({ "op": "hold" })).await;
            ann.cut().await;
            ann.wait("disconnect").await;
            writer.publish(ingest, 10).await;
            let to = url(gateways[round % 2]);
            ann.tell(json!({ "op": "resume", "url": to })).await;
            let connected = ann.wait("connect").await;
            assert_eq!((&connected["recovered"], &connected["id"]), (&json!(true), &first["id"]));
            ann.receive(round * 10).await;
        }
        ann.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

/// The old connection stands, as it does behind a network that has died without a word.
async fn takes_over(platform: &TestPlatform, writer: &str, to: SocketAddr) {
    let history = History::new();
    let mut writer = calls(&history, writer);
    let (gateway, ingest) = (platform.gateway(), platform.ingest());
    let mut ann = follower(&history, "ann", gateway, websocket(), &mut writer, ingest).await;
    ann.tell(json!({ "op": "hold" })).await;
    let before = ann.received.len();
    let token = ann.token.clone();
    let line =
        json!({ "op": "twin", "socket": "new", "of": "ann", "url": url(to), "token": token });
    ann.tell(line).await;
    // The old socket is told nothing but that its transport is gone.
    let gone = ann.wait("disconnect").await;
    assert_eq!((&gone["socket"], &gone["reason"]), (&json!("ann"), &json!("transport close")));
    let connected = ann.wait("connect").await;
    assert_eq!((&connected["socket"], &connected["recovered"]), (&json!("new"), &json!(true)));
    writer.publish(ingest, 5).await;
    ann.receive(before + 5).await;
    ann.drain().await;
    // Whatever had come twice would have been counted twice.
    assert_eq!(ann.received.len(), before + 5);
    history.assert_clean();
}

#[tokio::test]
async fn a_half_open_socket_is_taken_over_on_the_same_gateway_and_on_another() {
    journey(90, async {
        let platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        takes_over(&platform, "here", platform.gateway()).await;
        takes_over(&platform, "there", platform.second_gateway()).await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_application_that_puts_its_listeners_on_after_connect_loses_nothing() {
    journey(90, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut writer = calls(&history, "w");
        let mut ann = client(&history, "ann");
        let line = json!({
            "op": "connect", "url": url(platform.gateway()), "token": ann.token, "late": true,
            "options": websocket(),
        });
        ann.tell(line).await;
        ann.wait("connect").await;
        ann.wait("listening").await;
        ann.join("subscribe", json!("calls"), "calls").await;
        writer.publish(platform.ingest(), 5).await;
        ann.receive(5).await;
        platform.kill(Service::Gateway);
        ann.wait("disconnect").await;
        writer.publish(platform.ingest(), 30).await;
        platform.restart(Service::Gateway).await;
        assert_eq!(ann.wait("connect").await["recovered"], true);
        ann.receive(35).await;
        ann.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_session_past_retention_is_told_of_the_gap_and_goes_on_in_its_rooms_with_what_is_left() {
    journey(90, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut writer = calls(&history, "w");
        let (gateway, ingest) = (platform.gateway(), platform.ingest());
        let mut ann = follower(&history, "ann", gateway, websocket(), &mut writer, ingest).await;
        // The answer to its joining; the next one is the gap's.
        ann.event("active_calls").await;
        ann.tell(json!({ "op": "hold" })).await;
        ann.cut().await;
        let connected = ann.wait("disconnect").await;
        assert_eq!(connected["socket"], "ann");
        writer.publish(ingest, 7).await;
        let head = platform.admin().await.state("CALLS").await.last_sequence;
        platform.signal(Service::Replay, "TERM");
        eventually(Duration::from_secs(12), "the read side ends", async || {
            platform.exit_code(Service::Replay) == Some(0)
        })
        .await;
        platform.kill(Service::Gateway);
        platform.admin().await.expire("CALLS", head - 2).await;
        platform.restart(Service::Replay).await;
        platform.restart(Service::Gateway).await;
        ann.tell(json!({ "op": "resume" })).await;
        assert_eq!(ann.wait("connect").await["recovered"], false);
        let ready = ann.event("throughline:ready").await;
        assert_eq!(ready["args"][0]["recovered"], false, "{ready}");
        let gap = ann.event("throughline:gap").await;
        assert_eq!(gap["args"][0], json!({ "channels": ["calls"], "reason": "expired" }), "{gap}");
        // How things stand makes up for what is gone, in the application's words and in the platform's.
        let calls = ann.event("active_calls").await;
        assert_eq!(calls["args"][0][0]["callSid"], "CA42", "{calls}");
        let snapshot = ann.event("throughline:snapshot").await;
        assert_eq!(snapshot["args"][0]["channel"], "calls", "{snapshot}");
        assert_eq!(snapshot["args"][0]["value"], calls["args"][0], "{snapshot}");
        // Its application joins once and never again: the three that are left follow, and what comes now.
        ann.stays_in("calls");
        ann.receive(5 + 3).await;
        writer.publish(ingest, 2).await;
        ann.receive(5 + 3 + 2).await;
        ann.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn whoever_comes_back_to_a_session_that_is_forgotten_is_told_so() {
    journey(60, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut writer = calls(&history, "w");
        let (gateway, ingest) = (platform.gateway(), platform.ingest());
        let mut ann = follower(&history, "ann", gateway, websocket(), &mut writer, ingest).await;
        platform.kill(Service::Gateway);
        ann.wait("disconnect").await;
        let sessions = platform.admin().await.state("KV_sessions").await.last_sequence;
        platform.admin().await.expire("KV_sessions", sessions + 1).await;
        platform.restart(Service::Gateway).await;
        assert_eq!(ann.wait("connect").await["recovered"], false);
        let ready = ann.event("throughline:ready").await;
        assert_eq!(ready["args"][0]["recovered"], false, "{ready}");
        let gap = ann.event("throughline:gap").await;
        assert_eq!(gap["args"][0], json!({ "channels": [], "reason": "expired" }), "{gap}");
        // What it missed is still there, and follows as soon as it joins again.
        writer.publish(ingest, 2).await;
        ann.join("subscribe", json!({ "channel": "calls" }), "calls").await;
        ann.receive(5 + 2).await;
        ann.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_no_memory_holds_is_recovered_from_the_log_itself() {
    journey(150, async {
        let options = Options::default().set(Service::Gateway, "TAIL_WARM_EVENTS", "0").set(
            Service::Gateway,
            "TAIL_BYTES",
            "65536",
        );
        let (mut platform, history) = (TestPlatform::start_with(options).await, History::new());
        let mut writer = calls(&history, "w");
        let (gateway, ingest) = (platform.gateway(), platform.ingest());
        let mut ann = follower(&history, "ann", gateway, websocket(), &mut writer, ingest).await;
        platform.kill(Service::Gateway);
        ann.wait("disconnect").await;
        writer.publish(ingest, 2_000).await;
        platform.restart(Service::Gateway).await;
        assert_eq!(ann.wait("connect").await["recovered"], true);
        ann.receive(2_005).await;
        writer.publish(ingest, 1).await;
        ann.receive(2_006).await;
        ann.drain().await;
        let verdict = history.assert_clean();
        assert_eq!((verdict.ok + verdict.recovered, verdict.gaps), (2_006, 0), "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_nothing_is_sent_to_is_told_where_it_stands() {
    journey(60, async {
        let options = Options::default().set(Service::Gateway, "HEARTBEAT_MS", "500").set(
            Service::Gateway,
            "SOCKETIO_POSITION_MS",
            "1000",
        );
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let mut ann = client(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        let ready = ann.event("throughline:ready").await;
        let mut told = ready["args"][1].clone();
        let mut writer = calls(&history, "w");
        for _ in 0..2 {
            // The log goes on with what is not for this client, and its position with it.
            writer.publish(platform.ingest(), 1).await;
            let position = ann.event("throughline:position").await;
            let now = &position["args"][0];
            assert!(now.is_string() && *now != told, "{position}");
            told = now.clone();
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_draining_gateway_sends_its_clients_to_another_that_goes_on() {
    journey(90, async {
        let platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        let history = History::new();
        let mut writer = calls(&history, "w");
        let (gateway, ingest) = (platform.gateway(), platform.ingest());
        let polling = json!({ "transports": ["polling"] });
        let mut ann = follower(&history, "ann", gateway, websocket(), &mut writer, ingest).await;
        let mut bob = client(&history, "bob");
        bob.connect(gateway, polling).await;
        bob.join("subscribe_to_calls", Json::Null, "calls").await;
        for socket in [&mut ann, &mut bob] {
            socket.tell(json!({ "op": "hold" })).await;
        }
        platform.signal(Service::Gateway, "TERM");
        for socket in [&mut ann, &mut bob] {
            let gone = socket.wait("disconnect").await;
            assert_eq!(gone["reason"], "transport close", "{gone}");
        }
        writer.publish(ingest, 10).await;
        for (socket, total) in [(&mut ann, 15), (&mut bob, 10)] {
            let to = url(platform.second_gateway());
            socket.tell(json!({ "op": "resume", "url": to })).await;
            assert_eq!(socket.wait("connect").await["recovered"], true);
            socket.receive(total).await;
            socket.drain().await;
        }
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
