//! The AI side: answers what people say to the AI, hears and speaks, and screens every message for a person in danger.
//!
//! Screening and answering are durables of their own, so that a model that hangs delays no screening.

mod answering;
mod config;
mod limits;
mod metrics;
mod presence;
pub mod prompts;
pub mod providers;
pub mod screen;
pub mod settings;
mod tenants;
mod voice;

use std::time::Duration;

use runtime::config::{self as environment, AI_FILE, AI_TEMPLATES_DIR, SAFETY_DIR};
use runtime::health;
use runtime::metrics::Metrics as Registry;
use runtime::nats::Nats;
use runtime::ops::{self, Readiness};
use runtime::tasks::{BoxError, Tasks};
use runtime::vault::Vault;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use answering::{Board, Recorder, Worker};
pub use config::{Config, SERVICE};
use metrics::Metrics;
use screen::Alarm;
use tenants::Tenants;
use voice::{Speaker, Voice};

/// What the service serves on, bound by the caller so that a test can take port 0.
#[derive(Debug)]
pub struct Listeners {
    pub ops: TcpListener,
}

/// How often what is read off rather than counted is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until `shutdown`, or until one of its tasks fails.
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let (registry, readiness) = (Registry::new(), Readiness::new());
    let nats = Box::pin(Nats::connect(&config.nats)).await?;
    let work = readiness.condition("conversations");
    let vault = Vault::new(&nats, config.wrapping.clone());
    let mut tasks = Tasks::new(&shutdown);
    let stop = tasks.shutdown();
    tasks.spawn("ops", ops::run(listeners.ops, readiness.clone(), registry.clone(), stop.clone()));
    let keys = readiness.condition("keys");
    tasks.spawn("keys", vault.clone().follow(keys, stop.clone()));
    tasks.spawn("presence", presence::watch(nats.clone(), work, stop.clone()));
    let Config { catalogue, screen, templates, durability, .. } = config.clone();
    let (rules, lists) = (screen.clone(), templates.clone());
    // What a tenant offers may stand in either folder.
    let reload = move || rules.reload().and_then(|()| lists.reload());
    tasks.spawn("rules", environment::on_hangup(SAFETY_DIR.name, stop.clone(), reload));
    let alarm = Alarm::new(nats.clone(), catalogue.clone(), screen, templates);
    answer(&mut tasks, &config, &nats, &vault, &alarm, &registry, &readiness);
    let told = readiness.condition("catalogue");
    tasks.spawn("catalogue", catalogue.follow(nats.clone(), told, stop.clone()));
    let promised = readiness.condition("durability");
    tasks.spawn("durability", durability.heed(nats.clone(), promised, stop.clone()));
    tasks.spawn("health", health::tell(nats.clone(), readiness.clone(), stop.clone()));
    let screening = screen::run(nats, alarm, vault, registry, stop.clone());
    tasks.spawn("screen", screening);
    tasks.spawn("readiness", async move {
        stop.cancelled().await;
        readiness.stopping();
        Ok(())
    });
    Ok(tasks.finish(config.grace).await?)
}

fn answer(
    tasks: &mut Tasks,
    config: &Config,
    nats: &Nats,
    vault: &Vault,
    alarm: &Alarm,
    registry: &Registry,
    readiness: &Readiness,
) {
    let (stop, metrics) = (tasks.shutdown(), Metrics::new(registry));
    let tenants = Tenants::new(config.settings.clone());
    let board = Board::new(nats, tenants.clone());
    // The tail goes on until what is begun has ended, which needs to see its own events.
    let tail = CancellationToken::new();
    tasks.spawn("tail", board.clone().follow(readiness.condition("tail"), tail.clone()));
    let (recorder, templates) =
        (Recorder::new(nats, config.catalogue.clone(), vault.clone()), config.templates.clone());
    let speaker = Speaker::new(recorder.clone(), metrics.clone());
    let hearing = Voice::new(recorder.clone(), board.clone(), tenants.clone(), speaker.clone());
    let voice = readiness.condition("speech");
    tasks.spawn("voice", voice::run(hearing, metrics.clone(), voice, config.grace, stop.clone()));
    let lost = voice::lost::run(recorder.clone(), board.clone(), metrics.clone(), stop.clone());
    tasks.spawn("lost speech", lost);
    tasks.spawn("kept sound", voice::keeper::run(nats.clone(), stop.clone()));
    let (all, counted) = (tenants.clone(), metrics.clone());
    let worker =
        Worker::new(recorder, board, all, templates.clone(), counted, speaker, alarm.clone());
    let answering = answering::dispatch::run(nats.clone(), worker, config.grace, stop.clone());
    tasks.spawn("answer", async move {
        let _tail = tail.drop_guard();
        answering.await
    });
    tasks.spawn("meters", metrics::watch(metrics, tenants, LOOK_EVERY, stop.clone()));
    let settings = config.settings.clone();
    let reload = move || settings.reload();
    tasks.spawn("settings", environment::on_hangup(AI_FILE.name, stop.clone(), reload));
    let reload = move || templates.reload();
    tasks.spawn("templates", environment::on_hangup(AI_TEMPLATES_DIR.name, stop, reload));
}
