//! The ai-proxy service: configuration from the environment, listeners bound, run until a signal.

use std::process::ExitCode;

use ai_proxy::{Config, Listeners};
use runtime::config::{Environment, OPS_LISTEN, refuse};
use runtime::tasks::{BoxError, stop_on_signals};
use runtime::{http, telemetry};
use tracing::error;

/// The system's allocator took a fifth of the processor time of streamed answers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::read(&Environment) {
        Ok(config) => config,
        Err(mistakes) => return refuse(&mistakes),
    };
    telemetry::init(&config.telemetry);
    match Box::pin(serve(config)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!(error = %telemetry::chain(&*failure), "stopped");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Config) -> Result<(), BoxError> {
    let (shutdown, _signals) = stop_on_signals()?;
    let ops = http::bind_one(&config.ops_listen, OPS_LISTEN.name).await?;
    ai_proxy::run(config, Listeners { ops }, shutdown).await
}
