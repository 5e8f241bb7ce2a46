//! Who may connect, join and read; and how fast a connection ends when its right does.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::checker::{History, Start};
use crate::clients::http::Request;
use crate::clients::sse::EventSource;
use crate::clients::token::{claims, now, sign, sign_with, token};
use crate::clients::websocket::{End, WebSocket, handshake_with};
use crate::commands::log_of;
use crate::harness::cast::{agent, calls, journey};
use crate::harness::{ORIGIN, Options, Service, TENANT, TestPlatform, eventually};

/// From when the platform can know until the connection is gone, with what a busy test machine adds.
const AT_ONCE: Duration = Duration::from_millis(1500);

fn user(history: &History, name: &str, claims: &Json) -> WebSocket {
    WebSocket::new(history, name, &sign(claims), &["system", "admin:broadcast", "user:7"])
}

#[tokio::test]
async fn a_channel_without_the_right_to_it_is_refused_like_one_that_does_not_exist() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = user(&history, "7", &claims(TENANT, "7", "user"));
        socket.connect(platform.gateway()).await.unwrap();
        let mut refusals = Vec::new();
        for room in ["calls", "admin", "user:8", "team", "no:such:channel"] {
            let answer = socket.request("join", json!({ "room": room })).await.unwrap();
            assert_eq!(answer["type"], "error", "{room}: {answer}");
            refusals.push(answer["payload"]["code"].clone());
        }
        refusals.dedup();
        assert_eq!(refusals.len(), 1, "{refusals:?}");

        let plain = token(TENANT, "7", "user");
        for (target, refused) in [
            ("/sse?channels=calls", 403),
            ("/v1/history?channel=calls&after=earliest", 403),
            ("/v1/history?channel=user%3A8&after=earliest", 403),
        ] {
            let answer =
                Request::get(target).bearer(&plain).send(platform.gateway()).await.unwrap();
            assert_eq!(answer.status, refused, "{target}: {}", answer.text());
            assert_problem(&answer);
        }
        platform.finish().await;
    })
    .await;
}

#[track_caller]
fn assert_problem(answer: &crate::clients::http::Answer) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert!(problem["code"].is_string() && problem["requestId"].is_string(), "{problem}");
}

