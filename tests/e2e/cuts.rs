//! A cut at any frame, and inside any frame, loses nothing and repeats nothing.

use std::net::SocketAddr;

use crate::chaos::Proxy;
use crate::checker::{History, Start};
use crate::harness::cast::{admin, calls, journey, source, team};
use crate::harness::{Admin, TestPlatform};

const EVENTS: usize = 30;

/// Calls, team activity and alerts, so that three streams interleave and one overtakes.
async fn write(platform: &TestPlatform, history: &History, nats: &Admin) {
    let (mut calls, mut team) = (calls(history, "c"), team(history, "t"));
    for round in 0..EVENTS / 3 {
        calls.publish(platform.ingest(), 1).await;
        team.publish(platform.ingest(), 1).await;
        nats.alert(history, round as u64 + 1).await;
    }
}

#[tokio::test]
async fn a_websocket_cut_after_any_frame_gets_exactly_the_rest() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = admin(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        write(&platform, &history, &platform.admin().await).await;
        socket.receive(EVENTS).await;
        let (recorded, mut received) = (socket.cursors.clone(), EVENTS);
        assert_eq!(recorded.len(), EVENTS);
        for (at, cursor) in recorded.iter().enumerate() {
            socket.cursor = Some(cursor.clone());
            socket.resume(platform.gateway()).await.unwrap();
            received += EVENTS - at - 1;
            socket.receive(received).await;
        }
        socket.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_event_source_cut_after_any_frame_gets_exactly_the_rest() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut events = source(&history, "bob", &["calls", "team", "admin"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        write(&platform, &history, &platform.admin().await).await;
        events.receive(EVENTS).await;
        let (recorded, mut received) = (events.cursors.clone(), EVENTS);
        assert_eq!(recorded.len(), EVENTS);
        for (at, cursor) in recorded.iter().enumerate() {
            events.last_event_id = Some(cursor.clone());
            events.resume(platform.gateway()).await.unwrap();
            received += EVENTS - at - 1;
            events.receive(received).await;
        }
        events.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_cut_after_every_single_event_misses_none() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let gateway = platform.gateway();
        let mut socket = admin(&history, "ann");
        socket.connect(gateway).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["calls", "team", "admin"]);
        events.connect(gateway, Start::Now).await.unwrap();
        let nats = platform.admin().await;
        let follow = async {
            for count in 1..=EVENTS {
                socket.receive(count).await;
                socket.cut();
                events.receive(count).await;
                events.cut();
                socket.resume(gateway).await.unwrap();
                events.resume(gateway).await.unwrap();
            }
        };
        tokio::join!(follow, write(&platform, &history, &nats));
        socket.drain().await;
        events.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_frame_loses_and_repeats_nothing() {
    journey(120, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let gateway = platform.gateway();
        write(&platform, &history, &platform.admin().await).await;
        for bytes in (200..6000).step_by(331) {
            cut_inside(gateway, &history, bytes).await;
        }
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

async fn cut_inside(gateway: SocketAddr, history: &History, bytes: u64) {
    let proxy = Proxy::start(gateway).await;
    proxy.cut_after(bytes);
    let mut events = source(history, &format!("sse{bytes}"), &["calls", "team", "admin"]);
    if events.connect(proxy.address, Start::Earliest).await.is_ok() {
        events.end(std::time::Duration::from_secs(5)).await;
    }
    proxy.heal();
    match &events.last_event_id {
        Some(_) => events.resume(proxy.address).await.unwrap(),
        None => events.connect(proxy.address, Start::Earliest).await.unwrap(),
    }
    events.receive(EVENTS).await;
    events.drain().await;
}

#[tokio::test]
async fn a_cut_between_the_two_frames_of_one_event_gives_the_other_and_none_twice() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let gateway = platform.gateway();
        let mut socket = admin(&history, "ann");
        socket.connect(gateway).await.unwrap();
        // A call's change has a name of its own on the call's own channel.
        socket.join("calls", Start::Now).await.unwrap();
        socket.join("call:CA42", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["calls", "call:CA42"]);
        events.connect(gateway, Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        for frames in 1..=20 {
            if frames % 2 == 1 {
                writer.publish(platform.ingest(), 1).await;
            }
            socket.receive(frames).await;
            socket.resume(gateway).await.unwrap();
            events.receive(frames).await;
            events.resume(gateway).await.unwrap();
        }
        socket.drain().await;
        events.drain().await;
        assert_eq!((socket.received.len(), events.received.len()), (20, 20));
        let (recorded, mut received) = (socket.cursors.clone(), 20);
        for (at, cursor) in recorded.iter().enumerate() {
            socket.cursor = Some(cursor.clone());
            socket.resume(gateway).await.unwrap();
            received += 20 - at - 1;
            socket.receive(received).await;
        }
        socket.drain().await;
        assert_eq!(socket.received.len(), received);
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
