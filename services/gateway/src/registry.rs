//! The connections of this node by the id that a client may bring back, and the fence between nodes:
//! whoever takes a session over asks the node that holds the old connection to end it first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::Tenant;
use runtime::nats::Nats;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;

use crate::hub::Signal;

/// A dead node does not answer at all; a live one ends a connection well within this.
const FENCE_WITHIN: Duration = Duration::from_millis(500);

type Key = (Tenant, String);

#[derive(Clone)]
pub(crate) struct Registry {
    /// Names this node's life: a node that comes back is another one.
    pub node: Arc<str>,
    held: Arc<Mutex<HashMap<Key, Held>>>,
}

#[derive(Clone)]
struct Held {
    fence: CancellationToken,
    ended: CancellationToken,
    /// Wakes the connection, so that one that idles looks at its fence.
    signal: Arc<Signal>,
}

/// A connection's place in the registry, given up when it is dropped.
pub(crate) struct Lease {
    registry: Registry,
    key: Key,
    held: Held,
}

impl Lease {
    /// Whether another connection has taken the session over.
    pub(crate) fn is_fenced(&self) -> bool {
        self.held.fence.is_cancelled()
    }

    /// Resolves when another connection takes the session over.
    pub(crate) async fn fenced(&self) {
        self.held.fence.cancelled().await;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held.ended.cancel();
        let mut held = self.registry.lock();
        if held.get(&self.key).is_some_and(|current| current.ended.is_cancelled()) {
            held.remove(&self.key);
        }
    }
}

impl Registry {
    pub(crate) fn new(node: impl Into<Arc<str>>) -> Self {
        Self { node: node.into(), held: Arc::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `signal` wakes the connection that holds the session.
    pub(crate) fn hold(&self, tenant: &Tenant, id: &str, signal: Arc<Signal>) -> Lease {
        let key = (tenant.clone(), id.to_owned());
        let (fence, ended) = (CancellationToken::new(), CancellationToken::new());
        let held = Held { fence, ended, signal };
        self.lock().insert(key.clone(), held.clone());
        Lease { registry: self.clone(), key, held }
    }

    /// Ends the connection that holds a session on this node, if one does, and waits until it has.
    pub(crate) async fn fence_here(&self, tenant: &Tenant, id: &str) {
        let held = self.lock().get(&(tenant.clone(), id.to_owned())).cloned();
        if let Some(held) = held {
            held.fence.cancel();
            held.signal.raise();
            // A connection that is stuck is dropped with its socket; it cannot deliver to the new one.
            let _late = tokio::time::timeout(FENCE_WITHIN, held.ended.cancelled()).await;
        }
    }

    /// Ends the connection that holds a session, wherever it is.
    pub(crate) async fn fence(&self, nats: &Nats, node: &str, tenant: &Tenant, id: &str) {
        if node == &*self.node {
            return self.fence_here(tenant, id).await;
        }
        let question = Bytes::from(format!("{tenant} {id}"));
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
        loop {
            let request = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                request = server.next() => request,
            };
            let Some(request) = request else {
                return Err("the connection to NATS is closed".into());
            };
            if let Some((tenant, id)) = parse(&request.payload) {
                self.fence_here(&tenant, &id).await;
            }
            // Whoever asked has a deadline of its own.
            let _late = request.respond(Bytes::from_static(b"ok")).await;
        }
    }
}

fn subject(node: &str) -> String {
    format!("gateway.fence.{node}")
}

fn parse(payload: &[u8]) -> Option<(Tenant, String)> {
    let (tenant, id) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
    Some((Tenant::parse(tenant).ok()?, id.to_owned()))
}
