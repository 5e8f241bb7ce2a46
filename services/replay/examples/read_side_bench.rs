//! Measures a replay node on a real nats-server: how fast it indexes a log it has never seen, how fast from its
//! snapshot, and how many questions it answers. `cargo run --release -p replay --example read_side_bench [events]`
#![expect(clippy::print_stdout, reason = "printing is what a benchmark is for")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::replay::{Answer, ChannelRange, RefsAnswer, RefsRequest, question};
use domain::{Tenant, envelope, subject};
use futures_util::stream::{self, StreamExt};
use replay::config::{Config, IndexConfig};
use replay::{Listeners, run};
use runtime::event_log::Append;
use runtime::nats::Nats;
use runtime::provision::Demand;
use runtime::tasks::{BoxError, owned};
use runtime::telemetry::{Format, Settings};
use runtime::test_support::TestNats;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const APPENDS: usize = 512;
const QUESTIONS: usize = 20_000;
const ASKERS: usize = 256;
const CALLS: usize = 10_000;
const WITHIN: Duration = Duration::from_secs(30);
const NONE: [u64; domain::stream::COUNT] = [0; domain::stream::COUNT];
const EVERYTHING: [u64; domain::stream::COUNT] = [u64::MAX; domain::stream::COUNT];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let events = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(500_000);
    let nats = TestNats::start().await;
    let (ingest, gateway) = (nats.nats("ingest").await, nats.nats("gateway").await);
    let begun = Instant::now();
    fill(&ingest, events).await?;
    println!("{events} events stored at {:.0}/s", rate(events, begun));
    let began = begin(&nats, &gateway, events, "the log").await?;
    ask(&gateway, "500 of a channel with 1 in 1,000", &["user:7"], 0, 500).await?;
    let half = events as u64 / 2;
    ask(&gateway, "100 missed in 1 of 10,000 channels", &["call:5"], half, 100).await?;
    ask(
        &gateway,
        "nothing missed in 3 channels",
        &["calls", "call:5", "user:7"],
        events as u64,
        100,
    )
    .await?;
    stop(began).await?;
    stop(begin(&nats, &gateway, events, "its snapshot").await?).await
}

type Running = (CancellationToken, runtime::tasks::Owned<Result<(), BoxError>>);

async fn begin(
    nats: &TestNats,
    gateway: &Nats,
    events: usize,
    from: &str,
) -> Result<Running, BoxError> {
    let ops = TcpListener::bind("127.0.0.1:0").await?;
    let config = Config {
        nats: nats.config("replay"),
        ops_listen: Vec::new(),
        telemetry: Settings { format: Format::Text, filter: "error".into(), traces: None },
        durability: Demand { strict: false },
        grace: WITHIN,
        index: IndexConfig::default(),
    };
    let shutdown = CancellationToken::new();
    let begun = Instant::now();
    let task = owned(run(config, Listeners { ops }, shutdown.clone()));
    let request = request(&["calls"], 0, 1);
    loop {
        if let Ok(answer) = refs(gateway, &request).await
            && answer.head[0] >= events as u64
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("ready from {from} after {:?}, {:.0} events/s", begun.elapsed(), rate(events, begun));
    Ok((shutdown, task))
}

async fn stop((shutdown, task): Running) -> Result<(), BoxError> {
    let begun = Instant::now();
    shutdown.cancel();
    task.join().await.ok_or("the node panicked")??;
    println!("stopped, snapshot written, after {:?}", begun.elapsed());
    Ok(())
}

async fn fill(ingest: &Nats, events: usize) -> Result<(), BoxError> {
    let log = ingest.event_log();
    let appends = stream::iter(0..events).map(|event| {
        let mut channels = format!("calls,call:{}", event % CALLS);
        if event.is_multiple_of(1_000) {
            channels.push_str(",user:7");
        }
        let append = Append {
            subject: format!("events.acme.call.CA{}.update", event % CALLS),
            message_id: format!("acme:bench:{event}"),
            headers: vec![(envelope::header::CHANNELS, channels)],
            payload: Bytes::from_static(&[b'x'; 200]),
            expect: None,
        };
        log.append(append)
    });
    let mut appends = appends.buffer_unordered(APPENDS);
    while let Some(appended) = appends.next().await {
        appended?;
    }
    Ok(())
}

async fn ask(
    gateway: &Nats,
    name: &str,
    channels: &[&str],
    after: u64,
    limit: usize,
) -> Result<(), BoxError> {
    let request = request(channels, after, limit);
    let begun = Instant::now();
    let answers = stream::iter(0..QUESTIONS).map(async |_| {
        let begun = Instant::now();
        refs(gateway, &request).await.map(|answer| (answer.refs.len(), begun.elapsed()))
    });
    let mut answers = answers.buffer_unordered(ASKERS);
    let (mut found, mut took) = (0, Vec::with_capacity(QUESTIONS));
    while let Some(answer) = answers.next().await {
        let (count, time) = answer?;
        found = count;
        took.push(time);
    }
    took.sort_unstable();
    let (middle, slow) = (took[QUESTIONS / 2], took[QUESTIONS * 99 / 100]);
    let per_second = rate(QUESTIONS, begun);
    println!(
        "{name}: {found} refs, {per_second:.0}/s of {ASKERS} askers, p50 {middle:?}, p99 {slow:?}"
    );
    let alone = Instant::now();
    for _ in 0..100 {
        refs(gateway, &request).await?;
    }
    println!("  one after the other {:?} each", alone.elapsed() / 100);
    Ok(())
}

async fn refs(gateway: &Nats, request: &RefsRequest) -> Result<RefsAnswer, BoxError> {
    let subject = subject::replay_request(&Tenant::parse("acme")?, question::REFS);
    let payload = serde_json::to_vec(request)?.into();
    let answer = gateway.request(&subject, payload, WITHIN).await?;
    match serde_json::from_slice(&answer)? {
        Answer::Ok(answer) => Ok(answer),
        Answer::Refused { message, .. } => Err(message.into()),
    }
}

fn request(channels: &[&str], after: u64, limit: usize) -> RefsRequest {
    let range = |channel: &&str| ChannelRange {
        channel: (*channel).to_owned(),
        after: NONE.map(|_| after),
    };
    RefsRequest {
        channels: channels.iter().map(range).collect(),
        upto: EVERYTHING,
        limit,
        newest_first: false,
    }
}

fn rate(count: usize, begun: Instant) -> f64 {
    count as f64 / begun.elapsed().as_secs_f64()
}
