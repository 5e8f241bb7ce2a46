//! Everybody drops at once, misses events and comes back at once: nobody is forgotten and the broker hardly notices.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;

use crate::checker::{History, Start};
use crate::clients::sse::EventSource;
use crate::harness::TestPlatform;
use crate::harness::cast::{calls, journey, source, team};

const CLIENTS: usize = 300;
const MISSED: usize = 40;

async fn come_back(source: &mut EventSource, gateway: SocketAddr, total: usize) {
    source.resume(gateway).await.unwrap();
    source.receive_within(total, Duration::from_secs(30)).await;
    source.drain().await;
}

#[tokio::test]
async fn a_reconnect_storm_is_caught_up_without_one_more_consumer() {
    journey(120, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let gateway = platform.gateway();
        let mut crowd: Vec<_> = (0..CLIENTS)
            .map(|n| source(&history, &format!("c{n:03}"), &["calls", "team"]))
            .collect();
        for source in &mut crowd {
            source.connect(gateway, Start::Now).await.unwrap();
        }
        let (mut calls, mut team) = (calls(&history, "c"), team(&history, "t"));
        calls.publish(platform.ingest(), 1).await;
        join_all(crowd.iter_mut().map(|source| source.receive(1))).await;
        let admin = platform.admin().await;
        let before = admin.consumers().await;
        for round in 1..=2 {
            for source in &mut crowd {
                source.cut();
            }
            calls.publish(platform.ingest(), MISSED / 2).await;
            team.publish(platform.ingest(), MISSED / 2).await;
            let total = 1 + round * MISSED;
            let all = crowd.iter_mut().map(|source| come_back(source, gateway, total));
            let (_, during) = tokio::join!(join_all(all), admin.consumers());
            // Some that only served the start may be gone by now.
            let after = admin.consumers().await;
            assert!(during <= before && after <= before, "{before}, then {during} and {after}");
        }
        let verdict = history.assert_clean();
        assert_eq!(verdict.frames, CLIENTS * (1 + 2 * MISSED), "{verdict}");
        platform.finish().await;
    })
    .await;
}
