//! Alerts go before all others, and a cut behind one that has overtaken loses nothing of what it passed.

use std::time::Duration;

use serde_json::json;

use crate::chaos::{Direction, Proxy};
use crate::checker::{History, Start};
use crate::clients::http::Request;
use crate::clients::token::service;
use crate::harness::cast::{admin, journey, source};
use crate::harness::{TENANT, TestPlatform};

const BACKLOG: usize = 400;

/// Large events, so that a stalled connection cannot swallow them all.
async fn publish_large(platform: &TestPlatform) {
    for batch in 0..BACKLOG / 20 {
        let events: Vec<_> = (0..20)
            .map(|n| {
                json!({
                    "specversion": "1.0", "id": format!("large-{batch}-{n}"), "source": "/crm",
                    "type": "call.transcription",
                    "data": { "callSid": "CA42", "role": "agent", "text": "x".repeat(20_000) },
                })
            })
            .collect();
        let body = json!(events).to_string();
        let request = Request::post("/v1/events")
            .bearer(&service(TENANT))
            .body("application/cloudevents-batch+json", body);
        let answer = request.send(platform.ingest()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn an_alert_overtakes_what_a_slow_reader_has_not_got_yet() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let proxy = Proxy::start(platform.gateway()).await;
        let mut socket = admin(&history, "ann");
        socket.connect(proxy.address).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut events = source(&history, "bob", &["calls", "admin"]);
        events.connect(proxy.address, Start::Now).await.unwrap();
        proxy.black_hole(Direction::ToClient);
        publish_large(&platform).await;
        platform.admin().await.alert(&history, 1).await;
        proxy.heal();
        socket.receive_within(1, Duration::from_secs(20)).await;
        events.receive_within(1, Duration::from_secs(20)).await;
        let (by_socket, by_events) = (socket.cursors.len() - 1, events.cursors.len() - 1);
        assert!(by_socket < BACKLOG / 2, "the alert came behind {by_socket} others");
        assert!(by_events < BACKLOG / 2, "the alert came behind {by_events} others");

        // A cut right behind the alert.
        socket.resume(platform.gateway()).await.unwrap();
        events.resume(platform.gateway()).await.unwrap();
        socket.drain_patiently().await;
        events.drain_patiently().await;
        assert_eq!(socket.cursors.len(), BACKLOG + 1, "each once");
        assert_eq!(events.cursors.len(), BACKLOG + 1, "each once");
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
