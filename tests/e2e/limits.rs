//! What is over a limit is refused with its code; nothing is dropped silently.

use std::time::Duration;

use serde_json::json;

use crate::checker::{History, Start};
use crate::clients::http::Request;
use crate::clients::token::{service, token};
use crate::clients::websocket::End;
use crate::harness::cast::{agent, journey};
use crate::harness::{TENANT, TestPlatform};

#[tokio::test]
async fn a_message_that_is_too_long_is_refused() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        let long = "x".repeat(64 * 1024);
        let frame = json!({ "type": "ping", "payload": { "text": long } }).to_string();
        socket.send_text(frame).await.unwrap();
        let end = socket.end(Duration::from_secs(5)).await;
        assert!(matches!(end, End::Closed(1009 | 4102)), "{end:?}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn the_two_hundred_and_first_channel_is_refused_and_the_others_stay() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        let mut refused = 0;
        for number in 0..201 {
            // Below the rate of client messages.
            tokio::time::sleep(Duration::from_millis(21)).await;
            let room = format!("call:CA{number}");
            let answer = socket.request("join", json!({ "room": room })).await.unwrap();
            refused += usize::from(answer["type"] == "error");
            if answer["type"] == "error" {
                assert!(answer["payload"]["code"].is_string(), "{answer}");
            }
        }
        // The channels of everybody count too.
        assert!((1..=8).contains(&refused), "{refused}");
        assert!(socket.is_open());
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_messages_is_refused_with_its_code() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        for _ in 0..400 {
            if socket.send(&json!({ "type": "ping" })).await.is_err() {
                break;
            }
        }
        let told = socket.wait(|frame| frame["payload"]["code"] == "rate_limited").await;
        let end = socket.end(Duration::from_secs(2)).await;
        assert!(told.is_ok() || end == End::Closed(4103), "{told:?} {end:?}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_does_not_authenticate_is_closed() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        let bare = crate::clients::websocket::handshake(platform.gateway(), "/ws").await.unwrap();
        socket.adopt(bare);
        let end = socket.end(Duration::from_secs(14)).await;
        assert!(matches!(end, End::Closed(4100..4200)), "{end:?}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_page_and_a_body_over_their_limits_are_refused() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let agent = token(TENANT, "ann", "agent");
        let target = "/v1/history?channel=calls&after=earliest&limit=1001";
        let answer = Request::get(target).bearer(&agent).send(platform.gateway()).await.unwrap();
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.json()["code"].is_string());

        let huge = format!("{{\"type\":\"team.activity\",\"data\":\"{}\"}}", "x".repeat(1_100_000));
        let request =
            Request::post("/v1/events").bearer(&service(TENANT)).body("application/json", huge);
        if let Ok(answer) = request.send(platform.ingest()).await {
            assert_eq!(answer.status, 413, "{}", answer.text());
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_frame_of_an_unknown_type_without_the_right_to_publish_is_an_error() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        socket.send_text("not json".to_owned()).await.unwrap();
        let answer = socket.wait(|frame| frame["type"] == "error").await.unwrap();
        assert!(answer["payload"]["code"].is_string(), "{answer}");
        if socket.is_open() {
            socket.join("calls", Start::Now).await.unwrap();
        }
        platform.finish().await;
    })
    .await;
}
