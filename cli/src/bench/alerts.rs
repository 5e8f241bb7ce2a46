//! Alerts to connected admins while a crowd is given metrics: how long from the command that raises one until each
//! admin sees it. The commands leave at a steady pace, so that a slow one delays no other's beginning; who raises and
//! who watches has a thread apart from the crowd's, whose reading would count as the platform's delay.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use domain::Role;
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout_at};

use crate::bench::http1::Connection;
use crate::bench::platform::Platform;
use crate::bench::publisher::{metric, pace, per_million};
use crate::bench::report::{Goal, Report, percentile};
use crate::bench::socket::Socket;
use crate::bench::{float, told};
use crate::failure::Failure;

const ADMIN_BUFFER: usize = 16 * 1024;
const CROWD_BUFFER: usize = 64 * 1024;
/// What is not seen this long after the last command is lost.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Admins who are connected
    #[arg(long, default_value_t = 100)]
    admins: usize,
    /// Alerts a second
    #[arg(long, default_value_t = 10)]
    rate: u32,
    /// How long
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Clients of the dashboard, who get the metrics
    #[arg(long, default_value_t = 1_000)]
    crowd: usize,
    /// Metrics a second; each goes to the whole crowd
    #[arg(long, default_value_t = 1_000)]
    metrics: u32,
}

pub(crate) async fn run(options: Options) -> Result<Report, Failure> {
    let Options { admins, rate, seconds, crowd, metrics } = options;
    let platform = Platform::start().await?;
    let apart = apart()?;
    let (gateway, admin) = (platform.gateway, platform.token(Role::Admin)?);
    let watching = joined(apart.spawn(connected(gateway, admin, admins, ADMIN_BUFFER))).await?;
    let mut others = connected(gateway, platform.token(Role::Agent)?, crowd, CROWD_BUFFER).await?;
    for socket in &mut others {
        socket.join("dashboard:overview", None).await.map_err(told)?;
    }
    let duration = Duration::from_secs(u64::from(seconds));
    let (cpu, started) = (platform.cpu_of("gateway"), Instant::now());
    let until = started + duration + SEEN_WITHIN;
    let alerts = (rate * seconds) as usize;
    let seeing: Vec<_> = watching
        .into_iter()
        .map(|socket| apart.spawn(watch(socket, started, until, alerts)))
        .collect();
    let mut reading = JoinSet::new();
    for socket in others {
        reading.spawn(count(socket, started + duration));
    }
    let token = platform.token(Role::Service)?;
    let raising = apart.spawn(raise(gateway, token.clone(), started, rate, alerts));
    let publishing = pace(platform.ingest, &token, "beside", (metrics, duration), metric);
    tokio::try_join!(joined(raising), publishing)?;
    let mut delivered = 0;
    while let Some(read) = reading.join_next().await {
        delivered += read.map_err(|error| Failure::failed("a client", error))?.map_err(told)?;
    }
    let cpu = platform.cpu_of("gateway") - cpu;
    let mut latencies = Vec::with_capacity(alerts * admins);
    for seen in seeing {
        latencies.extend(seen.await.map_err(|error| Failure::failed("an admin", error))?);
    }
    apart.shutdown_background();
    platform.stop().await;
    latencies.sort_by(f64::total_cmp);
    let mut report = Report::new("alerts");
    report.add("alerts", float(alerts), "");
    report.add("admins", float(admins), "");
    report.goal("not seen", float(alerts * admins - latencies.len()), "", Goal::AtMost(0.0));
    report.add("to an admin, p50", percentile(&latencies, 50), "ms");
    report.goal("to an admin, p99", percentile(&latencies, 99), "ms", Goal::AtMost(50.0));
    report.add("to an admin, most", percentile(&latencies, 100), "ms");
    report.add("metrics beside", float(delivered) / f64::from(seconds), "deliveries/s");
    report.add("gateway", per_million(cpu, delivered + latencies.len()), "CPU s per million");
    Ok(report)
}

fn apart() -> Result<Runtime, Failure> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.map_err(|error| Failure::failed("a runtime", error))
}

async fn joined<T>(task: JoinHandle<Result<T, Failure>>) -> Result<T, Failure> {
    task.await.map_err(|error| Failure::failed("a client", error))?
}

async fn connected(
    gateway: SocketAddr,
    token: String,
    many: usize,
    buffer: usize,
) -> Result<Vec<Socket>, Failure> {
    let path = format!("/ws?token={token}");
    let mut sockets = Vec::with_capacity(many);
    for _ in 0..many {
        sockets.push(Socket::open(gateway, &path, buffer).await.map_err(told)?);
    }
    Ok(sockets)
}

/// Each alert is about a conversation of its own, which is named by when its command left.
async fn raise(
    gateway: SocketAddr,
    token: String,
    started: Instant,
    rate: u32,
    alerts: usize,
) -> Result<(), Failure> {
    let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut commands = JoinSet::new();
    for _ in 0..alerts {
        ticks.tick().await;
        let (headers, at) = (headers.clone(), started.elapsed().as_nanos());
        let mut connection = Connection::open(gateway).await.map_err(told)?;
        commands.spawn(async move {
            let data = format!(
                r#"{{"userId":"7","conversationId":"{at}","severity":"imminent","signals":["bench"]}}"#
            );
            let body = format!(r#"{{"type":"crisis.raise","data":{data}}}"#);
            let answer = connection.request("POST /v1/commands", &headers, body.as_bytes()).await?;
            Ok::<_, std::io::Error>(answer.status)
        });
    }
    while let Some(answered) = commands.join_next().await {
        match answered.map_err(|error| Failure::failed("a command", error))?.map_err(told)? {
            200 | 202 => {}
            status => return Err(Failure::Failed(format!("an alert was answered {status}"))),
        }
    }
    Ok(())
}

/// Milliseconds from each command to its alert here.
async fn watch(mut socket: Socket, started: Instant, until: Instant, alerts: usize) -> Vec<f64> {
    let mut latencies = Vec::with_capacity(alerts);
    while latencies.len() < alerts {
        let read = socket.read(|frame| {
            let now = started.elapsed().as_secs_f64();
            if !frame.payload.starts_with(br#"{"type":"crisis:alert""#) {
                return;
            }
            let raised = frame.text_of("conversationId").and_then(|at| at.parse::<f64>().ok());
            latencies.extend(raised.map(|raised| (now - raised / 1e9) * 1e3));
        });
        let Ok(true) = timeout_at(until.into(), read).await.unwrap_or(Ok(false)) else { break };
    }
    latencies
}

/// How many metrics one of the crowd is given.
async fn count(mut socket: Socket, until: Instant) -> std::io::Result<usize> {
    let mut given = 0;
    loop {
        let read = socket.read(|frame| {
            given += usize::from(frame.payload.starts_with(br#"{"type":"metric_update""#));
        });
        match timeout_at(until.into(), read).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(std::io::Error::other("closed among the metrics")),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(given),
        }
    }
}
