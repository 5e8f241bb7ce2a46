//! Seed 003's subscription on a browser's own EventSource, whose last id stays until another one comes.

use std::ops::RangeInclusive;

use serde_json::json;

use crate::clients::chromium::{Chromium, Site};
use crate::clients::token::token;
use crate::harness::cast::journey;
use crate::harness::{Options, Service, TENANT, TestPlatform};
use crate::trpc::report;

/// Bare as the seed has it, and tracked.
const PAGES: [(&str, &str); 2] = [("bare", ""), ("tracked", "?tracked=1")];

/// Every page sees exactly these calls, in this order and in its own form.
async fn see(chromium: &mut Chromium, calls: RangeInclusive<u64>) {
    for (page, query) in PAGES {
        for seconds in calls.clone() {
            let line = chromium.event(page, "call").await;
            let event = if query.is_empty() {
                &line["event"]
            } else {
                assert!(line["event"]["id"].is_string(), "{line}");
                &line["event"]["data"]
            };
            assert_eq!(event["type"], "call_completed", "{line}");
            assert_eq!(event["durationSeconds"], seconds, "{line}");
        }
        assert!(!chromium.has_unread(page, "call"), "{page}");
    }
}

#[tokio::test]
async fn a_crm_in_a_browser_sees_every_call_over_kills_of_the_gateway() {
    journey(240, async {
        let site = Site::reserve();
        let options = Options::default().allow_origin(&site.origin());
        let mut platform = TestPlatform::start_with(options).await;
        let mut chromium = Chromium::start(&site);
        for (page, query) in PAGES {
            let settings =
                json!({ "url": format!("http://{}", platform.gateway()), "query": query });
            let cookies = json!({ "token": token(TENANT, "maya", "agent") });
            let rest = json!({ "settings": settings, "cookies": cookies });
            chromium.open(page, "crm", rest).await;
            chromium.wait(page, "started").await;
        }
        let mut last = 0;
        for missed in [0, 1, 25] {
            if missed > 0 {
                platform.kill(Service::Gateway);
                report(platform.ingest(), last + 1..=last + missed).await;
                platform.restart(Service::Gateway).await;
                see(&mut chromium, last + 1..=last + missed).await;
                last += missed;
            }
            report(platform.ingest(), last + 1..=last + 5).await;
            see(&mut chromium, last + 1..=last + 5).await;
            last += 5;
        }
        chromium.finish();
        platform.finish().await;
    })
    .await;
}
