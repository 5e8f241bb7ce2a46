//! What a killed server costs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime::LogMessage;
use runtime::event_log::{Append, Appended, Expect};
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::nats::{Nats, NatsConfig};
use runtime::test_support::TestNats;
use tokio::task::JoinSet;

use crate::nats_log::append;

const WRITERS: usize = 64;

struct Written {
    /// Message id → sequence, of everything that was acknowledged.
    acked: HashMap<String, u64>,
    slowest: Duration,
    unknown: usize,
}

/// Writers that append without a pause until they are told to stop.
struct Storm {
    writers: JoinSet<Written>,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    last_ack: Arc<AtomicU64>,
    begin: Instant,
}

impl Storm {
    fn start(nats: &Nats) -> Self {
        let (stop, acked, last_ack) =
            <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let begin = Instant::now();
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let log = nats.event_log();
            let (stop, acked, last_ack) = (stop.clone(), acked.clone(), last_ack.clone());
            writers.spawn(async move {
                let mut written =
                    Written { acked: HashMap::new(), slowest: Duration::ZERO, unknown: 0 };
                let mut i = 0;
                while !stop.load(Ordering::Relaxed) {
                    i += 1;
                    let id = format!("{writer}-{i}");
                    let subject = format!("events.acme.call.CA{writer}.update");
                    let asked = Instant::now();
                    match log.append(append(&subject, &id)).await {
                        Ok(stored) => {
                            written.acked.insert(id, stored.sequence);
                            acked.fetch_add(1, Ordering::Relaxed);
                            let now = begin.elapsed().as_micros() as u64;
                            last_ack.store(now, Ordering::Relaxed);
                        }
                        Err(_) => written.unknown += 1,
                    }
                    written.slowest = written.slowest.max(asked.elapsed());
                }
                written
            });
        }
        Self { writers, stop, acked, last_ack, begin }
    }

    /// Waits for this many more acknowledgements; returns how long the first of them took.
    async fn progress(&self, more: u64) -> Duration {
        let (from, asked) = (self.acked.load(Ordering::Relaxed), Instant::now());
        let mut first = None;
        loop {
            let now = self.acked.load(Ordering::Relaxed);
            if now > from && first.is_none() {
                let at = Duration::from_micros(self.last_ack.load(Ordering::Relaxed));
                first = Some((self.begin + at).saturating_duration_since(asked));
            }
            if let (true, Some(first)) = (now >= from + more, first) {
                return first;
            }
            assert!(asked.elapsed() < Duration::from_secs(20), "the writers stand still");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn finish(self) -> Written {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Written { acked: HashMap::new(), slowest: Duration::ZERO, unknown: 0 };
        for written in self.writers.join_all().await {
            all.acked.extend(written.acked);
            all.slowest = all.slowest.max(written.slowest);
            all.unknown += written.unknown;
        }
        all
    }
}

/// What stands in the log: message id → sequence; fails on a repeated id.
async fn stored(nats: &Nats, stream: &str) -> HashMap<String, u64> {
    let reader = nats.log_reader().with_deadline(Duration::from_secs(60));
    let state = reader.stream_info(stream).await.unwrap();
    let sequences: Vec<u64> = (1..=state.last_sequence).collect();
    let mut stored = HashMap::new();
    for message in reader.get_many(stream, &sequences).await.unwrap().into_iter().flatten() {
        let id = message.headers.get("ce-id").unwrap().to_owned();
        let before = stored.insert(id.clone(), message.sequence);
        assert_eq!(before, None, "{id} is stored twice");
    }
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_acknowledged_stores_nothing_twice_and_stalls_briefly() {
    let mut server = TestNats::start().await;
    let nats = server.nats("ingest").await;
    let storm = Storm::start(&nats);
    for round in 1..=3 {
        storm.progress(500).await;
        server.kill().await;
        server.restart().await;
        let stall = storm.progress(500).await;
        println!("round {round}: first acknowledgement {stall:?} after the server was back");
        assert!(stall < Duration::from_millis(800), "{stall:?}");
    }
    let written = storm.finish().await;
    assert_eq!(written.unknown, 0, "appends ended without an answer");
    let stored = stored(&nats, "CALLS").await;
    println!(
        "{} acknowledged, {} stored, slowest append {:?}",
        written.acked.len(),
        stored.len(),
        written.slowest
    );
    for (id, sequence) in &written.acked {
        assert_eq!(stored.get(id), Some(sequence), "{id} was acknowledged and is not there");
    }
}

/// Everything a follower tells until it has come to a sequence.
async fn follow_until(follower: &mut Follower, last: u64) -> Vec<u64> {
    let mut seen: Vec<u64> = Vec::new();
    while seen.last().is_none_or(|&at| at < last) {
        match follower.next().await {
            FollowEvent::Attached(_) => {}
            FollowEvent::Messages(messages) => seen.extend(messages.iter().map(|m| m.sequence)),
            FollowEvent::Rewound(state) => panic!("rewound: {state:?}"),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sees_everything_once_and_in_order_through_kills() {
    sees_everything_through_kills(FollowOptions::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_may_be_late_sees_everything_through_kills_too() {
    let pace = Some(Duration::from_millis(20));
    sees_everything_through_kills(FollowOptions { pace, ..FollowOptions::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_knows_its_own_appends_tells_them_and_others_in_order_through_kills() {
    let mut server = TestNats::start().await;
    let (nats, other) = (server.nats("ingest").await, server.nats("ingest").await);
    let options = FollowOptions {
        headers_only: true,
        pace: Some(Duration::from_millis(5)),
        own: true,
        ..FollowOptions::default()
    };
    let mut follower = Follower::new(&nats, "CALLS", Start::AfterSequence(0), options);
    let last = Arc::new(AtomicU64::new(u64::MAX));
    let until = last.clone();
    let following = tokio::task::JoinSet::from_iter([async move {
        let mut seen: Vec<(u64, String)> = Vec::new();
        while seen.last().is_none_or(|(at, _)| *at < until.load(Ordering::Relaxed)) {
            let next = tokio::time::timeout(Duration::from_millis(100), follower.next()).await;
            if let Ok(FollowEvent::Messages(messages)) = next {
                let told =
                    |m: &LogMessage| (m.sequence, m.headers.get("ce-id").unwrap().to_owned());
                seen.extend(messages.iter().map(told));
            }
        }
        seen
    }]);
    let storm = Storm::start(&nats);
    for round in 0..4 {
        storm.progress(300).await;
        for i in 0..10 {
            let append = append("events.acme.call.CA1.update", &format!("other-{round}-{i}"));
            other.event_log().append(append).await.unwrap();
        }
        storm.progress(300).await;
        if round < 3 {
            server.kill().await;
            server.restart().await;
        }
    }
    storm.finish().await;
    let append = append("events.acme.call.CA1.update", "the last");
    let head = other.event_log().append(append).await.unwrap().sequence;
    last.store(head, Ordering::Relaxed);
    let seen = tokio::time::timeout(Duration::from_secs(20), following.join_all()).await;
    let seen = seen.expect("the follower comes to the head").remove(0);
    let mut expected: Vec<(u64, String)> =
        stored(&nats, "CALLS").await.into_iter().map(|(id, sequence)| (sequence, id)).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_keeps_nobody_from_the_others() {
    let server = TestNats::start().await;
    // Connections stand in its queue, and nobody ever takes them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = |address| server.server_config().passwords.url("ingest", address);
    let (dead, alive) =
        (url(silent.local_addr().unwrap()), url(server.server().unwrap().address()));
    let config = NatsConfig { url: format!("{dead},{alive}"), ..server.config("ingest") };
    let nats = Nats::connect(&config).await.unwrap();
    nats.wait_connected(Duration::from_secs(20)).await.unwrap();
    let append = append("events.acme.call.CA1.update", "the only");
    nats.event_log().append(append).await.unwrap();
    let begin = Start::AfterSequence(0);
    let mut follower = Follower::new(&nats, "CALLS", begin, FollowOptions::default());
    let seen = async {
        loop {
            if let FollowEvent::Messages(messages) = follower.next().await {
                return messages.len();
            }
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), seen).await, Ok(1));
}

async fn sees_everything_through_kills(options: FollowOptions) {
    let mut server = TestNats::start().await;
    let nats = server.nats("ingest").await;
    let gateway = server.nats("gateway").await;
    let storm = Storm::start(&nats);
    let last = Arc::new(AtomicU64::new(u64::MAX));
    let following = {
        let last = last.clone();
        let start = Start::AfterSequence(0);
        let mut follower = Follower::new(&gateway, "CALLS", start, options);
        async move {
            let mut seen: Vec<u64> = Vec::new();
            while seen.last().is_none_or(|&at| at < last.load(Ordering::Relaxed)) {
                let next = tokio::time::timeout(Duration::from_millis(100), follower.next());
                match next.await {
                    Ok(FollowEvent::Messages(m)) => seen.extend(m.iter().map(|m| m.sequence)),
                    Ok(FollowEvent::Attached(_)) | Err(_) => {}
                    Ok(FollowEvent::Rewound(state)) => panic!("rewound: {state:?}"),
                }
            }
            seen
        }
    };
    let following = tokio::task::JoinSet::from_iter([following]);
    for _ in 0..3 {
        storm.progress(500).await;
        server.kill().await;
        server.restart().await;
    }
    storm.progress(500).await;
    storm.finish().await;
    let head = nats.log_reader().stream_info("CALLS").await.unwrap().last_sequence;
    last.store(head, Ordering::Relaxed);
    let seen = tokio::time::timeout(Duration::from_secs(20), following.join_all()).await;
    let seen = seen.expect("the follower comes to the head").remove(0);
    assert_eq!(seen, (1..=head).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_follower_is_back_soon_after_a_restart() {
    let mut server = TestNats::start().await;
    let nats = server.nats("ingest").await;
    let mut follower =
        Follower::new(&nats, "CALLS", Start::AfterSequence(0), FollowOptions::default());
    let log = nats.event_log();
    log.append(append("events.acme.call.CA1.update", "m1")).await.unwrap();
    assert_eq!(follow_until(&mut follower, 1).await, [1]);
    server.kill().await;
    server.restart().await;
    let back = Instant::now();
    log.append(append("events.acme.call.CA1.update", "m2")).await.unwrap();
    assert_eq!(follow_until(&mut follower, 2).await, [2]);
    println!("the follower was back {:?} after the server", back.elapsed());
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
}

#[tokio::test]
async fn a_stream_made_anew_is_told_as_rewound() {
    let mut server = TestNats::start().await;
    let nats = server.nats("ingest").await;
    let log = nats.event_log();
    for i in 1..=5 {
        log.append(append("events.acme.call.CA1.update", &format!("m{i}"))).await.unwrap();
    }
    let mut follower =
        Follower::new(&nats, "CALLS", Start::AfterSequence(0), FollowOptions::default());
    assert_eq!(follow_until(&mut follower, 5).await, [1, 2, 3, 4, 5]);
    server.kill().await;
    // As if the machine had come back with an empty disk.
    std::fs::remove_dir_all(server.server_config().data.join("store")).unwrap();
    server.restart().await;
    server.provision().await;
    log.append(append("events.acme.call.CA1.update", "fresh")).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(10), follower.next()).await.unwrap();
    assert!(
        matches!(told, FollowEvent::Rewound(ref state) if state.last_sequence <= 1),
        "{told:?}"
    );
    assert_eq!(follow_until(&mut follower, 1).await, [1]);
}

#[tokio::test]
async fn a_stream_put_back_to_an_older_copy_is_told_as_rewound_even_when_it_has_grown_past() {
    let mut server = TestNats::start().await;
    let nats = server.nats("ingest").await;
    let log = nats.event_log();
    let store = server.server_config().data.join("store");
    let copy = tempfile::tempdir().unwrap();
    log.append(append("events.acme.call.CA1.update", "m1")).await.unwrap();
    server.stop().await;
    copy_folder(&store, copy.path());
    server.restart().await;
    log.append(append("events.acme.call.CA1.update", "m2")).await.unwrap();
    let mut follower =
        Follower::new(&nats, "CALLS", Start::AfterSequence(0), FollowOptions::default());
    assert_eq!(follow_until(&mut follower, 2).await, [1, 2]);
    server.stop().await;
    std::fs::remove_dir_all(&store).unwrap();
    copy_folder(copy.path(), &store);
    server.restart().await;
    for id in ["other2", "other3"] {
        log.append(append("events.acme.call.CA1.update", id)).await.unwrap();
    }
    let told = loop {
        let told = tokio::time::timeout(Duration::from_secs(10), follower.next()).await.unwrap();
        // It may have attached to the restored stream before the first new message was there.
        if !matches!(told, FollowEvent::Attached(_)) {
            break told;
        }
    };
    assert!(matches!(told, FollowEvent::Rewound(_)), "{told:?}");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarded_appends_of_one_writer_never_conflict_with_themselves_through_kills() {
    const EACH: u64 = 500;
    let mut server = TestNats::start().await;
    let nats = server.nats("ingest").await;
    let mut writers = JoinSet::new();
    for writer in 0..16 {
        let log = nats.event_log();
        writers.spawn(async move {
            let mut revision = 0;
            for i in 0..EACH {
                let id = format!("{writer}-{i}");
                let guard = format!("events.acme.crisis.c{writer}.>");
                let expect = Some(Expect { guard, sequence: revision });
                let subject = format!("events.acme.crisis.c{writer}.step");
                let stored = log.append(Append { expect, ..append(&subject, &id) }).await;
                revision = stored.unwrap_or_else(|error| panic!("{id}: {error}")).sequence;
            }
        });
    }
    let mut kills = 0;
    while !writers.is_empty() && kills < 4 {
        tokio::time::sleep(Duration::from_millis(120)).await;
        server.kill().await;
        server.restart().await;
        kills += 1;
        while writers.try_join_next().is_some() {}
    }
    writers.join_all().await;
    println!("{kills} kills");
    assert_eq!(stored(&nats, "CRISIS").await.len() as u64, 16 * EACH);
}

#[tokio::test]
async fn a_follower_survives_the_loss_of_its_consumer() {
    let server = TestNats::start().await;
    let (nats, admin) = (server.nats("ingest").await, server.nats("admin").await);
    let log = nats.event_log();
    log.append(append("events.acme.call.CA1.update", "m1")).await.unwrap();
    let mut follower =
        Follower::new(&nats, "CALLS", Start::AfterSequence(0), FollowOptions::default());
    assert_eq!(follow_until(&mut follower, 1).await, [1]);
    let deadline = Duration::from_secs(2);
    let names = admin.request("$JS.API.CONSUMER.NAMES.CALLS", "{}".into(), deadline).await.unwrap();
    let names = String::from_utf8(names.to_vec()).unwrap();
    let at = names.find("ingest-").unwrap();
    let names = names[at..].split('"').filter(|name| name.starts_with("ingest-"));
    for name in names.filter(|name| *name != "ingest-effects") {
        let call = format!("$JS.API.CONSUMER.DELETE.CALLS.{name}");
        admin.request(&call, "".into(), deadline).await.unwrap();
    }
    log.append(append("events.acme.call.CA1.update", "m2")).await.unwrap();
    let seen = tokio::time::timeout(Duration::from_secs(5), follow_until(&mut follower, 2)).await;
    assert_eq!(seen.unwrap(), [2]);
}

#[tokio::test]
async fn appends_beyond_the_bound_wait_and_then_say_that_the_log_is_busy() {
    let mut server = TestNats::start().await;
    let log = server.nats("ingest").await.event_log().with_deadline(Duration::from_secs(2));
    server.kill().await;
    let mut appends = JoinSet::new();
    for i in 0..5000 {
        let log = log.clone();
        let append = append("events.acme.call.CA1.update", &format!("m{i}"));
        appends.spawn(async move { log.append(append).await });
    }
    let begin = Instant::now();
    while log.in_flight() < 4096 && begin.elapsed() < Duration::from_millis(1800) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(log.in_flight(), 4096);
    for outcome in appends.join_all().await {
        assert!(outcome.is_err());
    }
    assert_eq!(log.in_flight(), 0);
}

/// Between a client and the server: can swallow what the server says, and cut every connection.
struct Deaf {
    address: std::net::SocketAddr,
    deaf: Arc<AtomicBool>,
    cut: tokio::sync::broadcast::Sender<()>,
    _accepting: JoinSet<()>,
}

impl Deaf {
    async fn before(server: std::net::SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let deaf = Arc::new(AtomicBool::new(false));
        let cut = tokio::sync::broadcast::channel(1).0;
        let mut accepting = JoinSet::new();
        let (is_deaf, cutting) = (deaf.clone(), cut.clone());
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = tokio::net::TcpStream::connect(server).await.unwrap();
                connections.spawn(carry(client, server, is_deaf.clone(), cutting.subscribe()));
            }
        });
        Self { address, deaf, cut, _accepting: accepting }
    }
}

async fn carry(
    mut client: tokio::net::TcpStream,
    mut server: tokio::net::TcpStream,
    deaf: Arc<AtomicBool>,
    mut cut: tokio::sync::broadcast::Receiver<()>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (mut from_client, mut from_server) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            _ = cut.recv() => return,
            read = client.read(&mut from_client) => match read {
                Ok(0) | Err(_) => return,
                Ok(n) => server.write_all(&from_client[..n]).await.unwrap(),
            },
            read = server.read(&mut from_server) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if deaf.load(Ordering::Relaxed) => {}
                Ok(n) => client.write_all(&from_server[..n]).await.unwrap(),
            },
        }
    }
}

/// Stores an append, loses its acknowledgement with the connection, and returns what the caller is told.
async fn with_a_lost_acknowledgement(append: Append) -> Appended {
    let server = TestNats::start().await;
    let deaf = Deaf::before(server.server().unwrap().address()).await;
    let url = server.server_config().passwords.url("ingest", deaf.address);
    let nats = Nats::connect(&NatsConfig { url, ..server.config("ingest") }).await.unwrap();
    nats.wait_connected(Duration::from_secs(5)).await.unwrap();
    let admin = server.nats("admin").await.log_reader();
    deaf.deaf.store(true, Ordering::Relaxed);
    let log = nats.event_log();
    let (stored, ()) = tokio::join!(log.append(append), async {
        while admin.stream_info("CALLS").await.unwrap().last_sequence == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        deaf.cut.send(()).unwrap();
        deaf.deaf.store(false, Ordering::Relaxed);
    });
    assert_eq!(admin.stream_info("CALLS").await.unwrap().last_sequence, 1);
    stored.unwrap()
}

#[tokio::test]
async fn a_lost_acknowledgement_is_made_up_for_and_no_duplicate_of_anyone() {
    let told = with_a_lost_acknowledgement(append("events.acme.call.CA1.update", "m1")).await;
    assert_eq!((told.sequence, told.duplicate), (1, false));
}

#[tokio::test]
async fn a_guarded_append_whose_acknowledgement_is_lost_is_no_conflict_with_itself() {
    let expect = Some(Expect { guard: "events.acme.call.CA1.>".to_owned(), sequence: 0 });
    let guarded = Append { expect, ..append("events.acme.call.CA1.opened", "m1") };
    let told = with_a_lost_acknowledgement(guarded).await;
    assert_eq!((told.sequence, told.duplicate), (1, false));
}
