//! Bugs planted in the gateway's resume on purpose: a checker that does not catch them proves nothing elsewhere.

use std::time::Duration;

use crate::checker::{History, Place, Start, Verdict};
use crate::harness::cast::{agent, calls, journey, source};
use crate::harness::{Options, Service, TestPlatform};

/// An honest story of coming back, told by a gateway with a bug.
async fn come_back_to(bug: &str) -> Verdict {
    let options = Options::default().set(Service::Gateway, "PLANTED_BUG", bug);
    let (platform, history) = (TestPlatform::start_with(options).await, History::new());
    let mut socket = agent(&history, "ann");
    socket.connect(platform.gateway()).await.unwrap();
    socket.join("calls", Start::Now).await.unwrap();
    let mut events = source(&history, "bob", &["calls"]);
    events.connect(platform.gateway(), Start::Now).await.unwrap();
    let mut writer = calls(&history, "w");
    writer.publish(platform.ingest(), 5).await;
    socket.receive(5).await;
    events.receive(5).await;
    socket.cut();
    events.cut();
    writer.publish(platform.ingest(), 5).await;
    socket.resume(platform.gateway()).await.unwrap();
    events.resume(platform.gateway()).await.unwrap();
    socket.receive_within(9, Duration::from_secs(10)).await;
    events.receive_within(9, Duration::from_secs(10)).await;
    socket.drain().await;
    events.drain().await;
    platform.finish().await;
    history.judge()
}

#[tokio::test]
async fn an_event_that_is_skipped_at_resume_is_caught() {
    journey(60, async {
        let verdict = come_back_to("resume_skips_one").await;
        // One on the socket, one on the event source.
        assert_eq!(
            (verdict.lost_at(Place::Middle), verdict.silent_gaps.len()),
            (2, 2),
            "{verdict}"
        );
        assert!(verdict.duplicates.is_empty(), "{verdict}");
    })
    .await;
}

#[tokio::test]
async fn an_event_that_is_sent_again_at_resume_is_caught() {
    journey(60, async {
        let verdict = come_back_to("resume_resends_one").await;
        assert_eq!(verdict.duplicates.len(), 2, "{verdict}");
        assert!(verdict.lost.is_empty(), "{verdict}");
    })
    .await;
}

#[tokio::test]
async fn the_same_story_without_a_bug_is_clean() {
    journey(60, async {
        let verdict = come_back_to("none").await;
        assert!(verdict.is_clean(), "{verdict}");
    })
    .await;
}
