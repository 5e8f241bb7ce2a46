//! `throughline service`: one service from its environment, as its own program runs it.
//! For the benchmarks and for whoever wants to carry a single binary.

use runtime::config::{Environment, Mistakes, Strings};
use runtime::tasks::{BoxError, stop_on_signals};
use runtime::telemetry;

use crate::failure::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(value_enum)]
    name: Name,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Name {
    Gateway,
    Ingest,
    AiProxy,
    Replay,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let outcome = match arguments.name {
        Name::Gateway => Box::pin(gateway(configured(gateway::Config::read)?)).await,
        Name::Ingest => Box::pin(ingest(configured(ingest::Config::read)?)).await,
        Name::AiProxy => Box::pin(ai_proxy(configured(ai_proxy::Config::read)?)).await,
        Name::Replay => Box::pin(replay(configured(replay::Config::read)?)).await,
    };
    outcome.map_err(|error| Failure::failed("stopped", error))
}

fn configured<T>(read: impl FnOnce(&dyn Strings) -> Result<T, Mistakes>) -> Result<T, Failure> {
    Ok(read(&Environment)?)
}

async fn gateway(config: gateway::Config) -> Result<(), BoxError> {
    telemetry::init(&config.telemetry);
    let (stop, _signals) = stop_on_signals()?;
    let public = runtime::http::bind(&config.listen, "LISTEN").await?;
    let ops = runtime::http::bind_one(&config.ops_listen, "OPS_LISTEN").await?;
    gateway::run(config, gateway::Listeners { public, ops }, stop).await
}

async fn ingest(config: ingest::Config) -> Result<(), BoxError> {
    telemetry::init(&config.telemetry);
    let (stop, _signals) = stop_on_signals()?;
    let http = runtime::http::bind(&config.listen, "LISTEN").await?;
    let ops = runtime::http::bind_one(&config.ops_listen, "OPS_LISTEN").await?;
    ingest::run(config, ingest::Listeners { http, ops }, stop).await
}

async fn ai_proxy(config: ai_proxy::Config) -> Result<(), BoxError> {
    telemetry::init(&config.telemetry);
    let (stop, _signals) = stop_on_signals()?;
    let ops = runtime::http::bind_one(&config.ops_listen, "OPS_LISTEN").await?;
    ai_proxy::run(config, ai_proxy::Listeners { ops }, stop).await
}

async fn replay(config: replay::Config) -> Result<(), BoxError> {
    telemetry::init(&config.telemetry);
    let (stop, _signals) = stop_on_signals()?;
    let ops = runtime::http::bind_one(&config.ops_listen, "OPS_LISTEN").await?;
    replay::run(config, replay::Listeners { ops }, stop).await
}
