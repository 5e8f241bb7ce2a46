//! Watches that the durables this service will work from are there and can be reached.
//! It takes nothing from them.

use std::time::Duration;

use domain::StreamId;
use runtime::nats::Nats;
use runtime::ops::Condition;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;

/// Made by the provisioner from `nats/consumers`.
const DURABLES: [&str; 2] = ["ai-screen", "ai-answer"];

/// Often enough that readiness follows an outage, rarely enough to cost nothing.
const EVERY: Duration = Duration::from_secs(5);
const UNTIL_READY: Duration = Duration::from_millis(250);

pub(crate) async fn watch(
    nats: Nats,
    work: Condition,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    loop {
        let missing = missing(&nats).await;
        let pause = if missing.is_none() { EVERY } else { UNTIL_READY };
        match missing {
            None => work.holds(),
            Some(why) => work.missing(why),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// What is not there; `None` when everything is.
async fn missing(nats: &Nats) -> Option<String> {
    if !nats.is_connected() {
        return Some("NATS is not reachable".to_owned());
    }
    let stream = StreamId::Conversations.name();
    for durable in DURABLES {
        match nats.log_reader().has_durable(stream, durable).await {
            Ok(true) => {}
            Ok(false) => {
                return Some(format!(
                    "{stream} has no durable {durable}; `throughline streams apply` makes it"
                ));
            }
            Err(error) => return Some(format!("{stream} cannot be asked: {error}")),
        }
    }
    None
}
