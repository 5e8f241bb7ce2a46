//! Socket.IO: what a delivery costs, and what is left of a connection that was cut. The platform's side is started for
//! it; a stock server that somebody has started is measured in the same run, by the same client (`--peer`).
//!
//! Such a server lets everybody in, with `connectionStateRecovery` and whatever adapter is to be measured, and serves
//! two events:
//!
//! ```js
//! io.on("connection", (socket) => {
//!   socket.on("subscribe", (room, done) => { socket.join(room); done(); });
//!   socket.on("publish", (room, name, data, done) => { io.to(room).emit(name, data); done?.(); });
//! });
//! ```

pub(crate) mod client;
mod fanout;
mod recovery;
mod server;

use std::net::SocketAddr;

use crate::bench::publisher::per_million;
use crate::bench::report::Report;
use crate::bench::{float, told};
use crate::failure::Failure;
use client::{Client, Memory};
use recovery::Cut;
use server::Server;

/// What the events of these benchmarks begin with.
const BEGIN: &str = "42[\"call_update\"";
/// More than a server holds in memory for those who are away.
const LONG_AWAY: usize = 12_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What to measure
    #[arg(value_enum, default_value_t = Scenario::Recovery)]
    scenario: Scenario,
    /// Clients
    #[arg(long, default_value_t = 500)]
    clients: usize,
    /// Events that each misses, or is given
    #[arg(long, default_value_t = 200)]
    events: usize,
    /// The address of a stock server, measured in the same run
    #[arg(long, requires = "peer_pid")]
    peer: Option<SocketAddr>,
    /// The process of that server
    #[arg(long)]
    peer_pid: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// Connections are cut, events are missed, everybody comes back
    Recovery,
    /// One channel, everybody in it
    Fanout,
}

pub(crate) async fn run(options: Options) -> Result<Report, Failure> {
    let mut report = Report::new("Socket.IO");
    let mut ours = Server::ours().await?;
    measure("throughline", &mut ours, &options, &mut report).await?;
    ours.stop().await;
    if let (Some(address), Some(pid)) = (options.peer, options.peer_pid) {
        let mut peer = Server::peer(address, pid).await?;
        measure("peer", &mut peer, &options, &mut report).await?;
    }
    Ok(report)
}

async fn measure(
    who: &str,
    server: &mut Server,
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    let (clients, events) = (options.clients, options.events);
    if options.scenario == Scenario::Fanout {
        let cpu = fanout::measure(server, clients, events).await?;
        let cost = per_million(cpu, clients * events);
        report.add(format!("{who}: a million deliveries"), cost, "CPU s");
        return Ok(());
    }
    for (name, cut, missed) in [
        ("cut", Cut::Link, events),
        ("killed", Cut::Kill, events),
        ("half open", Cut::HalfOpen, events),
        ("long away", Cut::Link, LONG_AWAY),
    ] {
        let run = name.replace(' ', "-");
        let found = recovery::measure(server, cut, &run, clients, missed).await?;
        let Some(outcome) = found else { continue };
        let lost = float(clients * missed) - float(outcome.events);
        report.add(format!("{who}, {name}: recovered"), float(outcome.recovered), "clients");
        report.add(format!("{who}, {name}: missed for good"), lost, "events");
        report.add(format!("{who}, {name}: given twice"), float(outcome.repeated), "events");
        report.add(format!("{who}, {name}: everything there after"), outcome.seconds, "s");
    }
    Ok(())
}

/// Clients in the channel that everything here goes to.
async fn connect(server: &Server, count: usize, buffer: usize) -> Result<Vec<Client>, Failure> {
    let (address, token) = (server.address(), server.token());
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let opened = Client::open(address, &token, &Memory::default(), buffer).await;
        let mut client = opened.map_err(told)?;
        client.join("calls").await.map_err(told)?;
        clients.push(client);
    }
    Ok(clients)
}
