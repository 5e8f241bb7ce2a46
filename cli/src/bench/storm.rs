//! Everybody goes away at once, misses events, and comes back at once. The floor is a program that takes as many
//! connections and writes as many frames of the same size, without knowing who missed what.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Role;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bench::platform::{Platform, floor};
use crate::bench::publisher::{campaign_of_100, publish};
use crate::bench::report::{Goal, Report};
use crate::bench::socket::Socket;
use crate::bench::{float, told};
use crate::failure::Failure;

const CHANNELS: usize = 100;
/// Connections being made at the same time: more would overflow the listener's queue and measure TCP's timers.
const AT_ONCE: usize = 1_000;
const BUFFER: usize = 4 * 1024;
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Clients, spread over a hundred channels
    #[arg(long, default_value_t = 10_000)]
    clients: usize,
    /// Events that each misses
    #[arg(long, default_value_t = 100)]
    missed: usize,
}

/// What one client is to do.
#[derive(Clone)]
struct Visit {
    address: SocketAddr,
    path: Arc<str>,
    room: Option<(String, Option<String>)>,
    /// Frames to wait for, and what they begin with.
    frames: usize,
    begin: &'static str,
}

/// What one client saw: its last cursor, bytes, and when it had everything.
struct Seen {
    cursor: Option<String>,
    bytes: usize,
    socket: Socket,
}

pub(crate) async fn run(options: Options) -> Result<Report, Failure> {
    let Options { clients, missed } = options;
    let platform = Platform::start().await?;
    let token = platform.token(Role::Service)?;
    let path: Arc<str> = format!("/ws?token={}", platform.token(Role::Agent)?).into();
    let visit = |client: usize, after: Option<String>, frames: usize| Visit {
        address: platform.gateway,
        path: path.clone(),
        room: Some((format!("campaign:bench-{}", client % CHANNELS), after)),
        frames,
        begin: "{\"type\":\"campaign:progress\"",
    };
    // One event each, so that everybody stands somewhere.
    publish(platform.ingest, &token, "before", CHANNELS, campaign_of_100).await?;
    let first = (0..clients).map(|client| visit(client, Some("earliest".to_owned()), 1));
    let seen = all(first.collect()).await?;
    let cursors: Vec<_> = seen.into_iter().map(|seen| seen.cursor).collect();
    publish(platform.ingest, &token, "missed", missed * CHANNELS, campaign_of_100).await?;
    let consumers = platform.consumers().await?;
    let (cpu, started) = (platform.cpu_of("gateway"), Instant::now());
    let back = cursors.into_iter().enumerate();
    let back = all(back.map(|(client, cursor)| visit(client, cursor, missed)).collect());
    let (seen, most) = watched(&platform, back).await?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = platform.cpu_of("gateway") - cpu;
    let after = platform.consumers().await?;
    let bytes: usize = seen.iter().map(|seen| seen.bytes).sum();
    drop(seen);
    platform.stop().await;
    let floor = floor_seconds(clients, missed, bytes / (clients * missed).max(1)).await?;
    let mut report = Report::new("reconnect storm");
    report.add("clients", float(clients), "");
    report.add("missed by each", float(missed), "events");
    report.goal("everybody caught up", seconds, "s", Goal::AtMost(10.0));
    report.add("gateway", cpu, "CPU s");
    report.add("floor", floor, "s");
    report.ratio("ratio to the floor", seconds, floor);
    report.add("JetStream consumers before", float(consumers), "");
    report.goal(
        "created meanwhile, at most",
        float(most.saturating_sub(consumers)),
        "",
        Goal::AtMost(0.0),
    );
    report.add("JetStream consumers after", float(after), "");
    Ok(report)
}

/// Everybody comes; ends when everybody has all frames. The sockets stay open until the last.
async fn all(visits: Vec<Visit>) -> Result<Vec<Seen>, Failure> {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut clients = JoinSet::new();
    let count = visits.len();
    for (client, visit) in visits.into_iter().enumerate() {
        let gate = Arc::clone(&gate);
        clients.spawn(async move { (client, visit.make(&gate).await) });
    }
    let mut seen: Vec<Option<Seen>> = (0..count).map(|_| None).collect();
    while let Some(done) = clients.join_next().await {
        let (client, one) = done.map_err(|error| Failure::failed("a client", error))?;
        seen[client] = Some(one.map_err(told)?);
    }
    Ok(seen.into_iter().flatten().collect())
}

impl Visit {
    async fn make(self, gate: &Semaphore) -> std::io::Result<Seen> {
        let place = gate.acquire().await.map_err(std::io::Error::other)?;
        let mut socket = Socket::open(self.address, &self.path, BUFFER).await?;
        if let Some((room, after)) = &self.room {
            socket.ask_to_join(room, after.as_deref()).await?;
        }
        drop(place);
        let (mut frames, mut bytes, mut cursor) = (0, 0, None);
        while frames < self.frames {
            let is_open = socket
                .read(|frame| {
                    if frame.is_text() && frame.payload.starts_with(self.begin.as_bytes()) {
                        frames += 1;
                        bytes += frame.size;
                        if frames == self.frames {
                            cursor = frame.text_of("cursor");
                        }
                    }
                })
                .await?;
            if !is_open {
                return Err(std::io::Error::other(format!("closed after {frames} frames")));
            }
        }
        Ok(Seen { cursor, bytes, socket })
    }
}

/// Looks at the server's own count of consumers all the while; the most there were.
async fn watched(
    platform: &Platform,
    clients: impl Future<Output = Result<Vec<Seen>, Failure>>,
) -> Result<(Vec<Seen>, usize), Failure> {
    let mut clients = Box::pin(clients);
    let mut most = 0;
    loop {
        tokio::select! {
            seen = &mut clients => return Ok((seen?, most)),
            () = tokio::time::sleep(LOOK_EVERY) => most = most.max(platform.consumers().await?),
        }
    }
}

async fn floor_seconds(clients: usize, frames: usize, size: usize) -> Result<f64, Failure> {
    let numbers = [clients, frames, size].map(|number| number.to_string());
    let arguments = ["fanout".to_owned()].into_iter().chain(numbers).collect::<Vec<_>>();
    let (_child, address) = floor(&arguments).await?;
    let visit = Visit { address, path: "/".into(), room: None, frames, begin: "x" };
    let started = Instant::now();
    let seen = all(vec![visit; clients]).await?;
    let seconds = started.elapsed().as_secs_f64();
    drop(seen.into_iter().map(|seen| seen.socket).collect::<Vec<_>>());
    Ok(seconds)
}
