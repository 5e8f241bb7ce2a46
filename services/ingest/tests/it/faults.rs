//! The log away, a restart of ingest, and what is answered meanwhile.

use std::time::Duration;

use domain::identity::Role;
use runtime::test_support::TestNats;

use crate::harness::{Platform, call_status, eventually};

const PATH: &str = "/webhooks/acme-twilio/call-status";

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_recognised_after_a_restart_beyond_the_duplicate_window() {
    let mut platform = Platform::start_with_short_duplicate_window().await;
    let mut places = Vec::new();
    for number in 0..20 {
        let answer = platform.twilio(PATH, &call_status("ringing", number)).await;
        assert_eq!(answer.event()["duplicate"], false);
        places.push(answer.event()["sequence"].clone());
    }
    // Far beyond the streams' own window, with and without a restart in between.
    tokio::time::sleep(Duration::from_millis(400)).await;
    for restart in [false, true] {
        if restart {
            platform.stop_ingest().await;
            platform.start_ingest().await;
            platform.ready().await;
        }
        for (number, place) in places.iter().enumerate() {
            let answer = platform.twilio(PATH, &call_status("ringing", number as u32)).await;
            assert_eq!(
                (&answer.event()["duplicate"], &answer.event()["sequence"]),
                (&true.into(), place)
            );
        }
    }
    assert_eq!(platform.count("CALLS").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_is_away_nothing_is_claimed_to_be_stored() {
    let mut platform = Platform::start().await;
    platform.twilio(PATH, &call_status("ringing", 1)).await.event();
    platform.nats.kill().await;
    let metric = r#"{"type":"metric.update","id":"m","data":{"type":"sms","calls":1}}"#;
    let (webhook, published) =
        (call_status("completed", 2), platform.publish(Role::Service, &[], metric));
    let (answer, published) = tokio::join!(platform.twilio(PATH, &webhook), published);
    for answer in [answer, published] {
        answer.is(503, "log_unavailable");
        assert!(answer.retry_after, "{}", answer.text);
    }
    platform.nats.restart().await;
    platform.ready().await;
    let again = platform.twilio(PATH, &call_status("completed", 2)).await;
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(platform.count("CALLS").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_in_flight_survives_a_short_outage() {
    let mut platform = Platform::start().await;
    platform.nats.kill().await;
    let form = call_status("ringing", 1);
    let sending = platform.twilio(PATH, &form);
    // The future borrows the platform, so the server is started again from its own configuration.
    let config = platform.nats.server_config().clone();
    let (answer, server) = tokio::join!(sending, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        runtime::nats_server::NatsServer::start(&config).await.unwrap()
    });
    assert_eq!(answer.event()["duplicate"], false);
    assert_eq!(platform.count("CALLS").await, 1);
    server.stop(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ingest_waits_for_its_streams_and_says_what_is_missing() {
    let mut platform = Platform::without_ingest(TestNats::start_empty().await);
    platform.start_ingest().await;
    let form = call_status("ringing", 1);
    platform.twilio(PATH, &form).await.is(503, "warming_up");
    platform.nats.provision().await;
    platform.ready().await;
    eventually("it takes webhooks", async || platform.twilio(PATH, &form).await.status == 200)
        .await;
    platform.stop_ingest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_may_wait_are_refused_at_once_and_counted() {
    let mut platform = Platform::without_ingest(TestNats::start().await);
    platform.start_ingest_with(&[("INGEST_IN_FLIGHT", "1")]).await;
    platform.ready().await;
    // One waits for the log and has the only place.
    platform.nats.kill().await;
    let (one, other) = (call_status("ringing", 1), call_status("ringing", 2));
    let answers = tokio::join!(platform.twilio(PATH, &one), platform.twilio(PATH, &other));
    let mut answers = [answers.0, answers.1];
    answers.sort_by_key(|answer| !answer.text.contains("overloaded"));
    answers[0].is(503, "overloaded");
    assert!(answers[0].retry_after);
    answers[1].is(503, "log_unavailable");
    let metrics = platform.metrics().await;
    let line = r#"throughline_ingest_refused_total{reason="overloaded"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_and_repeated_is_counted() {
    let platform = Platform::start().await;
    for _ in 0..3 {
        platform.twilio(PATH, &call_status("ringing", 1)).await.event();
    }
    eventually("it is counted", async || {
        let metrics = platform.metrics().await;
        metrics.contains(r#"throughline_ingest_accepted_total{way="webhook"} 1"#)
            && metrics.contains(r#"throughline_ingest_duplicates_total{way="webhook"} 2"#)
            && metrics.contains("throughline_ingest_append_seconds_count 3")
            && metrics.contains("throughline_ingest_idempotency_events 1")
    })
    .await;
}
