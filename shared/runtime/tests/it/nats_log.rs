//! Appends and reads.

use std::time::{Duration, Instant};

use runtime::event_log::{Append, AppendError, Expect};
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::test_support::TestNats;

pub(crate) fn append(subject: &str, message_id: &str) -> Append {
    Append {
        subject: subject.to_owned(),
        message_id: message_id.to_owned(),
        headers: vec![("ce-id", message_id.to_owned()), ("tl-channels", "calls".to_owned())],
        payload: "{}".into(),
        expect: None,
    }
}

fn guarded(name: &str, message_id: &str, sequence: u64) -> Append {
    let guard = "events.acme.call.CA1.>".to_owned();
    let subject = format!("events.acme.call.CA1.{name}");
    Append { expect: Some(Expect { guard, sequence }), ..append(&subject, message_id) }
}

#[tokio::test]
async fn a_server_with_all_streams_starts_quickly() {
    let begin = Instant::now();
    let _nats = TestNats::start().await;
    let took = begin.elapsed();
    println!("TestNats::start took {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn an_append_is_stored_and_read_back_the_same_from_everywhere() {
    let nats = TestNats::start().await;
    let ingest = nats.nats("ingest").await;
    let stored = ingest.event_log().append(append("events.acme.call.CA1.update", "m1")).await;
    let stored = stored.unwrap();
    assert_eq!((stored.stream.as_str(), stored.sequence, stored.duplicate), ("CALLS", 1, false));

    let reader = ingest.log_reader();
    let direct = reader.get("CALLS", 1).await.unwrap().unwrap();
    let from_leader = reader.get_from_leader("CALLS", 1).await.unwrap().unwrap();
    assert_eq!(direct.headers.get("ce-id"), Some("m1"));
    assert_eq!(from_leader.headers.get("tl-channels"), Some("calls"));
    assert_eq!(direct.stored_at, from_leader.stored_at);
    assert_eq!((direct.subject, direct.payload), (from_leader.subject, from_leader.payload));
    assert_eq!(reader.get("CALLS", 2).await.unwrap(), None);
}

#[tokio::test]
async fn the_same_message_id_is_stored_once() {
    let nats = TestNats::start().await;
    let log = nats.nats("ingest").await.event_log();
    let first = log.append(append("events.acme.call.CA1.update", "m1")).await.unwrap();
    let second = log.append(append("events.acme.call.CA1.update", "m1")).await.unwrap();
    assert_eq!((second.sequence, second.duplicate), (first.sequence, true));
}

#[tokio::test]
async fn a_stale_revision_is_a_conflict() {
    let nats = TestNats::start().await;
    let log = nats.nats("ingest").await.event_log();
    let first = log.append(guarded("opened", "m1", 0)).await.unwrap();
    let second_creator = log.append(guarded("opened", "m2", 0)).await;
    assert!(matches!(second_creator, Err(AppendError::Conflict)), "{second_creator:?}");
    log.append(guarded("closed", "m3", first.sequence)).await.unwrap();
    let stale = log.append(guarded("closed", "m4", first.sequence)).await;
    assert!(matches!(stale, Err(AppendError::Conflict)), "{stale:?}");
}

#[tokio::test]
async fn ones_own_guarded_append_repeated_is_a_success() {
    let nats = TestNats::start().await;
    let log = nats.nats("ingest").await.event_log();
    let first = log.append(guarded("opened", "m1", 0)).await.unwrap();
    log.append(guarded("closed", "m2", first.sequence)).await.unwrap();
    let again = log.append(guarded("opened", "m1", 0)).await.unwrap();
    assert_eq!((again.sequence, again.duplicate), (first.sequence, true));
}

#[tokio::test]
async fn only_one_of_many_creators_wins() {
    let nats = TestNats::start().await;
    let log = nats.nats("ingest").await.event_log();
    let attempts = (0..16).map(|i| {
        let log = log.clone();
        async move { log.append(guarded("opened", &format!("m{i}"), 0)).await }
    });
    let outcomes = futures_util::future::join_all(attempts).await;
    let conflicts = outcomes.iter().filter(|o| matches!(o, Err(AppendError::Conflict))).count();
    assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1);
    assert_eq!(conflicts, 15);
}

#[tokio::test]
async fn what_is_too_large_is_refused_as_such() {
    let nats = TestNats::start().await;
    let log = nats.nats("ingest").await.event_log();
    let payload = vec![b'x'; 3 << 20].into();
    let refused =
        log.append(Append { payload, ..append("events.acme.call.CA1.update", "m1") }).await;
    assert!(matches!(refused, Err(AppendError::TooLarge)), "{refused:?}");
    // Within the server's limit, beyond the stream's.
    let payload = vec![b'x'; 100 << 10].into();
    let refused = log.append(Append { payload, ..append("timers.set.acme.a", "m2") }).await;
    assert!(matches!(refused, Err(AppendError::TooLarge)), "{refused:?}");
    assert_eq!(log.in_flight(), 0);
}

