//! A service that is asked to stop tells its clients to come back, and ends in order.

use std::time::Duration;

use crate::checker::{History, Start};
use crate::clients::websocket::End;
use crate::harness::cast::{agent, calls, journey, source};
use crate::harness::{Options, Service, TestPlatform, eventually};

#[tokio::test]
async fn a_draining_gateway_sends_its_clients_away_with_the_advice_to_resume() {
    journey(60, async {
        let mut platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        let history = History::new();
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["calls"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 3).await;
        socket.receive(3).await;
        events.receive(3).await;
        platform.signal(Service::Gateway, "TERM");
        assert_eq!(socket.end(Duration::from_secs(8)).await, End::Closed(4000));
        assert_ne!(events.end(Duration::from_secs(8)).await, End::Silence);
        writer.publish(platform.ingest(), 3).await;
        socket.resume(platform.second_gateway()).await.unwrap();
        events.resume(platform.second_gateway()).await.unwrap();
        socket.receive(6).await;
        events.receive(6).await;
        socket.drain().await;
        events.drain().await;
        history.assert_clean();
        ended(&mut platform, Service::Gateway).await;
        platform.finish().await;
    })
    .await;
}

async fn ended(platform: &mut TestPlatform, service: Service) {
    let mut code = None;
    eventually(Duration::from_secs(12), &format!("{service:?} ends"), async || {
        code = platform.exit_code(service);
        code.is_some()
    })
    .await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn every_service_ends_in_order_when_asked() {
    journey(60, async {
        let mut platform = TestPlatform::start().await;
        for service in [Service::Ingest, Service::Replay] {
            platform.signal(service, "TERM");
            ended(&mut platform, service).await;
        }
        platform.finish().await;
    })
    .await;
}
