//! The ingest service: configuration from the environment, listeners bound, run until a signal.

use std::process::ExitCode;

use ingest::{Config, Listeners};
use runtime::config::{Environment, LISTEN, OPS_LISTEN, refuse};
use runtime::http::{bind, bind_one};
use runtime::tasks::{BoxError, stop_on_signals};
use runtime::telemetry;
use tracing::error;

/// A tenth less processor time per webhook than the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::read(&Environment) {
        Ok(config) => config,
        Err(mistakes) => return refuse(&mistakes),
    };
    telemetry::init(&config.telemetry);
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!(error = %telemetry::chain(&*failure), "stopped");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<(), BoxError> {
    let (shutdown, _signals) = stop_on_signals()?;
    let http = bind(&config.listen, LISTEN.name).await?;
    let ops = bind_one(&config.ops_listen, OPS_LISTEN.name).await?;
    Box::pin(ingest::run(config, Listeners { http, ops }, shutdown)).await
}
