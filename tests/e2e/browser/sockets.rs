//! The stock `socket.io-client` in a browser: every transport, cookies and origins, bytes, and a gateway that is killed.

use serde_json::{Value as Json, json};

use crate::clients::chromium::{Chromium, Site};
use crate::clients::events::publish;
use crate::clients::token::token;
use crate::harness::cast::journey;
use crate::harness::{Options, Service, TENANT, TestPlatform};

/// A page, the transports that it may use, and how it gives its token.
const PAGES: [(&str, &[&str], &str); 3] = [
    ("websocket alone", &["websocket"], "object"),
    ("polling alone", &["polling"], "function"),
    ("polling, then websocket", &["polling", "websocket"], "object"),
];

fn settings(platform: &TestPlatform, transports: &[&str], form: &str) -> Json {
    let url = format!("http://{}", platform.gateway());
    let options = json!({ "transports": transports, "withCredentials": true });
    let token = token(TENANT, "ann", "agent");
    json!({ "settings": { "url": url, "options": options, "token": token, "form": form } })
}

async fn call(platform: &TestPlatform, counts: std::ops::RangeInclusive<u64>) {
    for count in counts {
        let data = json!({ "callSid": "CA42", "status": "in-progress", "sequence": count });
        publish(platform.ingest(), TENANT, "call_update", &data).await;
    }
}

/// Every page sees exactly these calls, in this order.
async fn see(chromium: &mut Chromium, counts: std::ops::RangeInclusive<u64>) {
    for (page, ..) in PAGES {
        for count in counts.clone() {
            let update = chromium.event(page, "call_update").await;
            assert_eq!(update["args"][0]["sequence"], count, "{update}");
            assert!(update["args"][1].is_string(), "its cursor: {update}");
        }
        assert!(!chromium.has_unread(page, "call_update"), "{page}");
    }
}

#[tokio::test]
async fn a_browser_gets_what_it_missed_over_a_kill_of_the_gateway_on_every_transport() {
    journey(240, async {
        let site = Site::reserve();
        let options = Options::default().allow_origin(&site.origin());
        let mut platform = TestPlatform::start_with(options).await;
        let mut chromium = Chromium::start(&site);
        for (page, transports, form) in PAGES {
            chromium.open(page, "sockets", settings(&platform, transports, form)).await;
            let open = chromium.wait(page, "open").await;
            assert_eq!(open["transport"], transports[0], "{open}");
            chromium.wait(page, "connect").await;
            chromium.event(page, "throughline:ready").await;
            if transports.len() > 1 {
                assert_eq!(chromium.wait(page, "upgrade").await["transport"], "websocket");
            }
            chromium.run(page, json!({ "emit": "subscribe_to_calls" })).await;
            let ack = chromium.wait(page, "ack").await;
            assert_eq!(
                (&ack["answer"]["ok"], &ack["answer"]["room"]),
                (&json!(true), &json!("calls"))
            );
        }
        call(&platform, 1..=5).await;
        see(&mut chromium, 1..=5).await;
        platform.kill(Service::Gateway);
        call(&platform, 6..=30).await;
        platform.restart(Service::Gateway).await;
        see(&mut chromium, 6..=30).await;
        for (page, ..) in PAGES {
            assert_eq!(chromium.wait(page, "connect").await["recovered"], true, "{page}");
        }
        call(&platform, 31..=33).await;
        see(&mut chromium, 31..=33).await;
        chromium.finish();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn bytes_go_both_ways_between_a_browser_and_the_platform() {
    journey(240, async {
        let site = Site::reserve();
        let options = Options::default().allow_origin(&site.origin());
        let platform = TestPlatform::start_with(options).await;
        let mut chromium = Chromium::start(&site);
        for (page, transports, form) in PAGES {
            chromium.open(page, "sockets", settings(&platform, transports, form)).await;
            chromium.wait(page, "connect").await;
        }
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "sound-1"),
            ("ce-source", "voice"),
            ("ce-type", "voice.audio"),
            ("ce-time", "2026-01-02T03:04:05.000Z"),
            ("content-type", "application/json"),
            ("tl-version", "1"),
            ("tl-channels", "team"),
            ("Nats-Msg-Id", "acme:voice:sound-1"),
        ];
        let data = json!({ "conversationId": "c-9", "data_base64": "SUQzBAA=" });
        let subject = format!("events.{TENANT}.voice.c-9.audio");
        platform.admin().await.append(&subject, &headers, &data).await;
        for (page, ..) in PAGES {
            let event = chromium.event(page, "voice:audio").await;
            assert_eq!(event["args"][0], json!({ "bytes": [73, 68, 51, 4, 0] }), "{event}");
            // A Blob, as a MediaRecorder makes them, and no event that the platform knows.
            chromium.run(page, json!({ "emit": "no:such:event", "blob": [1, 2, 3] })).await;
            let ack = chromium.wait(page, "ack").await;
            assert_eq!(ack["answer"]["code"], "unknown_event", "{ack}");
        }
        chromium.finish();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_page_of_a_site_that_is_not_allowed_and_one_without_a_token_are_refused() {
    journey(240, async {
        let (site, elsewhere) = (Site::reserve(), Site::reserve());
        let options = Options::default().allow_origin(&site.origin());
        let platform = TestPlatform::start_with(options).await;
        let mut stranger = Chromium::start(&elsewhere);
        stranger.open("polling", "sockets", settings(&platform, &["polling"], "object")).await;
        let error = stranger.wait("polling", "connect_error").await;
        assert_eq!(error["message"], "xhr poll error", "{error}");
        let websocket = settings(&platform, &["websocket"], "object");
        stranger.open("websocket", "sockets", websocket).await;
        let error = stranger.wait("websocket", "connect_error").await;
        assert_eq!(error["message"], "websocket error", "{error}");
        stranger.finish();

        let mut chromium = Chromium::start(&site);
        for (token, message) in [
            (Json::Null, "Authentication token required"),
            (json!("nonsense"), "Invalid authentication token"),
        ] {
            let mut page = settings(&platform, &["websocket", "polling"], "object");
            page["settings"]["token"] = token;
            // The cookie that the browser sends along is no credential of a socket.
            page["cookies"] =
                json!({ "token": crate::clients::token::token(TENANT, "ann", "agent") });
            chromium.open(message, "sockets", page).await;
            // On a busy machine the browser may not get through at once; it tries again until it is answered.
            let is_refused =
                |line: &Json| line["kind"] == "connect_error" && line["message"] == message;
            chromium.until(message, is_refused).await;
        }
        chromium.finish();
        platform.finish().await;
    })
    .await;
}
