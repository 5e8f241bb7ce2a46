//! How the platform's parts are, told to administrators when it changes, and again while one is not well.
//!
//! Every instance of every service says how it is; each gateway works out for itself what that means for the service and
//! tells its own clients, so that nobody is told twice and no gateway depends on another. Of NATS it tells what it sees
//! itself: that reaches its clients although nothing else does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Tenant;
use runtime::clock;
use runtime::health::{SUBJECT, Standing};
use runtime::tasks::BoxError;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::edge::{Edge, Shared};
use crate::entry::Entry;
use crate::queries::admin_channel;
use crate::typing::own_event;

mod table;

use table::{State, Table};

const HEALTH: &str = "system.health";
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The pause before NATS is asked again for what it did not give.
const RETRY: Duration = Duration::from_millis(500);

/// A cheap-clone handle.
#[derive(Clone)]
pub(crate) struct Health(Arc<Mutex<Table>>);

impl Health {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Table::new())))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until `shutdown`.
pub(crate) async fn run(edge: Edge, shutdown: CancellationToken) -> Result<(), BoxError> {
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = listen(&edge) => ended,
    }
}

async fn listen(edge: &Shared) -> Result<(), BoxError> {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = loop {
        match edge.nats.subscribe(SUBJECT).await {
            Ok(heard) => break heard,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    };
    loop {
        tokio::select! {
            said = heard.next() => match said {
                Some(said) => hear(edge, &said.payload),
                None => return Err("the connection to NATS is closed".into()),
            },
            _ = looks.tick() => look(edge),
        }
    }
}

fn hear(edge: &Shared, payload: &[u8]) {
    match serde_json::from_slice::<Standing>(payload) {
        Ok(standing) => edge.health.lock().hear(standing, clock::unix_millis()),
        Err(error) => debug!(%error, "how an instance is cannot be read"),
    }
}

fn look(edge: &Shared) {
    let news = edge.health.lock().look(edge.nats.is_connected(), clock::unix_millis());
    if news.is_empty() {
        return;
    }
    let Some(admin) = admin_channel() else { return };
    let tenants = edge.hub.with_tail(|tail| tail.tenants_in(&admin));
    let entries = tenants.iter().flat_map(|tenant| {
        news.iter().filter_map(|(component, state)| entry(edge, tenant, component, state))
    });
    let entries: Vec<_> = entries.collect();
    edge.hub.append(entries);
}

fn entry(edge: &Shared, tenant: &Tenant, component: &str, state: &State) -> Option<Arc<Entry>> {
    let admitted = own_event(edge, tenant, HEALTH, data(component, state))?;
    Some(Entry::signal(admitted.envelope, None, &edge.catalogue))
}

fn data(component: &str, state: &State) -> Value {
    let mut data = json!({ "component": component, "status": state.status.name() });
    if !state.message.is_empty() {
        data["message"] = state.message.as_str().into();
    }
    data
}
