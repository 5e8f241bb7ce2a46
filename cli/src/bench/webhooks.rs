//! Signed webhooks, each answered after the log has acknowledged it, with nobody following them unless asked for.
//! The floor answers 204 without looking.
//!
//! The senders share the cores with what they measure, so they do as little as a sender can: requests are made
//! before the clock runs, one thread serves all connections, and each answer is still read whole and checked.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::bench::http1::{Answer, Connection};
use crate::bench::platform::{Platform, floor};
use crate::bench::process::{cpu_seconds, thread_cpu_seconds};
use crate::bench::publisher::per_million;
use crate::bench::report::{Goal, Report, percentile};
use crate::bench::{float, told};
use crate::failure::Failure;
use crate::sources::Sources;

mod prepared;

use prepared::Prepared;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections, one request under way on each
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Requests prepared for each second; a faster platform ends the measurement early
    #[arg(long, default_value_t = 80_000)]
    prepared: usize,
    /// Run gateway and replay beside it, which follow every event
    #[arg(long)]
    followed: bool,
}

impl Options {
    fn prepared_per_connection(&self) -> usize {
        let seconds = usize::try_from(self.seconds).unwrap_or(usize::MAX);
        self.prepared.saturating_mul(seconds).div_ceil(self.connections.max(1))
    }
}

struct Load {
    /// Milliseconds, sorted.
    latencies: Vec<f64>,
    seconds: f64,
    /// Processor time of the senders, per million requests.
    cpu: f64,
}

impl Load {
    fn rate(&self) -> f64 {
        float(self.latencies.len()) / self.seconds
    }
}

/// What an answer must be.
type Check = fn(Answer<'_>) -> bool;

pub(crate) async fn run(options: Options) -> Result<Report, Failure> {
    let duration = Duration::from_secs(options.seconds);
    let wanted: &[&str] =
        if options.followed { &["gateway", "ingest", "replay"] } else { &["ingest"] };
    let platform = Platform::start_only(wanted).await?;
    let sources = Sources::read(&platform.folder.secrets_path().join("sources.toml"))?;
    let requests = prepare(&options, &sources).await?;
    let (ingest, nats) = (platform.cpu_of("ingest"), platform.nats_cpu());
    let (load, requests) = load(platform.ingest, requests, duration, is_stored).await?;
    let count = load.latencies.len();
    let ingest = per_million(platform.cpu_of("ingest") - ingest, count);
    let nats = per_million(platform.nats_cpu() - nats, count);
    platform.stop().await;
    let (child, address) = floor(&["http".to_owned()]).await?;
    let (floor, _) = self::load(address, requests, duration, |answer| answer.status == 204).await?;
    let floor_cpu = per_million(cpu_seconds(child.id().unwrap_or_default()), floor.latencies.len());
    let mut report = Report::new("webhooks");
    report.add("connections", float(options.connections), "");
    report.goal("stored", load.rate(), "webhooks/s", Goal::AtLeast(30_000.0));
    report.add("p50", percentile(&load.latencies, 50), "ms");
    report.add("p99", percentile(&load.latencies, 99), "ms");
    report.add("ingest", ingest, "CPU s per million");
    report.add("nats-server", nats, "CPU s per million");
    report.add("the senders", load.cpu, "CPU s per million");
    report.add("floor: answered without work", floor.rate(), "requests/s");
    report.add("floor", floor_cpu, "CPU s per million");
    report.add("the floor's senders", floor.cpu, "CPU s per million");
    report.ratio("ingest's ratio to the floor", ingest, floor_cpu);
    Ok(report)
}

/// On all cores, since nothing is measured yet.
async fn prepare(options: &Options, sources: &Sources) -> Result<Vec<Prepared>, Failure> {
    let count = options.prepared_per_connection();
    let mut preparing = JoinSet::new();
    for sender in 0..options.connections {
        let sources = sources.clone();
        preparing.spawn_blocking(move || Prepared::new(sender, count, &sources));
    }
    let mut prepared = Vec::with_capacity(options.connections);
    while let Some(one) = preparing.join_next().await {
        prepared.push(one.map_err(|error| Failure::failed("preparing", error))??);
    }
    Ok(prepared)
}

/// Drives all connections from one thread, which has no other work.
async fn load(
    address: SocketAddr,
    requests: Vec<Prepared>,
    duration: Duration,
    check: Check,
) -> Result<(Load, Vec<Prepared>), Failure> {
    let thread = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        runtime.map_err(told)?.block_on(drive(address, requests, duration, check))
    });
    thread.await.map_err(|error| Failure::failed("the senders", error))?
}

async fn drive(
    address: SocketAddr,
    requests: Vec<Prepared>,
    duration: Duration,
    check: Check,
) -> Result<(Load, Vec<Prepared>), Failure> {
    let mut connections = Vec::with_capacity(requests.len());
    for requests in requests {
        connections.push((Connection::open(address).await.map_err(told)?, requests));
    }
    let (started, cpu, mut senders) = (Instant::now(), thread_cpu_seconds(), JoinSet::new());
    for (connection, requests) in connections {
        senders.spawn(send(connection, requests, started + duration, check));
    }
    let (mut latencies, mut requests) = (Vec::new(), Vec::new());
    while let Some(sent) = senders.join_next().await {
        let (some, prepared) = sent.map_err(|error| Failure::failed("a sender", error))??;
        latencies.extend(some);
        requests.push(prepared);
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = per_million(thread_cpu_seconds() - cpu, latencies.len());
    latencies.sort_by(f64::total_cmp);
    Ok((Load { latencies, seconds, cpu }, requests))
}

async fn send(
    mut connection: Connection,
    mut requests: Prepared,
    until: Instant,
    check: Check,
) -> Result<(Vec<f64>, Prepared), Failure> {
    let mut latencies = Vec::with_capacity(requests.len());
    let mut started = Instant::now();
    while started < until {
        let Some(request) = requests.request(latencies.len()) else { break };
        let answer = connection.exchange(request).await.map_err(told)?;
        if !check(answer) {
            return Err(Failure::Failed(format!("a webhook was answered {}", answer.status)));
        }
        // The next request leaves at once.
        let now = Instant::now();
        latencies.push((now - started).as_secs_f64() * 1e3);
        started = now;
    }
    Ok((latencies, requests))
}

/// Stored in the log, and not because it was there already.
fn is_stored(answer: Answer<'_>) -> bool {
    const STREAM: &[u8] = br#""stream":"CALLS""#;
    const NEW: &[u8] = br#""duplicate":false"#;
    let holds = |words: &[u8]| answer.body.windows(words.len()).any(|window| window == words);
    answer.status == 200 && holds(STREAM) && holds(NEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_new_event_in_the_log_counts() {
        let answered = |status, duplicate| {
            let body = format!(
                r#"{{"events":[{{"stream":"CALLS","sequence":7,"duplicate":{duplicate}}}]}}"#
            );
            is_stored(Answer { status, body: body.as_bytes() })
        };
        assert!(answered(200, false));
        assert!(!answered(200, true));
        assert!(!answered(503, false));
    }
}
