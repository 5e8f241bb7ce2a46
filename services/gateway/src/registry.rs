//! The connections of this node by the name of their holding, and the fence between nodes: whoever takes a session
//! over asks the node that holds the old connection to end it first.
//!
//! A holding is known here before its name is stored, so that whoever reads the name can end it, also while it opens.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::Tenant;
use runtime::ids;
use runtime::nats::Nats;
use runtime::tasks::{BoxError, Connections};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::hub::Signal;
use crate::records::Record;

/// A dead node does not answer at all; a live one ends a connection well within this.
const FENCE_WITHIN: Duration = Duration::from_millis(500);

#[derive(Clone)]
pub(crate) struct Registry {
    /// Names this node's life: a node that comes back is another one.
    pub node: Arc<str>,
    held: Arc<Mutex<HashMap<Arc<str>, Arc<Held>>>>,
}

#[derive(Default)]
struct Held {
    fenced: AtomicBool,
    fence: Notify,
    ended: CancellationToken,
    /// Wakes the connection, so that one that idles looks at its fence; not there while it opens.
    signal: OnceLock<Arc<Signal>>,
}

/// A connection's place in the registry, given up when it is dropped.
pub(crate) struct Lease {
    registry: Registry,
    name: Arc<str>,
    held: Arc<Held>,
}

impl Lease {
    /// What the record calls this holding.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Names what wakes the connection. It is looked at afterwards whether it is fenced already.
    pub(crate) fn wakes(&self, signal: Arc<Signal>) {
        let _named_once = self.held.signal.set(signal);
    }

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
        self.registry.lock().remove(&self.name);
        self.held.ended.cancel();
    }
}

impl Registry {
    pub(crate) fn new(node: impl Into<Arc<str>>) -> Self {
        Self { node: node.into(), held: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new holding, of a connection that is about to open.
    pub(crate) fn hold(&self) -> Lease {
        let (name, held) = (Arc::<str>::from(ids::unguessable()), Arc::<Held>::default());
        self.lock().insert(name.clone(), held.clone());
        Lease { registry: self.clone(), name, held }
    }

    /// Ends the connection that holds a session on this node, if one does, and waits until it has.
    async fn fence_here(&self, name: &str) {
        let held = self.lock().get(name).cloned();
        if let Some(held) = held {
            held.fenced.store(true, Ordering::Release);
            held.fence.notify_one();
            if let Some(signal) = held.signal.get() {
                signal.raise();
            }
            // A connection that is stuck is dropped with its socket; it cannot deliver to the new one.
            let _late = tokio::time::timeout(FENCE_WITHIN, held.ended.cancelled()).await;
        }
    }

    /// Ends the connection that holds a session, wherever it is.
    pub(crate) async fn fence(&self, nats: &Nats, record: &Record, tenant: &Tenant, id: &str) {
        let Record { node, lease, .. } = record;
        if **node == *self.node {
            return self.fence_here(lease).await;
        }
        // Nodes of before looked for the session by its tenant and id.
        let question = Bytes::from(format!("{tenant} {id} {lease}"));
        // Nearly always no answer means that the node is gone, and its connections with it. One that is only late ends
        // its connection when it comes to it, or when that stores its record.
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
                if let Some(name) = name_in(&request.payload) {
                    registry.fence_here(name).await;
                }
                // Whoever asked has a deadline of its own.
                let _late = request.respond(Bytes::from_static(b"ok")).await;
            });
        }
    }
}

fn name_in(question: &[u8]) -> Option<&str> {
    std::str::from_utf8(question).ok()?.rsplit(' ').next()
}

fn subject(node: &str) -> String {
    format!("gateway.fence.{node}")
}