#[tokio::test]
async fn a_token_that_is_not_ours_opens_nothing() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut expired = claims(TENANT, "7", "agent");
        expired["exp"] = json!(now() - 30);
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI3IiwidGVuYW50IjoiYWNtZSIsInJvbGUiOiJhZG1pbiJ9.";
        for bad in [
            sign_with(&claims(TENANT, "7", "admin"), "another secret, 0123456789 0123456789"),
            sign(&expired),
            none.to_owned(),
            "nonsense".to_owned(),
        ] {
            let mut socket = WebSocket::new(&history, "eve", &bad, &[]);
            assert!(socket.connect(platform.gateway()).await.is_err());
            for target in ["/sse?channels=team", "/v1/history?channel=team&after=earliest"] {
                let answer =
                    Request::get(target).bearer(&bad).send(platform.gateway()).await.unwrap();
                assert_eq!(answer.status, 401, "{target}: {}", answer.text());
                assert_problem(&answer);
            }
        }
        let answer = Request::get("/sse?channels=team").send(platform.gateway()).await.unwrap();
        assert_eq!(answer.status, 401);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_foreign_origin_is_refused_and_a_cookie_is_no_credential_of_a_websocket() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let cookie = format!("token={}", token(TENANT, "7", "agent"));
        let foreign = handshake_with(platform.gateway(), "/ws", &[("Origin", "https://evil.test")]);
        assert!(foreign.await.is_err());
        let home = handshake_with(platform.gateway(), "/ws", &[("Origin", ORIGIN)]);
        assert!(home.await.is_ok());

        let history = History::new();
        let mut socket = WebSocket::new(&history, "eve", "", &[]);
        let headers = [("Origin", ORIGIN), ("Cookie", &*cookie)];
        socket.adopt(handshake_with(platform.gateway(), "/ws", &headers).await.unwrap());
        let greeting = socket.wait_for("connection_established").await.unwrap();
        assert_eq!(greeting["payload"]["authenticated"], false, "{greeting}");

        let events = |origin: &str| {
            Request::get("/v1/history?channel=team&after=earliest")
                .header("Origin", origin)
                .header("Cookie", &cookie)
        };
        let answer = events(ORIGIN).send(platform.gateway()).await.unwrap();
        assert_ne!(answer.status, 500);
        let (head, _body) = Request::get("/sse?channels=team")
            .header("Origin", ORIGIN)
            .header("Cookie", &cookie)
            .stream(platform.gateway())
            .await
            .unwrap();
        assert_eq!(head.status, 200, "the cookie opens an event source of an allowed origin");
        let answer = Request::get("/sse?channels=team")
            .header("Origin", "https://evil.test")
            .header("Cookie", &cookie)
            .send(platform.gateway())
            .await
            .unwrap();
        assert!(matches!(answer.status, 401 | 403), "{}", answer.status);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_ends_its_live_connections_at_once_unless_it_was_refreshed() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut short = claims(TENANT, "7", "user");
        let expiry = now() + 3;
        short["exp"] = json!(expiry);
        let mut socket = user(&history, "short", &short);
        socket.connect(platform.gateway()).await.unwrap();
        let mut refreshed = user(&history, "refreshed", &short);
        refreshed.connect(platform.gateway()).await.unwrap();
        let fresh = json!({ "token": token(TENANT, "7", "user") });
        let answer = refreshed.request("token:refresh", fresh).await.unwrap();
        assert_eq!(answer["type"], "ack", "{answer}");
        let mut events = EventSource::new(&history, "events", &sign(&short), &["system"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();

        assert_eq!(socket.end(Duration::from_secs(6)).await, End::Closed(4100));
        assert_ne!(events.end(Duration::from_secs(2)).await, End::Silence);
        let late = now() - expiry;
        assert!((0..=2).contains(&late), "closed {late} s after the expiry");
        assert_eq!(refreshed.end(Duration::from_millis(500)).await, End::Silence);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_revocation_ends_live_connections_on_every_gateway_at_once() {
    journey(60, async {
        let platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        let history = History::new();
        let (one, other) = (claims(TENANT, "7", "user"), claims(TENANT, "8", "user"));
        let mut here = user(&history, "here", &one);
        here.connect(platform.gateway()).await.unwrap();
        let mut there = user(&history, "there", &one);
        there.connect(platform.second_gateway()).await.unwrap();
        let mut events = EventSource::new(&history, "events", &sign(&one), &["system"]);
        events.connect(platform.second_gateway(), Start::Now).await.unwrap();
        let mut untouched = user(&history, "untouched", &other);
        untouched.connect(platform.gateway()).await.unwrap();
        let own = ["admin", "team", "system", "admin:broadcast", "user:boss"];
        let mut boss = WebSocket::new(&history, "boss", &token(TENANT, "boss", "admin"), &own);
        boss.connect(platform.second_gateway()).await.unwrap();

        let began = Instant::now();
        let admin = token(TENANT, "1", "admin");
        let revocation = json!({ "jti": one["jti"] });
        let request = Request::post("/v1/revocations").bearer(&admin).json(&revocation);
        let answer = request.send(platform.gateway()).await.unwrap();
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
        assert_eq!(here.end(AT_ONCE).await, End::Closed(4101));
        assert_eq!(there.end(AT_ONCE).await, End::Closed(4101));
        assert_ne!(events.end(AT_ONCE).await, End::Silence);
        assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        assert_eq!(untouched.end(Duration::from_millis(300)).await, End::Silence);
        assert!(here.connect(platform.second_gateway()).await.is_err(), "revoked is revoked");
        let by_user = Request::post("/v1/revocations")
            .bearer(&token(TENANT, "7", "user"))
            .json(&revocation)
            .send(platform.gateway())
            .await
            .unwrap();
        assert!(matches!(by_user.status, 401 | 403), "{}", by_user.status);

        // Who shut whom out is told to the tenant's admins and kept.
        let told = boss.wait_for("auth:revoked").await.unwrap();
        assert_eq!(told["payload"]["jti"], one["jti"], "{told}");
        assert_eq!(told["payload"]["revokedBy"], "1", "{told}");
        assert!(told["payload"]["expiresAt"].is_string(), "{told}");
        eventually(Duration::from_secs(20), "it is kept once", async || {
            let kept = log_of(platform.gateway(), "admin").await;
            let kept = kept.iter().filter(|(kind, _)| kind == "auth.revoked");
            kept.map(|(_, data)| &data["jti"]).collect::<Vec<_>>() == [&one["jti"]]
        })
        .await;
        let elsewhere = Request::get("/v1/history?channel=admin")
            .bearer(&token("globex", "1", "admin"))
            .send(platform.gateway())
            .await
            .unwrap();
        assert_eq!(elsewhere.json()["events"], json!([]), "another tenant's are told nothing");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_revocation_holds_longer_than_any_token_and_never_ends_in_the_past() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let admin = token(TENANT, "1", "admin");
        let revoke = async |revocation: Json| {
            let request = Request::post("/v1/revocations").bearer(&admin).json(&revocation);
            request.send(platform.gateway()).await.unwrap()
        };
        for nobody in
            [json!({ "jti": "" }), json!({ "sub": "" }), json!({ "jti": "x".repeat(257) })]
        {
            let answer = revoke(nobody).await;
            assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_body")));
        }
        let answer = revoke(json!({ "sub": "7" })).await;
        let year = 365 * 24 * 3_600;
        assert!(answer.json()["until"].as_i64().unwrap() > now() + year, "{}", answer.text());
        for past in [0, now() - 1] {
            let answer = revoke(json!({ "sub": "8", "until": past })).await;
            assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_body")));
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn nothing_crosses_a_tenant() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut ours = agent(&history, "ann");
        ours.connect(platform.gateway()).await.unwrap();
        ours.join("calls", Start::Now).await.unwrap();
        let theirs = token("globex", "ann", "admin");
        let elsewhere = History::new();
        let mut stranger = WebSocket::new(&elsewhere, "stranger", &theirs, &["team"]);
        stranger.connect(platform.gateway()).await.unwrap();
        stranger.join("calls", Start::Now).await.unwrap();
        let mut events = EventSource::new(&elsewhere, "events", &theirs, &["calls", "call:CA42"]);
        events.connect(platform.gateway(), Start::Earliest).await.unwrap();
        calls(&history, "w").publish(platform.ingest(), 5).await;
        ours.receive(5).await;
        ours.drain().await;
        stranger.drain().await;
        events.drain().await;
        assert_eq!((stranger.received.len(), events.received.len()), (0, 0));
        for target in
            ["/v1/history?channel=calls&after=earliest", "/api/ws/rooms", "/api/ws/status"]
        {
            let answer =
                Request::get(target).bearer(&theirs).send(platform.gateway()).await.unwrap();
            assert!(!answer.text().contains("val-w"), "{target}: {}", answer.text());
            assert!(!answer.text().contains(TENANT), "{target}: {}", answer.text());
        }
        for service in [Service::Gateway, Service::Ingest, Service::Replay] {
            assert!(!platform.log(service).contains("val-w"), "{service:?} logs a payload");
            let metrics =
                Request::get("/metrics").send(platform.operations(service)).await.unwrap().text();
            assert!(!metrics.contains(TENANT) && !metrics.contains("val-w"), "{service:?}");
        }
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
