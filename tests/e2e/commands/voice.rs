//! Speech over both sockets: taken by the AI side, or refused in words that say why.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value as Json, json};
use tokio_tungstenite::tungstenite::Message;

use super::{client, websocket};
use crate::checker::History;
use crate::clients::token::token;
use crate::clients::websocket::{Socket, handshake};
use crate::harness::cast::journey;
use crate::harness::{Options, TENANT, TestPlatform, eventually};

/// A WebSocket with an open conversation.
async fn conversing(gateway: SocketAddr, user: &str) -> Socket {
    let path = format!("/ws?token={}", token(TENANT, user, "user"));
    let mut socket = handshake(gateway, &path).await.unwrap();
    let start = json!({ "type": "conversation:start", "payload": {}, "id": 1 });
    socket.send(Message::text(start.to_string())).await.unwrap();
    let started = frame(&mut socket, |frame| frame["ref"] == 1).await;
    assert_eq!(started["payload"]["ok"], true, "{started}");
    socket
}

async fn frame(socket: &mut Socket, wanted: impl Fn(&Json) -> bool) -> Json {
    loop {
        let message = socket.next().await.expect("a frame before the end").unwrap();
        if let Message::Text(text) = message {
            let frame: Json = serde_json::from_str(&text).unwrap();
            if wanted(&frame) {
                return frame;
            }
        }
    }
}

#[tokio::test]
async fn what_is_spoken_becomes_text_for_who_speaks() {
    journey(120, async {
        let platform = TestPlatform::start_with(Options::default().with_ai()).await;
        let history = History::new();
        let mut ann = client(&history, "ann", "user");
        ann.connect(platform.gateway(), websocket()).await;
        let started = ann.request("conversation:start", json!([{}])).await;
        let id = started["conversationId"].clone();
        let chunk = json!({ "binary": "AQIDBAUGBwg=" });
        eventually(Duration::from_secs(20), "somebody takes speech", async || {
            ann.request("voice:data", json!([chunk])).await["chunkId"].is_string()
        })
        .await;
        let text = ann.event("voice:transcription").await;
        assert_eq!(text["args"][0]["conversationId"], id, "{text}");
        assert!(text["args"][0]["text"].is_string(), "{text}");
        ann.event("voice:audio").await;

        let mut socket = conversing(platform.gateway(), "bob").await;
        socket.send(Message::binary(vec![1, 2, 3, 4])).await.unwrap();
        let text = frame(&mut socket, |frame| frame["type"] == "voice:transcription").await;
        assert!(text["payload"]["text"].is_string(), "{text}");
        let audio = frame(&mut socket, |frame| frame["type"] == "voice:audio").await;
        assert!(audio["payload"]["contentType"].is_string(), "{audio}");
        assert_eq!(audio["payload"]["data_base64"], Json::Null, "{audio}");
        let sound = socket.next().await.unwrap().unwrap();
        assert!(matches!(&sound, Message::Binary(sound) if !sound.is_empty()), "{sound:?}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn speech_that_nobody_takes_is_refused_in_the_guides_words() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut ann = client(&history, "ann", "user");
        ann.connect(platform.gateway(), websocket()).await;
        let chunk = json!({ "binary": "AQIDBA==" });
        for code in ["no_conversation", "voice_unavailable"] {
            ann.emit("voice:data", json!([chunk])).await;
            let error = ann.event("error").await;
            assert_eq!(error["args"][0]["message"], "Voice processing failed", "{error}");
            assert_eq!(error["args"][0]["code"], code, "{error}");
            assert_eq!(ann.request("conversation:start", json!([{}])).await["ok"], true);
        }
        let text = ann.request("voice:data", json!(["not bytes"])).await;
        assert_eq!(text["code"], "bad_payload", "{text}");

        // The longest one is as good as another; one that is longer costs no connection.
        for (bytes, code) in [(1_000_000, "voice_unavailable"), (1_000_001, "chunk_too_large")] {
            let chunk = json!({ "binary": STANDARD.encode(vec![1; bytes]) });
            let answer = ann.request("voice:data", json!([chunk])).await;
            assert_eq!(answer["code"], code, "{answer}");
        }

        let mut socket = conversing(platform.gateway(), "bob").await;
        socket.send(Message::binary(vec![0; 1_000_001])).await.unwrap();
        let error = frame(&mut socket, |frame| frame["type"] == "error").await;
        assert_eq!(error["payload"]["code"], "chunk_too_large", "{error}");
        platform.finish().await;
    })
    .await;
}