#[tokio::test]
async fn a_subject_without_a_stream_is_unavailable_and_never_unknown() {
    let nats = TestNats::start().await;
    let log = nats.nats("ingest").await.event_log().with_deadline(Duration::from_millis(300));
    let begin = Instant::now();
    let refused = log.append(append("events.acme.nowhere.x.y", "m1")).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))), "{refused:?}");
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(log.in_flight(), 0);
}

#[tokio::test]
async fn without_a_server_an_append_ends_at_its_deadline() {
    let mut nats = TestNats::start().await;
    let log = nats.nats("ingest").await.event_log().with_deadline(Duration::from_millis(400));
    nats.kill().await;
    let begin = Instant::now();
    let attempts = (0..64).map(|i| {
        let log = log.clone();
        async move { log.append(append("events.acme.call.CA1.update", &format!("m{i}"))).await }
    });
    for outcome in futures_util::future::join_all(attempts).await {
        let refused = outcome.unwrap_err();
        assert!(matches!(refused, AppendError::Unavailable(_) | AppendError::Unknown), "{refused}");
    }
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn an_append_begun_while_the_server_is_away_is_stored_when_it_is_back() {
    let mut nats = TestNats::start().await;
    let log = nats.nats("ingest").await.event_log();
    nats.kill().await;
    let waiting = log.append(append("events.acme.call.CA1.update", "m1"));
    let (stored, ()) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        nats.restart().await;
    });
    assert_eq!(stored.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_dropped_append_frees_its_place() {
    let mut nats = TestNats::start().await;
    let log = nats.nats("ingest").await.event_log();
    nats.kill().await;
    let given_up = tokio::time::timeout(
        Duration::from_millis(50),
        log.append(append("events.acme.call.CA1.update", "m1")),
    );
    assert!(given_up.await.is_err());
    assert_eq!(log.in_flight(), 0);
}

#[tokio::test]
async fn many_are_read_in_the_order_of_the_question() {
    let nats = TestNats::start().await;
    let ingest = nats.nats("ingest").await;
    let log = ingest.event_log();
    for i in 1..=700 {
        log.append(append("events.acme.call.CA1.update", &format!("m{i}"))).await.unwrap();
    }
    // More than may be in flight, backwards, with one that is not there.
    let sequences: Vec<u64> = (1..=701).rev().collect();
    let found = nats.nats("gateway").await.log_reader().get_many("CALLS", &sequences).await;
    let found = found.unwrap();
    assert_eq!(found[0], None);
    let read: Vec<u64> = found.into_iter().flatten().map(|message| message.sequence).collect();
    assert_eq!(read, sequences[1..]);
}

#[tokio::test]
async fn the_state_of_a_stream_names_its_epoch() {
    let nats = TestNats::start().await;
    let ingest = nats.nats("ingest").await;
    ingest.event_log().append(append("events.acme.call.CA1.update", "m1")).await.unwrap();
    let calls = ingest.log_reader().stream_info("CALLS").await.unwrap();
    let crisis = ingest.log_reader().stream_info("CRISIS").await.unwrap();
    assert_eq!((calls.first_sequence, calls.last_sequence, calls.messages), (1, 1, 1));
    assert!(calls.epoch != 0 && calls.epoch != crisis.epoch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_are_carried_at_speed() {
    const IN_FLIGHT: usize = 256;
    const EACH: usize = 100;
    let nats = TestNats::start().await;
    let log = nats.nats("ingest").await.event_log();
    let begin = Instant::now();
    let writers = (0..IN_FLIGHT).map(|writer| {
        let log = log.clone();
        async move {
            for i in 0..EACH {
                let subject = format!("events.acme.call.CA{writer}.update");
                log.append(append(&subject, &format!("{writer}-{i}"))).await.unwrap();
            }
        }
    });
    futures_util::future::join_all(writers).await;
    let rate = (IN_FLIGHT * EACH) as f64 / begin.elapsed().as_secs_f64();
    println!("{rate:.0} appends a second in this profile, {IN_FLIGHT} in flight");
    // An unoptimised build on a loaded machine; a client that waits for each answer reaches a tenth.
    assert!(rate > 2_000.0, "{rate}");
}

#[tokio::test]
async fn a_follower_that_may_be_late_does_not_rest_while_it_is_behind() {
    const COUNT: u64 = 2_600;
    const PACE: Duration = Duration::from_secs(2);
    let nats = TestNats::start().await;
    let nats = nats.nats("ingest").await;
    let log = nats.event_log();
    let appends =
        (1..=COUNT).map(|i| log.append(append("events.acme.call.CA1.update", &format!("m{i}"))));
    for stored in futures_util::future::join_all(appends).await {
        stored.unwrap();
    }
    let options = FollowOptions { pace: Some(PACE), ..FollowOptions::default() };
    let mut follower = Follower::new(&nats, "CALLS", Start::AfterSequence(0), options);
    let (begin, mut seen) = (Instant::now(), 0);
    while seen < COUNT {
        if let FollowEvent::Messages(messages) = follower.next().await {
            assert_eq!(messages[0].sequence, seen + 1);
            seen = messages[messages.len() - 1].sequence;
        }
    }
    // It rests once, behind the first; a rest for each of its five batches would take five times as long.
    assert!(begin.elapsed() < 3 * PACE, "{:?}", begin.elapsed());
}
