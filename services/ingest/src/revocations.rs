//! Learns which tokens and users are revoked, as gateways have written it into their bucket.

use std::sync::Arc;

use domain::Tenant;
use runtime::auth::{Authenticator, Revocation, Revoked};
use runtime::clock;
use runtime::kv::WatchEvent;
use runtime::nats::Nats;
use runtime::ops::Condition;
use runtime::tasks::BoxError;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::error;

const BUCKET: &str = "revocations";

/// The gateway's form.
#[derive(Deserialize)]
struct Stored {
    tenant: String,
    jti: Option<Arc<str>>,
    sub: Option<Arc<str>>,
    until: i64,
}

/// Learns until `shutdown`; `known` holds once all that stand have been learnt.
pub(crate) async fn watch(
    nats: Nats,
    auth: Authenticator,
    known: Condition,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let mut watch = nats.bucket(BUCKET).watch(">");
    known.missing("revocations are being read");
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            event = watch.next() => event,
        };
        match event {
            WatchEvent::Put(entry) => learn(&auth, &entry.value),
            WatchEvent::Current => known.holds(),
            // A revocation ends by its own time, not by being deleted.
            WatchEvent::Gone { .. } | WatchEvent::Reset => {}
        }
    }
}

fn learn(auth: &Authenticator, value: &[u8]) {
    let Some(revocation) = read(value) else {
        error!("a stored revocation cannot be read");
        return;
    };
    if let Err(too_many) = auth.revocations().revoke(revocation, clock::unix_seconds()) {
        error!(%too_many, "a revocation is not in force");
    }
}

fn read(value: &[u8]) -> Option<Revocation> {
    let stored: Stored = serde_json::from_slice(value).ok()?;
    let what = match (stored.jti, stored.sub) {
        (Some(id), _) => Revoked::Token(id),
        (None, Some(user)) => Revoked::User(user),
        (None, None) => return None,
    };
    Some(Revocation { tenant: Tenant::parse(&stored.tenant).ok()?, what, until: stored.until })
}
