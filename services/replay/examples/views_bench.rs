//! Measures views: how fast events are folded in memory, how fast a node folds a log it has never seen, builds a view
//! anew and loads a snapshot, and how long it takes to say what a view was. A core's worth is told by the time that
//! this process, without nats-server, has had on processors.
//! `cargo run --release -p replay --example views_bench [events]`
#![expect(clippy::print_stdout, reason = "printing is what a benchmark is for")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::replay::view::{
    BuildState, Progress, ProgressRequest, RebuildRequest, ViewAnswer, ViewRequest,
};
use domain::replay::{Answer, question};
use domain::views::Event;
use domain::{StreamId, Tenant, envelope, subject};
use futures_util::stream::{self, StreamExt};
use replay::config::{Config, IndexConfig};
use replay::views::{Folded, views_of};
use replay::{Listeners, run};
use runtime::event_log::Append;
use runtime::nats::Nats;
use runtime::provision::Demand;
use runtime::tasks::{BoxError, owned};
use runtime::telemetry::{Format, Settings};
use runtime::test_support::TestNats;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// As the service has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const APPENDS: usize = 512;
const QUESTIONS: usize = 1_000;
const ASKERS: usize = 4;
/// Calls that go on at the same time, and events of each.
const AT_ONCE: usize = 2_000;
const OF_EACH: usize = 5;
const WITHIN: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let events = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    fold_in_memory(events)?;
    let nats = TestNats::start().await;
    let (ingest, gateway) = (nats.nats("ingest").await, nats.nats("gateway").await);
    let begun = Instant::now();
    fill(&ingest, events).await?;
    println!("{events} events stored at {:.0}/s", rate(events, begun.elapsed()));
    let began = begin(&nats, &gateway, events, "the log").await?;
    for (name, is_one, is_past) in [
        ("one call now", true, false),
        ("one call as of", true, true),
        ("100 calls now", false, false),
        ("100 calls as of", false, true),
    ] {
        ask(&gateway, name, "calls", events, is_one, is_past).await?;
    }
    ask(&gateway, "100 active calls as of", "active-calls", events, false, true).await?;
    for view in ["calls", "active-calls"] {
        rebuild(&gateway, view, events).await?;
    }
    stop(began).await?;
    stop(begin(&nats, &gateway, events, "its snapshot").await?).await
}

/// What a provider tells: calls overlap, each with its statuses and a recording.
fn event(number: usize) -> (String, &'static str, String) {
    let (round, place) = (number / (AT_ONCE * OF_EACH), number % (AT_ONCE * OF_EACH));
    let (sid, step) = (format!("CA{:032}", round * AT_ONCE + place % AT_ONCE), place / AT_ONCE);
    let status = ["initiated", "ringing", "in-progress", "completed"].get(step);
    let rest = match status {
        Some(status) => format!(
            r#""status":"{status}","direction":"outbound-api","from":"+15005550006","to":"+1415{number:07}","sequence":{step}"#
        ),
        None => r#""recording":{"sid":"RE1","status":"completed","url":"https://api.example.com/recordings/RE1","duration":58}"#.to_owned(),
    };
    let data = format!(
        r#"{{"callSid":"{sid}","accountSid":"AC00000000000000000000000000000001","provider":"twilio",{rest},"timestamp":"2026-01-02T03:04:05.678Z"}}"#
    );
    (sid, "call.update", data)
}

fn fold_in_memory(events: usize) -> Result<(), BoxError> {
    let tenant = Tenant::parse("acme")?;
    let told: Vec<_> = (0..events).map(event).collect();
    for names in [&["calls", "active-calls"][..], &["calls"], &["active-calls"]] {
        let all = views_of(StreamId::Calls);
        let views = all.iter().copied().filter(|view| names.contains(&view.name)).collect();
        let mut folded = Folded::new(StreamId::Calls, views, 1);
        let spent = processor_time();
        for (number, (_, kind, data)) in told.iter().enumerate() {
            let event = Event {
                kind,
                id: "e",
                sequence: number as u64 + 1,
                time: "2026-01-02T03:04:05.678Z",
                channels: "",
                data: data.as_bytes(),
            };
            folded.fold(event.sequence, 1, Some((&tenant, event)));
        }
        let spent = processor_time() - spent;
        println!("{names:?} folded in memory: {:.0} events/s a core", rate(events, spent));
    }
    Ok(())
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
    let (begun, spent) = (Instant::now(), processor_time());
    let task = owned(run(config, Listeners { ops }, shutdown.clone()));
    let at_least = Some([events as u64, 0, 0, 0, 0]);
    let asked = ViewRequest { view: "active-calls".into(), at_least, ..ViewRequest::default() };
    while put::<_, ViewAnswer>(gateway, question::VIEW, &asked).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (took, spent) = (begun.elapsed(), processor_time() - spent);
    println!(
        "ready from {from} (index and all views) after {took:?}: {:.0} events/s, {:.0} a core",
        rate(events, took),
        rate(events, spent)
    );
    Ok((shutdown, task))
}

