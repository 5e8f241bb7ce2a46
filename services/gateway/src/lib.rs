//! The gateway: the only client-facing origin. It authenticates, authorises, speaks the wires, holds cursors,
//! delivers and collects acknowledgements.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::{delete, get, post};
use runtime::auth::Authenticator;
use runtime::catalogue::LiveCatalogue;
use runtime::http::{self, edge as with_edge};
use runtime::http_client::{Client, Limits as ClientLimits};
use runtime::ids;
use runtime::metrics::Metrics;
use runtime::nats::Nats;
use runtime::ops::{self, Condition, Readiness};
use runtime::tasks::{BoxError, Connections, Tasks};
use runtime::vault::Vault;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

mod admin;
mod commands;
pub mod config;
mod devices;
mod documents;
mod edge;
mod entry;
mod erasure;
mod event_stream;
mod feed;
mod health;
mod history;
mod hub;
mod library;
mod line;
mod management;
mod member;
mod meters;
#[cfg(feature = "planted-bugs")]
mod planted;
mod presence;
mod problems;
mod publish;
mod queries;
mod receipts;
mod records;
mod registry;
mod revocations;
mod rooms;
mod session;
mod signals;
mod socket;
pub mod socketio;
mod tail;
mod throttle;
mod typing;
mod views;
mod voice;
mod wires;

pub use config::Config;
use edge::{Edge, Shared};
use hub::Hub;
use library::Library;
pub use socket::echo;

/// What the service serves on, bound by the caller so that a test can take port 0.
#[derive(Debug)]
pub struct Listeners {
    pub public: Vec<TcpListener>,
    pub ops: TcpListener,
}

/// Runs the gateway until `shutdown`, or until one of its tasks fails.
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let (metrics, readiness) = (Metrics::new(), Readiness::new());
    let mut tasks = Tasks::new(&shutdown);
    let stop = tasks.shutdown();
    // Declared before anybody can ask: the others come once NATS is there.
    let door = readiness.condition("clients");
    tasks.spawn("ops", ops::run(listeners.ops, readiness.clone(), metrics.clone(), stop.clone()));
    let serving = serve(config.clone(), listeners.public, metrics, (readiness, door), stop);
    tasks.spawn("gateway", Box::pin(serving));
    Ok(tasks.finish(config.grace * 2).await?)
}

/// Waits for what it needs, then accepts clients until told to stop, then lets them go.
async fn serve(
    config: Config,
    public: Vec<TcpListener>,
    metrics: Metrics,
    (readiness, door): (Readiness, Condition),
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let catalogue = config.catalogue.clone();
    let nats = Box::pin(Nats::connect(&config.nats)).await?;
    let streams = readiness.condition("event streams");
    let revoked = readiness.condition("revocations");
    let beginning = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        beginning = feed::beginning(&nats, config.memory.warm_events, &streams) => beginning,
    };
    let hub = Hub::new(beginning.position, config.memory.tail_bytes, config.keys.clone());
    let hub = Arc::new(hub);
    let fetches = Connections::new();
    let vault = Vault::new(&nats, config.wrapping.clone());
    let keys = readiness.condition("keys");
    let (changes, told) = (catalogue.clone(), readiness.condition("catalogue"));
    let library = Library::new(&nats, &hub, &catalogue, &vault, config.memory.cache_bytes, fetches);
    let (typing, signals) = typing::Typing::new(config.limits.typing);
    let parts = Parts { nats: nats.clone(), hub, library, catalogue, vault: vault.clone(), typing };
    let edge = edge(&config, parts, &metrics)?;
    // Work outlives the decision to stop, so that what clients have begun can end.
    let working = CancellationToken::new();
    let _ends_with_this = working.clone().drop_guard();
    let mut tasks = Tasks::new(&working);
    // Subscribed before any client can send a command.
    let decisions = edge.replies.subscribe(&nats).await?;
    tasks.spawn("replies", edge.replies.clone().serve(decisions, working.clone()));
    feed::start(&mut tasks, &edge, &beginning, streams);
    tasks.spawn("fences", edge.registry.clone().serve(nats.clone(), working.clone()));
    tasks.spawn("revocations", revocations::watch(edge.clone(), revoked, working.clone()));
    tasks.spawn("auth", edge.auth.clone().run(working.clone()));
    tasks.spawn("event streams", event_stream::run(edge.clone(), working.clone()));
    let handing_in = edge.receipts.clone().run(nats.clone(), working.clone());
    tasks.spawn("receipts", handing_in);
    let following = changes.follow(nats.clone(), told, working.clone());
    tasks.spawn("catalogue", following);
    tasks.spawn("keys", vault.follow(keys, working.clone()));
    let promised = readiness.condition("durability");
    tasks.spawn("durability", config.durability.heed(nats.clone(), promised, working.clone()));
    tasks.spawn("health", health::run(edge.clone(), working.clone()));
    let own = runtime::health::tell(nats.clone(), readiness.clone(), working.clone());
    tasks.spawn("own health", own);
    tasks.spawn("presence", presence::run(edge.clone(), working.clone()));
    tasks.spawn("typing", typing::run(edge.clone(), signals, working.clone()));
    let accepting = accept(config, public, edge, (readiness, door), stop);
    tasks.spawn("clients", async move {
        accepting.await?;
        working.cancel();
        Ok(())
    });
    Ok(tasks.finish(std::time::Duration::from_secs(5)).await?)
}

