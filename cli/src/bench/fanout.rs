//! One channel, many clients, events as fast as ingest stores them. The floor writes the same frames to as many
//! sockets, 64 a write, and does nothing else.

use std::net::SocketAddr;
use std::time::Instant;

use domain::Role;
use tokio::task::JoinSet;

use crate::bench::platform::{Platform, floor};
use crate::bench::process::cpu_seconds;
use crate::bench::publisher::{call, per_million, publish};
use crate::bench::report::{Goal, Report};
use crate::bench::socket::Socket;
use crate::bench::{float, told};
use crate::failure::Failure;

const BUFFER: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Clients in the channel
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Events to publish
    #[arg(long, default_value_t = 20_000)]
    events: usize,
}

/// What all clients together received.
#[derive(Default)]
struct Received {
    frames: usize,
    bytes: usize,
}

pub(crate) async fn run(options: Options) -> Result<Report, Failure> {
    let Options { clients, events } = options;
    let platform = Platform::start().await?;
    let sockets = joined(&platform, clients).await?;
    let (gateway, started) = (platform.cpu_of("gateway"), Instant::now());
    let receiving = receive(sockets, events, "{\"type\":\"call_update\"");
    let token = platform.token(Role::Service)?;
    let publishing = publish(platform.ingest, &token, "fanout", events, call);
    let (received, ()) = tokio::try_join!(receiving, publishing)?;
    let seconds = started.elapsed().as_secs_f64();
    let gateway = platform.cpu_of("gateway") - gateway;
    platform.stop().await;
    let size = received.bytes / received.frames.max(1);
    let floor = floor_cpu(clients, events, size).await?;
    let mut report = Report::new("fan-out");
    report.add("clients", float(clients), "");
    report.add("deliveries", float(received.frames), "");
    report.add("bytes per frame", float(size), "B");
    report.add("rate", float(received.frames) / seconds, "deliveries/s");
    let cost = per_million(gateway, received.frames);
    report.goal("gateway", cost, "CPU s per million", Goal::AtMost(0.6));
    let floor = per_million(floor, clients * events);
    report.add("floor", floor, "CPU s per million");
    report.ratio("ratio to the floor", cost, floor);
    Ok(report)
}

async fn joined(platform: &Platform, clients: usize) -> Result<Vec<Socket>, Failure> {
    let path = format!("/ws?token={}", platform.token(Role::Agent)?);
    let mut sockets = Vec::with_capacity(clients);
    for _ in 0..clients {
        let mut socket = Socket::open(platform.gateway, &path, BUFFER).await.map_err(told)?;
        socket.join("calls", None).await.map_err(told)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Reads `each` frames that begin so from every socket.
async fn receive(
    sockets: Vec<Socket>,
    each: usize,
    begin: &'static str,
) -> Result<Received, Failure> {
    let mut readers = JoinSet::new();
    for mut socket in sockets {
        readers.spawn(async move {
            let mut received = Received::default();
            while received.frames < each {
                let is_open = socket
                    .read(|frame| {
                        if frame.is_text() && frame.payload.starts_with(begin.as_bytes()) {
                            received.frames += 1;
                            received.bytes += frame.size;
                        }
                    })
                    .await?;
                if !is_open {
                    return Err(std::io::Error::other(format!(
                        "closed after {} frames",
                        received.frames
                    )));
                }
            }
            Ok(received)
        });
    }
    let mut all = Received::default();
    while let Some(read) = readers.join_next().await {
        let read = read.map_err(|error| Failure::failed("a client", error))?.map_err(told)?;
        all.frames += read.frames;
        all.bytes += read.bytes;
    }
    Ok(all)
}

/// Processor time of a program that only writes the same frames.
async fn floor_cpu(clients: usize, frames: usize, size: usize) -> Result<f64, Failure> {
    let numbers = [clients, frames, size].map(|number| number.to_string());
    let arguments = ["fanout".to_owned()].into_iter().chain(numbers).collect::<Vec<_>>();
    let (child, address) = floor(&arguments).await?;
    let pid = child.id().unwrap_or_default();
    let before = cpu_seconds(pid);
    let sockets = opened(address, clients).await?;
    receive(sockets, frames, "x").await?;
    Ok(cpu_seconds(pid) - before)
}

async fn opened(address: SocketAddr, clients: usize) -> Result<Vec<Socket>, Failure> {
    let mut sockets = Vec::with_capacity(clients);
    for _ in 0..clients {
        sockets.push(Socket::open(address, "/", BUFFER).await.map_err(told)?);
    }
    Ok(sockets)
}
