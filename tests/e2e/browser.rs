//! A real browser: its EventSource comes back by itself with its last event id, and misses nothing; so do
//! applications with the stock packages.

mod crm;
mod ezri;
mod sockets;
mod streams;

use serde_json::Value as Json;

use crate::chaos::Proxy;
use crate::checker::{Entry, Frame, History, Start, Value, hash};
use crate::clients::http::PATIENCE;
use crate::clients::scripts::{Script, setting};
use crate::clients::token::token;
use crate::harness::cast::{calls, journey};
use crate::harness::{Options, Service, TENANT, TestPlatform, free_port};

/// Takes the browser's lines into the history until so many events have come in all.
async fn follow(browser: &mut Script, history: &History, received: &mut usize, total: usize) {
    while *received < total {
        let line = browser.answer().await;
        let name = line["name"].as_str().unwrap();
        let Some(data) = line["data"].as_str() else {
            if name == "error" {
                history.fault("the browser lost its connection");
            }
            continue;
        };
        let payload: Json = serde_json::from_str(data).unwrap();
        assert_ne!(name, "gap", "{payload}");
        let value = Value::find(&payload);
        *received += usize::from(value.is_some());
        let frame = Frame {
            name: name.to_owned(),
            event_id: None,
            cursor: line["id"].as_str().map(str::to_owned),
            value,
            payload: hash(&payload),
        };
        if name == "ready" {
            let (client, channels) = ("browser".into(), vec!["calls".to_owned()]);
            history.record(Entry::Following { client, channels });
        } else {
            history.record(Entry::Frame { client: "browser".into(), frame });
        }
    }
}

#[tokio::test]
async fn a_browser_that_is_cut_off_comes_back_by_itself_and_misses_nothing() {
    journey(240, async {
        let page = free_port();
        let origin = format!("http://127.0.0.1:{}", page.port());
        let options = Options::default().allow_origin(&origin);
        let (mut platform, history) = (TestPlatform::start_with(options).await, History::new());
        let proxy = Proxy::start(platform.gateway()).await;
        let token = token(TENANT, "ann", "agent");
        let url = format!("http://{}/sse?channels=calls&token={token}", proxy.address);
        let chromium = setting("CHROMIUM_BIN", "/usr/bin/chromium");
        assert!(chromium.exists(), "Chromium is missing: `cargo xtask test` installs it");
        let mut browser = Script::node(
            "event_source.mjs",
            &[
                ("CHROMIUM_BIN", chromium.to_str().unwrap()),
                ("SSE_URL", &url),
                ("SSE_EVENTS", "call_update"),
                ("PAGE_PORT", &page.port().to_string()),
            ],
        );
        let (client, channels) = ("browser".into(), vec!["calls".to_owned()]);
        history.record(Entry::Opened { client, channels, start: Start::Now });
        while browser.answer_within(PATIENCE * 6).await["name"] != "ready" {}
        let (client, channels) = ("browser".into(), vec!["calls".to_owned()]);
        history.record(Entry::Following { client, channels });

        let (mut writer, mut received) = (calls(&history, "w"), 0);
        writer.publish(platform.ingest(), 5).await;
        follow(&mut browser, &history, &mut received, 5).await;
        proxy.part();
        writer.publish(platform.ingest(), 30).await;
        proxy.heal();
        follow(&mut browser, &history, &mut received, 35).await;
        platform.kill(Service::Gateway);
        writer.publish(platform.ingest(), 30).await;
        platform.restart(Service::Gateway).await;
        follow(&mut browser, &history, &mut received, 65).await;
        writer.publish(platform.ingest(), 5).await;
        follow(&mut browser, &history, &mut received, 70).await;
        history.record(Entry::Drained { client: "browser".into() });
        let verdict = history.assert_clean();
        assert_eq!((verdict.ok, verdict.frames), (70, 70), "{verdict}");
        browser.finish();
        platform.finish().await;
    })
    .await;
}
