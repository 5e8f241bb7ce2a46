//! Tells the gateways how an instance of a service is: again and again, and soon when that changes.
//!
//! Only the names of what it waits for are told; why it waits is for operators and stays in its own answers and logs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::ids;
use crate::nats::Nats;
use crate::ops::Readiness;
use crate::tasks::BoxError;

/// Where gateways listen.
pub const SUBJECT: &str = "gateway.health";
/// Who has not been heard of for a few of these is gone.
pub const EVERY: Duration = Duration::from_secs(2);
/// What changes within this time is told together.
const TOGETHER: Duration = Duration::from_millis(250);

/// How one instance is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    pub service: String,
    /// The instance, by a name that no other has.
    pub node: String,
    /// The conditions that do not hold, by name.
    pub missing: Vec<String>,
    /// It stops, on purpose.
    pub leaves: bool,
}

/// Until `shutdown`, and once more then. Nobody waits for it: what is lost is told again.
pub async fn tell(
    nats: Nats,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let node = ids::unguessable();
    let mut changes = readiness.changes();
    while !shutdown.is_cancelled() {
        changes.mark_unchanged();
        say(&nats, &node, &readiness, false).await;
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(EVERY) => {}
            // The sender lives in `readiness`, so waiting cannot fail.
            _ = changes.changed() => tokio::time::sleep(TOGETHER).await,
        }
    }
    say(&nats, &node, &readiness, true).await;
    Ok(())
}

async fn say(nats: &Nats, node: &str, readiness: &Readiness, leaves: bool) {
    let standing = Standing {
        service: nats.service().to_owned(),
        node: node.to_owned(),
        missing: readiness.unmet(),
        leaves,
    };
    let Ok(payload) = serde_json::to_vec(&standing) else { return };
    if let Err(error) = nats.publish(SUBJECT, &[], payload.into()).await {
        debug!(%error, "how this instance is was not told");
    }
}
