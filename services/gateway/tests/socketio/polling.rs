//! What goes wrong between polls, and how a session ends.

use std::time::Duration;

use crate::Server;
use crate::client::{Polling, answer, ask};

#[tokio::test]
async fn two_polls_at_once_end_the_session() {
    let server = Server::start().await;
    let polling = Polling::open(server.address, "/engine.io").await;
    let first = polling.begin_poll().await;
    assert_eq!(polling.poll().await.status, 400);
    assert_eq!(answer(first).await.body, "1");
    polling.is_over().await;
}

#[tokio::test]
async fn a_post_that_cannot_be_read_or_is_too_long_ends_the_session() {
    let server = Server::start().await;
    let long = "4".repeat(10_001);
    for (body, status) in [("abc", 400), ("", 400), ("4a\u{1e}b!", 400), (&*long, 413)] {
        let polling = Polling::open(server.address, "/engine.io").await;
        assert_eq!(polling.post(body).await.status, status, "{body:.20}");
        polling.is_over().await;
    }
}

#[tokio::test]
async fn a_poll_that_the_client_gives_up_ends_the_session() {
    let server = Server::start().await;
    let polling = Polling::open(server.address, "/engine.io").await;
    drop(polling.begin_poll().await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(polling.post("4hello").await.status, 400);
    polling.is_over().await;
}

#[tokio::test]
async fn a_clients_goodbye_ends_its_poll_whichever_comes_first() {
    let server = Server::start().await;
    let polling = Polling::open(server.address, "/engine.io").await;
    let waiting = polling.begin_poll().await;
    assert_eq!(polling.post("1").await.body, "ok");
    assert_eq!(answer(waiting).await.body, "6");
    polling.is_over().await;

    let polling = Polling::open(server.address, "/engine.io").await;
    assert_eq!(polling.post("1").await.body, "ok");
    assert_eq!(polling.poll().await.body, "6");
    polling.is_over().await;
}

#[tokio::test]
async fn one_address_opens_only_so_many_sessions_before_it_says_who_it_is() {
    let server = Server::start().await;
    let path = "/engine.io/?EIO=4&transport=polling";
    for _ in 0..32 {
        assert_eq!(ask(server.address, "GET", path, "").await.status, 200);
    }
    assert_eq!(ask(server.address, "GET", path, "").await.status, 503);
    // Those that say nothing more end, and others have their places.
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(ask(server.address, "GET", path, "").await.status, 200);
}
