//! The write side: verifies webhooks, admits publications and appends facts to the log.
//!
//! Every way in (webhooks, publishers' HTTP, INBOX, redrives) passes the same gate and ends in [`intake`]; an answer
//! is given only after the log has acknowledged.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::StreamId;
use runtime::auth::Authenticator;
use runtime::catalogue::LiveCatalogue;
use runtime::config::{CATALOGUE_DIR, ESCALATION_FILE, SOURCES_FILE};
use runtime::http_client::{Client, Limits};
use runtime::nats::Nats;
use runtime::ops::{self, Condition, Readiness};
use runtime::tasks::{BoxError, Tasks};
use runtime::vault::Vault;
use runtime::{config as environment, health, http};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

mod activity;
mod answer;
mod audio;
mod catalogue;
pub mod config;
mod contacts;
mod decider;
pub mod effects;
pub mod escalation;
mod gate;
pub mod idempotency;
mod inbox;
mod intake;
mod lanes;
mod mapping;
mod memory;
mod metrics;
mod proof;
mod protection;
mod publication;
mod quarantine;
mod receipts;
mod receive;
mod redrive;
mod revocations;
mod rotation;
mod routes;
pub mod sources;
mod stored;
mod submission;
mod waiting;
mod worker;

pub use config::Config;
use intake::Intake;
use memory::Memory;
use metrics::Metrics;
use routes::App;
pub use routes::BodyLimits;

/// What the service serves on, bound by the caller so that a test can take port 0.
#[derive(Debug)]
pub struct Listeners {
    pub http: Vec<TcpListener>,
    pub ops: TcpListener,
}

/// Bodies with audio that are taken in at one time.
const UPLOADS: usize = 8;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// For key sets and session checks.
const CLIENT: Limits = Limits { deadline: Duration::from_secs(3), max_body: 256 * 1024 };

/// Runs the write side until `shutdown`, or until one of its tasks fails.
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let (registry, readiness) = (runtime::metrics::Metrics::new(), Readiness::new());
    let metrics = Metrics::new(&registry);
    let nats = Box::pin(Nats::connect(&config.nats)).await?;
    let memory = Memory::new(nats.log_reader(), config.memory);
    let catalogue = config.catalogue.clone();
    let vault = Vault::new(&nats, config.wrapping.clone());
    let intake = Intake::new(
        &nats,
        catalogue,
        vault.clone(),
        memory.clone(),
        metrics.clone(),
        config.in_flight,
    );
    let mut tasks = Tasks::new(&shutdown);
    let stop = tasks.shutdown();
    tasks.spawn("ops", ops::run(listeners.ops, readiness.clone(), registry.clone(), stop.clone()));
    tasks.spawn("keys", vault.clone().follow(readiness.condition("keys"), stop.clone()));
    if config.wrapping.are_rotating() {
        tasks.spawn("rotation", rotation::run(vault, stop.clone()));
    }
    remember(&mut tasks, &nats, &memory, metrics, &readiness);
    let changing = (config.catalogue, config.catalogue_dir);
    change(&mut tasks, &nats, changing, readiness.condition("catalogue"));
    let decider = decider::start(&mut tasks, &nats, &intake, &registry, &readiness, config.grace);
    let inbox = inbox::run(intake.clone(), nats.clone(), config.grace, stop.clone());
    tasks.spawn("inbox", inbox);
    let sources = config.sources.clone();
    let again = redrive::serve(
        intake.clone(),
        decider.clone(),
        sources.clone(),
        nats.clone(),
        stop.clone(),
    );
    tasks.spawn("redrive", again);
    let reload = move || sources.reload();
    tasks.spawn("sources", environment::on_hangup(SOURCES_FILE.name, stop.clone(), reload));
    crises(&mut tasks, &nats, &intake, decider, config.chains, config.twilio)?;
    let auth = Authenticator::new(config.auth, &Client::new(CLIENT)?);
    tasks.spawn("auth", auth.clone().run(stop.clone()));
    let revoked = readiness.condition("revocations");
    let revocations = revocations::watch(nats.clone(), auth.clone(), revoked, stop.clone());
    tasks.spawn("revocations", revocations);
    let promised = readiness.condition("durability");
    tasks.spawn("durability", config.durability.heed(nats.clone(), promised, stop.clone()));
    tasks.spawn("health", health::tell(nats.clone(), readiness.clone(), stop.clone()));
    let reachable = readiness.condition("nats");
    tasks.spawn("connection", watch(nats.clone(), reachable, readiness, stop.clone()));
    let uploads = Arc::new(Semaphore::new(UPLOADS));
    let (sources, bodies) = (config.sources, config.bodies);
    let unproven = routes::Unproven::default();
    let app = App { intake, sources, auth, nats, bodies, unproven, uploads };
    let serving = http::serve(listeners.http, routes::router(app), config.http, stop);
    tasks.spawn("http", async move { Ok(serving.await?) });
    Ok(tasks.finish(config.grace).await?)
}

/// The operator's folder and the log tell what the catalogue is.
fn change(
    tasks: &mut Tasks,
    nats: &Nats,
    (live, folder): (LiveCatalogue, Option<PathBuf>),
    current: Condition,
) {
    let stop = tasks.shutdown();
    tasks.spawn("catalogue", live.clone().follow(nats.clone(), current, stop.clone()));
    let (newest, told) = watch::channel(folder.as_ref().map(|_| live.files().to_vec()));
    let telling = catalogue::run(live, nats.event_log(), told, stop.clone());
    tasks.spawn("catalogue changes", telling);
    if let Some(folder) = folder {
        let reload = move || catalogue::reload(&folder, &newest);
        tasks.spawn("catalogue folder", environment::on_hangup(CATALOGUE_DIR.name, stop, reload));
    }
}

/// The clock of alerts and what else the log drives: pages, calls to end, what gateways have delivered, what
/// administrators are told of.
fn crises(
    tasks: &mut Tasks,
    nats: &Nats,
    intake: &Intake,
    decider: decider::Decider,
    chains: escalation::Registry,
    twilio: Option<effects::Twilio>,
) -> Result<(), BoxError> {
    let alerts = escalation::Alerts::new(nats, &decider);
    escalation::start(tasks, nats, &chains, (decider, alerts.clone()), intake.metrics());
    effects::start(tasks, nats, intake, (&chains, alerts), twilio)?;
    receipts::start(tasks, nats, intake);
    activity::start(tasks, nats, intake);
    let stop = tasks.shutdown();
    let reload = move || chains.reload();
    tasks.spawn("escalation file", environment::on_hangup(ESCALATION_FILE.name, stop, reload));
    Ok(())
}

fn remember(
    tasks: &mut Tasks,
    nats: &Nats,
    memory: &Memory,
    metrics: Metrics,
    readiness: &Readiness,
) {
    let stop = tasks.shutdown();
    for stream in StreamId::ALL {
        let feed = memory::feed(memory.clone(), nats.clone(), stream, stop.clone());
        tasks.spawn(format!("memory of {stream}"), feed);
    }
    let warm = readiness.condition("idempotency");
    tasks.spawn("memory", memory::maintain(memory.clone(), metrics, warm, stop));
}

/// Ready only while the log can be reached; the first to say so when the service stops.
async fn watch(
    nats: Nats,
    reachable: Condition,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = looks.tick() => {}
        }
        if nats.is_connected() {
            reachable.holds();
        } else {
            reachable.missing("not connected; see NATS_URL");
        }
    }
    readiness.stopping();
    Ok(())
}
