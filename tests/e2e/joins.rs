//! A join with `after` catches up first, pauses the other channels meanwhile, and survives cuts.

use std::time::Duration;

use crate::checker::{History, Start};
use crate::clients::publisher::Kind;
use crate::clients::websocket::WebSocket;
use crate::harness::TestPlatform;
use crate::harness::cast::{agent, calls, journey, publisher, source};

const PAST: usize = 300;

fn messages() -> Kind {
    Kind::Message { account: "account-7".to_owned(), contact: "14155551212".to_owned() }
}

/// An agent live on `calls`, and a position of `whatsapp:account-7` that three hundred messages follow.
async fn past(platform: &TestPlatform, history: &History) -> (WebSocket, Start) {
    let mut writer = publisher(history, "m", messages());
    let mut marker = source(history, "marker", &["whatsapp:account-7"]);
    marker.connect(platform.gateway(), Start::Now).await.unwrap();
    writer.publish(platform.ingest(), 1).await;
    marker.receive(1).await;
    writer.publish(platform.ingest(), PAST).await;
    marker.receive(PAST + 1).await;
    let mut socket = agent(history, "ann");
    socket.connect(platform.gateway()).await.unwrap();
    socket.join("calls", Start::Now).await.unwrap();
    (socket, Start::Cursor(marker.cursors[0].clone()))
}

#[tokio::test]
async fn a_join_with_after_pauses_the_other_channels_until_it_has_caught_up() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let (mut socket, start) = past(&platform, &history).await;
        socket.ask_to_join("whatsapp:account-7", start).await.unwrap();
        calls(&history, "c").publish(platform.ingest(), 20).await;
        socket.receive(PAST + 20).await;
        let first_call = socket.received.iter().position(|value| &*value.writer == "c").unwrap();
        let messages_after = socket.received[first_call..].iter().filter(|v| &*v.writer == "m");
        assert_eq!(messages_after.count(), 0, "the calls waited for the messages");
        socket.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_cut_while_a_join_catches_up_is_resumed_like_any_other() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let (mut socket, start) = past(&platform, &history).await;
        socket.join("whatsapp:account-7", start).await.unwrap();
        let mut writer = calls(&history, "c");
        for stop in [1, 7, 8, 60, 150, 151, 152, PAST - 1, PAST] {
            writer.publish(platform.ingest(), 2).await;
            socket.receive(stop).await;
            socket.cut();
            socket.resume(platform.gateway()).await.unwrap();
        }
        socket.receive_within(PAST + 18, Duration::from_secs(20)).await;
        socket.drain().await;
        let verdict = history.assert_clean();
        assert_eq!(verdict.gaps, 0, "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_channel_that_was_left_gives_nothing_more() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        let mut writer = calls(&history, "w");
        writer.publish(platform.ingest(), 2).await;
        socket.receive(2).await;
        socket.leave("calls").await.unwrap();
        writer.publish(platform.ingest(), 2).await;
        socket.drain().await;
        assert_eq!(socket.received.len(), 2);
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
