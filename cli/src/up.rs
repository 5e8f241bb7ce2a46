//! `throughline up`: nats-server and all four services in one go, with development values for what is not set.
//! It starts, watches and stops them; what they do is theirs.

mod banner;
mod broker;
mod listeners;
pub(crate) mod ready;
mod restart;
mod services;
mod settings;

use std::time::Duration;

use runtime::config::{Environment, Mistakes, Reader, Strings};
use runtime::tasks::{BoxError, Tasks, stop_on_signals};
use runtime::telemetry;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::data::{self, DataFolder, Lock, Secrets};
use crate::failure::Failure;
use crate::simulate::{Kind, Plan, Simulator};
use crate::token;

use broker::Broker;
use listeners::Listeners;
use settings::Settings;

pub(crate) use settings::{LOG, VARIABLES};

/// Beyond what each service takes for itself.
const GRACE: Duration = Duration::from_secs(15);
/// Pace of the demo's traffic.
const DEMO_PACE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    data: data::Location,
    /// Add simulated traffic through the real ingest endpoints
    #[arg(long)]
    demo: bool,
    /// Use this server instead of starting one
    #[arg(long, env = "NATS_URL", value_name = "URL", hide_env_values = true)]
    nats_url: Option<String>,
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let nats_url = arguments.nats_url.as_deref().filter(|url| !url.trim().is_empty());
    let settings = configured(&Environment, nats_url)?;
    init_log()?;
    let folder = DataFolder::create(&arguments.data.data)?;
    let _lock = Lock::take(&folder)?;
    let secrets = Secrets::load_or_make(&folder, Some(&settings.tenant))?;
    let (stop, _signals) = stop_on_signals().map_err(|error| Failure::failed("signals", error))?;
    let listeners = Listeners::bind(&settings).await?;
    let mut broker = Box::pin(Broker::start(&settings, &folder, &secrets, nats_url)).await?;
    let platform = Platform { settings, folder, secrets, demo: arguments.demo };
    let outcome = Box::pin(platform.serve(listeners, &mut broker, &stop)).await;
    broker.stop().await;
    outcome
}

/// Every mistake at once, whoever reads the variable, before anything is made or started.
fn configured(strings: &dyn Strings, nats_url: Option<&str>) -> Result<Settings, Mistakes> {
    let mut reader = Reader::new(strings);
    let settings = Settings::read(strings, &mut reader);
    if let Err(mistakes) = services::check(strings, &settings, nats_url) {
        reader.mistakes(mistakes);
    }
    reader.finish(settings)
}

/// Quiet unless asked: what goes wrong, and the life of nothing but this process.
pub(crate) fn init_log() -> Result<(), Failure> {
    let quiet =
        std::collections::BTreeMap::from([("RUST_LOG".to_owned(), settings::LOG.to_owned())]);
    let strings = runtime::config::Overlay(Environment, quiet);
    let mut reader = Reader::new(&strings);
    let log = telemetry::Settings::read(&mut reader);
    telemetry::init(&reader.finish(log)?);
    Ok(())
}

struct Platform {
    settings: Settings,
    folder: DataFolder,
    secrets: Secrets,
    demo: bool,
}

impl Platform {
    async fn serve(
        self,
        listeners: Listeners,
        broker: &mut Broker,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let endpoints = listeners.endpoints(broker.address(), &self.settings)?;
        let before = data::Endpoints::of(&self.folder);
        endpoints.write(&self.folder)?;
        if self.settings.has_own_sources() {
            self.secrets.move_sources(&before.ingest, &endpoints.ingest)?;
        }
        let ops = listeners.ops_urls()?;
        let mut tasks = Tasks::new(stop);
        services::spawn(&mut tasks, listeners, &self.settings, &self.secrets, broker)?;
        let (halt, halted) = (tasks.shutdown(), tasks.shutdown());
        tasks.spawn("start", async move {
            tokio::select! {
                ready = ready::wait(&ops) => ready?,
                () = halt.cancelled() => return Ok(()),
            }
            banner::print(&self.folder, &endpoints, &ops).map_err(told)?;
            if self.demo {
                self.demo(&endpoints, &halt).await?;
            }
            halt.cancelled().await;
            eprintln!("stopping; Ctrl-C again ends at once");
            Ok(())
        });
        let mut services = Box::pin(tasks.finish(GRACE));
        let outcome = tokio::select! {
            outcome = &mut services => outcome,
            reason = broker.keep_running(&halted) => {
                stop.cancel();
                // The reason is the broker's end; what fails while stopping is told in the log.
                let _ = services.await;
                return Err(reason);
            }
        };
        outcome.map_err(|error| Failure::failed("stopped", error))
    }

    async fn demo(
        &self,
        endpoints: &data::Endpoints,
        stop: &CancellationToken,
    ) -> Result<(), BoxError> {
        let wanted = token::Wanted::new(domain::Role::Service, endpoints.tenant.clone());
        let token = token::mint(&self.folder, &wanted).map_err(told)?;
        let client = Client::new(endpoints.ingest.clone(), token).map_err(told)?;
        let simulator = Simulator::new(client, &self.folder, true).map_err(told)?;
        let seed = u64::from_le_bytes(runtime::ids::random_bytes());
        let plan = Plan { kind: Kind::All, pace: DEMO_PACE, count: u64::MAX, seed };
        while !stop.is_cancelled() {
            // The demo goes on after a refusal: the platform may be restarting its broker.
            if let Err(failure) = simulator.play(&plan, stop).await {
                tracing::warn!(reason = %told(failure), "the demo's traffic was refused");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Ok(())
    }
}

fn told(failure: Failure) -> BoxError {
    failure.to_string().into()
}
