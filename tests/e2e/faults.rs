//! Faults short of a kill: a lost acknowledgement, a torn or frozen broker, consumers that vanish.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::chaos::{Direction, Proxy};
use crate::checker::{History, Start};
use crate::clients::publisher::Publisher;
use crate::clients::socketio::SocketIo;
use crate::clients::sse::EventSource;
use crate::clients::token::token;
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{agent, calls, journey, source};
use crate::harness::{NatsServer, Options, Service, TENANT, TestPlatform, eventually};

/// A platform of which one service reaches NATS through a proxy.
async fn through_proxy(service: Service) -> (TestPlatform, Proxy) {
    let nats = NatsServer::start().await;
    let proxy = Proxy::start(nats.address).await;
    let options = Options::default().nats_of(service, proxy.address);
    (TestPlatform::on(nats, options).await, proxy)
}

async fn followers(platform: &TestPlatform, history: &History) -> (WebSocket, EventSource) {
    let mut socket = agent(history, "ann");
    socket.connect(platform.gateway()).await.unwrap();
    socket.join("calls", Start::Now).await.unwrap();
    let mut events = source(history, "bob", &["calls"]);
    events.connect(platform.gateway(), Start::Now).await.unwrap();
    (socket, events)
}

async fn settle(history: &History, socket: &mut WebSocket, events: &mut EventSource, count: usize) {
    socket.receive(count).await;
    events.receive(count).await;
    socket.drain().await;
    events.drain().await;
    let verdict = history.assert_clean();
    assert_eq!((verdict.ok, verdict.gaps), (count, 0), "{verdict}");
}

#[tokio::test]
async fn an_event_whose_acknowledgement_was_lost_is_stored_and_delivered_once() {
    journey(60, async {
        let (platform, proxy) = through_proxy(Service::Ingest).await;
        let history = History::new();
        let (mut socket, mut events) = followers(&platform, &history).await;
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 3).await;
        for _ in 0..5 {
            // The log takes it; the answer never comes; the connection breaks.
            proxy.black_hole(Direction::ToClient);
            let ingest = platform.ingest();
            let break_it = async {
                eventually(Duration::from_secs(5), "the log has it", async || {
                    platform.admin().await.state("CALLS").await.messages
                        > socket.received.len() as u64
                })
                .await;
                proxy.cut();
                proxy.heal();
            };
            tokio::join!(writer.insist(ingest), break_it);
            socket.receive(usize::try_from(writer.counter).unwrap()).await;
        }
        assert_eq!(platform.admin().await.state("CALLS").await.messages, 8);
        settle(&history, &mut socket, &mut events, 8).await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_is_cut_off_from_nats_keeps_its_clients_and_catches_up() {
    journey(60, async {
        let (platform, proxy) = through_proxy(Service::Gateway).await;
        let history = History::new();
        let (mut socket, mut events) = followers(&platform, &history).await;
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 5).await;
        for round in 0..4 {
            if round % 2 == 0 {
                proxy.part();
            } else {
                proxy.black_hole(Direction::ToClient);
            }
            writer.publish(platform.ingest(), 20).await;
            proxy.heal();
            socket.receive(5 + (round + 1) * 20).await;
        }
        assert!(socket.is_open() && events.is_open());
        settle(&history, &mut socket, &mut events, 85).await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_frozen_broker_loses_nothing_when_it_goes_on() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let (mut socket, mut events) = followers(&platform, &history).await;
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 5).await;
        platform.nats.signal("STOP");
        let ingest = platform.ingest();
        let thaw = async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            platform.nats.signal("CONT");
        };
        tokio::join!(writer.insist(ingest), thaw);
        writer.publish(ingest, 10).await;
        settle(&history, &mut socket, &mut events, 16).await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_frozen_gateway_goes_on_where_it_was() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let (mut socket, mut events) = followers(&platform, &history).await;
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 5).await;
        socket.receive(5).await;
        platform.signal(Service::Gateway, "STOP");
        writer.publish(platform.ingest(), 300).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        platform.signal(Service::Gateway, "CONT");
        settle(&history, &mut socket, &mut events, 305).await;
        platform.finish().await;
    })
    .await;
}

/// Writes while every consumer of the platform is deleted again and again.
async fn delete_consumers(platform: &TestPlatform, writer: &mut Publisher) {
    let admin = platform.admin().await;
    for _ in 0..5 {
        writer.publish(platform.ingest(), 20).await;
        admin.delete_consumers("CALLS").await;
        writer.publish(platform.ingest(), 20).await;
    }
}

#[tokio::test]
async fn consumers_that_are_deleted_underneath_are_made_again() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let (mut socket, mut events) = followers(&platform, &history).await;
        delete_consumers(&platform, &mut calls(&history, "w")).await;
        settle(&history, &mut socket, &mut events, 200).await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn sockets_stay_open_while_the_broker_is_away_and_go_on_when_it_is_back() {
    journey(150, async {
        // So often that what a session has to store comes due again and again meanwhile.
        let options = Options::default().set(Service::Gateway, "HEARTBEAT_MS", "2000");
        let (mut platform, history) = (TestPlatform::start_with(options).await, History::new());
        let automatic = ["team", "system", "admin:broadcast", "user:bob"];
        let mut bob = SocketIo::new(&history, "bob", &token(TENANT, "bob", "agent"), &automatic);
        bob.connect(platform.gateway(), json!({ "transports": ["websocket"] })).await;
        bob.join("subscribe_to_calls", Json::Null, "calls").await;
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 2).await;
        socket.receive(2).await;
        bob.receive(2).await;

        platform.nats.kill().await;
        let (cursor, away) = (bob.cursor.clone().unwrap(), Instant::now());
        bob.emit("ack", json!([cursor])).await;
        bob.emit("subscribe", json!(["dashboard:overview"])).await;
        while away.elapsed() < Duration::from_secs(12) {
            // It answers the gateway's pings while it reads.
            let _heartbeat = socket.next(Duration::from_millis(100)).await;
            assert!(socket.is_open(), "after {:?}", away.elapsed());
        }
        for _ in 0..2 {
            let refused = bob.event("error").await;
            assert_eq!(refused["args"][0]["code"], "unavailable", "{refused}");
        }
        platform.nats.restart().await;
        writer.insist(platform.ingest()).await;
        writer.publish(platform.ingest(), 2).await;
        socket.receive(5).await;
        bob.receive(5).await;
        assert!(socket.is_open() && !bob.has_seen("disconnect"));
        socket.join("dashboard:overview", Start::Now).await.unwrap();
        socket.drain().await;
        bob.drain().await;
        let verdict = history.assert_clean();
        assert_eq!(verdict.gaps, 0, "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_full_bucket_of_sessions_lets_everybody_in_and_ends_nobody() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut first = agent(&history, "ann");
        first.connect(platform.gateway()).await.unwrap();
        let admin = platform.admin().await;
        admin.shrink("KV_sessions", 16 * 1024).await;
        for n in 0..60 {
            let mut next = agent(&history, &format!("c{n}"));
            next.connect(platform.gateway()).await.unwrap();
            next.cut();
        }
        let held = admin.state("KV_sessions").await.messages;
        assert!(held < 60, "{held} records: the oldest have given way");
        // Its record is gone and nobody has taken its session: it stores it again and stays.
        first.join("calls", Start::Now).await.unwrap();
        calls(&history, "w").publish(platform.ingest(), 1).await;
        first.receive(1).await;
        assert!(first.is_open());
        platform.finish().await;
    })
    .await;
}
