//! Whoever was away gets exactly what it missed, in order, once, then live; whatever was killed meanwhile.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use crate::checker::{History, Start};
use crate::clients::token::token;
use crate::clients::websocket::{WebSocket, handshake};
use crate::harness::cast::{agent, calls, journey, source, team};
use crate::harness::{Options, Service, TENANT, TestPlatform};

#[derive(Clone, Copy)]
enum Victim {
    Service(Service),
    NatsServer,
}

/// Two clients see five events, go away, a thousand pass while `victim` is killed and started again,
/// both come back with their cursor, and go on live.
async fn miss_a_thousand(victim: Victim) {
    journey(90, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["calls"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 5).await;
        socket.receive(5).await;
        events.receive(5).await;
        socket.cut();
        events.cut();

        writer.publish(platform.ingest(), 500).await;
        strike(&mut platform, victim).await;
        writer.insist(platform.ingest()).await;
        writer.publish(platform.ingest(), 499).await;

        let answer = socket.resume(platform.gateway()).await.unwrap();
        assert_eq!(answer["payload"]["recovered"], true, "{answer}");
        events.resume(platform.gateway()).await.unwrap();
        socket.receive(1005).await;
        events.receive(1005).await;
        writer.publish(platform.ingest(), 5).await;
        socket.receive(1010).await;
        events.receive(1010).await;
        socket.drain().await;
        events.drain().await;
        let verdict = history.assert_clean();
        assert_eq!((verdict.ok + verdict.recovered, verdict.gaps), (1010, 0), "{verdict}");
        platform.finish().await;
    })
    .await;
}

async fn strike(platform: &mut TestPlatform, victim: Victim) {
    match victim {
        Victim::Service(service) => {
            platform.kill(service);
            platform.restart(service).await;
        }
        Victim::NatsServer => {
            platform.nats.kill().await;
            platform.nats.restart().await;
        }
    }
}

#[tokio::test]
async fn a_thousand_missed_events_come_once_in_order_after_the_gateway_was_killed() {
    miss_a_thousand(Victim::Service(Service::Gateway)).await;
}

#[tokio::test]
async fn a_thousand_missed_events_come_once_in_order_after_nats_was_killed() {
    miss_a_thousand(Victim::NatsServer).await;
}

#[tokio::test]
async fn a_thousand_missed_events_come_once_in_order_after_ingest_was_killed() {
    miss_a_thousand(Victim::Service(Service::Ingest)).await;
}

#[tokio::test]
async fn a_thousand_missed_events_come_once_in_order_after_replay_was_killed() {
    miss_a_thousand(Victim::Service(Service::Replay)).await;
}

