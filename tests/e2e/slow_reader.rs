//! A reader that does not read costs a bounded amount of memory, holds up nobody, and loses nothing.

use std::time::Duration;

use serde_json::json;

use crate::chaos::{Direction, Proxy};
use crate::checker::{History, Start};
use crate::clients::events::publish;
use crate::clients::http::Request;
use crate::clients::sse::EventSource;
use crate::clients::token::{claims, sign, token};
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{agent, calls, journey, source};
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};

const EVENTS: usize = 3000;

#[tokio::test]
async fn a_stalled_reader_holds_up_nobody_and_gets_everything_later() {
    journey(120, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let proxy = Proxy::start(platform.gateway()).await;
        let mut stalled: Vec<_> =
            (0..20).map(|n| source(&history, &format!("slow{n}"), &["calls"])).collect();
        for source in &mut stalled {
            source.connect(proxy.address, Start::Now).await.unwrap();
        }
        let mut healthy = agent(&history, "ann");
        healthy.connect(platform.gateway()).await.unwrap();
        healthy.join("calls", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 100).await;
        healthy.receive(100).await;
        let before = platform.memory(Service::Gateway);
        proxy.black_hole(Direction::ToClient);
        writer.publish(platform.ingest(), EVENTS).await;
        healthy.receive_within(100 + EVENTS, Duration::from_secs(20)).await;
        let grown = platform.memory(Service::Gateway).saturating_sub(before);
        // The events themselves, once: far below a copy for each of the stalled readers.
        assert!(grown < 24 << 20, "{} MiB more", grown >> 20);
        proxy.heal();
        for source in &mut stalled {
            source.receive_within(100 + EVENTS, Duration::from_secs(20)).await;
            source.drain().await;
        }
        healthy.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_reader_on_a_thin_line_in_tiny_slices_gets_everything_in_order() {
    journey(120, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let proxy = Proxy::start(platform.gateway()).await;
        proxy.slice(7);
        proxy.throttle(60_000);
        let mut thin = source(&history, "thin", &["calls"]);
        thin.connect(proxy.address, Start::Now).await.unwrap();
        calls(&history, "w").publish(platform.ingest(), 300).await;
        tokio::time::timeout(Duration::from_secs(2), thin.end(Duration::from_secs(2))).await.ok();
        proxy.heal();
        thin.receive_within(300, Duration::from_secs(20)).await;
        thin.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

const ROOM: &str = "contact:c-1";

/// One who sits in a room and reads, and one on a line that has swallowed more than the network holds back.
async fn one_who_reads_and_one_who_does_not(
    platform: &TestPlatform,
    history: &History,
    proxy: &Proxy,
) -> (WebSocket, EventSource) {
    let mut ann = agent(history, "ann");
    ann.connect(platform.gateway()).await.unwrap();
    ann.join(ROOM, Start::Now).await.unwrap();
    let bob = sign(&claims(TENANT, "bob", "agent"));
    let mut bob = EventSource::new(history, "bob", &bob, &[ROOM]);
    bob.connect(proxy.address, Start::Now).await.unwrap();
    until_there(&mut ann, &["ann", "bob"]).await;
    proxy.black_hole(Direction::ToClient);
    let long = "x".repeat(40_000);
    let data = json!({ "activity": {
        "userId": "7", "userName": "Maya", "action": "write", "resource": "x", "metadata": { "text": long },
    } });
    for _ in 0..100 {
        publish(platform.ingest(), TENANT, "team.activity", &data).await;
        // Who reads must not fall behind as well, however long this takes.
        while ann.next(Duration::from_millis(1)).await.is_ok() {}
    }
    (ann, bob)
}

async fn until_there(ann: &mut WebSocket, names: &[&str]) {
    eventually(Duration::from_secs(20), "who is in the room", async || {
        let answer = ann.request("presence:list", json!({ "channel": ROOM })).await.unwrap();
        let users = answer["payload"]["users"].as_array().unwrap().clone();
        users.iter().map(|user| user["userId"].as_str().unwrap()).eq(names.iter().copied())
    })
    .await;
}

async fn metric(platform: &TestPlatform, name: &str) -> f64 {
    let metrics = Request::get("/metrics").send(platform.operations(Service::Gateway)).await;
    let metrics = metrics.unwrap().text();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {metrics}")).parse().unwrap()
}

#[tokio::test]
async fn an_event_source_that_takes_nothing_for_too_long_is_gone() {
    journey(120, async {
        let options = Options::default().set(Service::Gateway, "LAG_TIMEOUT_MS", "2000").set(
            Service::Gateway,
            "PRESENCE_GRACE_MS",
            "500",
        );
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let proxy = Proxy::start(platform.gateway()).await;
        let (mut ann, mut bob) =
            one_who_reads_and_one_who_does_not(&platform, &history, &proxy).await;
        until_there(&mut ann, &["ann"]).await;
        assert_eq!(metric(&platform, "throughline_gateway_lagging_total").await, 1.0);
        assert_eq!(metric(&platform, "throughline_gateway_event_streams").await, 0.0);
        proxy.heal();
        bob.end(Duration::from_secs(10)).await;
        assert!(!bob.is_open(), "the connection itself has ended");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_revocation_ends_an_event_source_that_does_not_read() {
    journey(120, async {
        let options = Options::default().set(Service::Gateway, "PRESENCE_GRACE_MS", "500");
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let proxy = Proxy::start(platform.gateway()).await;
        let (mut ann, _bob) = one_who_reads_and_one_who_does_not(&platform, &history, &proxy).await;
        let revocation = Request::post("/v1/revocations").json(&json!({ "sub": "bob" }));
        let admin = token(TENANT, "1", "admin");
        let answer = revocation.bearer(&admin).send(platform.gateway()).await.unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        until_there(&mut ann, &["ann"]).await;
        assert_eq!(metric(&platform, "throughline_gateway_event_streams").await, 0.0);
        platform.finish().await;
    })
    .await;
}
