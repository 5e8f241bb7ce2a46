//! Signed webhooks, each answered after the log has acknowledged it, with nobody following them unless asked for.
//! The floor answers 204 without looking.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::bench::http1::Connection;
use crate::bench::platform::{Platform, floor};
use crate::bench::process::cpu_seconds;
use crate::bench::publisher::per_million;
use crate::bench::report::{Goal, Report, percentile};
use crate::bench::{float, told};
use crate::failure::Failure;
use crate::simulate::Signed;
use crate::sources::Sources;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections, one request under way on each
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Seconds to measure
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Run gateway and replay beside it, which follow every event
    #[arg(long)]
    followed: bool,
}

struct Load {
    /// Milliseconds, sorted.
    latencies: Vec<f64>,
    seconds: f64,
}

impl Load {
    fn rate(&self) -> f64 {
        float(self.latencies.len()) / self.seconds
    }
}

pub(crate) async fn run(options: Options) -> Result<Report, Failure> {
    let duration = Duration::from_secs(options.seconds);
    let wanted: &[&str] =
        if options.followed { &["gateway", "ingest", "replay"] } else { &["ingest"] };
    let platform = Platform::start_only(wanted).await?;
    let sources = Sources::read(&platform.folder.secrets_path().join("sources.toml"))?;
    let (ingest, nats) = (platform.cpu_of("ingest"), platform.nats_cpu());
    let load = load(platform.ingest, &sources, options.connections, duration).await?;
    let count = load.latencies.len();
    let ingest = per_million(platform.cpu_of("ingest") - ingest, count);
    let nats = per_million(platform.nats_cpu() - nats, count);
    platform.stop().await;
    let (child, address) = floor(&["http".to_owned()]).await?;
    let floor = self::load(address, &sources, options.connections, duration).await?;
    let floor_cpu = per_million(cpu_seconds(child.id().unwrap_or_default()), floor.latencies.len());
    let mut report = Report::new("webhooks");
    report.add("connections", float(options.connections), "");
    report.goal("stored", load.rate(), "webhooks/s", Goal::AtLeast(30_000.0));
    report.add("p50", percentile(&load.latencies, 50), "ms");
    report.add("p99", percentile(&load.latencies, 99), "ms");
    report.add("ingest", ingest, "CPU s per million");
    report.add("nats-server", nats, "CPU s per million");
    report.add("floor: answered without work", floor.rate(), "requests/s");
    report.add("floor", floor_cpu, "CPU s per million");
    report.ratio("ingest's ratio to the floor", ingest, floor_cpu);
    Ok(report)
}

async fn load(
    address: SocketAddr,
    sources: &Sources,
    connections: usize,
    duration: Duration,
) -> Result<Load, Failure> {
    let (started, mut senders) = (Instant::now(), JoinSet::new());
    for number in 0..connections {
        senders.spawn(send(address, sources.clone(), number, started + duration));
    }
    let mut latencies = Vec::new();
    while let Some(sent) = senders.join_next().await {
        latencies.extend(sent.map_err(|error| Failure::failed("a sender", error))??);
    }
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    Ok(Load { latencies, seconds })
}

async fn send(
    address: SocketAddr,
    sources: Sources,
    sender: usize,
    until: Instant,
) -> Result<Vec<f64>, Failure> {
    let mut connection = Connection::open(address).await.map_err(told)?;
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let signed = Signed::twilio("call-status", &fields(sender, latencies.len()), &sources)?;
        let headers: String =
            signed.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let started = Instant::now();
        let line = format!("POST {}", signed.path);
        let answer = connection.request(&line, &headers, &signed.body).await.map_err(told)?;
        if !(200..300).contains(&answer.status) {
            return Err(Failure::Failed(format!("a webhook was answered {}", answer.status)));
        }
        latencies.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(latencies)
}

/// A call of its own for every request, so that none is a duplicate.
fn fields(sender: usize, number: usize) -> Vec<(&'static str, String)> {
    vec![
        ("CallSid", format!("CA{sender:08x}{number:024x}")),
        ("AccountSid", format!("AC{}", "0".repeat(32))),
        ("From", "+15005550006".to_owned()),
        ("To", "+14155551212".to_owned()),
        ("Direction", "outbound-api".to_owned()),
        ("ApiVersion", "2010-04-01".to_owned()),
        ("CallStatus", "ringing".to_owned()),
        ("CallbackSource", "call-progress-events".to_owned()),
        ("SequenceNumber", "1".to_owned()),
    ]
}