#[tokio::test]
async fn clients_that_stay_connected_go_on_when_nats_comes_back() {
    journey(60, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 20).await;
        socket.receive(20).await;
        for round in 1..=3 {
            strike(&mut platform, Victim::NatsServer).await;
            writer.insist(platform.ingest()).await;
            writer.publish(platform.ingest(), 19).await;
            socket.receive(20 + round * 20).await;
        }
        socket.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_device_without_a_cursor_goes_on_from_what_it_acknowledged() {
    journey(60, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut events = source(&history, "bob", &["calls", "team"]).device("tablet-1");
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 4).await;
        events.receive(4).await;
        socket.receive(4).await;
        events.acknowledge(platform.gateway()).await;
        socket.acknowledge().await.unwrap();
        writer.publish(platform.ingest(), 3).await;
        events.receive(7).await;
        socket.receive(7).await;
        events.cut();
        socket.cut();
        writer.publish(platform.ingest(), 3).await;
        strike(&mut platform, Victim::Service(Service::Gateway)).await;

        // What came after the acknowledgement comes again: 3 given and 3 missed.
        events.connect_acknowledged(platform.gateway()).await.unwrap();
        events.receive(13).await;
        socket.resume_from_acknowledged(platform.gateway()).await.unwrap();
        socket.receive(13).await;
        events.drain().await;
        socket.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

/// A page that has forgotten everything but the name of its device, and perhaps a position.
async fn page(history: &History, to: SocketAddr, cursor: Option<&str>) -> WebSocket {
    let mut page = WebSocket::new(history, "page", &token(TENANT, "ann", "agent"), &[]);
    page.adopt(handshake(to, "/ws").await.unwrap());
    let mut payload = json!({ "token": token(TENANT, "ann", "agent"), "device": "desk-1" });
    if let Some(cursor) = cursor {
        payload["cursor"] = json!(cursor);
    }
    page.send(&json!({ "type": "auth", "payload": payload })).await.unwrap();
    page.wait_for("authenticated").await.unwrap();
    page
}

async fn next_call(page: &mut WebSocket) -> Json {
    page.wait(|frame| frame["room"] == "calls" && !frame["cursor"].is_null()).await.unwrap()
}

#[tokio::test]
async fn what_is_acknowledged_while_another_channel_is_caught_up_with_does_not_come_again() {
    journey(60, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        team(&history, "t").publish(platform.ingest(), 1).await;
        let mut writer = calls(&history, "w");
        let mut ann = page(&history, platform.gateway(), None).await;
        ann.join("calls", Start::Now).await.unwrap();
        writer.publish(platform.ingest(), 2).await;
        next_call(&mut ann).await;
        let second = next_call(&mut ann).await;
        ann.request("ack", json!({ "cursor": second["cursor"] })).await.unwrap();
        writer.publish(platform.ingest(), 2).await;
        next_call(&mut ann).await;
        let fourth = next_call(&mut ann).await["cursor"].clone();

        // Nobody can read what is older than the gateway that begins now, so the join's back-fill waits.
        platform.kill(Service::Replay);
        strike(&mut platform, Victim::Service(Service::Gateway)).await;
        let mut ann = page(&history, platform.gateway(), fourth.as_str()).await;
        ann.join("calls", Start::Now).await.unwrap();
        ann.join("team", Start::Earliest).await.unwrap();
        let answer = ann.request("ack", json!({ "cursor": fourth })).await.unwrap();
        assert_eq!(answer["type"], "ack", "{answer}");
        ann.cut();
        platform.restart(Service::Replay).await;
        let mut ann = page(&history, platform.gateway(), None).await;
        ann.join("calls", Start::Now).await.unwrap();
        writer.publish(platform.ingest(), 1).await;
        let next = next_call(&mut ann).await;
        assert_eq!(next["payload"]["callerName"], "val-w-5", "{next}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_catch_up_that_is_interrupted_by_kills_goes_on_where_it_was() {
    journey(90, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["calls"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 1).await;
        socket.receive(1).await;
        events.receive(1).await;
        socket.cut();
        events.cut();
        writer.publish(platform.ingest(), 3000).await;
        let mut read = 1;
        for victim in [
            Victim::Service(Service::Gateway),
            Victim::NatsServer,
            Victim::Service(Service::Replay),
            Victim::Service(Service::Gateway),
        ] {
            read += 500;
            socket.resume(platform.gateway()).await.unwrap();
            events.resume(platform.gateway()).await.unwrap();
            socket.receive(read).await;
            events.receive(read).await;
            strike(&mut platform, victim).await;
        }
        socket.resume(platform.gateway()).await.unwrap();
        events.resume(platform.gateway()).await.unwrap();
        socket.receive_within(3001, std::time::Duration::from_secs(20)).await;
        events.receive_within(3001, std::time::Duration::from_secs(20)).await;
        socket.drain().await;
        events.drain().await;
        let verdict = history.assert_clean();
        assert_eq!(verdict.gaps, 0, "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_acknowledgement_counts_on_every_gateway_at_once_and_never_goes_back() {
    journey(60, async {
        let options = Options::default().two_gateways();
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let (here, there) = (platform.gateway(), platform.second_gateway());
        let mut events = source(&history, "bob", &["calls"]).device("tablet-1");
        events.connect(here, Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        for round in 1..=8 {
            writer.publish(platform.ingest(), 3).await;
            events.receive(round * 3).await;
            events.acknowledge(if round % 2 == 0 { here } else { there }).await;
            events.connect_acknowledged(if round % 3 == 0 { here } else { there }).await.unwrap();
        }
        // An older acknowledgement that comes late changes nothing.
        events.acknowledge_again(here, 4).await;
        events.connect_acknowledged(there).await.unwrap();
        events.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
