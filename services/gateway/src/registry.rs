//! The connections of this node by the id that a client may bring back, and the fence between nodes:
//! whoever takes a session over asks the node that holds the old connection to end it first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::Tenant;
use runtime::nats::Nats;
use runtime::tasks::{BoxError, Connections};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::hub::Signal;
use crate::records::Record;

/// A dead node does not answer at all; a live one ends a connection well within this.
const FENCE_WITHIN: Duration = Duration::from_millis(500);

type Key = (Tenant, String);

#[derive(Clone)]
pub(crate) struct Registry {
    /// Names this node's life: a node that comes back is another one.
    pub node: Arc<str>,
    held: Arc<Mutex<HashMap<Key, Arc<Held>>>>,
}

struct Held {
    /// The record's name of this holding.
    name: Box<str>,
    fenced: AtomicBool,
    fence: Notify,
    ended: Notify,
    /// Wakes the connection, so that one that idles looks at its fence.
    signal: Arc<Signal>,
}

/// A connection's place in the registry, given up when it is dropped.
pub(crate) struct Lease {
    registry: Registry,
    key: Key,
    held: Arc<Held>,
}

impl Lease {
    /// Whether another connection has taken the session over.
    pub(crate) fn is_fenced(&self) -> bool {
        self.held.fenced.load(Ordering::Acquire)
    }

    /// Resolves when another connection takes the session over.
    pub(crate) async fn fenced(&self) {
        while !self.is_fenced() {
            self.held.fence.notified().await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.registry.lock();
        if held.get(&self.key).is_some_and(|current| Arc::ptr_eq(current, &self.held)) {
            held.remove(&self.key);
        }
        self.held.ended.notify_one();
    }
}

impl Registry {
    pub(crate) fn new(node: impl Into<Arc<str>>) -> Self {
        Self { node: node.into(), held: Arc::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `signal` wakes the connection that holds the session.
    pub(crate) fn hold(&self, tenant: &Tenant, id: &str, name: &str, signal: Arc<Signal>) -> Lease {
        let key = (tenant.clone(), id.to_owned());
        let held = Arc::new(Held {
            name: name.into(),
            fenced: AtomicBool::new(false),
            fence: Notify::new(),
            ended: Notify::new(),
            signal,
        });
        self.lock().insert(key.clone(), held.clone());
        Lease { registry: self.clone(), key, held }
    }

    /// Ends the connection that holds a session on this node, if one does, and waits until it has.
    async fn fence_here(&self, tenant: &Tenant, id: &str, name: &str) {
        let held = self.lock().get(&(tenant.clone(), id.to_owned())).cloned();
        if let Some(held) = held.filter(|held| *held.name == *name) {
            held.fenced.store(true, Ordering::Release);
            held.fence.notify_one();
            held.signal.raise();
            // A connection that is stuck is dropped with its socket; it cannot deliver to the new one.
            let _late = tokio::time::timeout(FENCE_WITHIN, held.ended.notified()).await;
        }
    }

    /// Ends the connection that holds a session, wherever it is.
    pub(crate) async fn fence(&self, nats: &Nats, record: &Record, tenant: &Tenant, id: &str) {
        let Record { node, lease, .. } = record;
        if **node == *self.node {
            return self.fence_here(tenant, id, lease).await;
        }
        let question = Bytes::from(format!("{tenant} {id} {lease}"));
        // No answer means that the node is gone, and its connections with it.
        let _gone = nats.request(&subject(node), question, FENCE_WITHIN * 2).await;
    }

    /// Serves other nodes' fences until `shutdown`.
    pub(crate) async fn serve(
        self,
        nats: Nats,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let mut server = nats.serve(&subject(&self.node), "fence").await?;
        let fences = Connections::new();
        loop {
            let request = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                request = server.next() => request,
            };
            let Some(request) = request else {
                return Err("the connection to NATS is closed".into());
            };
            let registry = self.clone();
            // One connection that ends slowly holds no other fence up.
            fences.spawn(async move {
                if let Some((tenant, id, name)) = parse(&request.payload) {
                    registry.fence_here(&tenant, id, name).await;
                }
                // Whoever asked has a deadline of its own.
                let _late = request.respond(Bytes::from_static(b"ok")).await;
            });
        }
    }
}

fn subject(node: &str) -> String {
    format!("gateway.fence.{node}")
}

fn parse(payload: &[u8]) -> Option<(Tenant, &str, &str)> {
    let mut words = std::str::from_utf8(payload).ok()?.split(' ');
    Some((Tenant::parse(words.next()?).ok()?, words.next()?, words.next()?))
}
