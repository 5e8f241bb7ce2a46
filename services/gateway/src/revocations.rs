//! Revocations between gateways: a bucket that every one of them watches, so that what one is told ends
//! connections on all.

use std::time::Duration;

use bytes::Bytes;
use domain::{EntityToken, Tenant};
use runtime::auth::{Revocation, Revoked};
use runtime::clock;
use runtime::kv::{KvError, WatchEvent};
use runtime::nats::Nats;
use runtime::ops::Condition;
use runtime::tasks::BoxError;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::edge::Edge;

const BUCKET: &str = "revocations";

#[derive(Serialize, Deserialize)]
struct Stored {
    tenant: String,
    jti: Option<String>,
    sub: Option<String>,
    until: i64,
}

pub(crate) async fn store(nats: &Nats, revocation: &Revocation) -> Result<(), KvError> {
    let (kind, id) = match &revocation.what {
        Revoked::Token(id) => ("jti", id),
        Revoked::User(user) => ("sub", user),
    };
    let stored = Stored {
        tenant: revocation.tenant.to_string(),
        jti: (kind == "jti").then(|| id.to_string()),
        sub: (kind == "sub").then(|| id.to_string()),
        until: revocation.until,
    };
    let key = format!("{}.{kind}.{}", revocation.tenant, EntityToken::from_external(id));
    let value = Bytes::from(serde_json::to_vec(&stored).unwrap_or_default());
    let left = (revocation.until - clock::unix_seconds()).max(1) as u64;
    nats.bucket(BUCKET).put_with_ttl(&key, value, Duration::from_secs(left)).await.map(drop)
}

/// Learns of every revocation until `shutdown`; `known` holds once all that stand have been learnt.
pub(crate) async fn watch(
    edge: Edge,
    known: Condition,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let mut changes = edge.auth.changes();
    let mut watch = edge.nats.bucket(BUCKET).watch(">");
    known.missing("revocations are being read");
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = changes.changed() => {
                if changed.is_ok() {
                    look_again(&edge);
                }
            }
            event = watch.next() => match event {
                WatchEvent::Put(entry) => learn(&edge, &entry.value),
                WatchEvent::Current => known.holds(),
                _ => {}
            },
        }
    }
}

fn learn(edge: &Edge, value: &[u8]) {
    let Some(revocation) = read(value) else {
        error!("a stored revocation cannot be read");
        return;
    };
    match edge.auth.revocations().revoke(revocation, clock::unix_seconds()) {
        Ok(()) => look_again(edge),
        Err(too_many) => error!(%too_many, "a revocation is not in force"),
    }
}

/// Has every live connection look at its identity again.
fn look_again(edge: &Edge) {
    edge.checks.send_modify(|checks| *checks += 1);
    edge.hub.wake_everyone();
}

fn read(value: &[u8]) -> Option<Revocation> {
    let stored: Stored = serde_json::from_slice(value).ok()?;
    let what = match (stored.jti, stored.sub) {
        (Some(id), _) => Revoked::Token(id.into()),
        (None, Some(user)) => Revoked::User(user.into()),
        (None, None) => return None,
    };
    Some(Revocation { tenant: Tenant::parse(&stored.tenant).ok()?, what, until: stored.until })
}
