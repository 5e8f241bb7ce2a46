//! Handshakes, the heartbeat, messages both ways.

use std::time::Instant;

use crate::client::{Polling, Socket, answer, ask, send};
use crate::{INTERVAL, ORIGIN, Server};

#[tokio::test]
async fn a_faulty_request_is_answered_with_its_number() {
    let server = Server::start().await;
    for (method, query, status, code) in [
        ("GET", "EIO=4", 400, 0),
        ("GET", "EIO=4&transport=telepathy", 400, 0),
        ("GET", "EIO=4&transport=polling&sid=unknown", 400, 1),
        ("POST", "EIO=4&transport=polling&sid=unknown", 400, 1),
        ("POST", "EIO=4&transport=polling", 400, 2),
        ("PUT", "EIO=4&transport=polling", 400, 2),
        ("GET", "EIO=4&transport=websocket", 400, 3),
        ("GET", "transport=polling", 400, 5),
        ("GET", "EIO=3&transport=polling", 400, 5),
    ] {
        let answer = ask(server.address, method, &format!("/engine.io/?{query}"), "").await;
        assert_eq!((answer.status, answer.code()), (status, code), "{method} {query}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn the_path_is_served_with_and_without_its_slash() {
    let server = Server::start().await;
    for path in ["/engine.io", "/engine.io/", "/socket.io", "/socket.io/"] {
        let path = format!("{path}?EIO=4&transport=polling&t=1&b64=1");
        let opened = ask(server.address, "GET", &path, "").await;
        assert_eq!(opened.status, 200, "{path}");
        assert_eq!(opened.header("content-type"), Some("text/plain; charset=UTF-8"));
        assert_eq!(opened.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn browsers_of_an_allowed_origin_may_bring_credentials_and_others_nothing() {
    let server = Server::start().await;
    let path = "/engine.io/?EIO=4&transport=polling";
    let headers = format!("Origin: {ORIGIN}\r\nAccess-Control-Request-Method: POST\r\n");
    let preflight = answer(send(server.address, "OPTIONS", path, &headers, "").await).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(preflight.header("access-control-allow-credentials"), Some("true"));
    let opened = send(server.address, "GET", path, &format!("Origin: {ORIGIN}\r\n"), "").await;
    let opened = answer(opened).await;
    assert_eq!((opened.status, opened.header("access-control-allow-origin")), (200, Some(ORIGIN)));
    let foreign = send(server.address, "GET", path, "Origin: http://evil.example\r\n", "").await;
    assert_eq!(answer(foreign).await.status, 403);
}

#[tokio::test]
async fn the_first_ping_comes_one_interval_after_the_handshake_and_silence_ends_the_session() {
    let server = Server::start().await;
    let mut socket = Socket::open(server.address, "/engine.io", None).await;
    let opened = Instant::now();
    for _ in 0..3 {
        assert_eq!(socket.text().await, "2");
        socket.send("3").await;
    }
    assert!(opened.elapsed() >= INTERVAL * 3 - INTERVAL / 10, "{:?}", opened.elapsed());
    assert_eq!(socket.text().await, "2");
    socket.is_closed().await;

    let polling = Polling::open(server.address, "/engine.io").await;
    assert_eq!(polling.poll().await.body, "2");
    assert_eq!(polling.post("3").await.body, "ok");
    assert_eq!(polling.poll().await.body, "2");
    // The poll that waits when the time is over learns of the end.
    assert_eq!(polling.poll().await.body, "1");
    polling.is_over().await;
}

#[tokio::test]
async fn messages_go_both_ways_as_text_and_as_bytes() {
    let server = Server::start().await;
    let mut socket = Socket::open(server.address, "/engine.io", None).await;
    socket.send("4héllo").await;
    assert_eq!(socket.text().await, "4héllo");
    socket.send_bytes(&[1, 2, 3]).await;
    assert_eq!(socket.bytes().await, [1, 2, 3]);

    let polling = Polling::open(server.address, "/engine.io").await;
    let posted = polling.post("4héllo\u{1e}4b\u{1e}bAQIDBA==").await;
    assert_eq!((posted.status, &*posted.body), (200, "ok"));
    assert_eq!(posted.header("content-type"), Some("text/html"));
    assert_eq!(polling.poll().await.body, "4héllo\u{1e}4b\u{1e}bAQIDBA==");
}

#[tokio::test]
async fn what_is_no_packet_ends_the_session() {
    let server = Server::start().await;
    for text in ["abc", "", "2", "2probe", "9"] {
        let mut socket = Socket::open(server.address, "/engine.io", None).await;
        socket.send(text).await;
        socket.is_closed().await;
    }
    let mut socket = Socket::open(server.address, "/engine.io", None).await;
    socket.send(&"4".repeat(10_001)).await;
    socket.is_closed().await;
}

#[tokio::test]
async fn a_flood_of_packets_that_say_nothing_ends_the_session() {
    let server = Server::start().await;
    for text in ["3", "6"] {
        let mut socket = Socket::open(server.address, "/engine.io", None).await;
        for _ in 0..100 {
            socket.send(text).await;
        }
        socket.send("4a burst is no flood").await;
        while socket.text().await != "4a burst is no flood" {}
        for _ in 0..400 {
            socket.send(text).await;
        }
        socket.is_closed().await;
    }
    let polling = Polling::open(server.address, "/engine.io").await;
    assert_eq!(polling.post(&["6"; 1_000].join("\u{1e}")).await.status, 400);
    polling.is_over().await;
}