/// Serves clients once everything is there; at the end readiness goes first, then the connections.
async fn accept(
    config: Config,
    public: Vec<TcpListener>,
    edge: Edge,
    (readiness, opening): (Readiness, Condition),
    stop: CancellationToken,
) -> Result<(), BoxError> {
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        () = readiness.others(&opening) => opening.holds(),
    }
    let (leaving, closed) = (edge.clone(), CancellationToken::new());
    let door = closed.clone();
    let goodbye = async move {
        stop.cancelled().await;
        readiness.stopping();
        leaving.start_draining();
        // The door stays open until everybody has left: a client that polls hears of it by its next request.
        leaving.connections.drain(config.grace).await;
        door.cancel();
    };
    let app = with_edge(routes(edge.clone()), Some(edge.auth.origins()));
    let app = app.wrapped(|app| app.layer(from_fn(socketio::forbid_in_its_words)));
    let serving = http::serve(public, app, config.http, closed);
    let (served, ()) = tokio::join!(serving, goodbye);
    Ok(served?)
}

/// What the routes share and others need before them.
struct Parts {
    nats: Nats,
    hub: Arc<Hub>,
    library: Library,
    catalogue: LiveCatalogue,
    vault: Vault,
    typing: typing::Typing,
}

fn edge(config: &Config, parts: Parts, metrics: &Metrics) -> Result<Edge, BoxError> {
    let Parts { nats, hub, library, catalogue, vault, typing } = parts;
    let client = Client::new(ClientLimits::default())?;
    let registry = registry::Registry::new(ids::unguessable());
    let (node, grace) = (registry.node.clone(), config.limits.presence_grace);
    let presence = presence::Presence::new(node, nats.clone(), typing.clone(), &catalogue, grace);
    Ok(Arc::new(Shared {
        records: records::Records::new(&nats, config.keys.clone()),
        devices: devices::Devices::new(&nats, config.keys.clone()),
        replies: commands::Replies::new(&registry.node),
        repeats: commands::Repeats::default(),
        receipts: receipts::Receipts::new(&registry.node, metrics),
        registry,
        presence,
        health: health::Health::new(),
        typing,
        auth: Authenticator::new(config.auth.clone(), &client),
        limits: config.limits,
        meters: meters::Meters::new(metrics),
        checks: watch::Sender::new(0),
        stalls: event_stream::Stalls::default(),
        connections: Connections::traced(),
        drain: CancellationToken::new(),
        draining: AtomicBool::new(false),
        hub,
        library,
        catalogue,
        vault,
        nats,
    }))
}

fn routes(edge: Edge) -> Router {
    Router::new()
        .route("/ws", get(socket::upgrade))
        .route("/sse", get(event_stream::open))
        .route("/api/trpc/callLog.onCallEvent", get(event_stream::subscribe))
        .route("/api/trpc/call.onCallEvent", get(event_stream::subscribe))
        .route("/v1/history", get(history::page))
        .route("/v1/views/{view}", get(views::list))
        .route("/v1/views/{view}/{key}", get(views::one))
        .route("/v1/rebuilds", post(views::rebuild))
        .route("/v1/rebuilds/{node}/{job}", get(views::progress))
        .route("/api/ws/status", get(management::status))
        .route("/api/ws/rooms", get(management::status))
        .route("/api/ws/broadcast", post(management::broadcast))
        .route("/v1/commands", post(commands::http::command))
        .route("/api/calls/{callSid}/terminate", post(commands::http::terminate))
        .route("/asyncapi.json", get(documents::asyncapi))
        .route("/openapi.json", get(documents::openapi))
        .route("/v1/acks", post(admin::acknowledge))
        .route("/v1/revocations", post(admin::revoke))
        .route("/v1/subjects/{kind}/{id}", delete(erasure::erase))
        .route("/v1/quarantine", get(admin::quarantine))
        .route("/v1/quarantine/{id}", get(admin::quarantined))
        .route("/v1/quarantine/{id}/redrive", post(admin::redrive))
        .with_state(edge.clone())
        .merge(socketio::platform(&edge))
}
