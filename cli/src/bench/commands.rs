//! Commands at a steady rate over WebSockets, each timed until another client sees its event.
//!
//! Every connection holds a conversation of its own and says something in it; one administrator is in all of them.

use std::time::{Duration, Instant};

use domain::Role;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at, timeout_at};

use crate::bench::platform::Platform;
use crate::bench::publisher::per_million;
use crate::bench::report::{Goal, Report, percentile};
use crate::bench::socket::{Frame, Socket};
use crate::bench::{float, told};
use crate::failure::Failure;

const BUFFER: usize = 16 * 1024;
/// What is not seen this long after the last command is lost.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Connections that command; one client may join 200 channels
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=190))]
    connections: u32,
    /// Commands a second of all connections together
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// How long
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

pub(crate) async fn run(options: Options) -> Result<Report, Failure> {
    let Options { connections, rate, seconds } = options;
    let platform = Platform::start().await?;
    let (speakers, watcher) = opened(&platform, connections).await?;
    let each = (rate * seconds / connections).max(1);
    let total = (each * connections) as usize;
    let cpu = || [platform.cpu_of("ingest"), platform.cpu_of("gateway"), platform.nats_cpu()];
    let (before, started) = (cpu(), Instant::now());
    let pace = Duration::from_secs(u64::from(seconds)) / each;
    let mut speaking = JoinSet::new();
    for (number, socket) in speakers.into_iter().enumerate() {
        // Spread over one round, so that a second's commands do not all come in its first moment.
        let first = pace * u32::try_from(number).unwrap_or_default() / connections;
        speaking.spawn(speak(socket, started, first, pace, each));
    }
    let last = started + Duration::from_secs(u64::from(seconds));
    let latencies = watch(watcher, started, last + SEEN_WITHIN, total).await?;
    let spent: Vec<f64> = cpu().iter().zip(before).map(|(after, before)| after - before).collect();
    let mut answered = 0;
    while let Some(spoken) = speaking.join_next().await {
        answered += spoken.map_err(|error| Failure::failed("a client", error))?.map_err(told)?;
    }
    platform.stop().await;
    let mut report = Report::new("commands");
    report.add("commands a second", float(total) / f64::from(seconds), "");
    report.add("lost", float(total - latencies.len()), "");
    report.add("answered", float(answered), "");
    report.goal("to another client, p50", percentile(&latencies, 50), "ms", Goal::AtMost(5.0));
    report.goal("to another client, p99", percentile(&latencies, 99), "ms", Goal::AtMost(20.0));
    report.add("to another client, most", percentile(&latencies, 100), "ms");
    for (what, spent) in ["ingest", "gateway", "nats-server"].into_iter().zip(spent) {
        report.add(what, per_million(spent, total), "CPU s per million");
    }
    Ok(report)
}

/// The connections, each with a conversation, and who watches them all.
async fn opened(
    platform: &Platform,
    connections: u32,
) -> Result<(Vec<(Socket, String)>, Socket), Failure> {
    let watching = format!("/ws?token={}", platform.token(Role::Admin)?);
    let speaking = format!("/ws?token={}", platform.token(Role::User)?);
    let mut watcher = Socket::open(platform.gateway, &watching, 4 * BUFFER).await.map_err(told)?;
    let mut speakers = Vec::new();
    for _ in 0..connections {
        let mut socket = Socket::open(platform.gateway, &speaking, BUFFER).await.map_err(told)?;
        let start = r#"{"type":"conversation:start","payload":{"avatarId":"maya"},"id":"start"}"#;
        socket.send(start).await.map_err(told)?;
        let conversation = conversation_of(&mut socket).await?;
        watcher.join(&format!("conversation:{conversation}"), None).await.map_err(told)?;
        speakers.push((socket, conversation));
    }
    Ok((speakers, watcher))
}

pub(super) async fn conversation_of(socket: &mut Socket) -> Result<String, Failure> {
    let mut answer: Option<Option<String>> = None;
    while answer.is_none() {
        let is_open = socket
            .read(|frame| {
                if frame.holds(r#""ref":"start""#) {
                    answer = Some(frame.text_of("conversationId"));
                }
            })
            .await
            .map_err(told)?;
        if !is_open {
            break;
        }
    }
    answer.flatten().ok_or_else(|| Failure::Failed("no conversation was started".to_owned()))
}

/// Says the time at every tick; returns how often it was answered that this was decided.
async fn speak(
    (mut socket, conversation): (Socket, String),
    started: Instant,
    first: Duration,
    pace: Duration,
    times: u32,
) -> std::io::Result<usize> {
    let mut ticks = interval_at((started + first).into(), pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut said, mut answered) = (0, 0);
    let deadline = started + pace * times + SEEN_WITHIN;
    let count = |frame: Frame<'_>| usize::from(frame.holds(r#""type":"ack""#));
    while answered < times as usize {
        let mut read = 0;
        tokio::select! {
            _ = ticks.tick(), if said < times => {
                said += 1;
                let at = started.elapsed().as_nanos();
                let payload = format!(r#"{{"conversationId":"{conversation}","message":"{at}"}}"#);
                let text = format!(
                    r#"{{"type":"conversation:message","payload":{payload},"id":"{said}"}}"#
                );
                socket.send(&text).await?;
            }
            is_open = timeout_at(deadline.into(), socket.read(|frame| read += count(frame))) => {
                let Ok(true) = is_open.unwrap_or(Ok(false)) else { break };
                answered += read;
            }
        }
    }
    Ok(answered)
}

/// Milliseconds from each command to its event, sorted.
async fn watch(
    mut socket: Socket,
    started: Instant,
    until: Instant,
    total: usize,
) -> Result<Vec<f64>, Failure> {
    let mut latencies = Vec::with_capacity(total);
    while latencies.len() < total {
        let read = socket.read(|frame| {
            let now = started.elapsed().as_secs_f64();
            if !frame.payload.starts_with(br#"{"type":"conversation:message""#) {
                return;
            }
            let said = frame.text_of("message").and_then(|at| at.parse::<f64>().ok());
            latencies.extend(said.map(|said| (now - said / 1e9) * 1e3));
        });
        let Ok(true) = timeout_at(until.into(), read).await.unwrap_or(Ok(false)) else { break };
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}