async fn stop((shutdown, task): Running) -> Result<(), BoxError> {
    let begun = Instant::now();
    shutdown.cancel();
    task.join().await.ok_or("the node panicked")??;
    println!("stopped, snapshots written, after {:?}", begun.elapsed());
    Ok(())
}

async fn fill(ingest: &Nats, events: usize) -> Result<(), BoxError> {
    let log = ingest.event_log();
    let appends = stream::iter(0..events).map(|number| {
        let (sid, kind, data) = event(number);
        let append = Append {
            subject: format!("events.acme.call.{sid}.update"),
            message_id: format!("acme:bench:{number}"),
            headers: vec![
                (envelope::header::TYPE, kind.to_owned()),
                (envelope::header::ID, number.to_string()),
                (envelope::header::TIME, "2026-01-02T03:04:05.678Z".to_owned()),
                (envelope::header::CHANNELS, format!("calls,call:{sid}")),
            ],
            payload: Bytes::from(data),
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
    view: &str,
    events: usize,
    is_one: bool,
    is_past: bool,
) -> Result<(), BoxError> {
    let answers = stream::iter(0..QUESTIONS).map(async |number| {
        // Spread over the whole log without a pattern that a cache would like.
        let place = (number * 7_919_777) % events;
        let at = is_past.then_some([place as u64 + 1, 0, 0, 0, 0]);
        let key = is_one.then(|| event(place).0);
        let asked = ViewRequest { view: view.into(), key, at, ..ViewRequest::default() };
        let begun = Instant::now();
        let answer: ViewAnswer = put(gateway, question::VIEW, &asked).await?;
        Ok::<_, BoxError>((answer.value.get().len(), begun.elapsed()))
    });
    let mut answers = answers.buffer_unordered(ASKERS);
    let (mut bytes, mut took) = (0, Vec::with_capacity(QUESTIONS));
    while let Some(answer) = answers.next().await {
        let (size, time) = answer?;
        bytes += size;
        took.push(time);
    }
    took.sort_unstable();
    let (middle, slow) = (took[QUESTIONS / 2], took[QUESTIONS * 99 / 100]);
    println!("{name}: p50 {middle:?}, p99 {slow:?}, {} bytes each", bytes / QUESTIONS);
    Ok(())
}

async fn rebuild(gateway: &Nats, view: &str, events: usize) -> Result<(), BoxError> {
    let (begun, spent) = (Instant::now(), processor_time());
    let wish = RebuildRequest { view: view.into() };
    let mut told: Progress = put(gateway, question::VIEW_REBUILD, &wish).await?;
    while matches!(told.state, BuildState::Waiting | BuildState::Building) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let look = ProgressRequest { node: told.node, job: told.job };
        told = put(gateway, question::VIEW_PROGRESS, &look).await?;
    }
    let (took, spent) = (begun.elapsed(), processor_time() - spent);
    println!(
        "{view} built anew in {took:?}, same: {:?}: {:.0} events/s, {:.0} a core",
        told.same,
        rate(events, took),
        rate(events, spent)
    );
    Ok(())
}

async fn put<Q: Serialize, A: DeserializeOwned>(
    gateway: &Nats,
    what: &str,
    asked: &Q,
) -> Result<A, BoxError> {
    let subject = subject::replay_request(&Tenant::parse("acme")?, what);
    let answer = gateway.request(&subject, serde_json::to_vec(asked)?.into(), WITHIN).await?;
    match serde_json::from_slice(&answer)? {
        Answer::Ok(answer) => Ok(answer),
        Answer::Refused { code, message } => Err(format!("{code}: {message}").into()),
    }
}

/// What this process has had of all processors.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}
