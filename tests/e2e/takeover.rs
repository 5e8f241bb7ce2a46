//! The same client twice: the newer connection takes over, the older is closed, and no event goes to both.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::checker::{History, Start};
use crate::clients::websocket::{End, WebSocket};
use crate::harness::cast::{agent, calls, journey};
use crate::harness::{Options, Service, TestPlatform};

async fn take_over(platform: &TestPlatform, on: std::net::SocketAddr) {
    let history = History::new();
    let mut old = agent(&history, "ann");
    old.connect(platform.gateway()).await.unwrap();
    old.join("calls", Start::Now).await.unwrap();
    let mut writer = calls(&history, "w");
    writer.publish(platform.ingest(), 5).await;
    old.receive(5).await;

    // The same page again, while its old connection still stands.
    let mut new: WebSocket = old.twin();
    let answer = new.resume(on).await.unwrap();
    assert_eq!(answer["payload"]["clientId"], new.client_id.clone().unwrap());
    assert!(answer["payload"]["rooms"].as_array().unwrap().contains(&"calls".into()), "{answer}");
    writer.publish(platform.ingest(), 5).await;
    new.receive(5).await;
    assert_eq!(old.end(Duration::from_secs(5)).await, End::Closed(4104));
    assert_eq!(old.received.len(), 5, "nothing more after the takeover");
    new.drain().await;
    history.assert_clean();
}

#[tokio::test]
async fn a_newer_connection_of_the_same_client_closes_the_older_on_the_same_gateway() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        take_over(&platform, platform.gateway()).await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_newer_connection_of_the_same_client_closes_the_older_on_another_gateway() {
    journey(60, async {
        let platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        take_over(&platform, platform.second_gateway()).await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn of_connections_that_come_at_once_one_has_the_client() {
    journey(120, async {
        let platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        let gateways = [platform.gateway(), platform.second_gateway()];
        let history = History::new();
        let mut last = agent(&history, "ann");
        last.connect(platform.gateway()).await.unwrap();
        last.join("calls", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        for round in 0..10 {
            let mut twins: Vec<WebSocket> = (0..4).map(|_| last.twin()).collect();
            let coming = twins.iter_mut().zip(gateways.iter().cycle());
            let came = join_all(coming.map(|(twin, on)| twin.resume(*on))).await;
            writer.publish(platform.ingest(), 1).await;
            // Whoever was told that it is in, and is not told yet that it is out.
            let mut holders: Vec<WebSocket> = twins
                .into_iter()
                .zip(came)
                .filter_map(|(twin, came)| came.ok().map(|_| twin))
                .collect();
            let until = Instant::now() + Duration::from_secs(10);
            loop {
                let mut standing = Vec::new();
                for mut twin in holders {
                    if twin.end(Duration::from_millis(300)).await == End::Silence {
                        standing.push(twin);
                    }
                }
                holders = standing;
                if holders.len() <= 1 || Instant::now() >= until {
                    break;
                }
            }
            assert_eq!(holders.len(), 1, "round {round}");
            last = holders.remove(0);
            last.receive(1).await;
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_acknowledged_is_not_given_again_however_the_connection_ended() {
    journey(60, async {
        let options = Options::default().two_gateways();
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let [first, second] = [platform.gateway(), platform.second_gateway()];
        let mut writer = calls(&history, "w");
        let mut page = agent(&history, "ann");
        page.connect(first).await.unwrap();
        page.join("calls", Start::Now).await.unwrap();
        for (is_closed, on) in [(true, first), (true, second), (false, second), (false, first)] {
            writer.publish(platform.ingest(), 2).await;
            page.receive(page.received.len() + 2).await;
            page.acknowledge().await.unwrap();
            let mut next = page.twin();
            if is_closed {
                page.close().await;
            }
            writer.publish(platform.ingest(), 1).await;
            next.resume_from_acknowledged(on).await.unwrap();
            next.receive(1).await;
            next.drain().await;
            assert_eq!(next.received.len(), 1, "{is_closed} {on}");
            page = next;
        }
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_was_confirmed_to_be_acknowledged_survives_its_gateway() {
    journey(90, async {
        let options = Options::default().two_gateways();
        let (mut platform, history) = (TestPlatform::start_with(options).await, History::new());
        let mut writer = calls(&history, "w");
        let mut page = agent(&history, "ann");
        page.connect(platform.gateway()).await.unwrap();
        page.join("calls", Start::Now).await.unwrap();
        for _ in 0..3 {
            writer.publish(platform.ingest(), 2).await;
            page.receive(page.received.len() + 2).await;
            page.acknowledge().await.unwrap();
            platform.kill(Service::Gateway);
            let mut next = page.twin();
            page.cut();
            history.fault("gateway killed");
            writer.publish(platform.ingest(), 1).await;
            next.resume_from_acknowledged(platform.second_gateway()).await.unwrap();
            next.receive(1).await;
            next.drain().await;
            assert_eq!(next.received.len(), 1);
            platform.restart(Service::Gateway).await;
            // Back to the one that is killed.
            page = next.twin();
            next.cut();
            page.resume(platform.gateway()).await.unwrap();
        }
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn another_user_cannot_take_over_a_client() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut ann = agent(&history, "ann");
        ann.connect(platform.gateway()).await.unwrap();
        ann.join("calls", Start::Now).await.unwrap();
        let mut eve = agent(&history, "eve");
        eve.client_id = ann.client_id.clone();
        // Whatever the answer is: the session is not hers.
        let _ = eve.resume(platform.gateway()).await;
        calls(&history, "w").publish(platform.ingest(), 2).await;
        ann.receive(2).await;
        eve.drain().await;
        assert_eq!(eve.received, []);
        ann.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
