//! Seed 001's React application, whose effects take their listeners off at `disconnect` and put them on again after
//! `connect`: it must see everything that it missed.

use serde_json::json;

use crate::checker::History;
use crate::clients::chromium::{Chromium, Site};
use crate::clients::events::publish;
use crate::clients::token::token;
use crate::harness::cast::journey;
use crate::harness::{Options, Service, TENANT, TestPlatform};

async fn notify(platform: &TestPlatform, counts: std::ops::RangeInclusive<u64>) {
    for count in counts {
        let data = json!({ "userId": "7", "title": "New match", "message": format!("n-{count}") });
        publish(platform.ingest(), TENANT, "notification:new", &data).await;
    }
}

fn messages(last: u64) -> serde_json::Value {
    (1..=last).map(|count| json!(format!("n-{count}"))).collect()
}

async fn open(chromium: &mut Chromium, platform: &TestPlatform, component: &str, token: &str) {
    let url = format!("http://{}", platform.gateway());
    let page = json!({
        "settings": { "url": url, "component": component },
        "storage": { "auth_token": token },
    });
    chromium.open(component, "ezri", page).await;
    chromium.wait(component, "listening").await;
}

#[tokio::test]
async fn a_react_application_whose_effects_remove_their_listeners_gets_all_that_it_missed() {
    journey(240, async {
        let site = Site::reserve();
        let options = Options::default().allow_origin(&site.origin());
        let mut platform = TestPlatform::start_with(options).await;
        let mut chromium = Chromium::start(&site);
        let (user, admin) = (token(TENANT, "7", "user"), token(TENANT, "1", "admin"));
        // One that only listens, one that sends at once and listens behind that, one that follows alerts.
        open(&mut chromium, &platform, "Notifications", &user).await;
        open(&mut chromium, &platform, "ActiveSession", &user).await;
        open(&mut chromium, &platform, "SafetyEventsDashboard", &admin).await;
        let (mut sent, mut alerts, history) = (0, 0, History::new());
        for missed in [0, 30, 200] {
            if missed > 0 {
                platform.kill(Service::Gateway);
            }
            notify(&platform, sent + 1..=sent + 5 + missed).await;
            sent += 5 + missed;
            alerts += 1;
            platform.admin().await.alert(&history, alerts).await;
            if missed > 0 {
                platform.restart(Service::Gateway).await;
            }
            let all = messages(sent);
            chromium
                .until("Notifications", |line| {
                    let shown = line["messages"].as_array().map_or(0, Vec::len);
                    assert!(shown as u64 <= sent, "{line}");
                    line["messages"] == all
                })
                .await;
            for count in sent - 4 - missed..=sent {
                let shown = chromium.event("ActiveSession", "notification:new").await;
                assert_eq!(shown["data"]["message"], format!("n-{count}"), "{shown}");
            }
            let alert = chromium.event("SafetyEventsDashboard", "crisis:alert").await;
            assert_eq!(alert["data"]["alertId"], format!("c-9-{alerts}"), "{alert}");
        }
        for page in ["Notifications", "ActiveSession", "SafetyEventsDashboard"] {
            for recovered in [false, true, true] {
                assert_eq!(chromium.wait(page, "connect").await["recovered"], recovered, "{page}");
            }
        }
        assert!(!chromium.has_unread("ActiveSession", "notification:new"));
        assert!(!chromium.has_unread("SafetyEventsDashboard", "crisis:alert"));
        chromium.finish();
        platform.finish().await;
    })
    .await;
}
