//! `throughline`: starts the whole platform, and talks to a running one as any client would.
//! It must not know business rules; what it publishes, reads and prints goes over the public interfaces.
#![expect(clippy::print_stderr, reason = "a program that talks to a terminal")]

mod arguments;
mod bench;
mod client;
mod completions;
mod data;
mod erase;
mod failure;
mod health;
mod history;
mod publish;
mod quarantine;
mod safety;
mod service;
mod simulate;
mod sources;
mod streams;
mod table;
mod tail;
mod team;
mod token;
mod up;
mod variables;
mod view;

use std::process::ExitCode;

use arguments::{Command, CommandLine};
use failure::Failure;

/// A tenth less processor time per webhook than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = CommandLine::read();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed("the runtime did not start", error).tell(),
    };
    match runtime.block_on(run(arguments.chosen())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Up(arguments) => Box::pin(up::run(arguments)).await,
        Command::Token(arguments) => token::run(&arguments),
        Command::Publish(arguments) => publish::run(arguments).await,
        Command::Tail(arguments) => tail::run(arguments).await,
        Command::History(arguments) => history::run(arguments).await,
        Command::View(arguments) => view::run(arguments).await,
        Command::Simulate(arguments) => simulate::run(arguments).await,
        Command::Quarantine(arguments) => quarantine::run(arguments).await,
        Command::Erase(arguments) => erase::run(arguments).await,
        Command::Safety(arguments) => safety::run(arguments),
        Command::Streams(arguments) => Box::pin(streams::run(arguments)).await,
        Command::Team(arguments) => Box::pin(team::run(arguments)).await,
        Command::Bench(arguments) => Box::pin(bench::run(arguments)).await,
        Command::Secrets(arguments) => data::init(&arguments),
        Command::Health(arguments) => health::run(arguments).await,
        Command::Service(arguments) => Box::pin(service::run(arguments)).await,
        Command::Variables => variables::run(),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}
