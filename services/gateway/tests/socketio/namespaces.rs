//! Socket.IO's packets: connecting, events, attachments, acknowledgements, and what ends a connection.

use serde_json::{Value, json};

use crate::Server;
use crate::client::{Polling, Socket};

async fn connected(server: &Server) -> Socket {
    let mut socket = Socket::open(server.address, "/socket.io", None).await;
    socket.send("40").await;
    let answer: Value =
        serde_json::from_str(socket.text().await.strip_prefix("40").unwrap()).unwrap();
    assert_eq!(answer["sid"].as_str().unwrap().len(), 20);
    assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
    assert_eq!(socket.text().await, r#"42["auth",{}]"#);
    socket
}

#[tokio::test]
async fn a_namespace_is_joined_with_what_the_client_brings() {
    let server = Server::start().await;
    let mut socket = connected(&server).await;
    socket.send(r#"40/custom,{"token":"123"}"#).await;
    assert!(socket.text().await.starts_with(r#"40/custom,{"sid":""#));
    assert_eq!(socket.text().await, r#"42/custom,["auth",{"token":"123"}]"#);
    // A namespace that is refused leaves the others and the connection alone.
    socket.send("40/random").await;
    assert_eq!(socket.text().await, r#"44/random,{"message":"Invalid namespace"}"#);
    socket.send("41/custom,").await;
    socket.send(r#"42["message",1]"#).await;
    assert_eq!(socket.text().await, r#"42["message-back",1]"#);
}

#[tokio::test]
async fn events_and_acknowledgements_carry_text_and_attachments() {
    let server = Server::start().await;
    let mut socket = connected(&server).await;
    socket.send(r#"42["message",1,"2",{"3":[false]}]"#).await;
    assert_eq!(socket.text().await, r#"42["message-back",1,"2",{"3":[false]}]"#);
    socket.send(r#"42456["message-with-ack",1]"#).await;
    assert_eq!(socket.text().await, "43456[1]");
    let placeholder = json!({ "_placeholder": true, "num": 0 });
    socket.send(&format!(r#"451-["message",{placeholder}]"#)).await;
    socket.send_bytes(&[1, 2, 3]).await;
    assert_eq!(socket.text().await, format!(r#"451-["message-back",{placeholder}]"#));
    assert_eq!(socket.bytes().await, [1, 2, 3]);
    socket.send(&format!(r#"451-7["message-with-ack",{placeholder}]"#)).await;
    socket.send_bytes(&[4]).await;
    assert_eq!(socket.text().await, format!("461-7[{placeholder}]"));
    assert_eq!(socket.bytes().await, [4]);
}

#[tokio::test]
async fn polling_carries_the_same() {
    let server = Server::start().await;
    let polling = Polling::open(server.address, "/socket.io").await;
    polling.post("40").await;
    let answer = polling.poll().await.body;
    assert!(answer.contains("\u{1e}42[\"auth\",{}]"), "{answer}");
    let placeholder = json!({ "_placeholder": true, "num": 0 });
    polling.post(&format!("451-[\"message\",{placeholder}]\u{1e}bAQID")).await;
    let expected = format!("451-[\"message-back\",{placeholder}]\u{1e}bAQID");
    assert_eq!(polling.poll().await.body, expected);
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_connection() {
    let server = Server::start().await;
    for text in [
        "4abc",
        "47",
        "42",
        "42{}",
        "42[]",
        "42[{}]",
        "42abc",
        r#"42["connect"]"#,
        r#"42["newListener",1]"#,
        r#"42/custom,["message",1]"#,
        "41/custom,",
        "40",
        "43/custom,1[]",
        r#"4511-["message"]"#,
        r#"45-["message"]"#,
        r#"44{"message":"no"}"#,
        "42[[[[",
    ] {
        let mut socket = connected(&server).await;
        socket.send(text).await;
        socket.is_closed().await;
    }
    let mut socket = connected(&server).await;
    socket.send_bytes(&[1]).await;
    socket.is_closed().await;
    let mut socket = connected(&server).await;
    socket.send(r#"451-["message",{"_placeholder":true,"num":0}]"#).await;
    socket.send(r#"42["message"]"#).await;
    socket.is_closed().await;
    let mut socket = connected(&server).await;
    socket.send("41").await;
    socket.send(r#"42["message"]"#).await;
    socket.is_closed().await;
}

#[tokio::test]
async fn nothing_but_connect_is_heard_before_it_and_not_for_long() {
    let server = Server::start().await;
    let mut socket = Socket::open(server.address, "/socket.io", None).await;
    socket.send(r#"42["message",1]"#).await;
    socket.is_closed().await;
    let mut silent = Socket::open(server.address, "/socket.io", None).await;
    assert_eq!(silent.text().await, "2");
    silent.send("3").await;
    silent.is_closed().await;
}

#[tokio::test]
async fn attachments_are_kept_for_nobody_who_is_not_in_the_namespace_and_have_one_limit() {
    let server = Server::start().await;
    let announced =
        |namespace: &str| format!(r#"452-{namespace}["message",{{"_placeholder":true,"num":0}}]"#);
    let mut stranger = Socket::open(server.address, "/socket.io", None).await;
    stranger.send(&announced("")).await;
    stranger.is_closed().await;
    let mut elsewhere = connected(&server).await;
    elsewhere.send(&announced("/custom,")).await;
    elsewhere.is_closed().await;
    let mut greedy = connected(&server).await;
    greedy.send(&announced("")).await;
    for _ in 0..2 {
        greedy.send_bytes(&[0; 6_000]).await;
    }
    greedy.is_closed().await;
}
