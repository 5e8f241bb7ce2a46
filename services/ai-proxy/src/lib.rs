//! The AI side's place in the platform: configured, connected, watched, drained.
//! It holds no AI work and fetches nothing from its durables, so what they are owed stays theirs.

mod config;
mod limits;
mod presence;
pub mod prompts;
pub mod providers;
pub mod screen;
pub mod settings;

use runtime::metrics::Metrics;
use runtime::nats::Nats;
use runtime::ops::{self, Readiness};
use runtime::tasks::{BoxError, Tasks};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::{Config, SERVICE};

/// What the service serves on, bound by the caller so that a test can take port 0.
#[derive(Debug)]
pub struct Listeners {
    pub ops: TcpListener,
}

/// Runs until `shutdown`, or until one of its tasks fails.
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let (metrics, readiness) = (Metrics::new(), Readiness::new());
    let nats = Box::pin(Nats::connect(&config.nats)).await?;
    let work = readiness.condition("conversations");
    let mut tasks = Tasks::new(&shutdown);
    let stop = tasks.shutdown();
    tasks.spawn("ops", ops::run(listeners.ops, readiness.clone(), metrics.clone(), stop.clone()));
    tasks.spawn("presence", presence::watch(nats.clone(), work, stop.clone()));
    let Config { catalogue, screen, .. } = config;
    let screening = screen::run(nats, catalogue, screen, metrics, stop.clone());
    tasks.spawn("screen", screening);
    tasks.spawn("readiness", async move {
        stop.cancelled().await;
        readiness.stopping();
        Ok(())
    });
    Ok(tasks.finish(config.grace).await?)
}
