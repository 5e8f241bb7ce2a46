//! `throughline bench`: each benchmark starts the real services as processes of their own, loads them from this
//! process, and takes a floor in the same run: the least that a program could do for the same traffic.
//! Processor time per operation and the ratio to the floor hold on another machine; rates do not.

mod alerts;
mod commands;
mod fanout;
mod floor;
mod history;
mod http1;
mod idle;
mod platform;
mod process;
mod publisher;
mod report;
mod safety;
mod socket;
mod socketio;
mod storm;
mod webhooks;

use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Benchmark {
    /// One channel, many WebSocket clients, events as fast as they come
    Fanout(fanout::Options),
    /// Memory of connections that do nothing
    Idle(idle::Options),
    /// Socket.IO: deliveries, and coming back after cuts
    Socketio(socketio::Options),
    /// Everybody goes away, misses events and comes back at once
    Storm(storm::Options),
    /// Signed, deduplicated, durably acknowledged webhooks
    Webhooks(webhooks::Options),
    /// Pages of a channel that is rare in a large stream
    History(history::Options),
    /// A steady rate of commands, each timed until another client sees its event
    Commands(commands::Options),
    /// Alerts to connected admins, while a crowd is given a million metrics a second
    Alerts(alerts::Options),
    /// Messages that tell of danger, each timed until resources and alert are there
    Safety(safety::Options),
    /// A floor's own process
    #[command(hide = true)]
    Floor {
        #[command(subcommand)]
        floor: floor::Floor,
    },
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let report = match arguments.benchmark {
        Benchmark::Fanout(options) => Box::pin(fanout::run(options)).await?,
        Benchmark::Idle(options) => Box::pin(idle::run(options)).await?,
        Benchmark::Socketio(options) => Box::pin(socketio::run(options)).await?,
        Benchmark::Storm(options) => Box::pin(storm::run(options)).await?,
        Benchmark::Webhooks(options) => Box::pin(webhooks::run(options)).await?,
        Benchmark::History(options) => Box::pin(history::run(options)).await?,
        Benchmark::Commands(options) => Box::pin(commands::run(options)).await?,
        Benchmark::Alerts(options) => Box::pin(alerts::run(options)).await?,
        Benchmark::Safety(options) => Box::pin(safety::run(options)).await?,
        Benchmark::Floor { floor } => return Box::pin(floor::run(floor)).await,
    };
    report.print(arguments.json)
}

/// A count as a number to calculate with; none here comes near the limit of exactness.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}

fn told(error: std::io::Error) -> Failure {
    Failure::failed("the load", error)
}
