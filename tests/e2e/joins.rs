//! A join with `after` catches up first, pauses the other channels meanwhile, and survives cuts.

use std::time::Duration;

use crate::checker::{History, Start};
use crate::clients::publisher::Kind;
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{agent, calls, journey, publisher, source, team};
use crate::harness::{Options, Service, TestPlatform};

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

#[tokio::test]
async fn a_cut_after_every_frame_of_two_joins_is_resumed_on_any_gateway() {
    journey(120, async {
        let options = Options::default().two_gateways();
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let gateways = [platform.gateway(), platform.second_gateway()];
        let mut marker = source(&history, "marker", &["whatsapp:account-7", "whatsapp:account-8"]);
        marker.connect(gateways[0], Start::Now).await.unwrap();
        let other = Kind::Message { account: "account-8".to_owned(), contact: "c8".to_owned() };
        let mut texts = publisher(&history, "m", messages());
        let mut others = publisher(&history, "o", other);
        texts.publish(platform.ingest(), 1).await;
        marker.receive(1).await;
        texts.publish(platform.ingest(), 40).await;
        others.publish(platform.ingest(), 20).await;
        marker.receive(61).await;
        let start = Start::Cursor(marker.cursors[0].clone());

        let mut socket = agent(&history, "ann");
        socket.connect(gateways[0]).await.unwrap();
        socket.join("calls", Start::Now).await.unwrap();
        socket.join("whatsapp:account-7", start.clone()).await.unwrap();
        let mut writer = calls(&history, "c");
        for count in 1..=25 {
            socket.receive(count).await;
            socket.resume(gateways[count % 2]).await.unwrap();
            writer.publish(platform.ingest(), 1).await;
        }
        // Another one while the first is still being filled.
        socket.join("whatsapp:account-8", start).await.unwrap();
        for count in 26..=80 {
            socket.receive(count).await;
            socket.resume(gateways[count % 2]).await.unwrap();
        }
        socket.receive(85).await;
        socket.drain().await;
        let verdict = history.assert_clean();
        assert_eq!(verdict.gaps, 0, "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_join_survives_the_death_of_its_gateway_in_the_middle_of_its_past() {
    journey(90, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        let (mut socket, start) = past(&platform, &history).await;
        socket.join("whatsapp:account-7", start).await.unwrap();
        let mut writer = calls(&history, "c");
        for stop in [40, 120, 200] {
            socket.receive(stop).await;
            writer.publish(platform.ingest(), 3).await;
            platform.kill(Service::Gateway);
            socket.cut();
            platform.restart(Service::Gateway).await;
            socket.resume(platform.gateway()).await.unwrap();
        }
        socket.receive(PAST + 9).await;
        socket.drain().await;
        let verdict = history.assert_clean();
        assert_eq!(verdict.gaps, 0, "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_cursor_of_a_back_fill_can_be_brought_again_and_again() {
    journey(60, async {
        let options = Options::default().two_gateways();
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let (mut socket, start) = past(&platform, &history).await;
        let mut writer = calls(&history, "c");
        writer.publish(platform.ingest(), 5).await;
        socket.receive(5).await;
        socket.join("whatsapp:account-7", start).await.unwrap();
        socket.receive(25).await;
        let cursor = socket.cursors[14].clone();
        // Cut each time before anything came: a page that keeps only the cursors of events brings the same again.
        for gateway in [platform.gateway(), platform.second_gateway(), platform.gateway()] {
            socket.cursor = Some(cursor.clone());
            socket.resume(gateway).await.unwrap();
        }
        writer.publish(platform.ingest(), 5).await;
        socket.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_join_with_after_of_a_channel_that_everybody_has_gives_what_was_missed() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut events = source(&history, "bob", &["team"]);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        let mut writer = team(&history, "t");
        writer.publish(platform.ingest(), 5).await;
        events.receive(5).await;
        // A page that was closed: it knows its position, and is in `team` from now on by its role.
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        let start = Start::Cursor(events.cursors[1].clone());
        let answer = socket.join("team", start).await.unwrap();
        assert_eq!(answer["payload"]["recovered"], true, "{answer}");
        socket.receive(3).await;
        writer.publish(platform.ingest(), 2).await;
        socket.receive(5).await;
        socket.drain().await;
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
