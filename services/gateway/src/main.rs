//! The gateway service: configuration from the environment, listeners bound, run until a signal.

use std::process::ExitCode;

use gateway::{Config, Listeners};
use runtime::config::{Environment, LISTEN, OPS_LISTEN, refuse};
use runtime::tasks::{BoxError, stop_on_signals};
use runtime::{http, telemetry};
use tracing::error;

/// As in ingest, where a webhook costs a tenth less processor time than with the system's allocator.
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
    let public = http::bind(&config.listen, LISTEN.name).await?;
    let ops = http::bind_one(&config.ops_listen, OPS_LISTEN.name).await?;
    gateway::run(config, Listeners { public, ops }, shutdown).await
}
