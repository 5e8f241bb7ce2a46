//! From polling to a WebSocket.

use std::time::Duration;

use crate::Server;
use crate::client::{Polling, Socket, answer};

#[tokio::test]
async fn a_websocket_takes_over_with_what_waits() {
    let server = Server::start().await;
    let polling = Polling::open(server.address, "/engine.io").await;
    let mut socket = Socket::open(server.address, "/engine.io", Some(&polling.sid)).await;
    let waiting = polling.begin_poll().await;
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    assert_eq!(answer(waiting).await.body, "6");
    // Another poll while the client makes up its mind does not wait, and nothing is lost meanwhile.
    assert_eq!(polling.poll().await.body, "6");
    assert_eq!(polling.post("4late").await.body, "ok");
    socket.send("5").await;
    assert_eq!(socket.text().await, "4late");
    socket.send("4hello").await;
    assert_eq!(socket.text().await, "4hello");

    assert_eq!(polling.poll().await.status, 400);
    assert_eq!(polling.post("4no").await.status, 400);
    let mut second = Socket::open(server.address, "/engine.io", Some(&polling.sid)).await;
    second.is_closed().await;
    socket.send("4still there").await;
    assert_eq!(socket.text().await, "4still there");
}

#[tokio::test]
async fn a_websocket_that_does_not_take_over_is_closed_and_polling_goes_on() {
    let server = Server::start().await;
    let polling = Polling::open(server.address, "/engine.io").await;
    for words in [&["2probe"][..], &[], &["4hello"], &["5"], &["2probe", "2probe"]] {
        let mut socket = Socket::open(server.address, "/engine.io", Some(&polling.sid)).await;
        for word in words {
            socket.send(word).await;
        }
        socket.is_closed().await;
        let waiting = polling.begin_poll().await;
        assert_eq!(polling.post("4on").await.body, "ok", "{words:?}");
        let heard = answer(waiting).await.body;
        if heard == "2" {
            polling.post("3").await;
            assert_eq!(polling.poll().await.body, "4on");
        } else {
            assert_eq!(heard, "4on", "{words:?}");
            polling.post("3").await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
