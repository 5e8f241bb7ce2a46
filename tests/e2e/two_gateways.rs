//! Two gateways that interleave the streams differently: a cursor of one is a cursor of the other.

use std::time::Duration;

use crate::chaos::Proxy;
use crate::checker::{History, Start};
use crate::harness::cast::{admin, calls, journey, source, team};
use crate::harness::{NatsServer, Options, Service, TestPlatform};

const ROUNDS: usize = 15;
const EVENTS: usize = ROUNDS * 3;

/// The second gateway's feeds come late and unevenly, so that its local order is another one.
async fn uneven_platform() -> (TestPlatform, Proxy) {
    let nats = NatsServer::start().await;
    let proxy = Proxy::start(nats.address).await;
    let options = Options::default().two_gateways().nats_of(Service::SecondGateway, proxy.address);
    let platform = TestPlatform::on(nats, options).await;
    proxy.delay(Duration::from_millis(7));
    (platform, proxy)
}

async fn write(platform: &TestPlatform, history: &History) {
    let (mut calls, mut team) = (calls(history, "c"), team(history, "t"));
    let nats = platform.admin().await;
    for round in 0..ROUNDS {
        tokio::join!(
            calls.publish(platform.ingest(), 1),
            team.publish(platform.ingest(), 1),
            nats.alert(history, round as u64 + 1),
        );
    }
}

#[tokio::test]
async fn a_client_that_hops_between_gateways_after_every_frame_misses_and_repeats_nothing() {
    journey(120, async {
        let ((platform, _proxy), history) = (uneven_platform().await, History::new());
        let gateways = [platform.gateway(), platform.second_gateway()];
        let mut socket = admin(&history, "ann");
        socket.connect(gateways[0]).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["calls", "team", "admin"]);
        events.connect(gateways[1], Start::Now).await.unwrap();
        let (mut first, mut second) = (admin(&history, "one"), admin(&history, "two"));
        first.connect(gateways[0]).await.unwrap();
        second.connect(gateways[1]).await.unwrap();
        first.join("calls", Start::Now).await.unwrap();
        second.join("calls", Start::Now).await.unwrap();
        let hop = async {
            for count in 1..=EVENTS {
                socket.receive(count).await;
                socket.resume(gateways[count % 2]).await.unwrap();
                events.receive(count).await;
                events.resume(gateways[(count + 1) % 2]).await.unwrap();
            }
        };
        tokio::join!(hop, write(&platform, &history));
        first.receive(EVENTS).await;
        second.receive(EVENTS).await;
        for socket in [&mut socket, &mut first, &mut second] {
            socket.drain().await;
        }
        events.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn every_cursor_of_one_gateway_resumes_on_the_other() {
    journey(120, async {
        let ((platform, _proxy), history) = (uneven_platform().await, History::new());
        let gateways = [platform.gateway(), platform.second_gateway()];
        let mut sources = [
            source(&history, "one", &["calls", "team", "admin"]),
            source(&history, "two", &["calls", "team", "admin"]),
        ];
        for (source, gateway) in sources.iter_mut().zip(gateways) {
            source.connect(gateway, Start::Now).await.unwrap();
        }
        write(&platform, &history).await;
        for source in &mut sources {
            source.receive(EVENTS).await;
        }
        for (at, source) in sources.iter_mut().enumerate() {
            let mut received = EVENTS;
            for (index, cursor) in source.cursors.clone().iter().enumerate() {
                source.last_event_id = Some(cursor.clone());
                source.resume(gateways[1 - at]).await.unwrap();
                received += EVENTS - index - 1;
                source.receive(received).await;
            }
            source.drain().await;
        }
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
