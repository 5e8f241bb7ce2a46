//! Messages that the server stores when their time has come.

use std::time::Duration;

use runtime::clock;
use runtime::durable::Durable;
use runtime::schedules::{Schedule, Schedules};
use runtime::test_support::TestNats;

const SOON: Duration = Duration::from_secs(10);

fn schedule(name: &str, after_millis: i64) -> Schedule {
    Schedule {
        subject: format!("timers.set.acme.c-9.{name}"),
        target: format!("timers.due.acme.c-9.{name}"),
        at: clock::now() + time::Duration::milliseconds(after_millis),
        message_id: format!("acme:{name}"),
        payload: name.to_owned().into(),
    }
}

async fn held(server: &TestNats) -> u64 {
    let reader = server.nats("admin").await.log_reader();
    reader.stream_info("TIMERS").await.unwrap().messages
}

#[tokio::test]
async fn what_is_due_is_handed_out_once_and_leaves_nothing_behind() {
    let server = TestNats::start().await;
    let ingest = server.nats("ingest").await;
    let schedules = Schedules::new(&ingest);
    let mut fired = Durable::open(&ingest, "TIMERS", "ingest");
    let set_at = tokio::time::Instant::now();
    // Set twice, as after a crash between the setting and the acknowledgement of what asked for it.
    for _ in 0..2 {
        schedules.set(schedule("later", 1_200)).await.unwrap();
    }
    schedules.set(schedule("overdue", -60_000)).await.unwrap();
    let first = tokio::time::timeout(SOON, fired.next()).await.unwrap();
    assert_eq!(first.message.payload, "overdue", "what is overdue is due at once");
    let second = tokio::time::timeout(SOON, fired.next()).await.unwrap();
    assert_eq!(second.message.subject.as_str(), "timers.due.acme.c-9.later");
    assert!(set_at.elapsed() >= Duration::from_millis(1_000), "not before its time");
    for job in [first, second] {
        schedules.clear("TIMERS", &job.message.subject).await.unwrap();
        job.ack_confirmed().await.unwrap();
    }
    assert!(tokio::time::timeout(Duration::from_secs(2), fired.next()).await.is_err(), "once");
    assert_eq!(held(&server).await, 0);
}

#[tokio::test]
async fn a_server_that_was_killed_hands_out_what_became_due_meanwhile() {
    let mut server = TestNats::start().await;
    let ingest = server.nats("ingest").await;
    Schedules::new(&ingest).set(schedule("a", 500)).await.unwrap();
    server.kill().await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    server.restart().await;
    let mut fired = Durable::open(&ingest, "TIMERS", "ingest");
    let job = tokio::time::timeout(SOON, fired.next()).await.unwrap();
    assert_eq!(job.message.payload, "a");
}
