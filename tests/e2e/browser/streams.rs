//! A browser's EventSource with the application's cookie, and over HTTP/2.

use serde_json::{Value as Json, json};

use crate::chaos::Proxy;
use crate::clients::chromium::{Chromium, Site};
use crate::clients::events::publish;
use crate::clients::token::token;
use crate::harness::cast::journey;
use crate::harness::{Options, Service, TENANT, TestPlatform};

/// What an `EventSource` is that will come back by itself; one that has given up is 2.
const CONNECTING: u64 = 0;

async fn play(platform: &TestPlatform, counts: std::ops::RangeInclusive<u64>) {
    for count in counts {
        let data = json!({ "clipId": "clip-7", "plays": count });
        publish(platform.ingest(), TENANT, "clip_played", &data).await;
    }
}

async fn see(chromium: &mut Chromium, index: usize, counts: std::ops::RangeInclusive<u64>) {
    for count in counts {
        let is_it = |line: &Json| line["name"] == "clip_played" && line["index"] == index;
        let played = chromium.until("page", is_it).await;
        assert_eq!(played["data"]["plays"], count, "{played}");
        assert!(!played["id"].as_str().unwrap().is_empty(), "{played}");
    }
}

#[tokio::test]
async fn a_browser_with_a_cookie_goes_on_after_a_kill_of_the_gateway() {
    journey(240, async {
        let site = Site::reserve();
        let options = Options::default().allow_origin(&site.origin());
        let mut platform = TestPlatform::start_with(options).await;
        let mut chromium = Chromium::start(&site);
        let url = format!("http://{}/sse?channels=clips:analytics", platform.gateway());
        let page = json!({
            "settings": { "urls": [url], "names": ["clip_played"], "credentials": true },
            "cookies": { "token": token(TENANT, "ann", "agent") },
        });
        chromium.open("page", "streams", page).await;
        assert_eq!(chromium.event("page", "ready").await["data"]["recovered"], false);
        play(&platform, 1..=5).await;
        see(&mut chromium, 0, 1..=5).await;
        platform.kill(Service::Gateway);
        play(&platform, 6..=30).await;
        platform.restart(Service::Gateway).await;
        assert_eq!(chromium.event("page", "ready").await["data"]["recovered"], true);
        see(&mut chromium, 0, 6..=30).await;
        play(&platform, 31..=33).await;
        see(&mut chromium, 0, 31..=33).await;
        assert!(!chromium.has_unread("page", "clip_played"));
        chromium.finish();
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_browser_that_comes_back_while_nats_is_away_keeps_its_place() {
    journey(240, async {
        let site = Site::reserve();
        let options = Options::default().allow_origin(&site.origin());
        let mut platform = TestPlatform::start_with(options).await;
        let proxy = Proxy::start(platform.gateway()).await;
        let mut chromium = Chromium::start(&site);
        let token = token(TENANT, "ann", "agent");
        let url = format!(
            "http://{}/sse?channels=clips:analytics&device=desk&token={token}",
            proxy.address
        );
        let page = json!({
            "settings": { "urls": [url], "names": ["clip_played"], "credentials": false },
        });
        chromium.open("page", "streams", page).await;
        chromium.wait("page", "stream").await;
        chromium.event("page", "ready").await;
        play(&platform, 1..=3).await;
        see(&mut chromium, 0, 1..=3).await;
        platform.nats.kill().await;
        proxy.cut();
        for _ in 0..2 {
            let error = chromium.wait("page", "error").await;
            assert_eq!(error["state"], CONNECTING, "{error}");
        }
        chromium.wait("page", "stream").await;
        platform.nats.restart().await;
        for service in [Service::Ingest, Service::Gateway] {
            platform.ready(service).await;
        }
        assert_eq!(chromium.event("page", "ready").await["data"]["recovered"], true);
        play(&platform, 4..=6).await;
        see(&mut chromium, 0, 4..=6).await;
        chromium.finish();
        platform.finish().await;
    })
    .await;
}

/// More than the six connections that a browser opens to a host by HTTP/1.1.
const STREAMS: usize = 9;

#[tokio::test]
async fn a_browser_follows_many_streams_over_one_http2_connection() {
    journey(240, async {
        let site = Site::reserve();
        let folder = tempfile::TempDir::new().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let options = Options::default()
            .allow_origin(&site.origin())
            .set(Service::Gateway, "TLS_CERT_FILE", certificate.to_str().unwrap())
            .set(Service::Gateway, "TLS_KEY_FILE", key.to_str().unwrap());
        let mut platform = TestPlatform::start_with(options).await;
        let mut chromium = Chromium::start(&site);
        let token = token(TENANT, "ann", "agent");
        let url =
            format!("https://{}/sse?channels=clips:analytics&token={token}", platform.gateway());
        let urls = vec![url; STREAMS];
        let page = json!({
            "settings": { "urls": urls, "names": ["clip_played"], "credentials": false },
        });
        chromium.open("page", "streams", page).await;
        for _ in 0..STREAMS {
            chromium.event("page", "ready").await;
            assert_eq!(chromium.wait("page", "stream").await["protocol"], "h2");
        }
        play(&platform, 1..=3).await;
        for index in 0..STREAMS {
            see(&mut chromium, index, 1..=3).await;
        }
        platform.kill(Service::Gateway);
        play(&platform, 4..=20).await;
        platform.restart(Service::Gateway).await;
        for index in 0..STREAMS {
            see(&mut chromium, index, 4..=20).await;
        }
        chromium.finish();
        platform.finish().await;
    })
    .await;
}
