//! A service that is asked to stop tells its clients to come back, and ends in order.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::checker::{History, Start};
use crate::clients::http::Request;
use crate::clients::token;
use crate::clients::websocket::{End, handshake};
use crate::harness::cast::{agent, calls, journey, source};
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};

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

/// Between two polls a client has no request that it could be told by: the door stays open for it.
#[tokio::test]
async fn who_asks_while_the_gateway_stops_hears_of_it_by_the_answer() {
    journey(60, async {
        let mut platform = TestPlatform::start().await;
        let gateway = platform.gateway();
        let path = "/socket.io/?EIO=4&transport=polling";
        let open = Request::get(path).send(gateway).await.unwrap().text();
        let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
        let path = format!("{path}&sid={}", open["sid"].as_str().unwrap());
        let connect = format!("40{{\"token\":\"{}\"}}", token::token(TENANT, "ann", "agent"));
        Request::post(&path).body("text/plain", connect).send(gateway).await.unwrap();
        let told = Request::get(&path).send(gateway).await.unwrap().text();
        assert!(told.starts_with("40"), "{told}");
        platform.signal(Service::Gateway, "TERM");
        let operations = platform.operations(Service::Gateway);
        eventually(Duration::from_secs(10), "the gateway is ready no more", async || {
            !Request::get("/readyz").send(operations).await.is_ok_and(|answer| answer.status == 200)
        })
        .await;
        // At any error status an `EventSource` would give up for good.
        let source = format!("/sse?channels=team&token={}", token::token(TENANT, "bob", "agent"));
        let source = Request::get(&source).header("Accept", "text/event-stream");
        let come_again = source.send(gateway).await.unwrap();
        assert_eq!(come_again.status, 200);
        assert!(come_again.text().starts_with("retry: "), "{}", come_again.text());
        let last = Request::get(&path).send(gateway).await.unwrap();
        assert_eq!((last.status, last.text().split('\u{1e}').next_back()), (200, Some("1")));
        let another = Request::get("/socket.io/?EIO=4&transport=polling").send(gateway).await;
        assert!(another.is_err() || another.is_ok_and(|answer| answer.status == 503));
        ended(&mut platform, Service::Gateway).await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_on_sending_reads_why_it_was_closed() {
    journey(60, async {
        let mut platform = TestPlatform::start().await;
        let path = format!("/ws?token={}", token::token(TENANT, "ann", "agent"));
        let (mut sink, mut stream) = handshake(platform.gateway(), &path).await.unwrap().split();
        let mut sending = JoinSet::new();
        sending.spawn(async move {
            while sink.send(Message::Pong(vec![7; 100].into())).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        platform.signal(Service::Gateway, "TERM");
        let mut code = None;
        while let Some(message) = stream.next().await {
            match message.expect("the connection is not reset") {
                Message::Close(frame) => code = frame.map(|frame| u16::from(frame.code)),
                _ => assert!(code.is_none(), "nothing comes after the end"),
            }
        }
        assert_eq!(code, Some(4000));
        sending.join_next().await.unwrap().unwrap();
        ended(&mut platform, Service::Gateway).await;
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_hangup_ends_no_service_not_even_one_that_still_waits_for_nats() {
    journey(90, async {
        let mut platform = TestPlatform::start_with(Options::default().with_ai()).await;
        let services = [Service::Ingest, Service::Replay, Service::AiProxy, Service::Gateway];
        platform.nats.kill().await;
        platform.kill(Service::Gateway);
        platform.begin_restart(Service::Gateway);
        let operations = platform.operations(Service::Gateway);
        eventually(Duration::from_secs(20), "the gateway says what it waits for", async || {
            Request::get("/livez").send(operations).await.is_ok()
        })
        .await;
        for service in services {
            platform.signal(service, "HUP");
        }
        platform.nats.restart().await;
        for service in services {
            platform.ready(service).await;
            assert_eq!(platform.exit_code(service), None, "{service:?}");
        }
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
