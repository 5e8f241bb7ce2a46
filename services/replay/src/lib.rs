//! The read side: answers where events stand in the log, and shows and redrives what was quarantined.
//!
//! It holds no content: events stay in the log, and whoever asked reads them there by sequence.

use std::sync::Arc;

use domain::StreamId;
use domain::replay::question;
use runtime::health;
use runtime::metrics::Metrics;
use runtime::nats::Nats;
use runtime::ops::{self, Readiness};
use runtime::tasks::{BoxError, Tasks};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod answer;
pub mod config;
pub mod index;
mod indexing;
mod meters;
mod pages;
mod quarantine;
mod retention;
mod snapshots;
mod state;
pub mod views;

pub use config::Config;
use config::IndexConfig;
use indexing::Indexer;
use meters::Meters;
use snapshots::Snapshots;
use state::State;
use views::Views;

/// What the service serves on, bound by the caller so that a test can take port 0.
#[derive(Debug)]
pub struct Listeners {
    pub ops: TcpListener,
}

/// How many tasks answer pages: each takes from a subscription of its own, so that all cores are used.
const PAGE_SERVERS: usize = 4;

/// Runs the read side until `shutdown`, or until one of its tasks fails.
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let (metrics, readiness) = (Metrics::new(), Readiness::new());
    let nats = Nats::connect(&config.nats).await?;
    let state = Arc::new(State::new(Meters::new(&metrics)));
    let snapshots = Snapshots::new(&nats, state.clone(), config.index);
    let mut tasks = Tasks::new(&shutdown);
    let stop = tasks.shutdown();
    tasks.spawn("ops", ops::run(listeners.ops, readiness.clone(), metrics, stop.clone()));
    spawn_indexing(&mut tasks, &nats, &state, &snapshots, &readiness);
    let reader = nats.log_reader();
    let every = config.index.retention_every;
    tasks.spawn("retention", retention::watch(reader, state.clone(), every, stop.clone()));
    spawn_answering(&mut tasks, &nats, &state);
    spawn_views(&mut tasks, &nats, &state, config.index, &readiness);
    let promised = readiness.condition("durability");
    tasks.spawn("durability", config.durability.heed(nats.clone(), promised, stop.clone()));
    tasks.spawn("snapshots", snapshots.keep(stop.clone()));
    tasks.spawn("health", health::tell(nats.clone(), readiness.clone(), stop.clone()));
    tasks.spawn("readiness", async move {
        stop.cancelled().await;
        readiness.stopping();
        Ok(())
    });
    Ok(tasks.finish(config.grace).await?)
}

fn spawn_indexing(
    tasks: &mut Tasks,
    nats: &Nats,
    state: &Arc<State>,
    snapshots: &Snapshots,
    readiness: &Readiness,
) {
    let stop = tasks.shutdown();
    for stream in StreamId::ALL {
        let indexer = Indexer::new(stream, state.clone(), readiness.condition(stream.name()));
        let task = indexer.run(nats.clone(), snapshots.clone(), stop.clone());
        tasks.spawn(format!("index of {stream}"), task);
    }
    let task = quarantine::following::follow(nats.clone(), state.clone(), stop);
    tasks.spawn("index of the quarantine", task);
}

fn spawn_answering(tasks: &mut Tasks, nats: &Nats, state: &Arc<State>) {
    let stop = tasks.shutdown();
    for _ in 0..PAGE_SERVERS {
        let task = pages::serve(nats.clone(), question::REFS, state.clone(), stop.clone());
        tasks.spawn("refs", task);
    }
    tasks.spawn("at", pages::serve(nats.clone(), question::AT, state.clone(), stop.clone()));
    let operators =
        [question::QUARANTINE_LIST, question::QUARANTINE_SHOW, question::QUARANTINE_REDRIVE];
    for question in operators {
        let task = quarantine::serve(nats.clone(), question, state.clone(), stop.clone());
        tasks.spawn(question, task);
    }
}

/// How many tasks answer questions about views.
const VIEW_SERVERS: usize = 2;

fn spawn_views(
    tasks: &mut Tasks,
    nats: &Nats,
    state: &Arc<State>,
    config: IndexConfig,
    readiness: &Readiness,
) {
    let (stop, views, meters) = (tasks.shutdown(), Arc::new(Views::new()), state.meters.clone());
    let (builds, queue) = views::Builds::new();
    for stream in StreamId::ALL {
        let condition = readiness.condition(views::condition(stream));
        let live =
            views::Live::new(stream, views.clone(), meters.clone(), condition, nats, &builds);
        tasks.spawn(format!("views of {stream}"), live.run(nats.clone(), stop.clone()));
    }
    for _ in 0..VIEW_SERVERS {
        let answering = views::serve(nats.clone(), views.clone(), meters.clone(), stop.clone());
        tasks.spawn("view", answering);
    }
    let contacts = views::serve_contacts(nats.clone(), views.clone(), meters.clone(), stop.clone());
    tasks.spawn("contacts", contacts);
    let builder = views::Builder::new(nats, views.clone(), builds.clone(), meters.clone());
    tasks.spawn("views built anew", builder.run(queue, stop.clone()));
    tasks.spawn(
        "view rebuilds",
        views::serve_builds(nats.clone(), builds, meters.clone(), stop.clone()),
    );
    tasks.spawn("snapshots of views", views::Keeper::new(nats, views, meters, config).keep(stop));
}
